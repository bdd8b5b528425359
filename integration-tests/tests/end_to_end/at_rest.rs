//! A node whose database is encrypted: passphrases set, asked for, changed and removed, and nodes killed meanwhile.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::bin;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use serde_json::{Value, json};

/// Stands in every message of these tests, and nowhere else.
const KNOWN: &str = "the-known-text";

/// Rounds of the kill test in the gate: half of them encrypt, half decrypt.
const ROUNDS: usize = 10;

/// Encrypting and decrypting are over by then, also on a busy machine.
const LONGEST_DELAY_MS: u64 = 800;

/// A text that is a row, and one that is a file.
fn texts() -> [String; 2] {
    [format!("short {KNOWN}"), format!("{} {KNOWN}", "long ".repeat(8_000))]
}

/// Writes a passphrase into a file, and returns its path.
fn passphrase_file(world: &World, name: &str, passphrase: &str) -> String {
    let path = world.path(name);
    fs::write(&path, format!("{passphrase}\n")).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// The files below `dir` that hold the known text.
fn files_with_known_text(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in dir.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_known_text(&path));
        } else if fs::read(&path).unwrap().windows(KNOWN.len()).any(|window| window == KNOWN.as_bytes()) {
            found.push(path);
        }
    }
    found
}

/// Two who met; Alice has sent the texts and Bob has them.
fn conversation(world: &World) -> (Node, Node) {
    let (alice, bob) = world.two_who_met(Start::Background);
    for text in texts() {
        alice.send(1, &text);
    }
    bob.receives(&texts());
    (alice, bob)
}

#[test]
fn a_passphrase_is_needed_from_the_moment_it_is_set_until_it_is_removed() {
    let world = World::new();
    let (alice, mut bob) = conversation(&world);
    let right = passphrase_file(&world, "right", "correct horse");
    let wrong = passphrase_file(&world, "wrong", "Correct horse");
    let refusal = bob.run(&["passphrase", "set", "--passphrase-file", &right]).refusal();
    assert!(refusal.contains("stop the node first"), "{refusal}");
    bob.stop();
    assert!(!files_with_known_text(bob.basedir()).is_empty());
    let said = bob.run(&["passphrase", "set", "--passphrase-file", &right]).text();
    assert!(said.contains("encrypted"), "{said}");
    assert_eq!(files_with_known_text(bob.basedir()), Vec::<PathBuf>::new());

    let refusal = bob.run(&["start"]).refusal();
    assert!(refusal.contains("passphrase is needed") && refusal.contains("--passphrase-file"), "{refusal}");
    for wrong in [["start", "--passphrase-file", &wrong], ["restart", "--passphrase-file", &wrong]] {
        let refusal = bob.run(&wrong).refusal();
        assert!(refusal.contains("the passphrase is wrong"), "{refusal}");
    }
    let refusal = bob.run(&["start", "--foreground", "--passphrase-file", &wrong]).refusal();
    assert!(refusal.contains("the passphrase is wrong"), "{refusal}");

    bob.start_by(&["start", "--passphrase-file", &right]);
    bob.receives(&texts());
    // What comes and goes now is encrypted as well.
    alice.send(1, &format!("third {KNOWN}"));
    bob.receives(&[texts().as_slice(), &[format!("third {KNOWN}")]].concat());
    bob.send(1, &format!("answer {KNOWN}"));
    alice.receives(&[format!("answer {KNOWN}")]);
    assert_eq!(bob.addressbook().len(), 1);

    // A node that could not be started again is not stopped.
    let refusal = bob.run(&["restart", "--passphrase-file", &wrong]).refusal();
    assert!(refusal.contains("is wrong"), "{refusal}");
    assert_eq!(bob.texts().len(), 3);
    bob.start_by(&["restart", "--passphrase-file", &right]);
    assert_eq!(bob.texts().len(), 3);
    bob.stop();
    assert_eq!(files_with_known_text(bob.basedir()), Vec::<PathBuf>::new());

    let refusal = bob.run(&["passphrase", "remove", "--passphrase-file", &wrong]).refusal();
    assert!(refusal.contains("is wrong"), "{refusal}");
    let said = bob.run(&["passphrase", "remove", "--passphrase-file", &right]).text();
    assert!(said.contains("no longer encrypted"), "{said}");
    bob.start();
    assert_eq!(bob.texts().len(), 3);
    bob.stop();
    let refusal = bob.run(&["passphrase", "remove", "--passphrase-file", &right]).refusal();
    assert!(refusal.contains("has no passphrase"), "{refusal}");
}

#[test]
fn a_passphrase_is_changed_without_touching_the_database() {
    let world = World::new();
    let mut alice = world.new_node("Alice");
    let old = passphrase_file(&world, "old", "the old one");
    let new = passphrase_file(&world, "new", "the new one");
    let empty = passphrase_file(&world, "empty", "");
    let refusal = alice.run(&["passphrase", "set", "--passphrase-file", &empty]).refusal();
    assert!(refusal.contains("empty"), "{refusal}");
    assert!(alice.run(&["passphrase", "set", "--passphrase-file", &old]).text().contains("encrypted"));
    let generation = |node: &Node| fs::read_dir(node.basedir().join("db")).unwrap().count();
    let before = generation(&alice);
    for refused in [
        vec!["passphrase", "set", "--passphrase-file", &new, "--new-passphrase-file", &old],
        vec!["passphrase", "set", "--passphrase-file", &old, "--new-passphrase-file", &empty],
        vec!["passphrase", "set", "--passphrase-file", &old],
    ] {
        assert!(alice.run(&refused).refusal().contains("passphrase"));
    }
    let change = ["passphrase", "set", "--passphrase-file", &old, "--new-passphrase-file", &new];
    assert!(alice.run(&change).text().contains("changed"));
    assert_eq!(generation(&alice), before);
    assert!(alice.run(&["start", "--passphrase-file", &old]).refusal().contains("is wrong"));
    alice.start_by(&["start", "--passphrase-file", &new]);
}

