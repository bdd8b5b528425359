//! The disk of a mailbox server or of a node is full: nothing is lost, everybody is told what to do, and everything goes
//! on by itself once there is room. Needs root, for disks of its own.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::small_disk::SmallDisk;
use petmail_integration_tests::traffic::until_delivered;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::Value;

/// So much is kept free for deletions, and what is to come is refused.
const SCARCE_MIB: u64 = 24;

fn texts(story: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{story} {number}")).collect()
}

fn send_all(node: &Node, texts: &[String]) {
    for text in texts {
        node.send(1, text);
    }
}

fn waiting(node: &Node) -> u64 {
    node.status()["outbox"]["waiting"].as_u64().unwrap()
}

fn until_sent(node: &Node) {
    eventually("the outbox is empty", || (waiting(node) == 0).then_some(()));
}

/// How many messages a mailbox server holds.
fn held(server: &MailboxServer) -> u64 {
    server.accounts().iter().map(|account| account["messages"].as_u64().unwrap()).sum()
}

/// The last message of a node, once its reason to wait is that something is full.
fn last_waits_for_room(node: &Node) {
    eventually("the sender is told that the server is full", || {
        let last = node.messages("out").pop()?;
        assert!(has(&last, "state", "waiting"), "{last}");
        last["reason"].as_str()?.contains("the disk of its server, is full").then_some(())
    });
}

#[test]
fn a_mailbox_server_with_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let world = World::new();
    let server = MailboxServer::start(&disk.path("mailbox"), Scheme::PinnedHttps);
    let [alice, mut bob] = ["Alice", "Bob"].map(|name| {
        let node = world.node_without_mailbox(name, Start::Background);
        node.accept_mailbox(&server.offer());
        node
    });
    meet(&alice, &bob);
    let mut all = texts("before", 30);
    send_all(&alice, &all);
    until_sent(&alice);
    bob.receives(&all);
    bob.stop();
    all.extend(texts("accepted", 20));
    send_all(&alice, &all[30..]);
    // One that is a file of its own at the server.
    all.push(format!("{:.<65000}", "long"));
    send_all(&alice, &all[50..]);
    until_sent(&alice);
    let before = held(&server);
    assert!(before >= 21, "{before}");

    // There is room for deletions, but not for deliveries.
    disk.fill(SCARCE_MIB);
    all.extend(texts("refused", 10));
    send_all(&alice, &all[51..]);
    last_waits_for_room(&alice);
    assert_eq!((waiting(&alice), held(&server)), (10, before));
    let status = server.run(&["status"]).text();
    assert!(status.contains("THE DISK IS FULL: nothing new is accepted; make room"), "{status}");
    assert!(server.run(&["offer"]).refusal().contains("disk is full"));
    bob.start();
    bob.receives(&all[..51]);
    eventually("what Bob has is deleted at the server", || (held(&server) == 0).then_some(()));
    disk.relieve();
    bob.receives(&all);
    until_delivered(&alice, "there is some room");
    alice.is_well();

    // There is no room at all.
    bob.stop();
    let next = all.len();
    all.extend(texts("accepted later", 20));
    send_all(&alice, &all[next..]);
    until_sent(&alice);
    let before = held(&server);
    disk.fill(0);
    all.push("refused later".to_owned());
    alice.send(1, &all[next + 20]);
    last_waits_for_room(&alice);
    bob.start();
    // They can be read, but not deleted.
    bob.receives(&all[..next + 20]);
    bob.reports("the disk of its server, is full");
    assert_eq!(held(&server), before);
    disk.relieve();
    bob.receives(&all);
    until_delivered(&alice, "there is all room");
    eventually("everything is deleted at the server", || (held(&server) == 0).then_some(()));
    alice.is_well();
    bob.is_well();
    bob.receives(&all);
    // It was the same process all the time.
    let log = server.stop();
    assert!(log.contains("deliveries are refused until there is room"), "{log}");
    assert!(log.contains("deliveries are accepted"), "{log}");
}

