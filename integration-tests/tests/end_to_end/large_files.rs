//! Files and folders that travel by way of a storage server: whole, resumable, shown on both sides.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::commodity::files_below;
use petmail_integration_tests::lossy::CuttingWay;
use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn folder(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    fs::create_dir(&path).unwrap();
    path
}

/// Returns the file of this number, once it is in this state.
#[track_caller]
fn becomes(node: &Node, id: u64, state: &str) -> Value {
    eventually(&format!("file {id} is {state}"), || {
        let files = node.api().call("files", &json!({ "id": id })).ok()?;
        files["files"].as_array()?.iter().find(|file| file["state"] == state).cloned()
    })
}

/// Waits for so many files to have come, and returns their numbers, the oldest first.
#[track_caller]
fn incoming(node: &Node, count: usize) -> Vec<u64> {
    let mut ids = eventually("the files are announced", || {
        let files = node.run(&["files", "--json"]).json();
        let came: Vec<u64> = files
            .iter()
            .filter(|file| file["direction"] == "in")
            .map(|file| file["id"].as_u64().unwrap())
            .collect();
        (came.len() == count).then_some(came)
    });
    ids.reverse();
    ids
}

fn send(node: &Node, path: &Path) -> u64 {
    node.run(&["send-file", "1", path.to_str().unwrap(), "--wait", "sent"]).text().trim().parse().unwrap()
}

fn save(node: &Node, id: u64, to: &Path) -> PathBuf {
    PathBuf::from(node.run(&["save-file", &id.to_string(), "--to", to.to_str().unwrap()]).text().trim())
}

/// Everything below a folder: what files hold, and nothing for folders.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                found.insert(name, None);
                folders.push(path);
            } else {
                found.insert(name, Some(fs::read(path).unwrap()));
            }
        }
    }
    found
}

fn stored_bytes(node: &Node) -> u64 {
    node.run(&["storage", "list", "--json"]).json()[0]["used_bytes"].as_u64().unwrap()
}

#[test]
fn a_large_file_arrives_whole_and_both_sides_see_it() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (hers, his) = (folder(&world, "hers"), folder(&world, "his"));
    let content = noise(20_000_000, 1);
    let path = hers.join("film.mkv");
    fs::write(&path, &content).unwrap();
    let sent = send(&alice, &path);
    let id = incoming(&bob, 1)[0];
    let offered = becomes(&bob, id, "offered");
    assert_eq!((&offered["name"], &offered["size"]), (&json!("film.mkv"), &json!(20_000_000)));
    becomes(&alice, sent, "stored");
    let raw = bob.api().call("messages", &json!({})).unwrap();
    assert_eq!(raw["messages"][0]["payload"]["file"], json!({"name": "film.mkv"}), "no key is shown");

    let saved = save(&bob, id, &his);
    assert!(fs::read(&saved).unwrap() == content, "byte by byte the same");
    assert_eq!(saved, his.join("film.mkv"));
    assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o111, 0);
    assert_eq!(becomes(&bob, id, "saved")["path"], json!(saved));
    becomes(&alice, sent, "fetched");

    // Nothing is replaced, and nothing half-written is left.
    assert_eq!(save(&bob, id, &his), his.join("film (2).mkv"));
    let taken = bob.run(&["save-file", &id.to_string(), "--to", saved.to_str().unwrap()]);
    assert!(taken.refusal().contains("there already"));
    assert_eq!(fs::read_dir(&his).unwrap().count(), 2);

    // Nobody finds the content where it is stored.
    let needle = &content[1_000..1_032];
    let packs = world.path("mailbox/packs");
    let holds =
        |bytes: Option<Vec<u8>>| bytes.is_some_and(|bytes| bytes.windows(32).any(|window| window == needle));
    assert!(!tree(&packs).into_values().any(holds));
}

#[test]
fn a_folder_arrives_with_everything_in_it() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (hers, his) = (folder(&world, "hers"), folder(&world, "his"));
    let sent = hers.join("holiday");
    fs::create_dir_all(sent.join("deep/er")).unwrap();
    fs::create_dir(sent.join("empty")).unwrap();
    for number in 0..60_usize {
        let name = if number % 2 == 0 { format!("{number}.txt") } else { format!("deep/{number}.jpg") };
        fs::write(sent.join(name), noise(number * 997, number as u64)).unwrap();
    }
    fs::write(sent.join("deep/er/large"), noise(5_000_000, 99)).unwrap();
    fs::write(sent.join(".hidden"), b"x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", sent.join("link")).unwrap();
    let output = alice.run(&["send-file", "1", sent.to_str().unwrap(), "--wait", "delivered"]);
    assert!(output.remarks().contains("1 links"), "{}", output.remarks());
    let id = incoming(&bob, 1)[0];
    assert_eq!(becomes(&bob, id, "offered")["count"], json!(62));
    let saved = save(&bob, id, &his);
    assert_eq!(saved, his.join("holiday"));
    fs::remove_file(sent.join("link")).unwrap();
    assert!(tree(&saved) == tree(&sent), "the same names and contents");
    assert_eq!(fs::read_dir(&his).unwrap().count(), 1);
}

