//! The one task that changes the state: it judges what has come in, commits it, and only then answers.
//!
//! Owns the order "persist, then send". What comes in while a commit is under way is judged and committed together, so
//! that all clients share its flush. Must not know the protocol or WebSocket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use petmail_net::{CancellationToken, clock};
use petmail_proto::invitation::wormhole::ServerFrame;
use petmail_proto::time::UnixMillis;
use petmail_store::{Batch, CommitError, Store};
use rand_core::OsRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::request::Request;
use crate::state::{ConnectionId, Counts, Effect, Input, Origin, State, Step};
use crate::status::{SLOW_READER, count_refused};
use crate::storage;

/// Most events judged before a commit; more wait for the next one.
const MAX_GROUP: usize = 256;

/// Events that may wait; then connections are no longer read from.
const QUEUE_EVENTS: usize = 1024;

/// Messages that may wait for one client; one that reads slower is dropped. More than twice a full mailbox.
pub(crate) const OUTBOX_MESSAGES: usize = 1024;

/// How often the state is looked over for what is too old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Most exchanges deleted at once: deletes are spaced, because the store's engine does not like them in bulk.
const SWEEP_MAX: usize = 64;

/// What a connection is to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message.
    Frame(Arc<ServerFrame>),
    /// Nothing more: say goodbye.
    End,
}

/// What reaches the writer.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client connected; its messages go into the outbox.
    Connected(ConnectionId, Origin, mpsc::Sender<Outgoing>),
    /// A client sent a message.
    Request(ConnectionId, Box<Request>),
    /// A connection ended.
    Disconnected(ConnectionId),
    /// Somebody asks how busy the server is.
    Count(oneshot::Sender<Counts>),
}

/// Makes the queue to a writer.
pub(crate) fn queue() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    mpsc::channel(QUEUE_EVENTS)
}

/// The state, its store, and the way to the clients.
#[derive(Debug)]
pub(crate) struct Writer {
    state: State,
    store: Store,
    outboxes: BTreeMap<ConnectionId, mpsc::Sender<Outgoing>>,
    batch: Batch,
    effects: Vec<Effect>,
}

impl Writer {
    pub(crate) fn new(state: State, store: Store) -> Self {
        Self { state, store, outboxes: BTreeMap::new(), batch: Batch::new(), effects: Vec::new() }
    }

    /// Works until `shutdown`, or until everyone who could send an event is gone.
    ///
    /// # Errors
    /// A commit failed. Nothing that depended on it has been answered; the state is of no use any more.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        shutdown: CancellationToken,
    ) -> Result<(), CommitError> {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut group = Vec::with_capacity(MAX_GROUP);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = sweep.tick() => self.sweep().await?,
                count = events.recv_many(&mut group, MAX_GROUP) => {
                    if count == 0 {
                        break;
                    }
                    for event in group.drain(..) {
                        self.judge(event).await?;
                    }
                }
            }
            self.commit().await?;
        }
        self.store.close().await;
        Ok(())
    }

    async fn judge(&mut self, event: Event) -> Result<(), CommitError> {
        let input = match event {
            Event::Connected(connection, origin, outbox) => {
                self.outboxes.insert(connection, outbox);
                Input::Connected(connection, origin)
            }
            Event::Request(connection, request) => Input::Request(connection, request),
            Event::Disconnected(connection) => {
                self.outboxes.remove(&connection);
                Input::Disconnected(connection)
            }
            Event::Count(reply) => {
                if reply.send(self.state.counts()).is_err() {
                    tracing::debug!("nobody waits for the count any more");
                }
                return Ok(());
            }
        };
        let step = self.state.handle(input, now(), &mut OsRng);
        self.gather(step).await
    }

    async fn sweep(&mut self) -> Result<(), CommitError> {
        let now = now();
        let late = self.state.refuse_unbound(now);
        self.gather(late).await?;
        let mut left = SWEEP_MAX;
        while left > 0 && self.state.needs_sweep(now) {
            // One at a time, because a step has to fit into a batch.
            let step = self.state.sweep(now, 1);
            self.gather(step).await?;
            left -= 1;
        }
        Ok(())
    }

    /// Adds a step to the commit being prepared, or to the next if it is too much for this one.
    async fn gather(&mut self, step: Step) -> Result<(), CommitError> {
        if !storage::has_room(&self.batch, &step.changes) {
            self.commit().await?;
        }
        self.batch = storage::extend(std::mem::take(&mut self.batch), step.changes);
        self.effects.extend(step.effects);
        Ok(())
    }

    /// Commits what was gathered, then carries its effects out.
    async fn commit(&mut self) -> Result<(), CommitError> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Send(connection, frame) => self.send(connection, Outgoing::Frame(frame)),
                Effect::Refused(connection, refusal) => {
                    tracing::info!(connection = connection.0, reason = refusal.code(), "message refused");
                    count_refused(refusal.code());
                    if refusal.ends_connection() {
                        self.send(connection, Outgoing::End);
                        self.outboxes.remove(&connection);
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        let Some(outbox) = self.outboxes.get(&connection) else { return };
        if outbox.try_send(outgoing).is_err() {
            tracing::info!(connection = connection.0, "client dropped: it does not read");
            count_refused(SLOW_READER);
            self.outboxes.remove(&connection);
        }
    }
}

fn now() -> UnixMillis {
    UnixMillis(clock::unix_ms())
}

#[cfg(test)]
mod tests;
