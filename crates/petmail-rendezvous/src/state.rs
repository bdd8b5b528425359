//! The pure core of the rendezvous server: `handle(input, now, rng)` returns what to write and what to send.
//!
//! Owns the protocol's rules. Must not know sockets, tasks, clocks or the store. The caller must make a step's changes
//! durable *before* it carries the step's effects out, in order; should a write fail, the state in memory is ahead of
//! the store and must be thrown away. Specification: `docs/protocol/`, invitations (§2), "Rendezvous protocol".

mod directory;
mod random;
mod record;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use petmail_proto::invitation::wormhole::{
    AppId, HashcashChallenge, Permissions, PetmailWelcome, ServerFrame, ServerMessage, Welcome,
};
use petmail_proto::time::UnixMillis;
use rand_core::CryptoRngCore;
use serde_json::Value;

pub use directory::Origin;
pub(crate) use record::seconds;
pub use record::{Change, Place, RecordError, Table};

use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::request::Request;
use directory::Directory;
use session::Session;

/// One connection; numbers are never used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Policy {
    /// News shown by every client.
    pub motd: Option<String>,
    /// How many bits of hashcash a client must do first; none means that none is asked for.
    pub hashcash_bits: Option<u32>,
    /// How many it must do while the server is busy, if that is more.
    pub busy_hashcash_bits: Option<u32>,
    /// The applications served; empty means all.
    pub allowed_appids: BTreeSet<AppId>,
    /// Whether `list` tells the nameplates in use.
    pub allow_list: bool,
    /// How long an exchange is kept while nobody does anything in it.
    pub retention: Duration,
    /// Bounds of what clients may do.
    pub limits: Limits,
}

/// What happens to the server.
#[derive(Debug)]
pub enum Input {
    /// A client connected, from the address behind the origin.
    Connected(ConnectionId, Origin),
    /// A client sent a message. Boxed: it is much larger than the others.
    Request(ConnectionId, Box<Request>),
    /// A connection ended.
    Disconnected(ConnectionId),
}

/// What the server is to do once the changes are durable.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send this.
    Send(ConnectionId, Arc<ServerFrame>),
    /// Log the refusal and, after what has been sent so far, end the connection if it says so.
    Refused(ConnectionId, Refusal),
}

/// What one input causes.
#[derive(Debug, Default)]
pub struct Step {
    /// To be written, atomically.
    pub changes: Vec<Change>,
    /// To be carried out after that, in order.
    pub effects: Vec<Effect>,
}

/// How busy the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Open connections.
    pub connections: usize,
    /// Nameplates in use.
    pub nameplates: usize,
    /// Mailboxes in use.
    pub mailboxes: usize,
    /// Messages kept.
    pub messages: usize,
    /// Bytes that they take.
    pub stored_bytes: usize,
}

/// The whole state: what is durable, and who is connected.
#[derive(Debug)]
pub struct State {
    policy: Policy,
    directory: Directory,
    sessions: BTreeMap<ConnectionId, Session>,
    listeners: BTreeMap<Place, BTreeSet<ConnectionId>>,
    /// Whether the last client who came met a busy server.
    was_busy: bool,
}

