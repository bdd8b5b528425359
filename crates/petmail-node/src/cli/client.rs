//! The command line's side of the control API.

use std::{io, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::LocalBoxStream};
use petmail_net::program::Failure;
use reqwest::{RequestBuilder, Response, header, redirect};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    io::StreamReader,
};

use super::terminal::{note, one_line};
use crate::{
    api::{
        Problem, last_base_url,
        token::ApiToken,
        types::{Event, MailboxView, NoArguments},
    },
    basedir::Basedir,
};

/// The node is on this machine: it answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than the node takes for any command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(100);

/// Longest line of the event stream in bytes: a longest message with every byte escaped, and its frame.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// What to say when the node has no mailbox.
pub(super) const NO_MAILBOX: &str = "note: this node has no mailbox: you can send but not receive. \
    Ask somebody who runs a mailbox server for an offer, and use `accept-mailbox OFFER`.";

/// A connection to the running node.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base_url: String,
    token: ApiToken,
}

impl Client {
    /// Finds the node that runs in `basedir`.
    pub(super) fn find(basedir: &Basedir) -> Result<Self, Failure> {
        require_node(basedir)?;
        // When nobody holds the lock, somebody else may have the port, and must not be given the token.
        if basedir.running().map_err(Failure::failed)?.is_none() {
            return Err(not_running(basedir));
        }
        let base_url = last_base_url(basedir).map_err(|_| not_ready())?;
        let token = ApiToken::load(&basedir.token_file()).map_err(Failure::failed)?;
        // No proxy and no redirect: the token goes to the loopback address and nowhere else.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tls_certs_only([])
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(Failure::failed)?;
        Ok(Self { http, base_url, token })
    }

    /// Sends a command and returns its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        command: &str,
        arguments: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.request(command).json(arguments).timeout(ANSWER_TIMEOUT);
        let response = send(request).await?;
        response.json().await.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))
    }

    /// Sends a command that takes no arguments.
    pub(super) async fn ask<T: DeserializeOwned>(&self, command: &str) -> Result<T, Failure> {
        self.call(command, &NoArguments {}).await
    }

    /// Opens the event stream: everything that happens after this returns is in it.
    pub(super) async fn events(&self) -> Result<Events, Failure> {
        let response = send(self.request("events")).await?;
        let bytes = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
        let lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(MAX_EVENT_BYTES));
        Ok(Events { lines: lines.map_err(Failure::failed).boxed_local() })
    }

    /// Sends a command whose answer is a file, however long that takes.
    pub(super) async fn download(
        &self,
        command: &str,
        arguments: &impl Serialize,
    ) -> Result<Response, Failure> {
        send(self.request(command).json(arguments)).await
    }

    /// Says so on standard error if the node has no mailbox.
    pub(super) async fn note_missing_mailbox(&self) -> Result<(), Failure> {
        let listed: Mailboxes = self.ask("mailboxes").await?;
        if listed.mailboxes.iter().all(MailboxView::is_for_files_alone) {
            note(NO_MAILBOX);
        }
        Ok(())
    }

    fn request(&self, command: &str) -> RequestBuilder {
        self.http.post(format!("{}/api/v1/{command}", self.base_url)).bearer_auth(self.token.expose_text())
    }
}

/// The answer to `mailboxes`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Mailboxes {
    pub(super) mailboxes: Vec<MailboxView>,
}

/// The event stream, read line by line.
pub(super) struct Events {
    lines: LocalBoxStream<'static, Result<String, Failure>>,
}

impl Events {
    /// Waits for the next change.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        while let Some(line) = self.lines.next().await {
            // Blank lines and comments keep the stream alive.
            if let Some(json) = line?.strip_prefix("data:") {
                return serde_json::from_str(json)
                    .map_err(|error| Failure::failed(format!("cannot read an event: {error}")));
            }
        }
        Err(Failure::failed("the node has stopped").hint("start it with `start`, then try again"))
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Failure> {
    let response = request.header(header::ACCEPT, "application/json, text/event-stream").send().await;
    let response = response.map_err(|error| match error.is_connect() {
        true => not_ready(),
        false => Failure::failed(format!("the node does not answer: {error}")),
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    match response.json::<Problem>().await {
        Ok(Problem { problem, hint, .. }) if hint.is_empty() => Err(Failure::failed(one_line(&problem))),
        Ok(Problem { problem, hint, .. }) => Err(Failure::failed(one_line(&problem)).hint(one_line(&hint))),
        Err(_) => Err(Failure::failed(format!("the node answered {status}"))),
    }
}

/// Refuses a folder without a node.
pub(super) fn require_node(basedir: &Basedir) -> Result<(), Failure> {
    if basedir.has_node() {
        return Ok(());
    }
    let dir = basedir.path().display();
    let failure = Failure::failed(format!("there is no node in {dir}"));
    if let Some(site) = basedir.interrupted_restore() {
        let site = site.display();
        return Err(failure.hint(format!("a restore to it was interrupted: repeat it, or delete {site}")));
    }
    Err(failure
        .hint(format!("make one with `petmail-node create-node {dir}`, or name another folder with -d")))
}

/// Says that nobody is there to be asked.
pub(super) fn not_running(basedir: &Basedir) -> Failure {
    Failure::failed(format!("the node in {} is not running", basedir.path().display()))
        .hint("start it with `start`")
}

fn not_ready() -> Failure {
    Failure::failed("the node is starting or stopping").hint("try again in a moment")
}
