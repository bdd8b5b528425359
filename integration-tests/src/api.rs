//! A node's control API, as a script uses it: commands and the event stream. Source: `docs/api/`.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A stream that carries nothing for so long while a test waits for it has missed what it should bring.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where requests are carried out: the tests themselves are straight-line code.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime can be made")
});

/// One node's control API.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    base: String,
    token: String,
}

/// An open event stream.
#[derive(Debug)]
pub struct Events(Receiver<Value>);

impl Api {
    /// Commands the node in `basedir`, which listens at `base`.
    ///
    /// # Panics
    /// If there is no node.
    #[must_use]
    pub fn new(basedir: &Path, base: &str) -> Self {
        let token = std::fs::read_to_string(basedir.join("api-token")).expect("a node has an access token");
        Self { client: Client::new(), base: base.to_owned(), token: token.trim().to_owned() }
    }

    /// Gives a command, and returns the answer.
    ///
    /// # Errors
    /// The node's refusal; null if the node is away, or goes away meanwhile.
    pub fn call(&self, command: &str, arguments: &Value) -> Result<Value, Value> {
        RUNTIME.block_on(async {
            let answer = self.post(command, arguments).await.map_err(|_| Value::Null)?;
            let is_done = answer.status().is_success();
            let body = answer.json().await.map_err(|_| Value::Null)?;
            if is_done { Ok(body) } else { Err(body) }
        })
    }

    /// Opens the event stream. Everything that happens after this returns is in it.
    ///
    /// # Panics
    /// If the node does not open it.
    #[must_use]
    pub fn events(&self) -> Events {
        let (sender, receiver) = mpsc::channel();
        let answer = RUNTIME.block_on(self.post("events", &Value::Null)).expect("the node answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        RUNTIME.spawn(forward(answer, sender));
        Events(receiver)
    }

    async fn post(&self, command: &str, arguments: &Value) -> reqwest::Result<Response> {
        let request = self.client.post(format!("{}/api/v1/{command}", self.base)).bearer_auth(&self.token);
        let request = if arguments.is_null() { request } else { request.json(arguments) };
        request.send().await
    }
}

impl Events {
    /// Returns the next event, or nothing once the node is gone.
    ///
    /// # Panics
    /// If nothing happens any more.
    pub fn next(&self) -> Option<Value> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the event stream is silent"),
        }
    }
}

/// Splits the stream into lines, and passes on what stands in `data:` lines.
async fn forward(mut answer: Response, events: Sender<Value>) {
    let mut buffer = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else { continue };
            let event = serde_json::from_slice(data).expect("events are JSON");
            if events.send(event).is_err() {
                return;
            }
        }
    }
}