impl State {
    /// An empty server.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let directory = Directory::new(policy.limits.clone());
        Self { policy, directory, sessions: BTreeMap::new(), listeners: BTreeMap::new(), was_busy: false }
    }

    /// Judges one input.
    pub fn handle(&mut self, input: Input, now: UnixMillis, rng: &mut impl CryptoRngCore) -> Step {
        let mut effects = Vec::new();
        match input {
            Input::Connected(connection, origin) => self.connect(connection, origin, now, rng, &mut effects),
            Input::Request(connection, request) => self.request(connection, *request, now, rng, &mut effects),
            Input::Disconnected(connection) => self.disconnect(connection),
        }
        Step { changes: self.directory.take_changes(), effects }
    }

    /// Deletes at most `max` exchanges that have been quiet for too long. One that a client is connected to stays.
    pub fn sweep(&mut self, now: UnixMillis, max: usize) -> Step {
        let before = now.minus(self.policy.retention);
        let listeners = &self.listeners;
        let expired = self.directory.expire(before, now, max, |place| listeners.contains_key(place));
        tracing::debug!(count = expired.len(), "expired exchanges deleted");
        Step { changes: self.directory.take_changes(), effects: Vec::new() }
    }

    /// Refuses the connections that have not bound in time.
    pub fn refuse_unbound(&mut self, now: UnixMillis) -> Step {
        let before = now.minus(self.policy.limits.bind_timeout);
        let late = self.sessions.extract_if(.., |_, session| session.is_unbound_since(before));
        let effects = late.flat_map(|(connection, _)| refuse(connection, Refusal::BindTimeout, Value::Null));
        Step { changes: Vec::new(), effects: effects.collect() }
    }

    /// Whether [`State::sweep`] has something to do.
    #[must_use]
    pub fn needs_sweep(&self, now: UnixMillis) -> bool {
        self.directory.has_stale(now.minus(self.policy.retention))
    }

    /// Counts what there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let totals = self.directory.totals();
        Counts {
            connections: self.sessions.len(),
            nameplates: totals.nameplates,
            mailboxes: totals.mailboxes,
            messages: totals.messages,
            stored_bytes: totals.stored_bytes,
        }
    }

    fn connect(
        &mut self,
        connection: ConnectionId,
        origin: Origin,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
        effects: &mut Vec<Effect>,
    ) {
        // Each connection has its own resource, so that a stamp serves once and nowhere else.
        let challenge =
            self.hashcash_bits().map(|bits| HashcashChallenge { bits, resource: random::token(rng) });
        let welcome = ServerMessage::Welcome { welcome: self.welcome(challenge.clone()) };
        self.sessions.insert(connection, Session::new(origin, challenge, now));
        effects.push(Effect::Send(connection, Arc::new(welcome.into())));
    }

    /// How many bits of work the next client has to do.
    fn hashcash_bits(&mut self) -> Option<u32> {
        let is_busy = self.is_busy();
        if self.policy.busy_hashcash_bits.is_some() && is_busy != self.was_busy {
            tracing::info!(is_busy, "the work that clients are asked for changes");
        }
        self.was_busy = is_busy;
        let when_busy = self.policy.busy_hashcash_bits.filter(|_| is_busy);
        self.policy.hashcash_bits.max(when_busy)
    }

    /// Whether there are as many connections as the limits call busy, or what is kept is half of what can be.
    fn is_busy(&self) -> bool {
        let limits = &self.policy.limits;
        let totals = self.directory.totals();
        self.sessions.len() >= limits.busy_connections
            || totals.mailboxes >= limits.mailboxes.div_ceil(2)
            || totals.stored_bytes >= limits.stored_bytes.div_ceil(2)
    }

    fn welcome(&self, hashcash: Option<HashcashChallenge>) -> Welcome {
        Welcome {
            motd: self.policy.motd.clone(),
            error: None,
            permission_required: hashcash.map(|it| Permissions { none: None, hashcash: Some(it) }),
            petmail: Some(PetmailWelcome { retention: self.policy.retention.as_secs() }),
        }
    }

    fn disconnect(&mut self, connection: ConnectionId) {
        let Some(session) = self.sessions.remove(&connection) else { return };
        if let Some(place) = session.place() {
            self.unsubscribe(connection, &place);
        }
    }

    fn subscribe(&mut self, connection: ConnectionId, place: Place) {
        self.listeners.entry(place).or_default().insert(connection);
    }

    fn unsubscribe(&mut self, connection: ConnectionId, place: &Place) {
        let Some(listeners) = self.listeners.get_mut(place) else { return };
        listeners.remove(&connection);
        if listeners.is_empty() {
            self.listeners.remove(place);
        }
    }

    /// A mailbox is gone: those who still listen must open it anew.
    fn drop_listeners(&mut self, place: &Place) {
        for connection in self.listeners.remove(place).unwrap_or_default() {
            if let Some(session) = self.sessions.get_mut(&connection) {
                session.forget_mailbox();
            }
        }
    }
}

/// The effects of a refusal.
fn refuse(connection: ConnectionId, refusal: Refusal, orig: Value) -> [Effect; 2] {
    let error = ServerMessage::Error { error: refusal.to_string(), orig };
    [Effect::Send(connection, Arc::new(error.into())), Effect::Refused(connection, refusal)]
}

/// Rebuilds a state from the rows of a store.
#[derive(Debug)]
pub struct Restore {
    state: State,
    messages: record::MessageReader,
}

impl Restore {
    /// Begins.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { state: State::new(policy), messages: record::MessageReader::default() }
    }

    /// Takes one row: every table in the order of [`Table::ALL`], each in the order of its keys.
    ///
    /// # Errors
    /// [`RecordError`] if the row is not what this program, or an older one, wrote.
    pub fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let directory = &mut self.state.directory;
        match table {
            Table::Nameplates => directory.restore_nameplate(key, value),
            Table::Mailboxes => directory.restore_mailbox(key, value),
            Table::Messages => match self.messages.row(key, value)? {
                Some((place, sequence, frame)) => directory.restore_message(&place, sequence, frame),
                None => Ok(()),
            },
        }
    }

    /// Ends.
    ///
    /// # Errors
    /// [`RecordError::Incomplete`] if the last message lacks rows.
    pub fn finish(self) -> Result<State, RecordError> {
        self.messages.finish()?;
        Ok(self.state)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
