//! The outbox of one contact: which message to offer next to which of the contact's transports, and when.
//!
//! A message stays until the contact's agent acknowledges it. While no mailbox has taken it, it is tried again with growing,
//! randomised delays; after [`FALL_OVER`] at the contact's next transport as well. Once a mailbox has taken it, a further copy
//! is made only for a reason ([`Outbox::acknowledge`], [`Outbox::again`], the mailbox's retention), and never are more than
//! [`MAX_COPIES`] within one mailbox's retention. Messages are offered in the order of their numbers, never a later one
//! before an earlier one is taken. The machine keeps no contents. Specification: Delivery, "Nothing lost".

use core::time::Duration;
use std::{borrow::Cow, collections::BTreeMap};

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

mod flow;
mod schedule;

use self::{flow::Flow, schedule::Schedule};
use crate::{
    channel::{MessageNumber, ack::AckPacket},
    keys::{MessageId, SealSeed, TransportId, stored_secret},
    time::UnixMillis,
};

pub use self::{
    flow::{MAX_OUTSTANDING_BYTES, MIN_CREDIT_BYTES},
    schedule::{FALL_OVER, MAX_BACKOFF, MIN_BACKOFF, backoff},
};

/// The most copies of one message that one mailbox gets within its retention.
pub const MAX_COPIES: usize = 2;

/// How much later than a message another one has to be taken, at the same transport, for its arrival to show that the
/// first is lost there: what is taken at about the same time may arrive in any order.
pub const OVERTAKEN: Duration = Duration::from_secs(600);

/// How long a contact's new epoch is waited out: its first acknowledgement comes within seconds.
pub const NEW_EPOCH_PATIENCE: Duration = Duration::from_secs(600);

/// What a message in the outbox is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// It stays until it is acknowledged.
    Content,
    /// It only acknowledges: it is done once a mailbox has it.
    AckOnly,
    /// It tells the contact a new key: it is done once a mailbox has it, and asked for again if it is lost.
    Reset,
}

/// A message that waits for a mailbox or for its acknowledgement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the channel.
    pub number: MessageNumber,
    /// Its name for good.
    pub mid: MessageId,
    /// What it is for.
    pub kind: Kind,
    /// The row of the message log that holds its text; none for a message of the program's own.
    pub message: Option<u64>,
    /// When it was queued.
    pub queued_at: UnixMillis,
    /// The length of its msgA, in bytes.
    pub bytes: u32,
    /// Makes each encryption of it the same bytes whenever it is repeated, so that servers store it once.
    #[serde(with = "stored_secret")]
    pub seed: SealSeed,
    /// What mailboxes have taken.
    pub deposits: Vec<Deposit>,
}

/// The copies of one message at one transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// Where.
    pub tid: TransportId,
    /// How many encryptions were taken there.
    pub attempts: u8,
    /// When those were that may still lie there, at most [`MAX_COPIES`].
    pub taken_at: Vec<UnixMillis>,
    /// Until then no further copy is needed.
    pub again_at: UnixMillis,
    /// How long the mailbox keeps a copy.
    pub retention: Duration,
}

/// One of the contact's transports, as the outbox sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub tid: TransportId,
    /// How long its mailbox keeps messages.
    pub retention: Duration,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Seal this message for this transport and offer it there.
    Offer {
        /// The message.
        number: MessageNumber,
        /// Where.
        tid: TransportId,
        /// Counts the encryptions of the message for this transport, from 0.
        attempt: u8,
    },
    /// Nothing until then.
    WaitUntil(UnixMillis),
    /// The contact has no mailbox: nothing until its transports change.
    NoRoute,
    /// Nothing waits for a mailbox, or an offer is under way.
    Idle,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mailbox has the message on disk.
    Taken,
    /// The server could not be reached, or refused for now.
    Failed {
        /// The server's Retry-After: the shortest delay.
        retry_after: Option<Duration>,
        /// The mailbox is full.
        is_full: bool,
    },
}

/// Why outstanding messages get another copy although a mailbox has taken them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The contact's node has started anew: what it had not stored is gone if it was set back. It gets time to answer first.
    NewEpoch,
    /// The contact's node has lost its keys.
    Reset,
}

