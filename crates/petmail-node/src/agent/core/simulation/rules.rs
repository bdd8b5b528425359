//! The core's rules one by one, each on two agents that met without any trouble.

use std::time::Duration;

use petmail_proto::{
    base_url::BaseUrl,
    channel::{
        cid::CidSubkeys,
        key_ring::Holding,
        message::MsgC,
        payload::{BASIC, INTRODUCTION, Payload},
        record::{MAX_TRANSPORTS, TransportRecord},
    },
    invitation::machine::{Effect, Failure, Step as MachineStep},
    keys::TransportId,
};
use serde_json::{Map, Value, json};

use super::{
    check::check_memory,
    mailbox::MailServer,
    node::Trouble,
    script::{Deed, Meeting, Plan, START, Typed},
    world::World,
};
use crate::{
    agent::{
        core::{Arrival, Offer, OfferSource, Packets, Step, Wish},
        error::{CommandError, Fault},
        records::{BODIES, MAILBOXES, MESSAGES, MessageKey, PROGRESS, QUARANTINE, Quarantined, Trust, Way},
        view,
    },
    api::types::MessageState,
    db::Write,
    network::Place,
};

/// Alice and Bob after their meeting; `mailboxes` says who has one.
pub(super) fn met(mailboxes: [bool; 2]) -> World {
    let mut world = World::new(&["alice", "bob"], 2, 1);
    world.faults_until = START;
    world.meetings.push(Meeting::new([0, 1]));
    for (node, _) in mailboxes.iter().enumerate().filter(|(_, has)| **has) {
        world.plans.push(Plan { at: START, deed: Deed::Accept { node, server: node } });
    }
    let at = START.plus(Duration::from_secs(10));
    world.plans.extend([0, 1].map(|side| Plan { at, deed: Deed::Invite { meeting: 0, side } }));
    world.run();
    world
}

/// What one operation of a node answers and writes; it is committed.
pub(super) fn act<T>(
    world: &mut World,
    node: usize,
    operation: impl FnOnce(&mut World, &mut Step) -> Result<T, CommandError>,
) -> (Result<T, CommandError>, Step) {
    let mut step = Step::default();
    let result = operation(world, &mut step);
    world.nodes[node].disk.commit(&step.writes);
    (result, step)
}

macro_rules! core {
    ($world:ident, $node:expr) => {
        $world.nodes[$node].core.as_mut().unwrap()
    };
}
pub(super) use core;

pub(super) fn receive(world: &mut World, node: usize, msg_c: &[u8]) -> (Arrival, Vec<Write>) {
    let (arrival, step) =
        act(world, node, |world, step| core!(world, node).receive(step, msg_c, world.now, &mut world.rng));
    check_memory(&world.nodes[node]);
    (arrival.unwrap(), step.writes)
}

/// Alice writes to Bob; returns how the message is to be sealed.
pub(super) fn offer(world: &mut World, from: usize) -> Offer {
    let (sent, _) = act(world, from, |world, step| {
        core!(world, from).send_basic(step, 1, "hello", None, world.now, &mut world.rng)
    });
    sent.unwrap();
    let (mut offers, _) = core!(world, from).next_offers(1, world.now);
    offers.remove(0)
}

/// Seals the offered message with other packets.
pub(super) fn seal(world: &mut World, offer: &Offer, packets: Value) -> Vec<u8> {
    let Value::Object(content) = packets else { panic!("packets are an object") };
    seal_as_is(world, offer, Packets { content, extras: Map::new() })
}

pub(super) fn seal_as_is(world: &World, offer: &Offer, packets: Packets) -> Vec<u8> {
    let server = world.servers.iter().find(|server| server.serves(offer)).unwrap();
    server.open(&server.seal(offer, packets))
}

fn hello(world: &mut World) -> Vec<u8> {
    let offer = offer(world, 0);
    seal(world, &offer, json!({ BASIC: "hello" }))
}

#[test]
fn a_damaged_message_is_dropped_and_changes_nothing() {
    let mut world = met([true, true]);
    let good = hello(&mut world);
    for position in [2, 50, 40 + 200, good.len() - 1] {
        let mut bad = good.clone();
        bad[position] ^= 1;
        assert_eq!(receive(&mut world, 1, &bad), (Arrival::Damaged, Vec::new()), "byte {position}");
    }
    assert_eq!(receive(&mut world, 1, b"c2 of a later version").0, Arrival::Damaged);
    assert_eq!(receive(&mut world, 1, &good).0, Arrival::Accepted);
}

