//! What the operator can ask a running server, over the administration socket, and the answers' form.
//!
//! Owns the JSON of `status --json` (a contract) and the metrics' names. Tells numbers only: no codes, nameplates,
//! applications or addresses.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use petmail_net::{clock, metrics};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::program::{ADMIN_SOCKET, Events};
use crate::state::Counts;
use crate::writer::Event;

const REFUSED: &str = "petmail_rendezvous_refused_total";

/// The reason for dropping a client that does not read what it is sent.
pub(crate) const SLOW_READER: &str = "slow-reader";

/// How the server is; one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the server runs.
    pub running: bool,
    /// The version of the program that answers.
    pub version: String,
    /// Where clients connect; null when stopped.
    pub url: Option<String>,
    /// For how long the server has run, in seconds; null when stopped.
    pub uptime_seconds: Option<u64>,
    /// How long an unfinished exchange is kept, in seconds.
    pub retention_seconds: u64,
    /// How busy it is.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Status {
    pub(crate) fn stopped(counts: Counts, retention: Duration) -> Self {
        Self {
            running: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: None,
            uptime_seconds: None,
            retention_seconds: retention.as_secs(),
            counts,
        }
    }
}

impl fmt::Display for Status {
    /// Writes it for people, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.url, self.uptime_seconds) {
            (Some(url), Some(uptime)) => writeln!(f, "running at {url} for {uptime} s")?,
            _ => writeln!(f, "stopped")?,
        }
        let Counts { connections, nameplates, mailboxes, messages, stored_bytes } = self.counts;
        writeln!(f, "connections: {connections}")?;
        writeln!(f, "nameplates:  {nameplates}")?;
        writeln!(f, "mailboxes:   {mailboxes}")?;
        write!(f, "messages:    {messages} ({stored_bytes} bytes)")
    }
}

/// What the running server needs to answer.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) url: String,
    pub(crate) started_ms: u64,
    pub(crate) retention: Duration,
    pub(crate) events: Events,
}

/// The administration routes.
pub(crate) fn routes(context: Arc<Context>) -> Router {
    let metrics = metrics_routes(context.events.clone());
    Router::new().route("/status", get(answer)).with_state(context).merge(metrics)
}

/// Shows at once what will be counted.
pub(crate) fn begin_counting() {
    metrics::counter!(REFUSED, "reason" => SLOW_READER).increment(0);
}

/// Counts a message that was refused, or a client that was dropped, by the refusal's code.
pub(crate) fn count_refused(reason: &'static str) {
    metrics::counter!(REFUSED, "reason" => reason).increment(1);
}

/// The route that monitoring asks.
pub(crate) fn metrics_routes(events: Events) -> Router {
    metrics::routes(move || {
        let events = events.clone();
        async move {
            match count(&events).await {
                Ok(counts) => show(counts),
                Err(_) => tracing::debug!("no numbers: the server stops"),
            }
        }
    })
}

async fn answer(State(context): State<Arc<Context>>) -> Result<Json<Status>, StatusCode> {
    let counts = count(&context.events).await?;
    let uptime = Duration::from_millis(clock::unix_ms().saturating_sub(context.started_ms));
    Ok(Json(Status {
        running: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: Some(context.url.clone()),
        uptime_seconds: Some(uptime.as_secs()),
        retention_seconds: context.retention.as_secs(),
        counts,
    }))
}

fn show(counts: Counts) {
    let Counts { connections, nameplates, mailboxes, messages, stored_bytes } = counts;
    metrics::set("petmail_rendezvous_connections", connections);
    metrics::set("petmail_rendezvous_nameplates", nameplates);
    metrics::set("petmail_rendezvous_mailboxes", mailboxes);
    metrics::set("petmail_rendezvous_messages", messages);
    metrics::set("petmail_rendezvous_stored_bytes", stored_bytes);
}

pub(crate) async fn count(events: &Events) -> Result<Counts, StatusCode> {
    let (reply, counts) = oneshot::channel();
    events.send(Event::Count(reply)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    counts.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// A running server that does not say how it is.
#[derive(Debug, Error)]
#[error("the server does not answer on its administration socket: {0}")]
pub struct AskError(#[from] reqwest::Error);

/// Asks the server that runs in `basedir`.
///
/// # Errors
/// [`AskError`] if it does not answer, or not with a status.
pub async fn ask(basedir: &Path) -> Result<Status, AskError> {
    let client = reqwest::Client::builder().unix_socket(basedir.join(ADMIN_SOCKET)).build()?;
    // The host is a formality: the socket is the address.
    let answer = client.get("http://localhost/status").timeout(Duration::from_secs(10)).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}
