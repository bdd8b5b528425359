//! What well-behaved clients see.

use petmail_proto::time::UnixMillis;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::process::Process;

fn server(arguments: &[&str]) -> (tempfile::TempDir, Process) {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::serve(dir.path(), arguments);
    (dir, process)
}

#[tokio::test]
async fn two_clients_meet() {
    let (_dir, server) = server(&[]);
    let mut alice = Client::bound(&server.url, "app", "a").await;
    assert_eq!(alice.welcome, json!({"petmail": {"retention": 86_400}}));
    let nameplate = alice.ask(json!({"type": "allocate"})).await["nameplate"].as_str().unwrap().to_owned();
    assert_eq!(nameplate.len(), 1);
    let mailbox = alice.claim(&nameplate).await;
    assert!(alice.open(&mailbox).await.is_empty());
    alice.say(json!({"type": "add", "phase": "pake", "body": "0aff", "id": "1a2b"})).await;
    let ack = alice.hear().await;
    assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &json!("1a2b")));
    assert!(ack["server_tx"].is_f64());
    let mut echo = alice.hear().await;
    assert!(echo["server_tx"].as_f64() >= echo["server_rx"].as_f64());
    for time in ["server_tx", "server_rx"] {
        echo.as_object_mut().unwrap().remove(time);
    }
    let expected = json!({"type": "message", "side": "a", "phase": "pake", "body": "0aff", "id": "1a2b"});
    assert_eq!(echo, expected);

    let mut bob = Client::bound(&server.url, "app", "b").await;
    assert_eq!(bob.claim(&nameplate).await, mailbox);
    assert_eq!(bob.open(&mailbox).await, ["pake"]);
    let heard = bob.ask(json!({"type": "add", "phase": "version", "body": ""})).await;
    assert_eq!(heard["side"], "b");
    assert_eq!(alice.hear().await["phase"], "version");
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.ask(json!({"type": "release"})).await["type"], "released");
        assert_eq!(client.ask(json!({"type": "close", "mood": "happy"})).await["type"], "closed");
    }
}

#[tokio::test]
async fn binary_messages_are_read_too() {
    let (_dir, server) = server(&[]);
    let mut client = Client::connect(&server.url).await;
    let ping = json!({"type": "ping", "ping": -5}).to_string();
    client.send(Message::binary(ping.into_bytes())).await.unwrap();
    assert_eq!(client.hear().await["type"], "ack");
    assert_eq!(client.hear().await["pong"], -5);
}

#[tokio::test]
async fn options_show() {
    let (_dir, server) =
        server(&["--motd", "Kaffee?", "--expire", "2d", "--allow-list", "--allow-appid", "x", "y"]);
    let mut client = Client::bound(&server.url, "y", "a").await;
    assert_eq!(client.welcome, json!({"motd": "Kaffee?", "petmail": {"retention": 172_800}}));
    client.claim("77").await;
    assert_eq!(client.ask(json!({"type": "list"})).await["nameplates"], json!([{"id": "77"}]));

    let mut stranger = Client::connect(&server.url).await;
    let error = stranger.ask(json!({"type": "bind", "appid": "z", "side": "a"})).await;
    assert_eq!(error["error"], "this server does not serve this appid");
    assert_eq!(stranger.hear_or_end().await, None);
}

#[tokio::test]
async fn hashcash_opens_the_door() {
    let (_dir, server) = server(&["--hashcash", "10"]);
    let mut impatient = Client::connect(&server.url).await;
    let error = impatient.ask(json!({"type": "bind", "appid": "app", "side": "a"})).await;
    assert!(error["error"].as_str().unwrap().starts_with("permission denied"), "{error}");
    assert_eq!(impatient.hear_or_end().await, None);

    let mut client = Client::connect(&server.url).await;
    let challenge = client.challenge();
    assert_eq!(challenge.bits, 10);
    let stamp = challenge.mint(UnixMillis(1_700_000_000_000), &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let submit = json!({"type": "submit-permissions", "method": "hashcash", "stamp": stamp});
    client.say(submit.clone()).await;
    assert_eq!(client.hear().await["type"], "ack");
    client.bind("app", "a").await;
    client.claim("4").await;

    let mut thief = Client::connect(&server.url).await;
    assert_eq!(thief.ask(submit).await["type"], "error");
    assert_eq!(thief.hear_or_end().await, None);
}

/// Everything that an operator's monitoring or a browser asks for.
#[tokio::test]
async fn plain_requests() {
    let (_dir, server) = server(&[]);
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{}{path}", server.address())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    let (status, page) = get("/").await;
    assert!(status == 200 && page.contains("rendezvous"));
    assert_eq!(get("/nowhere").await.0, 404);
    assert_eq!(get("/v1").await.0, 400, "no WebSocket");
}

#[tokio::test]
async fn a_third_side_changes_nothing() {
    let (_dir, server) = server(&[]);
    let mut alice = Client::bound(&server.url, "app", "a").await;
    let mailbox = alice.claim("4").await;
    let mut bob = Client::bound(&server.url, "app", "b").await;
    assert_eq!(bob.claim("4").await, mailbox);
    for side in ["c", "d"] {
        let mut junk = Client::bound(&server.url, "app", side).await;
        assert_eq!(junk.ask(json!({"type": "claim", "nameplate": "4"})).await["error"], "crowded");
        assert_eq!(junk.ask(json!({"type": "open", "mailbox": mailbox})).await["error"], "crowded");
    }
    for (side, client) in [("a", &mut alice), ("b", &mut bob)] {
        assert!(client.open(&mailbox).await.len() < 2);
        let echo = client.ask(json!({"type": "add", "phase": "pake", "body": "00"})).await;
        assert_eq!(echo["side"], Value::from(side));
    }
    let mut again = Client::bound(&server.url, "app", "b").await;
    assert_eq!(again.claim("4").await, mailbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_self_signed_certificate() {
    let (dir, server) = server(&["--self-signed"]);
    let address = server.url.strip_prefix("wss://").unwrap().strip_suffix("/v1").unwrap().to_owned();
    let certificate = std::fs::read(dir.path().join("tls-cert.pem")).unwrap();
    let trusted = reqwest::Certificate::from_pem(&certificate).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let answer = client.get(format!("https://{address}/healthz")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(tokio_tungstenite::connect_async(&server.url).await.is_err(), "nobody else vouches for it");
    let log = server.stop();
    assert!(log.contains("self-signed certificate"), "{log}");
}