#[test]
fn a_mailbox_server_does_not_start_without_room_and_says_why() {
    let Some(disk) = SmallDisk::mount() else { return };
    let world = World::new();
    let mut server = MailboxServer::start(&disk.path("mailbox"), Scheme::PinnedHttps);
    let alice = world.node_without_mailbox("Alice", Start::Background);
    alice.accept_mailbox(&server.offer());
    server.kill();
    disk.fill(0);
    let refusal = server.run(&["serve", "--listen", "127.0.0.1:0"]).refusal();
    assert!(refusal.contains("error: ") && refusal.contains("hint: "), "{refusal}");
    assert!(refusal.contains("make room"), "{refusal}");
    disk.relieve();
    server.restart();
    alice.is_well();
    assert_eq!(server.accounts().len(), 1);
}

/// What `doctor` says of something, and whether it is content with everything.
fn doctor(node: &Node, name: &str) -> (Value, bool) {
    let output = node.command().args(["doctor", "--json"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut checks = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let check = checks.find(|check| has(check, "check", name));
    (check.unwrap_or_else(|| panic!("no {name} in {lines}")), output.status.success())
}

fn is_told_to_make_room(node: &Node, api_code: &str) {
    let refusal = node.run(&["send-basic", "1", "hello"]).refusal();
    assert_eq!(refusal.lines().count(), 2, "{refusal}");
    assert!(
        refusal.contains("error: the disk is full: ") && refusal.contains("hint: make room"),
        "{refusal}"
    );
    assert!(has(&node.try_send(1, "hello").unwrap_err(), "code", api_code));
    let problem = node.reports("the disk is full: ");
    assert!(problem.contains("make room"), "{problem}");
    let (space, is_well) = doctor(node, "disk space");
    assert!(!is_well && has(&space, "state", "problem"), "{space}");
    assert!(space["hint"].as_str().unwrap().contains("make room"), "{space}");
}

#[test]
fn a_node_with_a_full_disk_queues_nothing_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let usual = ["--name", "Bob", "--rendezvous", world.rendezvous.url(), "--allow-private-transports"];
    let mut bob = Node::create(&disk.path("Bob"), &usual);
    bob.start();
    bob.accept_mailbox(&world.mailbox.offer());
    meet(&alice, &bob);
    let mut hers = texts("before", 20);
    let mut his = vec!["from Bob".to_owned()];
    send_all(&alice, &hers);
    send_all(&bob, &his);
    bob.receives(&hers);
    alice.receives(&his);
    until_delivered(&alice, "before");

    for left_mib in [SCARCE_MIB, 0] {
        disk.fill(left_mib);
        is_told_to_make_room(&bob, "disk-full");
        assert!(bob.run(&["invite"]).refusal().contains("the disk is full"));
        assert_eq!(bob.messages("out").len(), his.len(), "what was refused is not queued");
        let next = hers.len();
        hers.extend(texts("meanwhile", 20));
        hers.push(format!("{:.<65000}", "long"));
        send_all(&alice, &hers[next..]);
        until_sent(&alice);
        bob.reports("is not connected: the disk is full");
        assert!(held(&world.mailbox) >= 21, "what does not come in stays at the server");
        assert_eq!(bob.texts().len(), next, "reading is possible");
        disk.relieve();
        bob.receives(&hers);
        eventually("everything is deleted at the server", || (held(&world.mailbox) == 0).then_some(()));
        his.push(format!("with {left_mib} MiB left"));
        bob.send(1, &his[his.len() - 1]);
        alice.receives(&his);
        until_delivered(&alice, "after");
        until_delivered(&bob, "after");
        bob.is_well();
    }
    assert!(doctor(&bob, "disk").1);

    bob.stop();
    disk.fill(0);
    let refusal = bob.run(&["start"]).refusal();
    assert!(refusal.contains("error: ") && refusal.contains("hint: "), "{refusal}");
    disk.relieve();
    bob.start();
    bob.receives(&hers);
    assert_eq!(bob.messages("out").len(), his.len());
}
