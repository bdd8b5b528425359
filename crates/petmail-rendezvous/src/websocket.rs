//! The edge: WebSocket connections to and from the writer.
//!
//! Owns what concerns bytes and time on one connection: sizes, rates, pings, slow readers. Must not know the protocol
//! beyond "a request goes in, frames come out".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use petmail_net::address::ClientAddr;
use petmail_net::{CancellationToken, clock};
use petmail_proto::invitation::wormhole::{MAX_FRAME_BYTES, ServerFrame, ServerMessage};
use petmail_proto::time::UnixMillis;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::tungstenite;

use crate::limits::{Limits, RateMeter};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::{ConnectionId, seconds};
use crate::status::count_refused;
use crate::writer::{Event, OUTBOX_MESSAGES, Outgoing};

/// How long a refused client may take to hang up itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    events: mpsc::Sender<Event>,
    limits: Arc<Limits>,
    next: Arc<AtomicU64>,
    shutdown: CancellationToken,
    log_addresses: bool,
}

impl Hub {
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        limits: Limits,
        shutdown: CancellationToken,
        log_addresses: bool,
    ) -> Self {
        Self { events, limits: Arc::new(limits), next: Arc::default(), shutdown, log_addresses }
    }
}

/// Answers `/v1`.
pub(crate) async fn upgrade(
    upgrade: WebSocketUpgrade,
    State(hub): State<Hub>,
    Extension(client): Extension<ClientAddr>,
) -> Response {
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_failed_upgrade(|error| tracing::debug!(%error, "upgrade failed"))
        .on_upgrade(async move |socket| serve(socket, hub, client).await)
}

/// Serves one connection to its end.
async fn serve(socket: WebSocket, hub: Hub, client: ClientAddr) {
    let id = ConnectionId(hub.next.fetch_add(1, Ordering::Relaxed));
    if let (true, ClientAddr::Network(address)) = (hub.log_addresses, client) {
        tracing::info!(connection = id.0, client = %address.ip(), "client connected");
    }
    let (sender, outbox) = mpsc::channel(OUTBOX_MESSAGES);
    if hub.events.send(Event::Connected(id, client.group(), sender)).await.is_err() {
        return;
    }
    let events = hub.events.clone();
    let meter = RateMeter::new(&hub.limits, now());
    let connection = Connection { id, socket, hub, outbox, meter, silent_ticks: 0 };
    let reason = Box::pin(connection.run()).await;
    tracing::debug!(connection = id.0, ?reason, "connection ended");
    // A writer that is gone has no session left to end.
    drop(events.send(Event::Disconnected(id)).await);
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The client left, or the network did.
    Left,
    /// The client did not read or answer pings.
    Silent,
    /// The client was told why.
    Refused,
    /// The server stops.
    Shutdown,
}

struct Connection {
    id: ConnectionId,
    socket: WebSocket,
    hub: Hub,
    outbox: mpsc::Receiver<Outgoing>,
    meter: RateMeter,
    /// Pings in a row after which nothing came.
    silent_ticks: u32,
}

impl Connection {
    async fn run(mut self) -> Ended {
        let shutdown = self.hub.shutdown.clone();
        let mut ping = tokio::time::interval(self.hub.limits.ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            let turn = tokio::select! {
                () = shutdown.cancelled() => self.goodbye(close_code::RESTART, Ended::Shutdown).await,
                outgoing = self.outbox.recv() => self.send(outgoing).await,
                incoming = self.socket.recv() => self.receive(incoming).await,
                _ = ping.tick() => self.ping().await,
            };
            if let Err(ended) = turn {
                return ended;
            }
        }
    }

    async fn receive(&mut self, incoming: Option<Result<Message, axum::Error>>) -> Result<(), Ended> {
        let message = match incoming {
            Some(Ok(message)) => message,
            Some(Err(error)) => return self.broken(&error).await,
            None => return Err(Ended::Left),
        };
        self.silent_ticks = 0;
        let bytes = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(Ended::Left),
        };
        if !self.meter.admit(now()) {
            return self.refuse(Refusal::TooFast).await;
        }
        match Request::parse(&bytes) {
            Ok(request) => {
                let event = Event::Request(self.id, Box::new(request));
                self.hub.events.send(event).await.map_err(|_| Ended::Shutdown)
            }
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    /// The bytes were no WebSocket messages, or too large a one; nothing can be read after that.
    async fn broken(&mut self, error: &axum::Error) -> Result<(), Ended> {
        tracing::debug!(connection = self.id.0, %error, "connection broken");
        // axum re-exports no error of the library below it.
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
        let too_long = matches!(source, Some(tungstenite::Error::Capacity(_)));
        if too_long { self.refuse(Refusal::TooLong(MAX_FRAME_BYTES)).await } else { Err(Ended::Left) }
    }

    async fn send(&mut self, outgoing: Option<Outgoing>) -> Result<(), Ended> {
        match outgoing {
            Some(Outgoing::Frame(frame)) => self.write(Message::text(stamp(&frame))).await,
            Some(Outgoing::End) => self.goodbye(close_code::POLICY, Ended::Refused).await,
            None => Err(Ended::Silent),
        }
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        if self.silent_ticks >= self.hub.limits.unanswered_pings {
            return Err(Ended::Silent);
        }
        self.silent_ticks += 1;
        self.write(Message::Ping(Bytes::new())).await
    }

    /// Refuses what never reaches the writer, and ends the connection.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Ended> {
        tracing::info!(connection = self.id.0, reason = refusal.code(), "message refused");
        count_refused(refusal.code());
        let error = ServerMessage::Error { error: refusal.to_string(), orig: Value::Null };
        self.write(Message::text(stamp(&error.into()))).await?;
        self.goodbye(close_code::POLICY, Ended::Refused).await
    }

    async fn goodbye(&mut self, code: u16, ended: Ended) -> Result<(), Ended> {
        let farewell = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        self.write(farewell).await?;
        if ended == Ended::Refused {
            // Hanging up on bytes under way would make the network throw away the error that the client has yet to read.
            let farewell = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            drop(timeout(FAREWELL, farewell).await);
        }
        Err(ended)
    }

    async fn write(&mut self, message: Message) -> Result<(), Ended> {
        match timeout(self.hub.limits.write_timeout, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Left),
            Err(_) => Err(Ended::Silent),
        }
    }
}

/// The text of a frame, with the time at which it leaves.
fn stamp(frame: &ServerFrame) -> String {
    #[derive(Serialize)]
    struct Stamped<'a> {
        server_tx: f64,
        #[serde(flatten)]
        frame: &'a ServerFrame,
    }
    let server_tx = seconds(now());
    serde_json::to_string(&Stamped { server_tx, frame })
        .expect("a frame has no map with keys other than strings")
}

fn now() -> UnixMillis {
    UnixMillis(clock::unix_ms())
}
