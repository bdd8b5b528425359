//! A node's folder that was copied is told from one that was moved.

use std::fs;
use std::process::Command;

use petmail_integration_tests::node::Node;
use petmail_integration_tests::world::{Start, World};

#[test]
fn a_copy_says_so_and_a_moved_node_does_not() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Background);
    alice.stop();
    let (copy, moved) = (world.path("copy"), world.path("moved"));
    let copied = Command::new("cp").arg("-r").arg(alice.basedir()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    fs::rename(alice.basedir(), &moved).expect("it can be moved");
    let mut alice = Node::at(&moved);
    alice.start();
    alice.is_well();

    let mut copy = Node::at(&copy);
    copy.start();
    copy.is_well();
    copy.stop();
    alice.stop();
    // Now there is one at the place that the copy was last used at.
    let again = world.path("copied again");
    let copied = Command::new("cp").arg("-r").arg(copy.basedir()).arg(&again).status();
    assert!(copied.expect("cp runs").success());
    let mut again = Node::at(&again);
    again.start();
    let problem = again.reports("this folder is a copy of ");
    assert!(problem.contains("stop and delete one of them"), "{problem}");
    again.stop();
    fs::remove_dir_all(copy.basedir()).expect("it can be removed");
    again.start();
    again.is_well();
    again.send(1, "still Alice");
    bob.receives(&["still Alice"]);
}

/// Both would receive a part of what is sent; each says that there is another.
#[test]
fn two_running_copies_say_so() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Background);
    alice.stop();
    let copy = world.path("copy");
    let copied = Command::new("cp").arg("-r").arg(alice.basedir()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    alice.start();
    alice.is_well();
    let mut copy = Node::at(&copy);
    copy.start();
    copy.reports("this folder is a copy of ");
    alice.reports("another program uses this mailbox");
}
