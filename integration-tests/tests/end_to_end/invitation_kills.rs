//! Invitations that are disturbed: nodes killed at every moment, wrong codes, third persons.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::thread;
use std::time::Duration;

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::Value;

/// Rounds of the kill test in the gate.
const ROUNDS: usize = 8;

/// Words that no code has by chance, but for one in sixteen million.
const WRONG_WORDS: &str = "adroitness-aardvark-adviser";

/// An undisturbed invitation is over by then, also on a busy machine.
const LONGEST_DELAY_MS: u64 = 2_000;

/// When nodes are killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as its invitation was seen in this state, or in a later one.
    State(&'static str),
    /// So many milliseconds after the code was typed.
    After(u64),
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Inviter,
    Invited,
    Both,
}

/// Every state first, then chance.
fn plan(round: usize, chance: &mut Chance) -> (Victim, Moment) {
    let certain = [
        (Victim::Inviter, Moment::State("exchanging")),
        (Victim::Invited, Moment::State("exchanging")),
        (Victim::Inviter, Moment::State("pending")),
        (Victim::Invited, Moment::State("pending")),
        (Victim::Both, Moment::State("exchanging")),
        (Victim::Invited, Moment::After(0)),
    ];
    certain.get(round).copied().unwrap_or_else(|| {
        let victim = match chance.below(5) {
            0 | 1 => Victim::Inviter,
            2 | 3 => Victim::Invited,
            _ => Victim::Both,
        };
        (victim, Moment::After(chance.below(LONGEST_DELAY_MS)))
    })
}

/// What the invited person types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Typed {
    Right,
    Wrong,
}

#[test]
fn a_node_killed_at_any_moment_completes_its_invitation() {
    disturbed_invitations(Typed::Right, ROUNDS);
}

#[test]
fn a_node_killed_at_any_moment_learns_that_the_code_was_wrong() {
    disturbed_invitations(Typed::Wrong, ROUNDS / 2);
}

/// `PETMAIL_KILL_ROUNDS` sets the number of rounds, `PETMAIL_KILL_SEED` repeats a run.
fn disturbed_invitations(typed: Typed, rounds: usize) {
    let mut chance = Chance::from_env(rounds);
    let world = World::new();
    let mut nodes = ["Alice", "Bob"].map(|name| world.node(name, Start::Child));
    for round in 0..chance.rounds {
        let (victim, moment) = plan(round, &mut chance);
        let story =
            format!("PETMAIL_KILL_SEED={}, round {round}: {victim:?} {moment:?}, {typed:?}", chance.seed);
        disturb(&mut nodes, typed, victim, moment);
        match typed {
            Typed::Right => both_have_each_other(&nodes, round + 1, &story),
            Typed::Wrong => both_know_why_not(&nodes, &story),
        }
    }
}

/// Starts an invitation, and kills and restarts nodes in the middle of it.
fn disturb(nodes: &mut [Node; 2], typed: Typed, victim: Victim, moment: Moment) {
    let mut code = nodes[0].invite("Bob");
    if typed == Typed::Wrong {
        let (nameplate, _) = code.split_once('-').unwrap();
        code = format!("{nameplate}-{WRONG_WORDS}");
    }
    let [inviter, invited] = &*nodes;
    let watched = if matches!(victim, Victim::Inviter) { inviter } else { invited };
    let events = watched.api().events();
    invited.use_code("Alice", &code);
    match moment {
        Moment::After(delay) => thread::sleep(Duration::from_millis(delay)),
        Moment::State(state) => while !is_so_far(&events.next().unwrap(), state) {},
    }
    let victims = match victim {
        Victim::Inviter => 0..1,
        Victim::Invited => 1..2,
        Victim::Both => 0..2,
    };
    nodes[victims.clone()].iter_mut().for_each(Node::kill);
    nodes[victims].iter_mut().for_each(Node::start_as_child);
}

fn is_so_far(event: &Value, state: &str) -> bool {
    // Every other state is an end.
    let order = ["waiting", "exchanging", "pending"];
    let place = |state: &str| order.iter().position(|known| *known == state).unwrap_or(order.len());
    has(event, "event", "invitation") && place(event["state"].as_str().unwrap()) >= place(state)
}

