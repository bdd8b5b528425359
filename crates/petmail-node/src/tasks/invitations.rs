//! Drives every open invitation: its connection to the rendezvous server, its timers, and its expensive computations.

use std::{collections::BTreeSet, time::Duration};

use futures::{SinkExt, StreamExt};
use petmail_net::{
    CancellationToken,
    client::ClientError,
    clock,
    ws::{self, Message, WsSettings, WsStream},
};
use petmail_proto::{
    invitation::{
        machine::{Effect, Input},
        stretch::StretchedCode,
        wormhole::{ClientFrame, ClientMessage, MAX_FRAME_BYTES, ServerFrame},
    },
    outbox::backoff,
    time::UnixMillis,
};
use rand_core::OsRng;
use tokio::task::{JoinError, JoinSet};

use crate::agent::Agent;

/// The longest pause between attempts to reach the rendezvous server: somebody may be waiting.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection may be silent before it is pinged, and again before it is given up.
const SILENCE: Duration = Duration::from_secs(45);

pub(super) async fn run(agent: Agent, settings: WsSettings, shutdown: CancellationToken) {
    let mut drivers: JoinSet<u32> = JoinSet::new();
    let mut running = BTreeSet::new();
    let mut wanted: BTreeSet<u32> = agent.invitations_wanting_rendezvous().await.into_iter().collect();
    loop {
        let changed = agent.invitations_changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        wanted.extend(agent.invitations_with_work());
        for id in std::mem::take(&mut wanted) {
            if running.insert(id) {
                let driver = Driver::new(agent.clone(), id, settings.clone());
                let shutdown = shutdown.clone();
                drivers.spawn(async move {
                    driver.run(shutdown).await;
                    id
                });
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = changed => {}
            Some(ended) = drivers.join_next() => match ended {
                Ok(id) => { running.remove(&id); }
                Err(error) => tracing::error!(%error, "an invitation's task failed; it goes on after a restart"),
            },
        }
    }
    drivers.shutdown().await;
}

/// An attempt to connect; a task of its own, so that a driver can wait for other things beside it.
type Connecting = JoinSet<Result<Box<WsStream>, ClientError>>;

/// The connection to the rendezvous server.
enum Line {
    Closed,
    Connecting(Connecting),
    Open { socket: Box<WsStream>, is_pinged: bool },
}

/// Something that happened to a driver.
enum Happened {
    /// There may be work in the queue.
    Changed,
    Connected(Result<Box<WsStream>, ClientError>),
    Heard(Option<Result<Message, ws::WsError>>),
    Silence,
    Wake,
    Worked(Result<Option<Input>, JoinError>),
    Shutdown,
}

struct Driver {
    agent: Agent,
    id: u32,
    settings: WsSettings,
    line: Line,
    /// Expensive computations under way.
    work: JoinSet<Option<Input>>,
    wake_at: Option<UnixMillis>,
    failures: u32,
}

impl Driver {
    fn new(agent: Agent, id: u32, mut settings: WsSettings) -> Self {
        // Two invitations must not look like one person's.
        settings.isolation = ("invitation".to_owned(), id.to_string());
        settings.max_message_bytes = MAX_FRAME_BYTES;
        Self { agent, id, settings, line: Line::Closed, work: JoinSet::new(), wake_at: None, failures: 0 }
    }

    /// Runs until the invitation has nothing to do, or the node stops.
    async fn run(mut self, shutdown: CancellationToken) {
        let agent = self.agent.clone();
        loop {
            let changed = agent.invitations_changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            for effect in agent.take_invitation_work(self.id) {
                self.carry_out(effect).await;
            }
            let wants_connection = agent.wants_rendezvous(self.id).await;
            self.adjust_line(wants_connection).await;
            if !wants_connection && self.wake_at.is_none() && self.work.is_empty() {
                return;
            }
            let happened = tokio::select! {
                () = shutdown.cancelled() => Happened::Shutdown,
                () = changed => Happened::Changed,
                happened = listen(&mut self.line) => happened,
                () = super::sleep_until(self.wake_at) => Happened::Wake,
                Some(ended) = self.work.join_next() => Happened::Worked(ended),
            };
            if matches!(happened, Happened::Shutdown) {
                self.close().await;
                return;
            }
            self.react(happened).await;
        }
    }

    async fn react(&mut self, happened: Happened) {
        match happened {
            Happened::Changed | Happened::Shutdown => {}
            Happened::Connected(Ok(socket)) => {
                self.line = Line::Open { socket, is_pinged: false };
                self.agent.set_rendezvous_health(Some(Ok(())));
                self.input(Input::Connected).await;
            }
            Happened::Connected(Err(error)) => self.lost(error.to_string()).await,
            Happened::Heard(Some(Ok(message))) => self.heard(message).await,
            Happened::Heard(Some(Err(error))) => self.lost(format!("the connection broke: {error}")).await,
            Happened::Heard(None) => self.lost("the server closed the connection".to_owned()).await,
            Happened::Silence => self.ping().await,
            Happened::Wake => {
                self.wake_at = None;
                self.input(Input::Tick).await;
            }
            Happened::Worked(Ok(Some(input))) => self.input(input).await,
            Happened::Worked(Ok(None)) => {
                self.lost("the server asks for more work than is reasonable".into()).await
            }
            Happened::Worked(Err(error)) => tracing::error!(%error, "a computation failed"),
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Stretch(code) => {
                self.work.spawn_blocking(move || Some(Input::Stretched(StretchedCode::derive(&code))));
            }
            Effect::Mint(challenge) => {
                let now = UnixMillis(clock::unix_ms());
                self.work.spawn_blocking(move || challenge.mint(now, &mut OsRng).ok().map(Input::Minted));
            }
            Effect::Greeted(welcome) => {
                if let Some(motd) = welcome.motd {
                    tracing::info!(motd = %motd.escape_debug(), "the rendezvous server says");
                }
            }
            Effect::Send(message) => self.send(message).await,
            Effect::Disconnect => self.close().await,
            Effect::Wake(time) => self.wake_at = Some(time),
            Effect::Persist
            | Effect::Burn(_)
            | Effect::Completed(_)
            | Effect::Failed(_)
            | Effect::Expired => {}
        }
    }

    async fn send(&mut self, message: ClientMessage) {
        let Line::Open { socket, .. } = &mut self.line else { return };
        let Ok(text) = serde_json::to_string(&ClientFrame { id: None, message }) else { return };
        if let Err(error) = socket.send(Message::text(text)).await {
            self.lost(format!("the connection broke: {error}")).await;
        }
    }

    async fn heard(&mut self, message: Message) {
        if let Line::Open { is_pinged, .. } = &mut self.line {
            *is_pinged = false;
        }
        let Message::Text(text) = message else { return };
        match ServerFrame::decode(text.as_bytes()) {
            Ok(frame) => {
                self.failures = 0;
                self.input(Input::Server(frame.message)).await;
            }
            Err(_) => self.lost("the server does not speak the rendezvous protocol".to_owned()).await,
        }
    }

    async fn ping(&mut self) {
        match &mut self.line {
            Line::Open { is_pinged: true, .. } => self.lost("the server is silent".to_owned()).await,
            Line::Open { socket, is_pinged } => {
                *is_pinged = true;
                if socket.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    self.lost("the connection broke".to_owned()).await;
                }
            }
            Line::Closed | Line::Connecting(_) => {}
        }
    }

    /// Connects if the invitation needs the server and there is no connection; hangs up if it does not.
    async fn adjust_line(&mut self, wants_connection: bool) {
        if !wants_connection {
            self.close().await;
        } else if matches!(self.line, Line::Closed) {
            let (url, settings) = (self.agent.rendezvous_url().to_owned(), self.settings.clone());
            let pause = self.pause();
            let mut connecting = Connecting::new();
            connecting.spawn(async move {
                tokio::time::sleep(pause).await;
                ws::connect(&url, &settings).await.map(Box::new)
            });
            self.line = Line::Connecting(connecting);
        }
    }

    fn pause(&self) -> Duration {
        match self.failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(earlier) => backoff(earlier, &mut OsRng).min(MAX_PAUSE),
        }
    }

    async fn lost(&mut self, reason: String) {
        self.line = Line::Closed;
        self.failures = self.failures.saturating_add(1);
        tracing::debug!(invitation = self.id, reason, "no connection to the rendezvous server");
        self.agent.set_rendezvous_health(Some(Err(reason)));
        self.input(Input::Disconnected).await;
    }

    async fn close(&mut self) {
        if let Line::Open { socket, .. } = &mut self.line {
            // The server notices a connection that ends without a farewell as well.
            socket.close().await.unwrap_or_default();
        }
        if !matches!(self.line, Line::Closed) {
            self.line = Line::Closed;
            self.agent.set_rendezvous_health(None);
        }
    }

    async fn input(&mut self, input: Input) {
        if let Err(error) = self.agent.invitation_input(self.id, input).await {
            tracing::error!(invitation = self.id, %error, "an invitation could not go on");
            // It is tried again from what is stored; not at once, since the disk may be full.
            self.failures = self.failures.saturating_add(1);
            tokio::time::sleep(self.pause()).await;
        }
    }
}

/// Waits for what the line brings next.
async fn listen(line: &mut Line) -> Happened {
    match line {
        Line::Closed => std::future::pending().await,
        Line::Connecting(connecting) => match connecting.join_next().await {
            Some(Ok(connected)) => Happened::Connected(connected),
            Some(Err(_)) | None => Happened::Heard(None),
        },
        Line::Open { socket, .. } => match tokio::time::timeout(SILENCE, socket.next()).await {
            Ok(heard) => Happened::Heard(heard),
            Err(_) => Happened::Silence,
        },
    }
}
