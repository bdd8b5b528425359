//! Servers and accounts that keep files and no messages.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::Value;

fn mailboxes(node: &Node) -> Vec<Value> {
    node.run(&["mailboxes", "--json"]).json()
}

/// A file of more than what fits into a message.
fn large(path: &Path) -> Vec<u8> {
    let mut content = vec![0; 3_000_000];
    ChaCha8Rng::seed_from_u64(7).fill_bytes(&mut content);
    fs::write(path, &content).unwrap();
    content
}

#[test]
fn files_have_a_server_of_their_own() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    world.mailbox.give_storage("0B");
    let film = world.path("film.mkv");
    let content = large(&film);
    let refused = alice.run(&["send-file", "1", film.to_str().unwrap()]).refusal();
    assert!(refused.contains("no storage"), "{refused}");

    let mut files = MailboxServer::start_for_files(&world.path("files"), Scheme::PinnedHttps);
    let refused = files.run(&["offer", "--mailbox-quota", "1MB"]).refusal();
    assert!(refused.contains("add-role mailbox"), "{refused}");
    let refused = files.run(&["offer", "--storage-quota", "0B"]).refusal();
    assert!(refused.contains("without any room"), "{refused}");

    // What is no offer is refused before a server is asked, and nothing is kept of it.
    let confused = alice.run(&["storage", "add", "s4"]).remarks();
    assert!(confused.contains("neither an offer nor a kind"), "{confused}");
    let offer = files.offer();
    let confused = alice.run(&["storage", "add", &offer, "--opt", "bucket=x"]).remarks();
    assert!(confused.contains("needs no options"), "{confused}");
    assert_eq!(mailboxes(&alice).len(), 1);

    let added = alice.run(&["storage", "add", &offer]).text();
    assert_eq!(added, format!("storage 2 at {}\n", files.url()));
    let listed = alice.run(&["mailboxes"]).text();
    assert!(listed.contains("for files alone"), "{listed}");
    let listed = alice.run(&["storage", "list"]).text();
    assert!(listed.contains("1 GB") && listed.contains(&files.url()), "{listed}");

    let text = world.mailbox.run(&["offer", "--storage-quota", "0B"]).text();
    let added = bob.run(&["storage", "add", text.trim()]);
    assert!(added.succeeded() && added.remarks().contains("no storage"), "{}", added.remarks());

    // Files go there; messages do not, and nobody is told of an address that takes none.
    assert!(alice.run(&["send-file", "1", film.to_str().unwrap(), "--wait", "sent"]).succeeded());
    let offered = eventually("the file is offered", || {
        bob.run(&["files", "--json"]).json().into_iter().find(|file| file["state"] == "offered")
    });
    let his = world.path("his");
    fs::create_dir(&his).unwrap();
    let id = offered["id"].to_string();
    let saved = bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]).text();
    assert!(fs::read(saved.trim()).unwrap() == content, "byte by byte the same");
    assert!(bob.run(&["send-basic", "1", "thanks", "--wait", "delivered"]).succeeded());
    let held = |server: &MailboxServer| server.accounts()[0]["messages"].clone();
    assert_eq!(held(&files), 0);

    // Whoever has nothing else is told so.
    let left = alice.run(&["mailbox", "remove", "1"]);
    assert!(left.succeeded() && left.remarks().contains("no mailbox"), "{}", left.remarks());
    let problems = alice.status()["problems"].to_string();
    assert!(problems.contains("you have no mailbox"), "{problems}");

    // A server gets another role while it is stopped, and keeps what it has.
    let running = files.run(&["add-role", "mailbox"]).refusal();
    assert!(running.contains("stop the server first"), "{running}");
    files.kill();
    assert!(files.run(&["add-role", "mailbox"]).text().contains("from its next start on"));
    assert!(files.run(&["add-role", "mailbox"]).text().contains("already"));
    files.restart();
    let taken = alice.run(&["accept-mailbox", &files.offer()]).text();
    assert_eq!(taken, format!("mailbox 3 at {}\n", files.url()));
    assert!(bob.run(&["send-basic", "1", "hello", "--wait", "delivered"]).succeeded());
    assert!(bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]).succeeded());
    assert!(!alice.status()["problems"].to_string().contains("you have no mailbox"));
}

#[test]
fn a_provider_gives_storage_alone() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    for account in world.mailbox.accounts() {
        let id = account["id"].as_str().unwrap();
        assert!(world.mailbox.run(&["account", "set", id, "--provider-total", "1GB"]).succeeded());
    }
    let carol = world.node("Carol", Start::Background);
    drop((alice.run(&["mailboxes"]), bob));
    let code = eventually("the node knows that it may give", || {
        let offered =
            alice.run(&["offer-mailbox", "carol", "--mailbox-quota", "0B", "--storage-quota", "50MB"]);
        offered.succeeded().then(|| offered.text().trim().to_owned())
    });
    assert!(carol.run(&["accept-mailbox", &code, "--petname", "alice", "--wait"]).succeeded());
    let listed = mailboxes(&carol);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["quota_bytes"], 0);
    let stored = carol.run(&["storage", "list"]).text();
    assert!(stored.contains("50 MB"), "{stored}");
}
