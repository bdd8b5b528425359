//! Somebody has copied a node's folder; the panic button makes the copy worthless, and nobody has to be invited again.

use std::process::Command;

use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::Value;

fn contact(node: &Node) -> Value {
    node.addressbook().swap_remove(0)
}

/// Runs a command that only has remarks, and returns them.
fn done(node: &Node, arguments: &[&str]) -> String {
    let outcome = node.run(arguments);
    assert_eq!(outcome.text(), "");
    outcome.remarks()
}

/// Copies the folder of a node that is stopped.
fn steal(world: &World, node: &Node) -> Node {
    let copy = world.path("the thief's copy");
    let copied = Command::new("cp").arg("-r").arg(node.basedir()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    Node::at(&copy)
}

#[test]
fn a_stolen_copy_is_worth_nothing_after_reset_keys() {
    let world = World::new();
    let (mut alice, mut bob) = world.two_who_met(Start::Background);
    assert!(done(&bob, &["contact", "verify", "1"]).contains("verified"));
    alice.stop();
    let mut thief = steal(&world, &alice);
    alice.start();
    // What is queued for an absent contact before and after goes through.
    bob.stop();
    alice.send(1, "before");
    let said = done(&alice, &["reset-keys", "--all"]);
    assert!(said.contains("is told of new keys") && said.contains("make a new backup"), "{said}");
    alice.send(1, "after");
    assert!(contact(&alice)["reason"].as_str().is_some_and(|reason| reason.contains("replaced")));
    bob.start();
    bob.receives(&["before", "after"]);
    eventually("Alice knows that Bob has her new keys", || contact(&alice)["reason"].is_null().then_some(()));
    let [hers, his] = [&alice, &bob].map(contact);
    assert!(has(&his, "state", "confirmed"), "to be verified again: {his}");
    assert_eq!(hers["safety_words"], his["safety_words"]);
    assert_eq!(hers["safety_words"].as_str().map(|digits| digits.split(' ').count()), Some(12));

    thief.start();
    thief.reports("the server does not know this account any more");
    thief.send(1, "trust me, it is Alice");
    bob.send(1, "for Alice only");
    alice.receives(&["for Alice only"]);
    alice.send(1, "thank you");
    bob.receives(&["before", "after", "thank you"]);
    assert_eq!(thief.texts(), Vec::<String>::new());
    thief.stop();
    assert!(done(&bob, &["contact", "verify", "1"]).contains("verified"));
    assert!(has(&contact(&bob), "state", "verified"));
}

#[test]
fn two_resets_by_two_copies_are_a_dispute_that_people_settle() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Background);
    alice.stop();
    let mut thief = steal(&world, &alice);
    thief.start();
    assert!(done(&thief, &["reset-keys", "1"]).contains("is told of new keys"));
    eventually("Bob has the thief's keys", || {
        contact(&bob)["safety_words"].as_str().is_some_and(|words| words.contains('0')).then_some(())
    });
    thief.stop();
    alice.start();
    assert!(done(&alice, &["reset-keys", "1"]).contains("is told of new keys"));
    eventually("Bob is in doubt", || has(&contact(&bob), "state", "disputed").then_some(()));
    let refusal = bob.run(&["send-basic", "1", "who are you?"]).refusal();
    assert!(refusal.contains("two parties claim to be contact 1") && refusal.contains("hint: "), "{refusal}");
    bob.reports("two parties claim to be");
    assert_ne!(contact(&bob)["safety_words"], contact(&alice)["safety_words"], "so the people find out");
}
