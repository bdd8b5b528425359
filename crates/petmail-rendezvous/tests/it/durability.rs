//! What was answered survives SIGKILL.

use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::json;

use crate::client::Client;
use crate::process::{Process, run};

/// Adds messages until the server dies; returns the phases whose echo came.
async fn add_until_death(url: String, mailbox: String, side: String, round: usize) -> Vec<String> {
    let mut client = Client::bound(&url, "app", &side).await;
    client.open(&mailbox).await;
    let mut answered = Vec::new();
    for number in 0..20 {
        let phase = format!("{side}-{round}-{number}");
        // Most are as large as in life; some take several rows of the store.
        let body_bytes = if number % 8 == 0 { 65_536 } else { 200 };
        let add = json!({"type": "add", "phase": phase, "body": "00".repeat(body_bytes)});
        // Failing to send is as good as failing to hear.
        drop(client.send(add.to_string().into()).await);
        loop {
            match client.hear_or_end().await {
                None => return answered,
                Some(message) if message["phase"] == *phase => break,
                Some(message) => assert!(message["type"] != "error", "{message}"),
            }
        }
        answered.push(phase);
    }
    answered
}

#[tokio::test]
async fn kill_loop() {
    let seed = 4;
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "[limits]\nstored_bytes = 1000000000\n").unwrap();
    let mut expected: Vec<(String, Vec<String>)> = Vec::new();
    for round in 0..4_usize {
        let server = Process::serve(dir.path(), &[]);
        for (mailbox, answered) in &expected {
            let mut reader = Client::bound(&server.url, "app", "a").await;
            let kept = reader.open(mailbox).await;
            assert!(answered.iter().all(|phase| kept.contains(phase)), "round {round}: {mailbox}");
        }
        let mut writers = Vec::new();
        for writer in 0..4 {
            let mut claimer = Client::bound(&server.url, "app", "a").await;
            let mailbox = claimer.claim(&format!("{round}{writer}")).await;
            let adding = ["a", "b"].map(|side| {
                tokio::spawn(add_until_death(server.url.clone(), mailbox.clone(), side.to_owned(), round))
            });
            writers.push((mailbox, adding));
        }
        // The moment of death: after so many messages seen by one more connection of the last mailbox.
        let mut witness = Client::bound(&server.url, "app", "b").await;
        let (last, _) = writers.last().unwrap();
        witness.say(json!({"type": "open", "mailbox": last})).await;
        for _ in 0..rng.next_u32() % 20 {
            witness.hear().await;
        }
        server.kill();
        for (mailbox, adding) in writers {
            let mut answered = Vec::new();
            for side in adding {
                answered.extend(side.await.unwrap());
            }
            expected.push((mailbox, answered));
        }
    }
    let answered: usize = expected.iter().map(|(_, answered)| answered.len()).sum();
    assert!(answered > 20, "the kills came too early to prove anything: {answered}");
}

#[tokio::test]
async fn claims_and_closes_survive_too() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let mut alice = Client::bound(&server.url, "app", "a").await;
    let nameplate = alice.ask(json!({"type": "allocate"})).await["nameplate"].as_str().unwrap().to_owned();
    server.kill();
    assert_eq!(alice.hear_or_end().await, None);

    let server = Process::serve(dir.path(), &[]);
    let mut alice = Client::bound(&server.url, "app", "a").await;
    let mailbox = alice.claim(&nameplate).await;
    let mut bob = Client::bound(&server.url, "app", "b").await;
    assert_eq!(bob.claim(&nameplate).await, mailbox);
    server.kill();

    let server = Process::serve(dir.path(), &[]);
    let mut junk = Client::bound(&server.url, "app", "c").await;
    let claim = json!({"type": "claim", "nameplate": nameplate});
    assert_eq!(junk.ask(claim).await["error"], "crowded");
    let mut alice = Client::bound(&server.url, "app", "a").await;
    alice.open(&mailbox).await;
    alice.ask(json!({"type": "add", "phase": "pake", "body": "00"})).await;
    assert_eq!(alice.ask(json!({"type": "release", "nameplate": nameplate})).await["type"], "released");
    server.kill();

    let server = Process::serve(dir.path(), &[]);
    let mut alice = Client::bound(&server.url, "app", "a").await;
    let claim = json!({"type": "claim", "nameplate": nameplate});
    assert_eq!(alice.ask(claim).await["error"], "reclaimed");
    assert_eq!(alice.open(&mailbox).await, ["pake"]);
    assert_eq!(alice.ask(json!({"type": "close"})).await["type"], "closed");
    let mut bob = Client::bound(&server.url, "app", "b").await;
    bob.open(&mailbox).await;
    assert_eq!(bob.ask(json!({"type": "close"})).await["type"], "closed");
    server.kill();
    assert_eq!(messages_left(dir.path()), 0);
}

fn messages_left(basedir: &Path) -> u64 {
    let status = run(basedir, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["running"], false);
    assert_eq!(status["mailboxes"], 0);
    status["messages"].as_u64().unwrap()
}
