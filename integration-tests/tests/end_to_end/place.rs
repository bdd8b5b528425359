//! A node's folder that is copied, moved, or made anew from a backup.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::Command;

use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::world::{Start, World};

const COPIED: &str = "this folder is a copy of the node in";

/// Copies or moves a folder, as people do.
fn run(program: &str, arguments: &[&str], from: &Path, to: &Path) {
    assert!(Command::new(program).args(arguments).args([from, to]).status().unwrap().success());
}

fn place(node: &Node) -> Vec<u8> {
    fs::read(node.basedir().join("place")).unwrap()
}

#[test]
fn a_copied_folder_is_told_until_the_original_is_gone() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Background);
    alice.stop();
    let mut copy = Node::at(&world.path("copy"));
    run("cp", &["-r"], alice.basedir(), copy.basedir());
    for _ in 0..2 {
        copy.start();
        let problem = copy.reports(COPIED);
        assert!(problem.contains(alice.basedir().to_str().unwrap()), "{problem}");
        assert!(copy.run(&["status"]).text().contains(COPIED));
        copy.stop();
    }
    // The original is none the wiser, and needs not be.
    alice.start();
    alice.is_well();
    alice.stop();
    fs::remove_dir_all(alice.basedir()).unwrap();
    copy.start();
    copy.is_well();
    copy.stop();
}

/// Both would receive a part of what is sent; each says that there is another.
#[test]
fn two_running_copies_say_so() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Background);
    let mut copy = Node::at(&world.path("copy"));
    alice.stop();
    run("cp", &["-r"], alice.basedir(), copy.basedir());
    alice.start();
    alice.is_well();
    copy.start();
    copy.reports(COPIED);
    alice.reports("another program uses this mailbox");
}

#[test]
fn a_moved_folder_is_the_same_node() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Background);
    let before = place(&alice);
    alice.stop();
    let mut moved = Node::at(&world.path("moved"));
    run("mv", &[], alice.basedir(), moved.basedir());
    moved.start();
    moved.is_well();
    moved.stop();
    assert_ne!(place(&moved), before, "the new place is noted");
    run("ln", &["-s"], moved.basedir(), alice.basedir());
    alice.start();
    alice.is_well();
}

#[test]
fn a_damaged_place_is_told_once_and_a_restored_node_has_its_own() {
    let world = World::new();
    let mut alice = world.node("Alice", Start::Background);
    let before = place(&alice);
    alice.stop();
    fs::write(alice.basedir().join("place"), "").unwrap();
    alice.start();
    alice.reports("was damaged");
    alice.start_by(&["restart"]);
    alice.is_well();

    fs::write(world.path("passphrase"), "correct horse\n").unwrap();
    let [file, passphrase, dir] =
        ["alice.backup", "passphrase", "restored"].map(|name| world.path(name).display().to_string());
    let said = alice.run(&["backup", &file, "--passphrase-file", &passphrase]).text();
    assert!(said.starts_with("saved "), "{said}");
    alice.stop();
    let mut restore = command("petmail-node");
    restore.args(["restore", &file, &dir, "--passphrase-file", &passphrase]);
    assert!(Outcome::of(&mut restore).text().starts_with("restored "));
    let mut restored = Node::at(Path::new(&dir));
    assert!(!restored.basedir().join("place").exists());
    restored.start();
    restored.is_well();
    let id = |place: &[u8]| place.get(2..18).unwrap().to_vec();
    assert_eq!(id(&before).len(), 16);
    assert_ne!(id(&place(&restored)), id(&place(&alice)));
}
