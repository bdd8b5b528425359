//! Nodes and a storage server that are killed while files are stored and fetched: whatever dies when, in the end the file is
//! there, whole, once, and nothing half-written beside it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// How many files are sent, unless the environment says otherwise.
const ROUNDS: usize = 20;

/// The largest file, in bytes: a few packs.
const LARGEST: u64 = 24_000_000;

/// The longest time between two kills.
const LONGEST_PAUSE_MS: u64 = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Sender,
    Receiver,
    Server,
}

struct Stage {
    world: World,
    alice: Node,
    bob: Node,
}

impl Stage {
    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Sender => {
                self.alice.kill();
                self.alice.start_as_child();
            }
            Victim::Receiver => {
                self.bob.kill();
                self.bob.start_as_child();
            }
            Victim::Server => {
                self.world.mailbox.kill();
                self.world.mailbox.restart();
            }
        }
    }

    /// Kills one to three times, the ones that take part most often.
    fn disturb(&mut self, chance: &mut Chance, victims: &[Victim]) -> Vec<Victim> {
        let mut killed = Vec::new();
        for _ in 0..=chance.below(2) {
            thread::sleep(Duration::from_millis(chance.below(LONGEST_PAUSE_MS)));
            let victim = chance.one_of(victims);
            self.kill(victim);
            killed.push(victim);
        }
        killed
    }
}

fn file(node: &Node, id: u64) -> Option<Value> {
    node.api().call("files", &json!({ "id": id })).ok()?["files"].get(0).cloned()
}

/// Waits until the file is in this state; one that has failed never will be.
#[track_caller]
fn becomes(node: &Node, id: u64, state: &str) {
    eventually(&format!("file {id} is {state}"), || {
        let file = file(node, id)?;
        assert_ne!(file["state"], "failed", "{file}");
        (file["state"] == state).then_some(())
    });
}

/// Writes a file, or every third time a folder with small ones too.
fn make(path: &Path, round: usize, chance: &mut Chance) {
    let mut noise = ChaCha8Rng::seed_from_u64(chance.seed ^ round as u64);
    let mut write = |path: &Path, length: u64| {
        let mut content = vec![0; usize::try_from(length).unwrap()];
        noise.fill_bytes(&mut content);
        fs::write(path, content).unwrap();
    };
    if !round.is_multiple_of(3) {
        return write(path, 200_000 + chance.below(LARGEST));
    }
    fs::create_dir(path).unwrap();
    for number in 0..100 {
        write(&path.join(format!("{number}.txt")), chance.below(20_000));
    }
    write(&path.join("large"), chance.below(LARGEST));
}

fn is_same(one: &Path, other: &Path) -> bool {
    if !one.is_dir() {
        return fs::read(one).unwrap() == fs::read(other).unwrap();
    }
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    names(one) == names(other) && names(one).iter().all(|name| is_same(&one.join(name), &other.join(name)))
}

#[test]
fn files_arrive_whatever_is_killed() {
    let mut chance = Chance::from_env(ROUNDS);
    println!("PETMAIL_KILL_SEED={}, {} rounds", chance.seed, chance.rounds);
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Child);
    let mut stage = Stage { world, alice, bob };
    let (hers, his) = (stage.world.path("hers"), stage.world.path("his"));
    fs::create_dir(&hers).unwrap();
    fs::create_dir(&his).unwrap();
    for round in 1..=chance.rounds {
        let name = format!("{round}.bin");
        let path = hers.join(&name);
        make(&path, round, &mut chance);
        let sent = stage.alice.api().call("send-file", &json!({"cid": 1, "path": path})).unwrap();
        let sent = sent["id"].as_u64().unwrap();
        let uploading = stage.disturb(&mut chance, &[Victim::Sender, Victim::Sender, Victim::Server]);
        becomes(&stage.alice, sent, "stored");
        let came = eventually("the file is announced", || {
            let files = stage.bob.api().call("files", &json!({})).ok()?;
            let files = files["files"].as_array()?.clone();
            files.into_iter().find(|file| file["name"] == name.as_str())?["id"].as_u64()
        });
        stage.bob.api().call("fetch-file", &json!({"id": came, "to": his})).unwrap();
        let fetching = stage.disturb(&mut chance, &[Victim::Receiver, Victim::Receiver, Victim::Server]);
        becomes(&stage.bob, came, "saved");
        println!("round {round}: killed {uploading:?}, then {fetching:?}");
        assert!(is_same(&path, &his.join(&name)), "round {round}: byte by byte the same");
        let left: Vec<_> = fs::read_dir(&his).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), round, "once, and nothing half-written: {left:?}");
        becomes(&stage.alice, sent, "fetched");
        stage.alice.api().call("revoke-file", &json!({ "id": sent })).unwrap();
        fs::metadata(&path).unwrap();
    }
    eventually("nothing is stored any more", || {
        let storage = stage.alice.api().call("storage", &json!({})).ok()?;
        (storage["storage"][0]["used_bytes"] == 0).then_some(())
    });
}
