//! A mailbox server goes to another address: its customers, and whoever writes to them, follow by themselves.

use petmail_integration_tests::mailbox::MailboxServer;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};

fn url(node: &Node) -> String {
    let mailboxes = node.run(&["mailboxes", "--json"]).json();
    let url = mailboxes.first().and_then(|mailbox| mailbox["url"].as_str());
    url.expect("there is a mailbox").to_owned()
}

/// Carries everything from a server that has said where it goes to that place, and starts it there.
fn carry(world: &mut World, to: &mut MailboxServer) {
    let file = world.path("carried").display().to_string();
    world.mailbox.kill();
    assert!(!world.mailbox.run(&["export", &file]).text().is_empty());
    assert!(!to.run(&["import", &file]).text().is_empty());
    to.restart();
}

#[test]
fn everybody_follows_a_server_to_its_new_address() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.two_who_met(Start::Child);
    let carol = world.node("Carol", Start::Child);
    let offer = world.mailbox.offer();
    bob.kill();
    alice.send(1, "before the move");
    eventually("the mailbox has it", || (alice.status()["outbox"]["sent"] == 1).then_some(()));

    let mut new = world.mailbox.elsewhere(&world.path("elsewhere"));
    let said = world.mailbox.run(&["move", "--to", &new.url()]).text();
    assert!(said.contains("takes nothing more") && said.contains("export"), "{said}");
    assert!(world.mailbox.run(&["status"]).text().contains("moved to"));
    alice.send(1, "during the move");
    alice.reports("mailbox 1");
    carry(&mut world, &mut new);
    world.mailbox.restart();

    // Who was away finds the new address at the old one, and so does who has an old offer.
    bob.start_as_child();
    bob.receives(&["before the move", "during the move"]);
    let dave = world.node_without_mailbox("Dave", Start::Child);
    dave.accept_mailbox(&offer);
    for node in [&alice, &bob, &carol, &dave] {
        eventually("the node has followed", || (url(node) == new.url()).then_some(()));
        node.is_well();
    }
    meet(&carol, &dave);

    // The old server is no longer needed, also by nodes that have forgotten how they got there.
    world.mailbox.kill();
    for node in [&mut alice, &mut bob] {
        node.kill();
        node.start_as_child();
    }
    alice.send(1, "after the move");
    bob.receives(&["before the move", "during the move", "after the move"]);
    bob.send(1, "it was easy");
    alice.receives(&["it was easy"]);
    alice.is_well();
}

#[test]
fn a_server_that_goes_nowhere_can_stay() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Child);
    let refusal = world.mailbox.run(&["move", "--to", &world.mailbox.url()]).refusal();
    assert!(refusal.contains("has this address already"), "{refusal}");
    assert!(!world.mailbox.run(&["move", "--to", "https://127.0.0.1:1"]).text().is_empty());
    alice.send(1, "is anybody there?");
    alice.reports("mailbox 1");
    assert!(world.mailbox.run(&["move", "--cancel"]).text().contains("takes messages again"));
    bob.receives(&["is anybody there?"]);
    alice.is_well();
    assert_eq!(url(&alice), world.mailbox.url());
}

#[test]
fn nobody_follows_to_a_server_that_is_another_one() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Child);
    let other =
        MailboxServer::start(&world.path("other"), petmail_integration_tests::mailbox::Scheme::PinnedHttps);
    assert!(!world.mailbox.run(&["move", "--to", &other.url()]).text().is_empty());
    alice.send(1, "not through there");
    alice.reports("mailbox 1");
    assert_eq!(url(&alice), world.mailbox.url());
    assert!(!world.mailbox.run(&["move", "--cancel"]).text().is_empty());
    bob.receives(&["not through there"]);
}
