//! Acknowledgements: which ones are owed and when they are sent, and what those of a contact bring about.

use std::time::Duration;

use petmail_proto::{
    channel::{
        MessageNumber,
        ack::{AckPacket, ContentDigest, MAX_NUMBERS, Previous},
    },
    keys::MessageId,
    outbox::{Entry, Kind, MAX_OUTSTANDING_BYTES, Reason},
    time::UnixMillis,
    wire::WireError,
};
use rand_core::CryptoRngCore;
use serde_json::{Map, Value, json};

use super::{
    Core, Step,
    send::News,
    send::{Draft, log_message, put_message},
};
use crate::{
    agent::{
        error::CommandError,
        records::{Message, MessageKey, Owed, Progress, Stage, Way},
        view::{self, file::packet},
    },
    api::types::Event,
    config::Privacy,
};

/// After how many messages an acknowledgement is sent at once: its sender must not stop for want of credit.
const PROMPT_AFTER: u32 = 64;

/// The shortest time between ack-only messages for duplicates: who repeats messages cannot make a node talk.
const DUPLICATE_PAUSE: Duration = Duration::from_secs(30);

/// The longest random delay of an acknowledgement.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// How many acknowledgements are queued in one step.
const ACKS_AT_ONCE: usize = 64;

/// How many acknowledged messages are erased in one step: each takes four writes, and a step may take in several messages.
pub(crate) const ERASED_AT_ONCE: usize = 8;

/// How many messages that are due again are noted in one step. The others are known until the program stops; then the
/// retention of their mailbox brings them back.
const NOTED_AT_ONCE: usize = 64;

/// How many received messages are remembered by their digests: the one before a message is mostly among them.
const MAX_RECENT: usize = 16;

/// How many missing messages are remembered.
const MAX_MISSING: usize = 64;

/// How many missing messages are shown as lost in one step.
const LOST_AT_ONCE: usize = 8;

/// The packet that stands in the place of a message that was lost.
pub(crate) const LOST: &str = "lost";

/// Why a contact is to get an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something new came.
    New,
    /// Something came again: the last acknowledgement may be lost.
    Duplicate,
}

impl Core {
    /// Makes the `ack` packet of a message that is about to be queued.
    pub(super) fn ack_packet(
        &self,
        cid: u32,
        number: MessageNumber,
        kind: Kind,
    ) -> Result<AckPacket, CommandError> {
        let peer = self.peer(cid)?;
        let is_only = kind != Kind::Content;
        Ok(AckPacket {
            retired: peer.progress.retired.clone(),
            skipped: peer.progress.skipped.clone(),
            credit: self.credit(),
            previous: peer.progress.last_content.filter(|_| !is_only),
            only: is_only,
            ..AckPacket::new(peer.outbox.base().unwrap_or(number), &peer.progress.windows)
        })
    }

    /// How much one contact may have outstanding: a quarter of the smallest mailbox, so that several may be absent-minded.
    fn credit(&self) -> Option<u64> {
        let accounts = self.mailboxes.values().filter_map(|mailbox| mailbox.account.as_ref());
        let quotas = accounts.map(|account| account.record.quota.bytes).filter(|bytes| *bytes > 0);
        let smallest = quotas.map(|bytes| bytes >> 2).min()?;
        (smallest < MAX_OUTSTANDING_BYTES).then_some(smallest)
    }

    /// Notes that a contact has to get an acknowledgement.
    pub(super) fn owe_ack(&mut self, cid: u32, why: Why, now: UnixMillis, rng: &mut impl CryptoRngCore) {
        let delay = random_delay(self.profile.privacy, rng);
        let Some(peer) = self.peers.get_mut(&cid) else { return };
        let Progress { owed, last_ack, .. } = &mut peer.progress;
        let soon = now.plus(delay);
        let mut due = match why {
            Why::New => soon,
            Why::Duplicate => soon.max(last_ack.plus(DUPLICATE_PAUSE)),
        };
        let mut messages = u32::from(why == Why::New);
        if let Some(owed) = owed {
            due = due.min(owed.due);
            messages = messages.saturating_add(owed.messages);
        }
        if messages >= PROMPT_AFTER {
            due = due.min(now);
        }
        *owed = Some(Owed { due, messages });
        self.set_ack_due(cid);
    }

    /// Notes that an acknowledgement was given up with the message that it travelled with.
    pub(super) fn owe_ack_again(&mut self, cid: u32, now: UnixMillis) -> Result<(), CommandError> {
        let progress = &mut self.peer_mut(cid)?.progress;
        if progress.windows.newest_epoch().is_some() {
            progress.owed.get_or_insert(Owed { due: now, messages: 0 });
            self.set_ack_due(cid);
        }
        Ok(())
    }