#[test]
fn a_token_for_a_transport_that_the_sender_was_not_told_of_is_refused() {
    let mut world = met([true, true]);
    let mut offer = offer(&mut world, 0);
    offer.transport.tid = TransportId::from_bytes([7; 8]);
    let msg_c = seal(&mut world, &offer, json!({ BASIC: "hello" }));
    assert_eq!(receive(&mut world, 1, &msg_c), (Arrival::Damaged, Vec::new()));
}

#[test]
fn a_message_counts_once_even_after_a_restart() {
    let mut world = met([true, true]);
    let offer = offer(&mut world, 0);
    let [first, again] = [(); 2].map(|()| seal(&mut world, &offer, json!({ BASIC: "hello" })));
    assert_eq!(receive(&mut world, 1, &first).0, Arrival::Accepted);
    world.nodes[1].core = Some(world.nodes[1].disk.load("bob"));
    for copy in [first, again] {
        let (arrival, writes) = receive(&mut world, 1, &copy);
        // All that may change is that another acknowledgement is owed.
        assert!(arrival == Arrival::Duplicate && writes.iter().all(|write| write.keyspace == PROGRESS));
    }
}

#[test]
fn packets_of_a_later_version_are_kept() {
    let mut world = met([true, true]);
    let offer = offer(&mut world, 0);
    let msg_c = seal(&mut world, &offer, json!({ "from-the-future": [1, 2] }));
    let (_, writes) = receive(&mut world, 1, &msg_c);
    let body = writes.iter().find(|write| write.keyspace == BODIES).unwrap();
    assert_eq!(body.value.as_deref(), Some(br#"{"from-the-future":[1,2]}"#.as_slice()));
}

#[test]
fn the_quarantine_is_bounded_and_the_oldest_leave_first() {
    let mut world = met([true, true]);
    let mut msg_c = vec![0; 256 << 10];
    msg_c[..2].copy_from_slice(b"c1");
    for _ in 0..70 {
        assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Unknown);
    }
    let kept = world.nodes[1].disk.scan(QUARANTINE, &[]);
    let bytes: usize = kept.iter().map(|(_, row)| row.len()).sum();
    assert!((15 << 20..17 << 20).contains(&bytes), "{bytes} bytes");
    assert_eq!(kept.last().unwrap().0, 69_u64.to_be_bytes());
}

#[test]
fn what_is_in_quarantine_leaves_for_its_contact_or_with_age() {
    let mut world = met([true, true]);
    let msg_c = hello(&mut world);
    let stranger = [b"c1".as_slice(), &[0; 4_000]].concat();
    let row = Quarantined { received: world.now, msg_c };
    let unknown = Quarantined { received: world.now, msg_c: stranger };
    let retry = |world: &mut World, row: &Quarantined, days: u64| {
        let now = world.now.plus(Duration::from_secs(days * 86_400 + 1));
        let (done, step) =
            act(world, 1, |world, step| core!(world, 1).retry(step, 5, row, now, &mut world.rng));
        done.unwrap();
        step.writes
    };
    assert_eq!(retry(&mut world, &unknown, 6), Vec::new());
    let leaves = Write { keyspace: QUARANTINE, key: 5_u64.to_be_bytes().to_vec(), value: None };
    assert_eq!(retry(&mut world, &unknown, 7), std::slice::from_ref(&leaves));
    let writes = retry(&mut world, &row, 0);
    assert!(writes.contains(&leaves) && writes.iter().any(|write| write.keyspace == MESSAGES));
}

#[test]
fn messages_of_a_removed_contact_are_from_nobody_known() {
    let mut world = met([true, true]);
    let msg_c = hello(&mut world);
    act(&mut world, 1, |world, step| core!(world, 1).remove(step, 1)).0.unwrap();
    assert_eq!(receive(&mut world, 1, &msg_c).0, Arrival::Unknown);
}

#[test]
fn a_message_carries_the_introduction_until_the_contact_is_confirmed() {
    let opened = |world: &mut World| {
        let offer = offer(world, 1);
        let packets = world.packets(1, &offer);
        let msg_c = seal_as_is(world, &offer, packets);
        let peer = &core!(world, 0).peers[&1];
        let message = MsgC::parse(&msg_c).unwrap();
        let envelope = CidSubkeys::derive(&peer.contact.mine.cid_key).open(&message.cid_box).unwrap();
        let Holding::Held(key) = peer.keys.find(&envelope.receiver_key) else { panic!("no key") };
        let opened = message.open(&envelope, key).unwrap();
        Payload::decode(opened.dangerous_peek()).unwrap().packets.contains_key(INTRODUCTION)
    };
    // Without a mailbox nobody can confirm Bob's contact.
    let mut world = met([true, false]);
    assert_eq!(core!(world, 1).peers[&1].contact.state, Trust::Pending);
    assert!(opened(&mut world));
    let mut world = met([true, true]);
    assert_eq!(core!(world, 1).peers[&1].contact.state, Trust::Confirmed);
    assert!(!opened(&mut world));
}

#[test]
fn codes_that_are_burnt_or_ones_own_are_refused() {
    let mut world = World::new(&["alice", "bob"], 1, 2);
    world.faults_until = START;
    world.meetings.push(Meeting { code: Typed::HumanMade, ..Meeting::new([0, 1]) });
    world.plans.push(Plan { at: START, deed: Deed::Accept { node: 0, server: 0 } });
    let at = START.plus(Duration::from_secs(10));
    world.plans.extend([0, 1].map(|side| Plan { at, deed: Deed::Invite { meeting: 0, side } }));
    world.run();
    let invite = |world: &mut World, code: &str| {
        act(world, 0, |world, step| {
            core!(world, 0).invite(step, (None, Some(code)), Wish::Contact, world.now, &mut world.rng)
        })
        .0
    };
    for spelling in ["770-purple elephants never dance", " 770 Purple-Elephants  never dance"] {
        assert_eq!(invite(&mut world, spelling).unwrap_err().problem, "this code was used before");
    }
    let own = "5-adroitness-aardvark-adviser";
    invite(&mut world, own).unwrap();
    assert_eq!(invite(&mut world, own).unwrap_err().fault, Fault::BadRequest);
}

#[test]
fn petnames_of_new_contacts_are_unique() {
    let mut world = met([true, true]);
    assert_eq!(core!(world, 0).free_petname("carol"), "carol");
    assert_eq!(core!(world, 0).free_petname("bob"), "bob (2)");
    act(&mut world, 0, |world, step| core!(world, 0).rename(step, 1, " bob (2) ")).0.unwrap();
    assert_eq!(core!(world, 0).free_petname("bob (2)"), "bob (2) (2)");
}

#[test]
fn after_a_failed_commit_the_state_is_as_before() {
    let mut world = met([true, true]);
    let before = world.nodes[0].disk.clone();
    let World { nodes, rng, now, .. } = &mut world;
    let renamed =
        nodes[0].step(Trouble::CommitFails, *now, rng, |core, step, _, _| core.rename(step, 1, "Robert"));
    let sent = nodes[0].step(Trouble::CommitFails, *now, rng, |core, step, now, rng| {
        core.send_basic(step, 1, "hello", None, now, rng)
    });
    assert!(renamed.is_none() && sent.is_none());
    assert_eq!(nodes[0].disk, before);
    check_memory(&nodes[0]);
    assert_eq!(core!(world, 0).peers[&1].contact.petname, "bob");
}

#[test]
fn every_new_mailbox_is_announced_even_a_second_one_at_the_same_server() {
    let mut world = met([true, true]);
    let mut last_serial = 0;
    for (server, number) in [(0, 2), (1, 3)] {
        let deed = Deed::Accept { node: 0, server };
        world.plans.push(Plan { at: world.now, deed });
        world.run();
        let theirs = core!(world, 1).peers[&1].contact.theirs.transports.clone();
        assert_eq!(theirs.list.len(), number);
        assert!(theirs.serial > last_serial);
        last_serial = theirs.serial;
        assert_eq!(theirs, core!(world, 0).peers[&1].contact.mine.transports);
    }
}

#[test]
fn contacts_are_told_where_a_server_has_moved_and_keep_their_tokens() {
    let mut world = met([true, true]);
    let before = core!(world, 1).peers[&1].contact.theirs.transports.clone();
    let url: BaseUrl = "https://new.example.org".parse().unwrap();
    let identity = before.list[0].server;
    let place = Place { url: url.clone(), identity, pin: None };
    act(&mut world, 0, |world, step| core!(world, 0).move_mailbox(step, 1, place)).0.unwrap();
    assert_eq!(core!(world, 0).to_be_told(), [1]);
    let now = world.now;
    act(&mut world, 0, |world, step| core!(world, 0).announce(step, 1, now, &mut world.rng)).0.unwrap();
    assert!(core!(world, 0).to_be_told().is_empty());
    let mine = &core!(world, 0).peers[&1].contact.mine.transports;
    assert!(mine.serial > before.serial);
    assert_eq!(mine.list, [TransportRecord { url, pin: None, ..before.list[0].clone() }]);
}

#[test]
fn there_are_no_more_mailboxes_than_transports() {
    let mut world = met([true, true]);
    let mut server = MailServer::new("another", &mut world.rng);
    let mut accept = |world: &mut World| {
        let offer = server.offer(&mut world.rng);
        let id = act(world, 0, |world, step| {
            core!(world, 0).begin_redeem(step, offer, OfferSource::Person, &mut world.rng)
        })
        .0?;
        let account = server.redeem(&core!(world, 0).mailboxes[&id], &mut world.rng);
        act(world, 0, |world, step| core!(world, 0).finish_redeem(step, id, account)).0
    };
    for _ in 1..MAX_TRANSPORTS {
        accept(&mut world).unwrap();
    }
    assert_eq!(accept(&mut world).unwrap_err().fault, Fault::Conflict);
    assert_eq!(world.nodes[0].disk.scan(MAILBOXES, &[]).len(), MAX_TRANSPORTS);
}

#[test]
fn the_same_offer_again_is_the_same_mailbox() {
    let mut world = met([true, true]);
    let offer = world.servers[1].offer(&mut world.rng);
    let [first, second] = [(); 2].map(|()| {
        act(&mut world, 0, |world, step| {
            core!(world, 0).begin_redeem(step, offer.clone(), OfferSource::Person, &mut world.rng)
        })
    });
    assert_eq!(first.0.unwrap(), second.0.unwrap());
    assert!(second.1.writes.is_empty());
}

/// Lets the machine of a node's invitation fail.
fn fails(world: &mut World, node: usize) -> (Result<(), CommandError>, Step) {
    act(world, node, |world, step| {
        let next = core!(world, node).invitations[&1].machine.clone();
        let effects = vec![Effect::Persist, Effect::Failed(Failure::PeerFailed)];
        let taken = MachineStep { next, effects };
        core!(world, node).adopt(step, 1, taken, world.now, &mut world.rng)
    })
}

#[test]
fn a_failed_invitation_takes_its_contact_along() {
    let mut world = met([true, false]);
    let (failed, step) = fails(&mut world, 1);
    failed.unwrap();
    assert!(step.sweep_removed);
    assert!(core!(world, 1).peers.is_empty());
    assert_eq!(core!(world, 1).invitation_view(1).unwrap().cid, None);
    check_memory(&world.nodes[1]);
}

#[test]
fn an_open_invitation_ends_with_its_removed_contact() {
    let mut world = met([true, false]);
    let (_, step) = act(&mut world, 1, |world, step| core!(world, 1).remove(step, 1));
    assert!(matches!(step.invitation_effects.as_slice(), [(1, Effect::Disconnect)]));
    assert!(core!(world, 1).invitations.is_empty());
    check_memory(&world.nodes[1]);
    // One that is over is history.
    act(&mut world, 0, |world, step| core!(world, 0).remove(step, 1)).0.unwrap();
    assert_eq!(core!(world, 0).invitations.len(), 1);
}

#[test]
fn a_reload_asks_again_for_what_was_under_way() {
    let mut world = met([true, true]);
    let code = Some("5-adroitness-aardvark-adviser");
    let started = act(&mut world, 0, |world, step| {
        core!(world, 0).invite(step, (None, code), Wish::Contact, world.now, &mut world.rng)
    });
    let id = started.0.unwrap();
    let mut step = Step::default();
    core!(world, 0).reconnect_invitations(&mut step);
    let effects: Vec<_> = step.invitation_effects.iter().filter(|(of, _)| *of == id).collect();
    assert!(matches!(
        effects.as_slice(),
        [(_, Effect::Disconnect), (_, Effect::Stretch(_)), (_, Effect::Wake(_))]
    ));
    assert!(step.writes.is_empty());
}

#[test]
fn a_payload_without_packets_for_people_is_not_shown() {
    let mut world = met([true, true]);
    let offer = offer(&mut world, 0);
    let msg_c = seal(&mut world, &offer, json!({}));
    let (arrival, writes) = receive(&mut world, 1, &msg_c);
    assert_eq!(arrival, Arrival::Accepted);
    assert!(writes.iter().all(|write| write.keyspace != MESSAGES));
}

#[test]
fn what_was_read_is_told_if_that_is_wished_and_never_more_than_was_sent() {
    let mut world = met([true, true]);
    let texts = ["one", "two", "three"];
    for text in texts {
        world.step(0, |core, step, now, rng| core.send_basic(step, 1, text, None, now, rng)).unwrap();
    }
    world.run();
    let read = |world: &mut World, node: usize, key: MessageKey| {
        world.step(node, |core, step, now, rng| core.mark_read(step, key, now, rng)).is_some()
    };
    let states = |world: &World, node: usize, way: Way| -> Vec<MessageState> {
        let peer = &world.nodes[node].core.as_ref().unwrap().peers[&1];
        let messages = world.nodes[node].disk.messages(1).into_iter().filter(|(key, _, _)| key.way == way);
        let views =
            messages.map(|(key, message, packets)| view::message(peer, key, &message, packets, world.now));
        views.map(|view| view.state).collect()
    };
    let second = world.nodes[1].disk.messages(1)[1].0;
    assert!(read(&mut world, 1, second));
    use MessageState::{Delivered, Read, Received};
    assert_eq!(states(&world, 1, Way::In), [Read, Read, Received]);
    assert_eq!(states(&world, 0, Way::Out), [Delivered; 3]);
    world.run();
    assert_eq!(states(&world, 0, Way::Out), [Read, Read, Delivered]);
    let own = world.nodes[0].disk.messages(1)[0].0;
    assert!(!read(&mut world, 0, own), "that is one's own");
    // A contact cannot have read what it was not sent yet.
    let offer = offer(&mut world, 1);
    let beyond = json!({ "receipt": { "through": { "epoch": 1_u64 << 50, "seqnum": 9 } } });
    let msg_c = seal(&mut world, &offer, beyond);
    receive(&mut world, 0, &msg_c);
    let progress = &core!(world, 0).peers[&1].progress;
    assert_eq!(progress.read_there, progress.last_sent);
}

#[test]
fn nobody_is_told_what_was_read_unless_that_is_wished() {
    let mut world = met([true, true]);
    core!(world, 1).profile.read_receipts = false;
    world.step(0, |core, step, now, rng| core.send_basic(step, 1, "hello", None, now, rng)).unwrap();
    world.run();
    let key = world.nodes[1].disk.messages(1)[0].0;
    let (marked, step) =
        act(&mut world, 1, |world, step| core!(world, 1).mark_read(step, key, world.now, &mut world.rng));
    marked.unwrap();
    assert!(!step.wake_outbox && core!(world, 1).peers[&1].progress.owed.is_none());
    let offer = offer(&mut world, 1);
    assert!(!world.packets(1, &offer).extras.contains_key("receipt"));
}

#[test]
fn a_mailbox_that_is_not_read_for_long_is_seen_to_before_messages_are_deleted() {
    let mut world = met([true, true]);
    let day = Duration::from_secs(86_400);
    let expires_at =
        |world: &World| world.nodes[0].core.as_ref().unwrap().mailboxes[&1].expires_at(world.now);
    assert_eq!(expires_at(&world), None, "nothing is known");
    let start = world.now;
    for (after, writes) in [(0, 1), (3_599, 0), (3_601, 1)] {
        let now = start.plus(Duration::from_secs(after));
        let (noted, step) = act(&mut world, 0, |world, step| Ok(core!(world, 0).note_read(step, 1, now)?));
        noted.unwrap();
        assert_eq!(step.writes.len(), writes, "{after} s");
    }
    // The simulation's mailboxes keep messages for a day.
    let last = start.plus(Duration::from_secs(3_601));
    for (passed, expected) in [(day / 2 - Duration::from_secs(1), None), (day / 2, Some(last.plus(day)))] {
        world.now = last.plus(passed);
        assert_eq!(expires_at(&world), expected);
    }
}