#[test]
fn what_is_stored_is_not_sent_again_and_revoking_takes_it_away() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (hers, his) = (folder(&world, "hers"), folder(&world, "his"));
    let (path, mut content) = (hers.join("disk.img"), noise(24 << 20, 2));
    fs::write(&path, &content).unwrap();
    let first = send(&alice, &path);
    let before = stored_bytes(&alice);
    content[12 << 20..13 << 20].copy_from_slice(&noise(1 << 20, 3));
    fs::write(&path, &content).unwrap();
    let second = send(&alice, &path);
    let more = stored_bytes(&alice) - before;
    assert!(more < 7_000_000, "{more} bytes for a change of 1 MiB");
    let third = send(&alice, &path);
    assert!(stored_bytes(&alice) - before - more < 10_000, "the same again costs nothing");

    let ids = incoming(&bob, 3);
    assert!(alice.run(&["revoke", &first.to_string()]).succeeded());
    becomes(&alice, first, "gone");
    // The others need what it shares with them.
    eventually("its list of files is taken away", || (stored_bytes(&alice) < before + more).then_some(()));
    assert!(fs::read(save(&bob, ids[1], &his)).unwrap() == content);
    for id in [second, third] {
        assert!(alice.run(&["revoke", &id.to_string()]).succeeded());
    }
    eventually("nothing is left", || (stored_bytes(&alice) == 0).then_some(()));
    assert!(alice.run(&["revoke", &first.to_string()]).refusal().contains("no storage server keeps"));
}

#[test]
fn what_goes_wrong_is_said_on_the_right_side_and_can_go_on() {
    let mut world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (hers, his) = (folder(&world, "hers"), folder(&world, "his"));
    let content = noise(6_000_000, 4);
    let path = hers.join("a.bin");
    fs::write(&path, &content).unwrap();
    let text = path.to_str().unwrap();
    // She has no storage; then too little.
    world.mailbox.give_storage("0B");
    assert!(alice.run(&["send-file", "1", text]).refusal().contains("no storage"));
    world.mailbox.give_storage("3MB");
    let refused = alice.run(&["send-file", "1", text, "--wait", "sent"]);
    let refusal = refused.remarks();
    assert!(!refused.succeeded());
    assert!(refusal.contains("is full") && refusal.contains("revoke"), "{refusal}");
    let id = alice.run(&["files", "--json"]).json()[0]["id"].as_u64().unwrap();
    becomes(&alice, id, "failed");
    let status = alice.run(&["status"]).text();
    assert!(status.contains("does not go on") && status.contains("is full"), "{status}");
    assert_eq!(bob.run(&["files", "--json"]).json(), Vec::<Value>::new(), "nothing was announced");
    world.mailbox.give_storage("200MB");
    assert!(alice.run(&["resume", &id.to_string()]).succeeded());
    becomes(&alice, id, "stored");
    let came = incoming(&bob, 1)[0];

    // Paused while its server is away, cancelled, and fetched after all.
    world.mailbox.kill();
    let to = json!({"id": came, "to": his.to_str().unwrap()});
    bob.api().call("fetch-file", &to).unwrap();
    let waiting = eventually("it is said what it waits for", || {
        let file = becomes(&bob, came, "fetching");
        file["reason"].is_string().then_some(file)
    });
    assert!(waiting["reason"].as_str().unwrap().contains("cannot reach"), "{waiting}");
    assert!(bob.run(&["pause", &came.to_string()]).succeeded());
    becomes(&bob, came, "paused");
    assert!(bob.run(&["cancel", &came.to_string()]).succeeded());
    becomes(&bob, came, "offered");
    assert!(bob.run(&["pause", &came.to_string()]).refusal().contains("under way"));
    world.mailbox.restart();
    assert!(fs::read(save(&bob, came, &his)).unwrap() == content);

    // Damaged where it is stored: nothing of it is called done.
    let packs = world.path("mailbox/packs");
    for name in tree(&packs).into_iter().filter_map(|(name, content)| content.map(|_| name)) {
        let mut bytes = fs::read(packs.join(&name)).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(packs.join(name), bytes).unwrap();
    }
    let other = folder(&world, "other");
    let refusal = bob.run(&["save-file", &came.to_string(), "--to", other.to_str().unwrap()]).refusal();
    assert!(refusal.contains("something else than was stored"), "{refusal}");
    assert!(tree(&other).keys().all(|name| name.to_str().unwrap().starts_with(".petmail-")));
    assert!(bob.run(&["cancel", &came.to_string()]).succeeded());
    eventually("nothing half-written is left", || tree(&other).is_empty().then_some(()));
    // Taken back: said, too.
    assert!(alice.run(&["revoke", &id.to_string()]).succeeded());
    assert!(alice.run(&["send-file", "1", "/no/such/file"]).refusal().contains("cannot read"));
}