    /// An acknowledgement travels with a message: nothing is owed any more, unless the message has to wait for some itself.
    pub(super) fn acks_travel(&mut self, cid: u32, entry: &Entry) -> Result<(), CommandError> {
        let peer = self.peer_mut(cid)?;
        // A reset says nothing else.
        let travels = match entry.kind {
            Kind::Content => !peer.outbox.is_held_back(),
            Kind::AckOnly => true,
            Kind::Reset => false,
        };
        if travels {
            peer.progress.owed = None;
            self.set_ack_due(cid);
        }
        Ok(())
    }

    /// Brings the list of owed acknowledgements up to date with a contact's record.
    pub(super) fn set_ack_due(&mut self, cid: u32) {
        if let Some(due) = self.ack_due_of.remove(&cid) {
            self.acks_due.remove(&(due, cid));
        }
        let Some(peer) = self.peers.get(&cid) else { return };
        // Without a way to the contact nothing can be sent; its transports bring this back.
        let can_send = !peer.contact.theirs.transports.list.is_empty() && peer.contact.is_written_to();
        if let Some(owed) = peer.progress.owed.filter(|_| can_send) {
            self.acks_due.insert((owed.due, cid));
            self.ack_due_of.insert(cid, owed.due);
        }
    }

    /// The clock was set: nothing waits for a time by the clock before. True if there may be more.
    pub(crate) fn stop_waiting(&mut self, step: &mut Step, now: UnixMillis) -> Result<bool, CommandError> {
        for (cid, peer) in &mut self.peers {
            peer.outbox.retry_now();
            self.turns.wake(*cid);
        }
        step.wake_outbox = true;
        let latest = now.plus(DUPLICATE_PAUSE.max(MAX_DELAY));
        let put_off = self.acks_due.iter().rev().take_while(|(due, _)| *due > latest);
        let put_off: Vec<u32> = put_off.map(|(_, cid)| *cid).take(ACKS_AT_ONCE).collect();
        for cid in &put_off {
            if let Some(owed) = &mut self.peer_mut(*cid)?.progress.owed {
                owed.due = now;
            }
            self.set_ack_due(*cid);
            self.put_progress(step, *cid)?;
        }
        Ok(put_off.len() == ACKS_AT_ONCE)
    }

    /// When the next acknowledgement is due.
    pub(super) fn next_ack_due(&self) -> Option<UnixMillis> {
        self.acks_due.first().map(|(due, _)| *due)
    }

    /// Tells whether an acknowledgement is due.
    pub(crate) fn has_acks_due(&self, now: UnixMillis) -> bool {
        self.next_ack_due().is_some_and(|due| due <= now)
    }

    /// Queues ack-only messages for contacts that are owed one, as many as one step holds.
    pub(crate) fn queue_acks(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        for _ in 0..ACKS_AT_ONCE {
            let Some((_, cid)) = self.acks_due.first().copied().filter(|(due, _)| *due <= now) else { break };
            let peer = self.peer_mut(cid)?;
            peer.progress.last_ack = now;
            let older = peer.outbox.entries().find(|entry| entry.kind == Kind::AckOnly);
            if let Some(older) = older.map(|entry| entry.number) {
                peer.outbox.remove(older);
                Self::delete_queued(step, cid, older);
            }
            let draft = Draft {
                mid: MessageId::generate(rng),
                kind: Kind::AckOnly,
                message: None,
                content: &Map::new(),
                news: News::NONE,
            };
            self.enqueue(step, cid, draft, now, rng)?;
        }
        Ok(())
    }

    /// Takes in a contact's `ack` packet. `is_new_epoch` tells whether it came with the first message of a new epoch.
    pub(super) fn hear(
        &mut self,
        step: &mut Step,
        cid: u32,
        acks: &AckPacket,
        is_new_epoch: bool,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let outbox = &mut self.peer_mut(cid)?.outbox;
        outbox.set_credit(acks.credit);
        let mut changed = outbox.acknowledge(acks, now);
        if is_new_epoch {
            changed.extend(outbox.again(Reason::NewEpoch, now));
        }
        self.note_due_again(step, cid, changed)?;
        self.sweep_acknowledged(step, cid)?;
        self.wake(step, cid);
        self.note_previous(cid, acks.previous)?;
        self.show_lost(step, cid, acks, now)?;
        let progress = &mut self.peer_mut(cid)?.progress;
        // What the contact does not have any more need not be asked for.
        progress.retired.retain(|retired| retired.number >= acks.base);
        progress.windows.close_below(acks.base);
        Ok(())
    }

    /// Stores messages that are due again.
    pub(super) fn note_due_again(
        &mut self,
        step: &mut Step,
        cid: u32,
        mut numbers: Vec<MessageNumber>,
    ) -> Result<(), CommandError> {
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers.into_iter().take(NOTED_AT_ONCE) {
            if let Some(entry) = self.peer(cid)?.outbox.entry(number).cloned() {
                self.put_queued(step, cid, &entry)?;
            }
        }
        Ok(())
    }

