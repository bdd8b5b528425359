//! Conversations as people read them, over real sockets: rooms, pages, replies, search, and texts being written.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};

#[track_caller]
fn ask(node: &Node, command: &str, arguments: Value) -> Value {
    node.api().call(command, &arguments).unwrap()
}

#[track_caller]
fn part(node: &Node, arguments: Value) -> Vec<Value> {
    ask(node, "messages", arguments)["messages"].as_array().unwrap().clone()
}

fn room(node: &Node) -> Value {
    ask(node, "rooms", json!({}))["rooms"][0].clone()
}

fn ids(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["id"].as_u64().unwrap()).collect()
}

fn texts(messages: &Value) -> Vec<&str> {
    let messages = messages["messages"].as_array().unwrap();
    messages.iter().map(|message| message["payload"]["basic"].as_str().unwrap()).collect()
}

#[test]
fn a_room_has_what_is_unread_and_the_last_message() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let empty = room(&bob);
    assert_eq!((&empty["unread"], &empty["last"], &empty["draft"]), (&json!(0), &Value::Null, &json!("")));
    let sent = ["one", "two", "three"];
    for text in sent {
        alice.send(1, text);
    }
    bob.receives(&sent);
    let unread = room(&bob);
    assert_eq!((&unread["unread"], &unread["petname"]), (&json!(3), &json!("Alice")));
    assert_eq!(unread["last"]["payload"]["basic"], "three");
    let second = bob.messages("in")[1]["id"].clone();
    ask(&bob, "mark-read", json!({"id": second}));
    assert_eq!(room(&bob)["unread"], 1);
    bob.send(1, "an answer does not make it read");
    assert_eq!(room(&bob)["unread"], 1);
    assert_eq!(room(&bob)["last"]["direction"], "out");
    let line = bob.run(&["rooms"]).text();
    assert!(line.contains("Alice") && line.contains("you: an answer"), "{line}");
    assert_eq!(bob.run(&["rooms", "--json"]).json(), [room(&bob)]);
}

#[test]
fn pages_of_a_conversation_are_the_conversation() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    for number in 0..12 {
        alice.send(1, &format!("hers {number}"));
        bob.send(1, &format!("his {number}"));
    }
    eventually("all came", || (bob.messages("in").len() == 12).then_some(()));
    let all = ids(&part(&bob, json!({"cid": 1})));
    assert_eq!(all.len(), 24);
    let mut backwards = ids(&part(&bob, json!({"cid": 1, "limit": 5})));
    loop {
        let before = ids(&part(&bob, json!({"cid": 1, "limit": 5, "before": backwards[0]})));
        if before.is_empty() {
            break;
        }
        backwards.splice(0..0, before);
    }
    assert_eq!(backwards, all);
    let mut forwards = vec![all[0]];
    loop {
        let after = ids(&part(&bob, json!({"cid": 1, "limit": 5, "after": forwards.last()})));
        if after.is_empty() {
            break;
        }
        forwards.extend(after);
    }
    assert_eq!(forwards, all);
    assert_eq!(ids(&part(&bob, json!({"cid": 1, "limit": 4, "around": all[12]}))), all[10..14]);
    for refused in
        [json!({"cid": 1, "limit": 0}), json!({"limit": 1}), json!({"cid": 1, "before": 1, "after": 1})]
    {
        assert!(has(&bob.api().call("messages", &refused).unwrap_err(), "code", "bad-request"), "{refused}");
    }
    assert!(bob.api().call("messages", &json!({"cid": 1, "before": 9_999})).is_err());
}

#[test]
fn a_reply_names_the_same_message_on_both_sides() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    alice.send(1, "shall we meet at 8?");
    bob.receives(&["shall we meet at 8?"]);
    let question = bob.messages("in")[0].clone();
    let answered = question["id"].to_string();
    assert!(!bob.run(&["send-basic", "1", "yes", "--reply-to", &answered]).text().is_empty());
    alice.receives(&["yes"]);
    for (node, way, asked) in [(&bob, "out", "in"), (&alice, "in", "out")] {
        let reply = &node.messages(way)[0]["reply_to"];
        assert_eq!(reply["direction"], asked);
        let name = json!({"cid": 1, "direction": asked, "epoch": reply["epoch"], "seqnum": reply["seqnum"]});
        assert_eq!(ask(node, "find-message", name)["payload"]["basic"], "shall we meet at 8?");
    }
    assert_eq!(alice.messages("out")[0]["reply_to"], Value::Null);
    let refusal = bob.api().call("send-basic", &json!({"cid": 1, "text": "to what?", "reply_to": 9_999}));
    assert!(has(&refusal.unwrap_err(), "code", "not-found"));
}

#[test]
fn texts_are_found_in_capitals_or_not_and_the_newest_first() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let sent = ["Grüße aus Köln", "nothing", "GRÜSSE? GRÜẞE? grüße!"];
    for text in sent {
        alice.send(1, text);
    }
    bob.receives(&sent);
    let found = ask(&bob, "search", json!({"text": "GRÜße"}));
    assert_eq!(texts(&found), [sent[2], sent[0]]);
    assert_eq!(texts(&ask(&bob, "search", json!({"text": "grüße", "cid": 1, "limit": 1}))), [sent[2]]);
    assert_eq!(texts(&ask(&bob, "search", json!({"text": "nowhere"}))), Vec::<&str>::new());
    assert!(bob.api().call("search", &json!({"text": "x", "cid": 7})).is_err());
}

#[test]
fn what_is_being_written_outlives_a_kill_and_not_its_contact() {
    let world = World::new();
    let (alice, mut bob) = world.two_who_met(Start::Child);
    let events = bob.api().events();
    let long = "ä".repeat(32_768);
    let draft = json!({"cid": 1, "text": long});
    assert_eq!(ask(&bob, "draft", draft.clone()), draft);
    let event = std::iter::from_fn(|| events.next()).find(|event| has(event, "event", "draft"));
    assert_eq!(event.unwrap()["text"], long);
    bob.kill();
    bob.start_as_child();
    assert_eq!(room(&bob)["draft"], long);
    bob.send(1, "sent apart from it");
    alice.receives(&["sent apart from it"]);
    assert_eq!(room(&bob)["draft"], long, "the panel ends it, nobody else");
    ask(&bob, "draft", json!({"cid": 1, "text": ""}));
    assert_eq!(room(&bob)["draft"], "");
    ask(&bob, "draft", json!({"cid": 1, "text": "gone with the contact"}));
    assert_eq!(bob.run(&["contact", "remove", "1"]).text(), "");
    assert_eq!(ask(&bob, "rooms", json!({})), json!({"rooms": []}));
    assert!(bob.api().call("draft", &json!({"cid": 1, "text": "to nobody"})).is_err());
}
