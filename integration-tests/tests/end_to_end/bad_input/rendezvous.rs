//! `petmail-rendezvous`.

use futures::{SinkExt, StreamExt};
use petmail_integration_tests::rendezvous::Rendezvous;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::hostile::{CONFIDENTIAL, IMPATIENT, abuse_socket, check_log, dawdle, random};

/// Longer than any message may be.
const TOO_LONG: usize = 1 << 20;

/// A client that says anything.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(url: &str) -> Self {
        let mut client = Self(connect_async(url).await.unwrap().0);
        assert_eq!(client.hear().await.unwrap()["type"], "welcome");
        client
    }

    async fn send(&mut self, message: Message) {
        // The server may have hung up in the middle of it.
        drop(self.0.send(message).await);
    }

    /// Returns the next message that is no acknowledgement, or nothing if the server hung up.
    async fn hear(&mut self) -> Option<Value> {
        while let Some(Ok(message)) = self.0.next().await {
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] != "ack" {
                return Some(message);
            }
        }
        None
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.send(Message::text(message.to_string())).await;
        self.hear().await.unwrap()
    }

    async fn bind(&mut self, app: &str, side: &str) {
        self.send(Message::text(json!({"type": "bind", "appid": app, "side": side}).to_string())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendezvous_server_under_fire() {
    let dir = tempfile::tempdir().unwrap();
    let server = Rendezvous::configured(dir.path(), IMPATIENT);
    let mut witness = Client::connect(server.url()).await;
    witness.bind("app", "a").await;
    let claimed = witness.ask(json!({"type": "claim", "nameplate": "31415"})).await;
    let mailbox = claimed["mailbox"].as_str().unwrap().to_owned();
    witness.send(Message::text(json!({"type": "open", "mailbox": mailbox}).to_string())).await;
    let added = witness.ask(json!({"type": "add", "phase": "pake", "body": "00"})).await;
    assert_eq!(added["phase"], "pake");

    let refused = nonsense(server.url()).await;
    third_side(server.url(), &mailbox).await;
    abuse_socket(server.address());
    dawdle(server.address());
    for path in ["v1", CONFIDENTIAL] {
        let answer = reqwest::Client::new()
            .post(format!("http://{}/{path}?{CONFIDENTIAL}", server.address()))
            .body(CONFIDENTIAL)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }

    // The witness's connection lived through it all, and its mailbox has one message of one side.
    let mut again = Client::connect(server.url()).await;
    again.bind("app", "a").await;
    let only = again.ask(json!({"type": "open", "mailbox": mailbox})).await;
    assert_eq!((&only["phase"], &only["side"]), (&json!("pake"), &json!("a")));
    assert_eq!(again.ask(json!({"type": "ping", "ping": 1})).await["pong"], 1, "nothing follows");
    assert_eq!(witness.ask(json!({"type": "ping", "ping": 2})).await["pong"], 2);
    let log = server.stop();
    check_log(&log);
    assert!(!log.contains("31415") && !log.contains(&mailbox), "{log}");
    assert!(log.matches("message refused").count() >= refused, "{log}");
}

/// Returns how many messages were refused.
async fn nonsense(url: &str) -> usize {
    let mut client = Client::connect(url).await;
    client.bind(CONFIDENTIAL, "s").await;
    let bad = [
        json!({"type": CONFIDENTIAL}),
        json!({"type": 7}),
        json!({"type": "claim", "nameplate": CONFIDENTIAL}),
        json!({"type": "open", "mailbox": {"a": CONFIDENTIAL}}),
        json!({"type": "add", "phase": "0", "body": CONFIDENTIAL}),
        json!({"type": "close"}),
    ];
    for message in &bad {
        assert_eq!(client.ask(message.clone()).await["type"], "error", "{message}");
    }
    assert_eq!(
        client.ask(json!({"type": "ping", "ping": 1})).await["pong"],
        1,
        "and the connection is still good"
    );
    let fatal = [
        Message::text(CONFIDENTIAL),
        Message::binary(random(100)),
        Message::binary(CONFIDENTIAL.as_bytes()),
        Message::text(CONFIDENTIAL.repeat(TOO_LONG / CONFIDENTIAL.len())),
    ];
    let refused = bad.len() + fatal.len();
    for message in fatal {
        let mut client = Client::connect(url).await;
        client.send(message).await;
        let answer = client.hear().await;
        assert!(answer.is_none_or(|answer| answer["type"] == "error"));
        assert_eq!(client.hear().await, None, "the server hangs up");
    }
    refused
}

/// Two sides are two sides, whatever a third one tries.
async fn third_side(url: &str, mailbox: &str) {
    let mut second = Client::connect(url).await;
    second.bind("app", "b").await;
    let claimed = second.ask(json!({"type": "claim", "nameplate": "31415"})).await;
    assert_eq!(claimed["mailbox"], mailbox);
    let mut third = Client::connect(url).await;
    third.bind("app", "c").await;
    let refused = third.ask(json!({"type": "claim", "nameplate": "31415"})).await;
    assert_eq!((&refused["type"], &refused["error"]), (&json!("error"), &json!("crowded")));
}
