//! What hostile clients see: an error, the end of their connection, and a server that goes on serving the others.

use std::time::Duration;

use petmail_proto::invitation::wormhole::MAX_FRAME_BYTES;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::process::Process;

/// What must never stand in a log.
const CONFIDENTIAL: &str = "tattletale";

async fn refused_for_good(client: &mut Client) -> String {
    let error = client.hear().await;
    assert_eq!((&error["type"], &error["orig"]), (&json!("error"), &Value::Null));
    assert_eq!(client.hear_or_end().await, None);
    error["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bad_messages_are_refused_and_logged_without_contents() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let mut witness = Client::bound(&server.url, "app", "a").await;
    let mailbox = witness.claim("31415").await;

    let mut client = Client::bound(&server.url, CONFIDENTIAL, "s").await;
    let bad = [
        json!({"type": CONFIDENTIAL}),
        json!({"type": 7}),
        json!({"type": "bind", "appid": CONFIDENTIAL, "side": "s"}),
        json!({"type": "bind", "appid": CONFIDENTIAL}),
        json!({"type": "claim"}),
        json!({"type": "claim", "nameplate": CONFIDENTIAL}),
        json!({"type": "open", "mailbox": {"a": CONFIDENTIAL}}),
        json!({"type": "open", "mailbox": CONFIDENTIAL.repeat(100)}),
        json!({"type": "add", "phase": "0", "body": "00"}),
        json!({"type": "add", "phase": "0", "body": CONFIDENTIAL}),
        json!({"type": "release"}),
        json!({"type": "close"}),
    ];
    for message in &bad {
        let answer = client.ask(message.clone()).await;
        assert_eq!((&answer["type"], &answer["orig"]), (&json!("error"), message), "{answer}");
    }
    // The connection is still good.
    assert_eq!(client.ask(json!({"type": "ping", "ping": 1})).await["pong"], 1);

    let garbage = [
        Message::text(CONFIDENTIAL),
        Message::text("[]"),
        Message::text(format!("{{\"{CONFIDENTIAL}\"")),
        Message::binary(CONFIDENTIAL.as_bytes()),
        Message::binary(vec![0xff; 100]),
    ];
    let garbage_count = garbage.len();
    for message in garbage {
        let mut client = Client::connect(&server.url).await;
        client.send(message).await.unwrap();
        assert_eq!(refused_for_good(&mut client).await, "a message must be a JSON object");
    }
    assert!(witness.open(&mailbox).await.is_empty());
    let log = server.stop();
    assert_eq!(log.matches("message refused").count(), bad.len() + garbage_count, "{log}");
    for secret in [CONFIDENTIAL, "31415", mailbox.as_str(), "127.0.0.1:"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[tokio::test]
async fn an_oversized_message_ends_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &[]);
    let mut client = Client::connect(&server.url).await;
    // The server may stop reading before all of it is sent.
    drop(client.send(Message::text(" ".repeat(MAX_FRAME_BYTES + 1))).await);
    assert!(refused_for_good(&mut client).await.contains("longer than"));
    let mut client = Client::bound(&server.url, "app", "a").await;
    client.open("box").await;
    let largest = json!({"type": "add", "phase": "0", "body": "ab".repeat(65_536)});
    assert_eq!(client.ask(largest).await["type"], "message", "the largest that is allowed");
}

#[tokio::test]
async fn random_frames_never_hurt() {
    let seed = 20_261_122;
    println!("seed {seed}");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &[]);
    for _ in 0..100 {
        let mut stream = handshake(server.address()).await;
        let mut bytes = vec![0; 200];
        rng.fill_bytes(&mut bytes);
        // The server may hang up half-way.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let mut rest = Vec::new();
        drop(timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await.unwrap());
    }
    let mut client = Client::bound(&server.url, "app", "a").await;
    client.claim("4").await;
    assert!(!server.stop().contains("panic"));
}

#[tokio::test]
async fn a_client_that_talks_too_fast_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::configured(dir.path(), "[limits]\nmessages_per_second = 1\nmessage_burst = 5\n");
    let mut client = Client::connect(&server.url).await;
    for _ in 0..50 {
        // The server may hang up in between.
        drop(client.send(Message::text(r#"{"type":"ping","ping":1}"#)).await);
    }
    let mut answers = Vec::new();
    while let Some(answer) = client.hear_or_end().await {
        answers.push(answer);
    }
    assert_eq!(answers.last().unwrap()["error"], "too many messages, slow down");
    assert!(answers.len() < 50);
}

#[tokio::test]
async fn a_client_that_does_not_bind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::configured(dir.path(), "[limits]\nbind_timeout_seconds = 0.1\n");
    let mut client = Client::connect(&server.url).await;
    assert_eq!(refused_for_good(&mut client).await, "no bind in time");
}

#[tokio::test]
async fn a_client_that_answers_no_pings_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits]\nping_interval_seconds = 0.1\nunanswered_pings = 2\n";
    let server = Process::configured(dir.path(), limits);
    let mut dead = handshake(server.address()).await;
    let mut live = Client::bound(&server.url, "app", "a").await;
    live.claim("4").await;
    let mut heard = Vec::new();
    timeout(Duration::from_secs(60), dead.read_to_end(&mut heard)).await.unwrap().unwrap();
    let pings = heard.windows(2).filter(|bytes| *bytes == [0x89, 0]).count();
    assert_eq!(pings, 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let limits = "[limits]\nmessage_burst = 100000\nwrite_timeout_seconds = 0.5\n";
    let server = Process::configured(dir.path(), limits);
    let mut lazy = Client::connect(&server.url).await;
    let echoed = Message::text(json!({"type": "nonsense", "filler": "x".repeat(100_000)}).to_string());
    // Each message is echoed in an error; nobody reads those.
    while lazy.send(echoed.clone()).await.is_ok() {}
    let mut other = Client::bound(&server.url, "app", "a").await;
    other.claim("4").await;
}

#[tokio::test]
async fn an_address_may_open_only_so_many_connections() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::configured(dir.path(), "[network]\nmax_connections_per_address = 2\n");
    let first = Client::connect(&server.url).await;
    let _second = Client::connect(&server.url).await;
    assert!(tokio_tungstenite::connect_async(&server.url).await.is_err());
    drop(first);
    while tokio_tungstenite::connect_async(&server.url).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// A WebSocket connection without a WebSocket library behind it.
async fn handshake(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1 HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    stream
}