/// Neither the arguments nor the environment of the background process show the passphrase.
#[test]
fn a_passphrase_comes_from_a_descriptor_and_shows_nowhere() {
    let world = World::new();
    let alice = world.new_node("Alice");
    let file = passphrase_file(&world, "passphrase", "correct horse");
    assert!(alice.run(&["passphrase", "set", "--passphrase-file", &file]).text().contains("encrypted"));
    let by_descriptor = |command: &str, descriptor: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$@\" {descriptor}<\"$0\""), &file]);
        shell.arg(bin("petmail-node")).arg("-d").arg(alice.basedir());
        shell.args([command, "--passphrase-fd", descriptor]);
        Outcome::of(&mut shell)
    };
    assert!(by_descriptor("start", "3").text().starts_with("http://"));
    assert!(by_descriptor("restart", "0").text().starts_with("http://"));
    let process = fs::read_to_string(alice.basedir().join("lock")).unwrap();
    for shown in ["cmdline", "environ"] {
        let bytes = fs::read(Path::new("/proc").join(process.trim()).join(shown)).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"correct"), "{shown}");
    }
    assert_eq!(alice.run(&["stop"]).text(), "");
    let refusal = alice.run(&["start", "--passphrase-fd", "77"]).refusal();
    assert!(refusal.contains("descriptor 77"), "{refusal}");
    let log = fs::read_to_string(alice.basedir().join("node.log")).unwrap();
    assert!(!log.contains("correct horse"));
}

#[test]
fn a_vault_that_cannot_be_used_is_named() {
    let world = World::new();
    let alice = world.new_node("Alice");
    let file = passphrase_file(&world, "passphrase", "correct horse");
    assert!(alice.run(&["passphrase", "set", "--passphrase-file", &file]).text().contains("encrypted"));
    let vault = alice.basedir().join("vault");
    let good = fs::read(&vault).unwrap();
    let start = |bytes: &[u8]| {
        fs::write(&vault, bytes).unwrap();
        alice.run(&["start", "--passphrase-file", &file]).refusal()
    };
    let (half, _) = good.split_at(60);
    assert!(start(half).contains("damaged"));
    assert!(start(b"hello").contains("not made by Petmail"));
    let mut newer = good.clone();
    newer.splice(16..18, [0, 7]);
    assert!(start(&newer).contains("newer Petmail"));
    fs::remove_file(&vault).unwrap();
    assert!(alice.run(&["start", "--passphrase-file", &file]).refusal().contains("is missing"));
    fs::write(&vault, good).unwrap();
    assert!(alice.run(&["start", "--passphrase-file", &file]).text().starts_with("http://"));
    assert_eq!(alice.run(&["stop"]).text(), "");
}

/// `PETMAIL_KILL_ROUNDS` sets the number of rounds, `PETMAIL_KILL_SEED` repeats a run.
#[test]
fn a_node_killed_while_it_is_encrypted_or_decrypted_is_usable() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = variable("PETMAIL_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.try_into().unwrap());
    let seed = variable("PETMAIL_KILL_SEED").unwrap_or_else(|| OsRng.next_u64());
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let world = World::new();
    let (mut alice, bob) = conversation(&world);
    drop(bob);
    let expected = messages_sent(&alice);
    alice.stop();
    let file = passphrase_file(&world, "passphrase", "correct horse");
    let (set, remove) = (
        ["passphrase", "set", "--passphrase-file", &file],
        ["passphrase", "remove", "--passphrase-file", &file],
    );
    assert!(alice.run(&set).text().contains("encrypted"));
    let mut is_encrypted = true;
    for round in 0..rounds {
        let story = format!("PETMAIL_KILL_SEED={seed}, round {round}, encrypted: {is_encrypted}");
        let delay = Duration::from_millis(random.next_u64() % LONGEST_DELAY_MS);
        let process = Process::spawn(alice.command().args(if is_encrypted { &remove } else { &set }));
        thread::sleep(delay);
        process.kill();
        // The lock is free once the process is gone; the passphrase is not used if there is none.
        alice.start_as_child_by(&["--passphrase-file", &file]);
        assert_eq!(messages(&alice), expected, "{story}, {delay:?}");
        alice.stop();
        let removed = alice.run(&remove);
        let is_plain = removed.remarks().contains("has no passphrase") || !removed.text().is_empty();
        assert!(is_plain, "{story}, {delay:?}");
        is_encrypted = !is_encrypted;
        if is_encrypted {
            assert!(alice.run(&set).text().contains("encrypted"), "{story}, {delay:?}");
            assert_eq!(files_with_known_text(alice.basedir()), Vec::<PathBuf>::new(), "{story}, {delay:?}");
        }
    }
}

fn messages(node: &Node) -> Vec<Value> {
    let answer = node.api().call("messages", &json!({})).unwrap();
    answer.get("messages").and_then(Value::as_array).unwrap().clone()
}

/// Waits until nothing changes any more.
fn messages_sent(node: &Node) -> Vec<Value> {
    eventually("all is sent", || {
        let messages = messages(node);
        messages.iter().all(|message| message.get("state").unwrap() == "sent").then_some(messages)
    })
}
