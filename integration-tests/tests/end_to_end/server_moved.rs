//! A mailbox server is moved to another folder and another engine, at the same address: nodes do not notice.

use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::world::{Start, World};

fn tells(from: &Node, text: &str, wait: &str) {
    assert!(!from.run(&["send-basic", "1", text, "--wait", wait]).text().is_empty());
}

#[test]
fn nodes_go_on_after_their_server_has_moved() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.two_who_met(Start::Background);
    tells(&bob, "before", "delivered");
    alice.stop();
    tells(&bob, "while the server moves", "sent");
    bob.stop();
    world.mailbox.kill();

    let file = world.path("server.export").display().to_string();
    for (place, engine) in [("redb", "redb"), ("sled", "sled")] {
        let said = world.mailbox.run(&["export", &file]).text();
        assert!(said.starts_with("exported 2 accounts, 2 offers and "), "{said}");
        world.mailbox.moved_to(&world.path(place));
        let said = world.mailbox.run(&["import", "--store", engine, &file]).text();
        assert!(said.starts_with("imported 2 accounts, 2 offers and "), "{said}");
        assert!(world.mailbox.run(&["check"]).text().starts_with("all is well"));
        std::fs::remove_file(&file).unwrap();
    }
    world.mailbox.restart();
    alice.start();
    bob.start();
    alice.receives(&["before", "while the server moves"]);
    tells(&alice, "welcome", "delivered");
    tells(&bob, "and back", "delivered");
    alice.receives(&["before", "while the server moves", "and back"]);
    bob.receives(&["welcome"]);
    alice.is_well();
    bob.is_well();
}

/// What was exported goes through a pipe, as to another machine.
#[test]
fn a_server_moves_through_a_pipe() {
    let mut world = World::new();
    let alice = world.node("Alice", Start::Background);
    world.mailbox.kill();
    let mut pipe = std::process::Command::new("sh");
    let program = command("petmail-mailbox").get_program().to_owned();
    pipe.args(["-c", r#""$0" -d "$1" export - | "$0" -d "$2" import -"#]).arg(program);
    pipe.arg(world.mailbox.basedir()).arg(world.path("elsewhere"));
    let said = Outcome::of(&mut pipe).text();
    assert!(said.starts_with("imported 1 accounts, 1 offers and 0 messages"), "{said}");
    world.mailbox.moved_to(&world.path("elsewhere"));
    world.mailbox.restart();
    alice.is_well();
}