    /// Erases acknowledged messages from the outbox, as many as one step holds, and shows them as delivered.
    pub(crate) fn sweep_acknowledged(&mut self, step: &mut Step, cid: u32) -> Result<(), WireError> {
        let Some(peer) = self.peers.get_mut(&cid) else { return Ok(()) };
        let done = peer.outbox.take_done(ERASED_AT_ONCE);
        if done.is_empty() {
            return Ok(());
        }
        if peer.outbox.done() > 0 {
            step.sweep_acknowledged.push(cid);
        }
        let last = done.iter().map(|entry| entry.number).max();
        for entry in done {
            Self::delete_queued(step, cid, entry.number);
            let Some(id) = entry.message else { continue };
            peer.progress.delivered = peer.progress.delivered.saturating_add(1);
            let key = MessageKey { cid, way: Way::Out, number: entry.number };
            let message =
                Message { id, when: entry.queued_at, state: Stage::Delivered, mid: Some(entry.mid) };
            put_message(step, key, &message)?;
            step.changed.push((key, message));
        }
        self.put_progress(step, cid)?;
        match last {
            Some(number) => self.settle_resets(step, cid, number),
            None => Ok(()),
        }
    }

    /// Remembers what a message says, for the one that names it as its previous.
    pub(super) fn note_received(
        &mut self,
        cid: u32,
        number: MessageNumber,
        digest: ContentDigest,
    ) -> Result<(), CommandError> {
        let progress = &mut self.peer_mut(cid)?.progress;
        progress.missing.retain(|missing| *missing != number);
        progress.recent.push(Previous { number, digest });
        if progress.recent.len() > MAX_RECENT {
            progress.recent.remove(0);
        }
        Ok(())
    }

    /// Looks for the message that another one names as its previous.
    fn note_previous(&mut self, cid: u32, previous: Option<Previous>) -> Result<(), CommandError> {
        let Some(Previous { number, digest }) = previous else { return Ok(()) };
        let progress = &mut self.peer_mut(cid)?.progress;
        let is_missing = progress.windows.is_new(number) && !progress.missing.contains(&number);
        if is_missing && progress.missing.len() < MAX_MISSING {
            progress.missing.push(number);
        }
        let known = progress.recent.iter().find(|known| known.number == number);
        if known.is_some_and(|known| known.digest != digest) {
            tracing::warn!(contact = cid, "a message said something else than its sender says it did");
        }
        Ok(())
    }

    /// Shows what the sender will not send any more and did not give up either: it was lost.
    fn show_lost(
        &mut self,
        step: &mut Step,
        cid: u32,
        acks: &AckPacket,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let progress = &mut self.peer_mut(cid)?.progress;
        let windows = progress.windows.clone();
        progress.missing.retain(|number| windows.is_new(*number) && !acks.skipped.contains(number));
        let is_lost = |number: &MessageNumber| *number < acks.base;
        let lost: Vec<_> = progress.missing.iter().copied().filter(is_lost).take(LOST_AT_ONCE).collect();
        progress.missing.retain(|number| !lost.contains(number));
        for number in lost {
            let packets = Map::from_iter([(LOST.to_owned(), json!({}))]);
            self.log_incoming(step, MessageKey { cid, way: Way::In, number }, None, packets, now)?;
        }
        Ok(())
    }

    /// Writes an incoming message into the log.
    pub(super) fn log_incoming(
        &mut self,
        step: &mut Step,
        key: MessageKey,
        mid: Option<MessageId>,
        packets: Map<String, Value>,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let id = self.next_message_id();
        let message = Message { id, when: now, state: Stage::Received, mid };
        log_message(step, key, &message, &packets)?;
        self.fetch_by_itself(step, key, &message, packet(&packets))?;
        let view = view::message(self.peer(key.cid)?, key, &message, packets, now);
        step.events.push(Event::Message(view));
        Ok(())
    }

    /// Notes a number that will not be sent any more.
    pub(super) fn skip(&mut self, cid: u32, number: MessageNumber) -> Result<(), CommandError> {
        let skipped = &mut self.peer_mut(cid)?.progress.skipped;
        skipped.push(number);
        if skipped.len() > MAX_NUMBERS {
            skipped.remove(0);
        }
        Ok(())
    }
}

/// After which time an acknowledgement is sent: whoever sees both mailboxes must not be able to match a message and its
/// acknowledgement by time.
fn random_delay(privacy: Privacy, rng: &mut impl CryptoRngCore) -> Duration {
    let (from, to): (u64, u64) = match privacy {
        Privacy::Normal => (1_000, 10_000),
        Privacy::High => (5_000, 60_000),
    };
    let more = rng.next_u64().checked_rem(to.saturating_sub(from).saturating_add(1)).unwrap_or_default();
    Duration::from_millis(from.saturating_add(more))
}