#[test]
fn a_way_that_cuts_connections_costs_time_and_nothing_else() {
    let world = World::new();
    let chance = Chance::from_env(0);
    println!("PETMAIL_KILL_SEED={}", chance.seed);
    let way = CuttingWay::to(world.mailbox.address(), chance);
    let alice = world.node_without_mailbox("Alice", Start::Background);
    alice.accept_mailbox(&world.mailbox.offer_by(way.address()));
    let bob = world.node("Bob", Start::Background);
    meet(&alice, &bob);
    let (hers, his) = (folder(&world, "hers"), folder(&world, "his"));
    let content = noise(9_000_000, 7);
    fs::write(hers.join("a.bin"), &content).unwrap();
    way.cut(4);
    let sent = send(&alice, &hers.join("a.bin"));
    assert!(!way.is_cutting());
    let id = incoming(&bob, 1)[0];
    way.cut(4);
    assert!(fs::read(save(&bob, id, &his)).unwrap() == content);
    assert!(!way.is_cutting());
    becomes(&alice, sent, "fetched");
}

#[test]
fn files_of_trusted_contacts_come_by_themselves() {
    let world = World::new();
    let downloads = folder(&world, "downloads");
    let alice = world.node("Alice", Start::Background);
    let bob = world.node_saving_into("Bob", &downloads);
    meet(&alice, &bob);
    assert!(bob.run(&["contact", "fetch-limit", "1", "2MB"]).succeeded());
    let hers = folder(&world, "hers");
    let (small, large) = (noise(1_000_000, 5), noise(3_000_000, 6));
    for (name, content) in [("small.bin", &small), ("large.bin", &large)] {
        fs::write(hers.join(name), content).unwrap();
        send(&alice, &hers.join(name));
    }
    let ids = incoming(&bob, 2);
    becomes(&bob, ids[0], "saved");
    assert!(fs::read(downloads.join("small.bin")).unwrap() == small);
    becomes(&bob, ids[1], "offered");
    assert_eq!(fs::read_dir(&downloads).unwrap().count(), 1);
    // Two at once.
    for id in &ids {
        bob.api().call("fetch-file", &json!({ "id": id })).unwrap();
    }
    eventually("both are there", || {
        let whole =
            |name: &str, content: &Vec<u8>| fs::read(downloads.join(name)).is_ok_and(|read| read == *content);
        (whole("small (2).bin", &small) && whole("large.bin", &large)).then_some(())
    });
    assert!(bob.run(&["contact", "remove", "1"]).succeeded());
    assert_eq!(bob.run(&["files", "--json"]).json(), Vec::<Value>::new());
}

#[test]
fn the_operator_finds_damaged_packs() {
    let mut world = World::new();
    let (alice, _bob) = world.two_who_met(Start::Background);
    let path = world.path("film.mkv");
    fs::write(&path, noise(3_000_000, 7)).unwrap();
    let sent = send(&alice, &path);
    becomes(&alice, sent, "stored");
    world.mailbox.kill();
    let well = world.mailbox.run(&["check"]).text();
    assert!(well.starts_with("all is well") && well.contains(" packs ("), "{well}");

    let packs = files_below(&world.mailbox.basedir().join("packs/files"));
    let mut bytes = fs::read(&packs[0]).unwrap();
    bytes[100] ^= 1;
    fs::write(&packs[0], bytes).unwrap();
    let found = world.mailbox.run(&["check"]);
    assert!(!found.succeeded() && found.remarks().contains("there is a problem"), "{found:?}");
    assert!(found.printed().contains("is not what was stored"), "{found:?}");
    fs::remove_file(&packs[0]).unwrap();
    assert!(world.mailbox.run(&["check"]).printed().contains("No such file"));
}

#[test]
fn nobody_is_told_of_a_file_that_was_taken_back_before() {
    let world = World::new();
    let mut his_server = MailboxServer::start(&world.path("second"), Scheme::PinnedHttps);
    let alice = world.node("Alice", Start::Background);
    let bob = world.node_without_mailbox("Bob", Start::Background);
    bob.accept_mailbox(&his_server.offer());
    meet(&alice, &bob);
    his_server.kill();
    let path = world.path("film.mkv");
    fs::write(&path, noise(1_000_000, 9)).unwrap();
    let sent: u64 = alice.run(&["send-file", "1", path.to_str().unwrap()]).text().trim().parse().unwrap();
    becomes(&alice, sent, "stored");
    assert!(alice.run(&["revoke", &sent.to_string()]).succeeded());
    assert_eq!(
        alice.messages("out").iter().find(|message| message["id"] == sent).unwrap()["state"],
        "failed"
    );
    his_server.restart();
    alice.send(1, "never mind");
    bob.receives(&["never mind"]);
    assert_eq!(bob.run(&["files", "--json"]).json(), Vec::<Value>::new());
}