/// The delivery state of one contact. What must survive a restart is in the [`Entry`]s.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    entries: BTreeMap<MessageNumber, Entry>,
    /// Acknowledged, for the program to erase.
    done: BTreeMap<MessageNumber, Entry>,
    schedule: Schedule,
    flow: Flow,
    in_flight: Option<(MessageNumber, TransportId)>,
    /// Whether failures were to be forgotten while an offer was under way: then its failure is forgotten too.
    forgives: bool,
    /// Whether each of the contact's transports gets a copy.
    everywhere: bool,
    /// The greatest number offered: an acknowledgement above it is a lie.
    offered: MessageNumber,
}

impl Entry {
    /// Tells whether a mailbox has taken the message.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.deposits.iter().any(|deposit| deposit.attempts > 0)
    }

    fn deposit(&self, tid: TransportId) -> Option<&Deposit> {
        self.deposits.iter().find(|deposit| deposit.tid == tid)
    }

    /// When the message needs a further copy, given the transports that the contact has now.
    fn due_at(&self, routes: &[Route]) -> UnixMillis {
        let live = routes.iter().filter_map(|route| self.deposit(route.tid));
        live.map(|deposit| deposit.again_at).max().unwrap_or_default()
    }

    fn note_taken(&mut self, route: Route, now: UnixMillis) {
        let Route { tid, retention } = route;
        if self.deposit(tid).is_none() {
            let (taken_at, again_at) = (Vec::new(), UnixMillis::default());
            self.deposits.push(Deposit { tid, attempts: 0, taken_at, again_at, retention });
        }
        let Some(deposit) = self.deposits.iter_mut().find(|deposit| deposit.tid == tid) else { return };
        deposit.attempts = deposit.attempts.saturating_add(1);
        deposit.retention = retention;
        deposit.again_at = now.plus(retention);
        deposit.taken_at.push(now);
        if deposit.taken_at.len() > MAX_COPIES {
            deposit.taken_at.remove(0);
        }
    }

    /// Makes a further copy due at `time` at the latest; tells whether that changed anything.
    fn again_at(&mut self, time: UnixMillis, is_meant: impl Fn(&Deposit) -> bool) -> bool {
        let later = self.deposits.iter_mut().filter(|deposit| is_meant(deposit) && deposit.again_at > time);
        later.map(|deposit| deposit.again_at = time).count() > 0
    }
}

impl Deposit {
    /// From when on the mailbox may get another copy.
    fn has_room_at(&self) -> UnixMillis {
        match self.taken_at.first() {
            Some(oldest) if self.taken_at.len() >= MAX_COPIES => oldest.plus(self.retention),
            _ => UnixMillis::default(),
        }
    }
}

