//! A client that says what a test wants.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use petmail_proto::invitation::wormhole::HashcashChallenge;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A server that is silent for so long is broken.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What the server said first.
    pub(crate) welcome: Value,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut client = Self { socket, welcome: Value::Null };
        let mut first = client.hear().await;
        assert_eq!(first["type"], "welcome");
        client.welcome = first["welcome"].take();
        client
    }

    pub(crate) async fn bound(url: &str, app: &str, side: &str) -> Self {
        let mut client = Self::connect(url).await;
        client.bind(app, side).await;
        client
    }

    pub(crate) async fn bind(&mut self, app: &str, side: &str) {
        self.say(json!({"type": "bind", "appid": app, "side": side})).await;
        assert_eq!(self.hear().await["type"], "ack");
    }

    /// The challenge in the welcome.
    pub(crate) fn challenge(&self) -> HashcashChallenge {
        serde_json::from_value(self.welcome["permission-required"]["hashcash"].clone()).unwrap()
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), impl std::error::Error + use<>> {
        timeout(PATIENCE, self.socket.send(message)).await.unwrap()
    }

    /// The next message, which must come.
    pub(crate) async fn hear(&mut self) -> Value {
        self.hear_or_end().await.unwrap()
    }

    /// The next message, or none if the server ended the connection.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Value> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// Says something and returns the answer behind the acknowledgement.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.say(message).await;
        assert_eq!(self.hear().await["type"], "ack");
        self.hear().await
    }

    /// Claims a nameplate and returns its mailbox.
    pub(crate) async fn claim(&mut self, nameplate: &str) -> String {
        let answer = self.ask(json!({"type": "claim", "nameplate": nameplate})).await;
        answer["mailbox"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Opens a mailbox and returns the phases of the messages in it.
    pub(crate) async fn open(&mut self, mailbox: &str) -> Vec<String> {
        self.say(json!({"type": "open", "mailbox": mailbox})).await;
        assert_eq!(self.hear().await["type"], "ack");
        self.say(json!({"type": "ping", "ping": 0})).await;
        let mut phases = Vec::new();
        loop {
            let message = self.hear().await;
            match message["type"].as_str().unwrap() {
                "message" => phases.push(message["phase"].as_str().unwrap().to_owned()),
                "pong" => return phases,
                other => assert_eq!(other, "ack"),
            }
        }
    }
}
