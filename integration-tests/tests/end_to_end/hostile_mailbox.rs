//! Mailboxes that answer garbage, stall, lie, cut and repeat: everything arrives once as soon as there is an honest way, people
//! see what is wrong, and nodes neither end nor spin nor swell.
#![expect(clippy::unwrap_used, reason = "tests")]

mod receiver;
mod sender;

use std::time::Duration;

use petmail_integration_tests::hostile::{Deed, HostileMailbox};
use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::{Value, json};

/// More than a node in a test needs at any time, programs without optimisation included; less than what an endless answer would
/// fill.
const MAX_NODE_BYTES: u64 = 200 << 20;

/// How long it is watched how hard a node works.
const WATCHED: Duration = Duration::from_secs(4);

/// How much processor time a node may take in that time, which has room for some attempts and for what a busy machine adds. One
/// that spins takes all of it.
const MAX_CPU_TIME: Duration = Duration::from_secs(1);

/// Alice with an honest mailbox, and Bob with a bad one.
fn alice_and_bob(world: &World, bad: &HostileMailbox) -> (Node, Node) {
    let alice = world.node("Alice", Start::Child);
    let bob = world.node_without_mailbox("Bob", Start::Child);
    bob.accept_mailbox(&bad.offer());
    meet(&alice, &bob);
    (alice, bob)
}

/// Longer than anything that a node wants to read.
fn endless(head: &[u8]) -> Deed {
    Deed::Flood(head.to_vec(), vec![b'x'; 1 << 16])
}

fn send_all(node: &Node, texts: &[&str]) {
    for text in texts {
        node.send(1, text);
    }
}

/// What people see of the newest message that they sent.
fn newest(node: &Node) -> Value {
    node.messages("out").pop().unwrap()
}

/// Waits until the newest message is in a state.
#[track_caller]
fn newest_is(node: &Node, state: &str) {
    eventually(&format!("the newest message is {state}"), || {
        has(&newest(node), "state", state).then_some(())
    });
}

/// Tries a message now.
fn retry(node: &Node, id: u64) {
    node.api().call("retry", &json!({"id": id})).unwrap();
}

/// Checks that a node that is badly treated rests most of the time.
fn rests(node: &Node) {
    let before = node.process().cpu_time();
    std::thread::sleep(WATCHED);
    let taken = node.process().cpu_time() - before;
    assert!(taken <= MAX_CPU_TIME, "{taken:?} of processor time in {WATCHED:?}");
}

fn is_small(node: &Node) {
    let peak = node.process().peak_bytes();
    assert!(peak <= MAX_NODE_BYTES, "{peak} bytes");
}