impl Outbox {
    /// Makes an outbox of what was stored.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.number, entry)).collect();
        let mut flow = Flow::default();
        entries.values().filter(|entry| is_outstanding(entry)).for_each(|entry| flow.add(entry));
        // The first that waits may have been under way when the program stopped, and be acknowledged before it is repeated.
        let offered = entries.values().find(|entry| !entry.is_taken()).map(|entry| entry.number);
        Self { entries, flow, offered: offered.unwrap_or_default(), ..Self::default() }
    }

    /// Queues a message; its number is above all others'.
    pub fn enqueue(&mut self, entry: Entry) {
        self.entries.insert(entry.number, entry);
    }

    /// Takes a message out: it is given up, or superseded.
    pub fn remove(&mut self, number: MessageNumber) -> Option<Entry> {
        self.in_flight.take_if(|(offered, _)| *offered == number);
        let entry = self.entries.remove(&number)?;
        self.flow.remove(&entry);
        Some(entry)
    }

    /// Returns a message.
    #[must_use]
    pub fn entry(&self, number: MessageNumber) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// Iterates over what waits or is outstanding, in the order of numbers.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Iterates over what no mailbox has taken yet.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.is_taken())
    }

    /// Tells whether nothing waits or is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.done.is_empty()
    }

    /// Returns the lowest message that is not acknowledged; acknowledgements are never waited for.
    #[must_use]
    pub fn base(&self) -> Option<MessageNumber> {
        self.entries.values().find(|entry| entry.kind == Kind::Content).map(|entry| entry.number)
    }

    /// Returns when the next attempt is due, if the last ones failed.
    #[must_use]
    pub fn retrying_at(&self) -> Option<UnixMillis> {
        self.schedule.retrying_at()
    }

    /// Tells whether messages wait until the contact has acknowledged earlier ones.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        let first = self.waiting().find(|entry| entry.kind == Kind::Content);
        first.is_some_and(|entry| !self.flow.admits(entry, self.base()))
    }

    /// Notes how many bytes the contact lets be outstanding.
    pub fn set_credit(&mut self, bytes: Option<u64>) {
        self.flow.set_advertised(bytes);
    }

    /// Has a copy of each message put into every mailbox of the contact, and not into the first that works only: any one of
    /// them may lose it then.
    pub fn set_copies_everywhere(&mut self, everywhere: bool) {
        self.everywhere = everywhere;
    }

    /// Decides what to do, given the contact's transports, best first.
    ///
    /// After [`Next::Offer`] nothing else is offered until [`Self::finish`].
    pub fn next(&mut self, routes: &[Route], now: UnixMillis) -> Next {
        // A contact may change its transports as often as it likes.
        self.schedule.retain(routes);
        if self.in_flight.is_some() || self.entries.is_empty() {
            return Next::Idle;
        }
        if routes.is_empty() {
            return Next::NoRoute;
        }
        let mut wake_at: Option<UnixMillis> = None;
        let mut is_held_back = false;
        for entry in self.entries.values() {
            let due_at = entry.due_at(routes);
            let mut candidates = Cow::Borrowed(routes);
            if due_at > now {
                wake_at = earlier(wake_at, due_at);
                candidates = Cow::Owned(self.without_copy(entry, routes));
            }
            if candidates.is_empty() {
                continue;
            }
            if !entry.is_taken() && entry.kind == Kind::Content {
                is_held_back |= !self.flow.admits(entry, self.base());
                // A short message does not pass a long one.
                if is_held_back {
                    continue;
                }
            }
            match self.schedule.choose(entry, &candidates, self.everywhere, now) {
                Ok(tid) => {
                    let attempt = entry.deposit(tid).map_or(0, |deposit| deposit.attempts);
                    self.in_flight = Some((entry.number, tid));
                    self.offered = self.offered.max(entry.number);
                    return Next::Offer { number: entry.number, tid, attempt };
                }
                // What no mailbox has taken yet holds up all later ones, else their order would be lost.
                Err(time) if !entry.is_taken() => {
                    return Next::WaitUntil(wake_at.map_or(time, |at| at.min(time)));
                }
                Err(time) => wake_at = earlier(wake_at, time),
            }
        }
        wake_at.map_or(Next::Idle, Next::WaitUntil)
    }

    /// The transports that are to get a first copy of a message that another one has taken.
    fn without_copy(&self, entry: &Entry, routes: &[Route]) -> Vec<Route> {
        let lacks = |route: &&Route| self.everywhere && entry.deposit(route.tid).is_none();
        routes.iter().filter(lacks).copied().collect()
    }

    /// Notes how an offer of a message ended; returns the entry as it is now if the mailbox took it.
    ///
    /// An offer may outlive the outbox that made it: after a reload the same message is offered again, and the answers
    /// come in any order. A message that was taken is taken, whichever offer of it succeeded; a failure counts only for
    /// the offer that is under way. One that is not [`Kind::Content`] is done then, and no longer in the outbox.
    pub fn finish(
        &mut self,
        number: MessageNumber,
        route: Route,
        outcome: Outcome,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Option<Entry> {
        let was_under_way = self.in_flight.take_if(|offer| *offer == (number, route.tid)).is_some();
        match outcome {
            Outcome::Taken => {
                self.forgives = false;
                self.in_flight.take_if(|(offered, _)| *offered == number);
                self.schedule.succeeded(route.tid);
                let entry = self.entries.get_mut(&number)?;
                if entry.kind != Kind::Content {
                    return self.entries.remove(&number);
                }
                let was_outstanding = entry.is_taken();
                entry.note_taken(route, now);
                if !was_outstanding {
                    self.flow.add(entry);
                }
                Some(entry.clone())
            }
            Outcome::Failed { .. } if !was_under_way => None,
            Outcome::Failed { retry_after, is_full } => {
                if is_full {
                    self.flow.halve();
                }
                self.schedule.failed(route.tid, retry_after, now, rng);
                if std::mem::take(&mut self.forgives) {
                    self.schedule.retry_now();
                }
                None
            }
        }
    }

    /// Takes in what the contact says it has. What it acknowledges is moved out of the way for [`Self::take_done`]; what it
    /// must have missed is due again. Returns the messages whose entries changed otherwise, to be stored.
    ///
    /// A message is missed if a later one, taken at the same transport [`OVERTAKEN`] after it, has arrived; or if the contact
    /// says that its key was gone: then it is not acknowledged, whatever else the packet says.
    pub fn acknowledge(&mut self, acks: &AckPacket, now: UnixMillis) -> Vec<MessageNumber> {
        let acknowledged: Vec<MessageNumber> = self
            .entries
            .values()
            .filter(|entry| entry.kind == Kind::Content && acks.covers(entry.number))
            .filter(|entry| !acks.retired.iter().any(|retired| retired.number == entry.number))
            .filter(|entry| entry.is_taken() || entry.number <= self.offered)
            .map(|entry| entry.number)
            .collect();
        let mut latest: BTreeMap<TransportId, (MessageNumber, UnixMillis)> = BTreeMap::new();
        for number in acknowledged {
            for (tid, taken_at) in self.acknowledged(number) {
                let last = latest.entry(tid).or_insert((number, taken_at));
                *last = (*last).max((number, taken_at));
            }
        }
        let mut changed = Vec::new();
        for entry in self.entries.values_mut().filter(|entry| entry.is_taken()) {
            let number = entry.number;
            let retired = acks.retired.iter().find(|retired| retired.number == number);
            // What was encrypted again since is not meant.
            let is_retired = |deposit: &Deposit| {
                retired.is_some_and(|retired| deposit.attempts <= retired.attempt.saturating_add(1))
            };
            let is_overtaken = |deposit: &Deposit| {
                let (Some((later, at)), Some(taken_at)) = (latest.get(&deposit.tid), deposit.taken_at.last())
                else {
                    return false;
                };
                *later > number && *at >= taken_at.plus(OVERTAKEN)
            };
            let is_due = |deposit: &Deposit| is_retired(deposit) || is_overtaken(deposit);
            let is_due_again = entry.again_at(now, is_due);
            // What was retired was fetched, and deleted there.
            let retired = entry.deposits.iter_mut().filter(|deposit| is_retired(deposit));
            let fetched = retired.map(|deposit| std::mem::take(&mut deposit.taken_at).len()).sum::<usize>();
            if is_due_again || fetched > 0 {
                changed.push(number);
            }
        }
        changed
    }

    /// Moves an acknowledged message out of the way; says when each transport first took it.
    fn acknowledged(&mut self, number: MessageNumber) -> Vec<(TransportId, UnixMillis)> {
        let Some(entry) = self.entries.remove(&number) else { return Vec::new() };
        self.in_flight.take_if(|(offered, _)| *offered == number);
        self.flow.acknowledged(&entry);
        let taken =
            entry.deposits.iter().filter_map(|deposit| Some((deposit.tid, *deposit.taken_at.first()?)));
        let taken = taken.collect();
        self.done.insert(number, entry);
        taken
    }

    /// Makes all outstanding messages due again; returns those that changed, to be stored.
    pub fn again(&mut self, reason: Reason, now: UnixMillis) -> Vec<MessageNumber> {
        let time = match reason {
            Reason::NewEpoch => now.plus(NEW_EPOCH_PATIENCE),
            Reason::Reset => now,
        };
        let entries = self.entries.values_mut();
        entries.filter_map(|entry| entry.again_at(time, |_| true).then_some(entry.number)).collect()
    }

    /// Takes at most `limit` acknowledged messages, for the program to erase.
    pub fn take_done(&mut self, limit: usize) -> Vec<Entry> {
        std::iter::from_fn(|| self.done.pop_first()).take(limit).map(|(_, entry)| entry).collect()
    }

    /// Iterates over acknowledged messages that the program has not erased yet.
    pub fn unerased(&self) -> impl Iterator<Item = &Entry> {
        self.done.values()
    }

    /// Returns how many acknowledged messages are to be erased.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done.len()
    }

    /// Forgets failures: the contact's transports changed, a server came back, or a person asked to try now.
    pub fn retry_now(&mut self) {
        self.schedule.retry_now();
        self.forgives = self.in_flight.is_some();
    }
}

/// Tells whether a message counts for the flow control.
fn is_outstanding(entry: &Entry) -> bool {
    entry.kind == Kind::Content && entry.is_taken()
}

fn earlier(time: Option<UnixMillis>, other: UnixMillis) -> Option<UnixMillis> {
    Some(time.map_or(other, |time| time.min(other)))
}

#[cfg(test)]
mod tests;
