//! Files in messages, over real sockets: what is sent, listed, saved, and refused.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};

/// The largest file that a message carries, in bytes.
const LARGEST: usize = 180 * 1024;

/// Bytes of all values, in no order that a compressor or an encoding would like.
fn noise(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index.wrapping_mul(index).wrapping_add(index >> 3) % 256).unwrap())
        .collect()
}

fn write(dir: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn folder(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    fs::create_dir(&path).unwrap();
    path
}

/// Waits until so many files have come, and lists them, the oldest first.
#[track_caller]
fn files_of(node: &Node, count: usize) -> Vec<Value> {
    eventually("the files are there", || {
        let mut files = node.run(&["files", "--json"]).json();
        files.reverse();
        (files.len() == count).then_some(files)
    })
}

fn id_of(file: &Value) -> String {
    file["id"].to_string()
}

fn save(node: &Node, file: &Value, to: &Path) -> PathBuf {
    PathBuf::from(node.run(&["save-file", &id_of(file), "--to", to.to_str().unwrap()]).text().trim())
}

#[test]
fn files_arrive_whole_and_are_saved_without_replacing_anything() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let dir = folder(&world, "hers");
    let contents =
        [("largest.bin", noise(LARGEST)), ("empty", Vec::new()), ("Grüße an dich.txt", b"hello\n".to_vec())];
    let paths: Vec<_> = contents.iter().map(|(name, content)| write(&dir, name, content)).collect();
    let mut send = vec!["send-file", "1"];
    send.extend(paths.iter().map(|path| path.to_str().unwrap()));
    send.extend(["--wait", "delivered"]);
    assert_eq!(alice.run(&send).text().lines().count(), 3);
    assert!(alice.messages("out").iter().all(|message| has(message, "state", "delivered")));

    let files = files_of(&bob, 3);
    let his = folder(&world, "his");
    for ((name, content), file) in contents.iter().zip(&files) {
        assert_eq!((&file["name"], &file["size"]), (&json!(name), &json!(content.len())));
        assert_eq!(
            (&file["direction"], &file["state"], &file["cid"]),
            (&json!("in"), &json!("here"), &json!(1))
        );
        let saved = save(&bob, file, &his);
        assert_eq!((saved.as_path(), fs::read(&saved).unwrap()), (his.join(name).as_path(), content.clone()));
        assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o111, 0);
    }
    assert_eq!(save(&bob, &files[2], &his), his.join("Grüße an dich (2).txt"));
    let taken = bob.run(&["save-file", &id_of(&files[0]), "--to", his.join("empty").to_str().unwrap()]);
    assert!(taken.refusal().contains("there already"));
    assert!(
        bob.run(&["save-file", &id_of(&files[0]), "--to", "/no/such/folder/x"])
            .refusal()
            .contains("no folder")
    );
    assert_eq!(fs::read(his.join("empty")).unwrap(), b"");
    assert_eq!(fs::read_dir(&his).unwrap().count(), 4);

    // Hers are listed with her, and can be saved too; messages say what they bring, and nothing of what is in it.
    assert_eq!(save(&alice, &files_of(&alice, 3)[0], &his), his.join("largest (2).bin"));
    let listed = bob.run(&["messages"]).text();
    assert!(listed.contains("largest.bin") && listed.contains("184 kB") && listed.len() < 2_000, "{listed}");
    let raw = bob.api().call("messages", &json!({})).unwrap();
    assert_eq!(raw["messages"][0]["payload"]["file"], json!({"name": "largest.bin"}));
    let found = bob.api().call("search", &json!({"text": "GRÜSSE AN".replace("SS", "ß")})).unwrap();
    assert_eq!(found["messages"].as_array().unwrap().len(), 1);
    let text = bob.send(1, "thanks");
    assert!(bob.run(&["save-file", &text.to_string()]).refusal().contains("no file"));

    // They go with the conversation.
    assert!(bob.run(&["contact", "remove", "1"]).succeeded());
    assert_eq!(files_of(&bob, 0), Vec::<Value>::new());
}

