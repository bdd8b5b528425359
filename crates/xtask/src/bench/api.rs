//! A client of the control API with no more than the measurements need: its own cost has to stay out of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::machine::now;

/// A node that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(150);

/// A connection to a node.
#[derive(Debug)]
pub(super) struct Client {
    connection: BufReader<TcpStream>,
    authority: String,
    token: String,
}

/// The changes of a node, each with the moment when it was read.
#[derive(Debug)]
pub(super) struct Events(Receiver<(Instant, Value)>);

impl Client {
    /// Connects to the node at `url`, whose folder is `basedir`.
    pub(super) fn connect(url: &str, basedir: &Path) -> Result<Self> {
        let authority = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let connection =
            TcpStream::connect(&authority).with_context(|| format!("cannot connect to {url}"))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let token = std::fs::read_to_string(basedir.join("api-token"))?.trim().to_owned();
        Ok(Self { connection: BufReader::new(connection), authority, token })
    }

    /// Gives a command and returns its answer.
    pub(super) fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        self.request(command, arguments)?;
        let length = self.head()?.context("the answer has no length")?;
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Turns the connection into the stream of changes; all that happen after this are in it.
    pub(super) fn events(mut self) -> Result<Events> {
        self.request("events", &Value::Object(serde_json::Map::new()))?;
        self.head()?;
        let (changes, receiver) = channel();
        // Ends with the connection, when the node stops, or when nobody listens any more.
        thread::spawn(move || {
            for line in self.connection.lines().map_while(Result::ok) {
                let change = line.strip_prefix("data: ").map(serde_json::from_str);
                if let Some(Ok(change)) = change
                    && changes.send((now(), change)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Events(receiver))
    }

    fn request(&mut self, command: &str, arguments: &Value) -> Result<()> {
        let Self { authority, token, .. } = self;
        let body = arguments.to_string();
        let request = format!(
            "POST /api/v1/{command} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(self.connection.get_mut().write_all(request.as_bytes())?)
    }

    /// Reads the head of an answer and returns how many bytes follow, if it says so.
    fn head(&mut self) -> Result<Option<usize>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(self.connection.read_line(&mut head)? > 0, "the node hung up");
        }
        ensure!(head.starts_with("HTTP/1.1 200"), "the node refuses: {head}");
        let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
        Ok(lengths.next().map(str::parse).transpose()?)
    }
}

impl Events {
    /// Waits for a message that went `direction` with this text and came to `state`; returns when it was shown.
    pub(super) fn wait_for(&self, direction: &str, state: &str, text: &str) -> Result<Instant> {
        loop {
            let (shown, change) = self.0.recv_timeout(PATIENCE).context("the message was not shown")?;
            let has = |field: &str, wanted: &str| change.get(field).is_some_and(|value| value == wanted);
            let is_text = change.pointer("/payload/basic").is_some_and(|basic| basic == text);
            if has("event", "message") && has("direction", direction) && has("state", state) && is_text {
                return Ok(shown);
            }
        }
    }
}