fn both_have_each_other(nodes: &[Node; 2], contacts: usize, story: &str) {
    let words = nodes.each_ref().map(|node| {
        let ended = node.invitation_in(&["confirmed", "failed", "expired", "cancelled"]);
        assert!(has(&ended, "state", "confirmed"), "{story}: {ended}");
        let listed = node.addressbook();
        assert_eq!(listed.len(), contacts, "{story}: one contact, once");
        listed.last().unwrap()["safety_words"].clone()
    });
    assert_eq!(words[0], words[1], "{story}");
}

fn both_know_why_not(nodes: &[Node; 2], story: &str) {
    for node in nodes {
        let ended = node.invitation_in(&["confirmed", "failed", "expired", "cancelled"]);
        assert!(has(&ended, "state", "failed") && ended["reason"].is_string(), "{story}: {ended}");
        assert_eq!(node.addressbook(), Vec::<Value>::new(), "{story}");
    }
}

#[track_caller]
fn fails(node: &Node, reason: &str) {
    let failed = node.invitation_in(&["confirmed", "failed", "expired"]);
    assert!(has(&failed, "state", "failed"), "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains(reason), "{failed}");
    assert_eq!(node.addressbook(), Vec::<Value>::new());
    assert_eq!(node.run(&["messages", "--json"]).text(), "");
}

#[test]
fn a_wrong_code_is_told_to_both_and_burns_the_code() {
    let world = World::new();
    let [alice, bob, carol] = ["Alice", "Bob", "Carol"].map(|name| world.node(name, Start::Background));
    let right = alice.invite("Bob");
    let (nameplate, _) = right.split_once('-').unwrap();
    bob.use_code("Alice", &format!("{nameplate}-{WRONG_WORDS}"));
    fails(&alice, "the codes are not the same");
    fails(&bob, "the codes are not the same");
    assert_eq!(alice.invitations()[0]["code"], Value::Null);

    // The right words come too late: nobody answers to them, though others meet meanwhile.
    bob.use_code("Alice", &right);
    eventually("he waits at the server", || (bob.status()["rendezvous"]["connected"] == true).then_some(()));
    meet(&alice, &carol);
    bob.invitation_in(&["waiting"]);
    assert_eq!(bob.addressbook(), Vec::<Value>::new());
}

#[test]
fn a_cancelled_invitation_leaves_nothing() {
    let world = World::new();
    let [alice, bob] = ["Alice", "Bob"].map(|name| world.node(name, Start::Background));
    let code = alice.invite("Bob");
    assert_eq!(alice.run(&["cancel-invitation", "1"]).text(), "");
    let cancelled = alice.invitation_in(&["cancelled"]);
    assert_eq!((&cancelled["id"], &cancelled["code"]), (&Value::from(1), &Value::Null));
    assert!(alice.run(&["cancel-invitation", "1"]).refusal().contains("hint: "));
    bob.use_code("Alice", &code);
    assert_eq!(bob.run(&["cancel-invitation", "1"]).text(), "");
    meet(&alice, &bob);
}

#[test]
fn a_code_that_people_made_is_good_for_one_attempt() {
    let world = World::new();
    let [alice, bob] = ["Alice", "Bob"].map(|name| world.node(name, Start::Background));
    let code = "7041-where the river bends twice";
    alice.use_code("Bob", code);
    bob.use_code("Alice", "7041-where the river bends thrice");
    fails(&alice, "the codes are not the same");
    fails(&bob, "the codes are not the same");
    let refusal = alice.run(&["invite", code]).refusal();
    assert!(refusal.contains("hint: "), "{refusal}");
    alice.use_code("Bob", "7041-we met in the snow that year");
    bob.use_code("Alice", "7041-we met in the SNOW that  year");
    assert_eq!(alice.confirmed_contact()["safety_words"], bob.confirmed_contact()["safety_words"]);
}

#[test]
fn a_third_person_with_the_code_is_turned_away() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Child);
    let others = ["Bob", "Carol"].map(|name| world.node(name, Start::Background));
    let code = alice.invite("whoever is first");
    // Whoever has made the code sleeps, so that both others come while it is in use.
    alice.kill();
    others.iter().for_each(|node| node.use_code("Alice", &code));
    let late = eventually("one of them is turned away", || {
        others.iter().position(|node| has(&node.invitations()[0], "state", "failed"))
    });
    fails(&others[late], "two others have used this code already");
    alice.start_as_child();
    let first = others[1 - late].confirmed_contact();
    assert_eq!(alice.confirmed_contact()["safety_words"], first["safety_words"]);
}