#[test]
fn a_file_waits_for_servers_and_outlives_killed_nodes() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.two_who_met(Start::Child);
    world.mailbox.kill();
    let content = noise(100_000);
    let path = write(&folder(&world, "hers"), "late.bin", &content);
    assert!(alice.run(&["send-file", "1", path.to_str().unwrap()]).succeeded());
    fs::remove_file(&path).unwrap();
    alice.kill();
    bob.kill();
    world.mailbox.restart();
    alice.start_as_child();
    bob.start_as_child();
    let files = files_of(&bob, 1);
    bob.kill();
    bob.start_as_child();
    assert_eq!(files_of(&bob, 1), files);
    assert_eq!(fs::read(save(&bob, &files[0], &folder(&world, "his"))).unwrap(), content);
}

#[test]
fn names_of_hostile_senders_stay_within_the_folder() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let names = [
        "../../../evil",
        "/etc/passwd",
        "..",
        ".profile",
        "a\u{202e}gpj.exe",
        "a\nb\u{1b}[2J\r",
        "CON",
        "C:\\x\\y",
        "<script>alert(1)</script>",
        "-rf",
    ];
    for name in names {
        let request = json!({"cid": 1, "name": name, "content": BASE64.encode(b"#!/bin/sh\n")});
        alice.api().call("send-file", &request).unwrap();
    }
    let files = files_of(&bob, names.len());
    let his = folder(&world, "his");
    let before: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for file in &files {
        let saved = save(&bob, file, &his);
        assert_eq!(saved.parent(), Some(his.as_path()), "{file}");
        let name = saved.file_name().unwrap().to_str().unwrap();
        assert!(
            !name.starts_with('.') && !name.contains(['/', '\\', '\n', '\u{1b}', '\u{202e}', '<']),
            "{name:?}"
        );
        assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o111, 0);
    }
    let after: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((fs::read_dir(&his).unwrap().count(), before.len()), (names.len(), after.len()));
    assert!(!bob.run(&["files"]).text().contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn what_cannot_be_sent_is_refused_and_leaves_nothing() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let dir = folder(&world, "hers");
    let secret = write(&dir, "unreadable", b"x");
    let pipe = dir.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for (path, problem) in
        [(pipe.to_str().unwrap(), "no file"), ("/no/such/file", "cannot read"), ("/dev/zero", "no file")]
    {
        let refusal = alice.run(&["send-file", "1", path]).refusal();
        assert!(refusal.contains(problem), "{path}: {refusal}");
    }
    assert!(alice.run(&["send-file", "7", secret.to_str().unwrap()]).refusal().contains("contact"));
    for (arguments, problem) in [
        (json!({"cid": 1}), "no file"),
        (json!({"cid": 1, "path": "relative"}), "absolute"),
        (json!({"cid": 1, "path": "/x", "content": ""}), "no file"),
        (json!({"cid": 1, "name": "a"}), "no file"),
        (json!({"cid": 1, "name": "", "content": ""}), "0 bytes"),
        (json!({"cid": 1, "name": "x".repeat(256), "content": ""}), "256 bytes"),
        (json!({"cid": 1, "name": "a", "content": "%"}), "base64"),
        (json!({"cid": 1, "name": "a", "content": BASE64.encode(&vec![0; LARGEST + 1])}), "184320 bytes"),
    ] {
        let refused = alice.api().call("send-file", &arguments).unwrap_err();
        assert!(refused["problem"].as_str().unwrap().contains(problem), "{refused}");
    }
    assert_eq!(alice.messages("out"), Vec::<Value>::new());
    alice.send(1, "the next message");
    bob.receives(&["the next message"]);
    assert_eq!(files_of(&bob, 0), Vec::<Value>::new());
}
