//! The operator of a mailbox server replaces its keys: nodes follow by themselves, and lose nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;

use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::{Value, json};

fn rotate(server: &MailboxServer) {
    let said = server.run(&["rotate-keys"]).text();
    assert!(said.starts_with("the server has new keys, number "), "{said}");
}

/// Waits until the only account of a server has asked for a new address.
fn is_followed(server: &MailboxServer) {
    eventually("the account's node has asked for a new address", || {
        let accounts = server.accounts();
        let has_followed = |account: &Value| account.get("generation") != Some(&json!(0));
        accounts.iter().all(has_followed).then_some(())
    });
}

/// Sends a text to the only contact, and waits until it is there.
fn tells(from: &Node, text: &str) {
    send(from, text, "delivered");
}

/// Sends a text to the only contact, and waits until its mailbox has it.
fn leaves(from: &Node, text: &str) {
    send(from, text, "sent");
}

fn send(from: &Node, text: &str, wait: &str) {
    let said = from.run(&["send-basic", "1", text, "--wait", wait]).text();
    assert!(!said.is_empty());
}

/// Lets the keys end that were replaced, as they do when their time is over.
fn end_former_keys(server: &mut MailboxServer) {
    server.kill();
    let file = server.basedir().join("server.json");
    let mut keys: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let ends = keys.pointer_mut("/keys/1/ends").expect("the former keys end");
    *ends = json!(1);
    fs::write(&file, serde_json::to_vec(&keys).unwrap()).unwrap();
    server.restart();
    eventually("the former keys are dropped", || {
        let status: Value = serde_json::from_str(&server.run(&["status", "--json"]).text()).unwrap();
        (status.get("former_keys_end") == Some(&json!([])) && status.get("kid") == Some(&json!(2)))
            .then_some(())
    });
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept.get("keys").and_then(Value::as_array).map(Vec::len), Some(1), "and erased");
}

/// Bob, who is elsewhere, knows Alice's server by an earlier descriptor and has an earlier address.
#[test]
fn nodes_go_on_with_new_keys_and_need_the_former_ones_no_more() {
    let mut world = World::new();
    let elsewhere = MailboxServer::start(&world.path("elsewhere"), Scheme::PinnedHttps);
    let alice = world.node("Alice", Start::Background);
    let bob = world.node_without_mailbox("Bob", Start::Background);
    bob.accept_mailbox(&elsewhere.offer());
    meet(&alice, &bob);
    tells(&bob, "before");
    rotate(&world.mailbox);
    is_followed(&world.mailbox);
    // This is answered, and so Bob has heard what Alice said before it.
    tells(&alice, "we have new keys");
    tells(&bob, "after");
    end_former_keys(&mut world.mailbox);
    tells(&bob, "and only with them");
    alice.receives(&["before", "after", "and only with them"]);
    bob.receives(&["we have new keys"]);
    alice.is_well();
    bob.is_well();
}

/// Keys are replaced while everybody is away; what is on its way by then arrives, and who comes back follows.
#[test]
fn who_was_away_when_keys_were_replaced_loses_nothing() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.two_who_met(Start::Background);
    alice.stop();
    leaves(&bob, "while you were away");
    bob.stop();
    world.mailbox.kill();
    rotate(&world.mailbox);
    world.mailbox.restart();
    bob.start();
    leaves(&bob, "still away?");
    alice.start();
    alice.receives(&["while you were away", "still away?"]);
    is_followed(&world.mailbox);
    tells(&alice, "back again");
    tells(&bob, "good");
    end_former_keys(&mut world.mailbox);
    tells(&alice, "with new keys only");
    tells(&bob, "I see");
    bob.receives(&["back again", "with new keys only"]);
    alice.receives(&["while you were away", "still away?", "good", "I see"]);
}
