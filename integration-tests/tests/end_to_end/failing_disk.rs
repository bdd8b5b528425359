//! The disk of a mailbox server or of a node fails in the middle: the program ends and says why, and once the disk is
//! mended everything that was accepted is there, once. Needs root, for disks of its own.

use petmail_integration_tests::failing_disk::FailingDisk;
use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::traffic::{Written, arrived_once, until_delivered};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};

/// More than fits into the part of the store's file that was written once, and where the disk goes on working.
const MOST: usize = 300;

#[track_caller]
fn ended_with_advice((in_good_order, log): (bool, String)) {
    assert!(!in_good_order, "{log}");
    assert!(log.contains("\nerror: ") && log.contains("\nhint: is the disk full or failing?"), "{log}");
}

#[test]
fn a_mailbox_server_whose_disk_fails_ends_and_loses_nothing() {
    let Some(disk) = FailingDisk::mount() else { return };
    let world = World::new();
    let mut server = MailboxServer::start(&disk.path("mailbox"), Scheme::PinnedHttps);
    let [alice, mut bob] = ["Alice", "Bob"].map(|name| {
        let node = world.node_without_mailbox(name, Start::Background);
        node.accept_mailbox(&server.offer());
        node
    });
    meet(&alice, &bob);
    bob.stop();
    let mut texts: Vec<_> = (0..30).map(|number| format!("before {number}")).collect();
    for text in &texts {
        alice.send(1, text);
    }
    eventually("the outbox is empty", || (alice.status()["outbox"]["waiting"] == 0).then_some(()));
    disk.fail();
    for number in 0..MOST {
        texts.push(format!("{:.<10000}", format!("later {number}")));
        alice.send(1, &texts[texts.len() - 1]);
    }
    ended_with_advice(server.ended());
    alice.reports("for Bob waiting: ");
    disk.mend();
    server.restart();
    bob.start();
    bob.receives(&texts);
    until_delivered(&alice, "the disk is mended");
    bob.receives(&texts);
}

#[test]
fn a_node_whose_disk_fails_ends_and_loses_nothing() {
    let Some(disk) = FailingDisk::mount() else { return };
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let usual = ["--name", "Bob", "--rendezvous", world.rendezvous.url(), "--allow-private-transports"];
    let mut bob = Node::create(&disk.path("Bob"), &usual);
    bob.start_as_child();
    bob.accept_mailbox(&world.mailbox.offer());
    meet(&alice, &bob);
    let mut written = Written::default();
    let mut hers = Vec::new();
    for number in 0..MOST {
        if number == 20 {
            disk.fail();
        }
        hers.push(format!("hers {number}"));
        alice.send(1, &hers[number]);
        let text = format!("his {number}");
        match bob.try_send(1, &text) {
            Ok(_) => written.accepted.push(text),
            Err(_) => written.unsure.push(text),
        }
    }
    ended_with_advice(bob.ended());
    disk.mend();
    bob.start_as_child();
    bob.receives(&hers);
    until_delivered(&bob, "the disk is mended");
    arrived_once(&bob, &alice, &written, "the disk is mended");
    bob.receives(&hers);
}
