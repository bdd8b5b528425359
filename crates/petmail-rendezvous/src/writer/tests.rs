//! The order "persist, then send", and that clients share commits.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::limits::Limits;
use crate::state::Policy;

fn policy() -> Policy {
    Policy {
        motd: None,
        hashcash_bits: None,
        busy_hashcash_bits: None,
        allowed_appids: BTreeSet::new(),
        allow_list: false,
        retention: Duration::from_secs(60),
        limits: Limits::default(),
    }
}

fn request(message: &serde_json::Value) -> Box<Request> {
    Box::new(Request::parse(message.to_string().as_bytes()).unwrap())
}

/// Queues a client that claims a nameplate, and returns what it gets.
fn claimer(events: &mpsc::Sender<Event>, number: u64) -> mpsc::Receiver<Outgoing> {
    let (sender, outbox) = mpsc::channel(OUTBOX_MESSAGES);
    let id = ConnectionId(number);
    let bind = json!({"type": "bind", "appid": "app", "side": "a"});
    let claim = json!({"type": "claim", "nameplate": number.to_string()});
    events.try_send(Event::Connected(id, None, sender)).unwrap();
    events.try_send(Event::Request(id, request(&bind))).unwrap();
    events.try_send(Event::Request(id, request(&claim))).unwrap();
    outbox
}

#[tokio::test]
async fn clients_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = storage::open(dir.path()).unwrap();
    let (events, inbox) = queue();
    let mut outboxes: Vec<_> = (0..80).map(|number| claimer(&events, number)).collect();
    let writer = Writer::new(State::new(policy()), store.clone());
    let working = tokio::spawn(writer.run(inbox, CancellationToken::new()));
    for outbox in &mut outboxes {
        // Welcome, two acknowledgements, the mailbox.
        for _ in 0..4 {
            assert!(matches!(outbox.recv().await, Some(Outgoing::Frame(_))));
        }
    }
    assert!(store.stats().await.unwrap().commits <= 2, "80 claims, 256 events to a group");
    drop(events);
    working.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_commit_answers_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let store = storage::open(dir.path()).unwrap();
    let (events, inbox) = queue();
    let mut outbox = claimer(&events, 4);
    store.clone().close().await;
    let ended = Writer::new(State::new(policy()), store).run(inbox, CancellationToken::new()).await;
    assert!(ended.is_err());
    assert!(outbox.recv().await.is_none(), "not even what came before the claim in its group");
}

#[tokio::test]
async fn large_steps_are_split_over_batches() {
    let dir = tempfile::tempdir().unwrap();
    let store = storage::open(dir.path()).unwrap();
    let (events, inbox) = queue();
    let (sender, mut outbox) = mpsc::channel(OUTBOX_MESSAGES);
    let id = ConnectionId(0);
    events.try_send(Event::Connected(id, None, sender)).unwrap();
    let say = |message: serde_json::Value| events.try_send(Event::Request(id, request(&message))).unwrap();
    say(json!({"type": "bind", "appid": "app", "side": "a"}));
    say(json!({"type": "open", "mailbox": "box"}));
    // Together more than a batch may hold.
    for _ in 0..63 {
        say(json!({"type": "add", "phase": "0", "body": "00".repeat(65_536)}));
    }
    say(json!({"type": "close"}));
    drop(events);
    Writer::new(State::new(policy()), store.clone()).run(inbox, CancellationToken::new()).await.unwrap();
    let mut last = None;
    while let Some(Outgoing::Frame(frame)) = outbox.recv().await {
        last = Some(frame);
    }
    assert_eq!(serde_json::to_value(&*last.unwrap()).unwrap()["type"], "closed");
    let again = storage::open(dir.path()).unwrap();
    assert_eq!(storage::load(&again, policy()).await.unwrap().counts(), Counts::default());
}
