//! Files whose place changes, each case on two agents that met without any trouble.

use std::time::Duration;

use petmail_proto::{
    channel::{
        file::{LocatePacket, StoredKind},
        payload::{BASIC, LOCATE, LOCATION},
    },
    content::{Location, Reference},
    keys::MessageId,
};
use serde_json::json;

use super::{
    rules::{act, core, met, offer, receive, seal},
    script::START,
    world::World,
};
use crate::agent::{
    Question,
    records::transfers::{Phase, Source, Target, Upload},
};

const MID: MessageId = MessageId::from_bytes([9; 16]);
const HOUR: Duration = Duration::from_secs(3_600);

fn location(host: &str) -> Location {
    serde_json::from_value(json!({ "places": [{ "url": format!("https://{host}.example") }] })).unwrap()
}

/// Alice has sent a file, and Bob fetches it; returns the ids of its message with each.
fn sent_and_wanted() -> (World, [u64; 2]) {
    let mut world = met([true, true]);
    let chunk = json!({ "pack": "A".repeat(43), "offset": 2, "length": 7, "hash": "A".repeat(43), "key": "A".repeat(43) });
    let reference = json!({ "places": [{ "url": "https://old.example" }], "manifest": [chunk] });
    let reference: Reference = serde_json::from_value(reference).unwrap();
    let id = core!(world, 0).reserve_message_id();
    let upload = Upload {
        id,
        cid: 1,
        mid: MID,
        name: "film.mkv".to_owned(),
        source: Source::Spool,
        kind: StoredKind::File,
        size: 7,
        count: 1,
        keep_days: 365,
        phase: Phase::Active,
    };
    world.step(0, |core, step, _, _| core.begin_upload(step, upload.clone())).unwrap();
    let finish = (1, reference);
    world
        .step(0, |core, step, now, rng| core.finish_upload(step, id, finish.clone(), (7, 1), now, rng))
        .unwrap();
    world.run();
    let messages = world.nodes[1].disk.messages(1);
    let (key, message, _) = messages.last().unwrap().clone();
    let target = Target::Folder("/home/bob".to_owned());
    world
        .step(1, |core, step, _, _| core.begin_download(step, (key, &message), target.clone(), 0o600))
        .unwrap();
    (world, [id, message.id])
}

fn asks(world: &mut World, id: u64) -> bool {
    world.step(1, |core, step, now, rng| core.ask_location(step, id, now, rng)).unwrap()
}

fn phase(world: &World, id: u64) -> Phase {
    world.nodes[1].core.as_ref().unwrap().transfers.downloads[&id].phase.clone()
}

/// What Alice was asked.
fn asked(world: &mut World) -> Vec<Question> {
    world.run();
    let now = world.now;
    core!(world, 0).questions(now)
}

fn answer(world: &mut World, question: &Question, location: Option<Location>) {
    world.step(0, |core, step, now, rng| core.answer(step, question, location.clone(), now, rng)).unwrap();
    world.run();
}

fn restart(world: &mut World) {
    for (node, name) in [(0, "alice"), (1, "bob")] {
        world.nodes[node].core = Some(world.nodes[node].disk.load(name));
    }
}

#[test]
fn a_file_goes_on_from_where_its_sender_says_it_is_now() {
    let (mut world, [sent, id]) = sent_and_wanted();
    assert!(asks(&mut world, id));
    assert_eq!(phase(&world, id), Phase::Asked);
    assert!(!asks(&mut world, id), "it was asked already");
    restart(&mut world);
    let questions = asked(&mut world);
    let [question] = &questions[..] else { panic!("{questions:?}") };
    assert_eq!((question.cid, question.mid), (1, MID));
    assert_eq!((question.share.as_ref().unwrap().0, &question.known), (sent, &None));
    restart(&mut world);
    answer(&mut world, question, Some(location("new")));
    assert!(asked(&mut world).is_empty());
    restart(&mut world);
    assert_eq!(phase(&world, id), Phase::Active);
    assert_eq!(core!(world, 1).transfers.location(id), Some(location("new")));

    // It is not there either: nobody asks again and again.
    assert!(!asks(&mut world, id));
    world.now = world.now.plus(HOUR);
    assert!(asks(&mut world, id));
    let again = asked(&mut world);
    assert_eq!(again[0].known, None, "that was long ago");
    answer(&mut world, &again[0], Some(location("newer")));

    // A contact that does ask again and again hears the same, and nobody is asked for it.
    core!(world, 1).transfers.located.get_mut(&id).unwrap().at = START;
    assert!(asks(&mut world, id));
    let again = asked(&mut world);
    assert_eq!(again[0].known.as_ref().unwrap().location(), Some(location("newer")));

    // What is over leaves nothing behind.
    world.step(1, |core, step, _, _| core.cancel_transfer(step, id)).unwrap();
    world.step(0, |core, step, _, _| core.revoke(step, sent)).unwrap();
    restart(&mut world);
    for node in [0, 1] {
        assert!(core!(world, node).transfers.located.is_empty());
    }
}

#[test]
fn a_file_that_was_taken_back_is_said_to_be_gone() {
    let (mut world, [sent, id]) = sent_and_wanted();
    assert!(asks(&mut world, id));
    let questions = asked(&mut world);
    world.step(0, |core, step, _, _| core.revoke(step, sent)).unwrap();
    answer(&mut world, &questions[0], Some(location("new")));
    let Phase::Failed(hitch) = phase(&world, id) else { panic!("{:?}", phase(&world, id)) };
    assert_eq!(hitch.code, "file-gone");
    assert_eq!(core!(world, 1).transfers.location(id), None);
}

#[test]
fn nobody_is_told_of_what_others_were_sent() {
    let (mut world, [sent, id]) = sent_and_wanted();
    core!(world, 0).transfers.shares.get_mut(&sent).unwrap().cid = 2;
    assert!(asks(&mut world, id));
    let questions = asked(&mut world);
    assert_eq!(questions[0].share, None);
    answer(&mut world, &questions[0], Some(location("new")));
    assert!(matches!(phase(&world, id), Phase::Failed(_)));
}

#[test]
fn what_nobody_has_asked_for_changes_nothing() {
    let (mut world, [_, id]) = sent_and_wanted();
    let told = json!({ "mid": MID, "location": location("evil") });
    let sealed = offer(&mut world, 0);
    let msg_c = seal(&mut world, &sealed, json!({ BASIC: "hello", LOCATION: told, LOCATE: 7 }));
    receive(&mut world, 1, &msg_c);
    assert_eq!(core!(world, 1).transfers.location(id), None);
    assert!(core!(world, 1).transfers.questions.is_empty());
    assert_eq!(phase(&world, id), Phase::Active);
}

#[test]
fn the_questions_of_a_contact_are_bounded() {
    let mut world = met([true, true]);
    let (_, step) = act(&mut world, 0, |world, step| {
        for number in 0..1_000_u16 {
            let mut mid = [0; 16];
            mid[..2].copy_from_slice(&number.to_be_bytes());
            core!(world, 0).hear_locate(step, 1, LocatePacket { mid: MessageId::from_bytes(mid) });
        }
        Ok(())
    });
    assert_eq!((core!(world, 0).transfers.questions.len(), step.writes.len()), (256, 256));
    let (_, step) = act(&mut world, 0, |world, step| {
        core!(world, 0).forget_transfers_of(step, 1);
        Ok(())
    });
    assert_eq!((core!(world, 0).transfers.questions.len(), step.writes.len()), (0, 256));
}
