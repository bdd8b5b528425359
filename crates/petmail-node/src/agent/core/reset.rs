//! Key resets: what happens after this node, or a contact's, was restored from a backup and has lost its keys.

use petmail_proto::{
    channel::{cid::Envelope, key_ring::KeyRing, message::MsgC, reset::Reset},
    keys::MessageId,
    outbox::{Kind, Reason},
    time::UnixMillis,
};
use rand_core::CryptoRngCore;
use serde_json::Map;

use super::{Core, Step, channel_reset::Author, receive::Arrival, send::Draft, send::News};
use crate::{
    agent::{error::CommandError, view},
    api::types::Event,
};

/// How many contacts are told of new keys in one step.
const AT_ONCE: usize = 64;

/// Where a queued reset is kept among what messages carry; it never travels under this name.
pub(super) const RESET: &str = "reset";

/// The greatest epoch that a contact may claim to have seen, in Unix ms: far in the future, and far from the end of numbers.
const MAX_EPOCH: u64 = 1 << 43;

impl Core {
    /// Tells contacts whose keys were lost of the new ones, as many as one step holds; true if there may be more.
    pub(crate) fn replace_lost_keys(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, CommandError> {
        let rest = self.keyless.len().saturating_sub(AT_ONCE);
        for cid in self.keyless.split_off(rest) {
            self.renew_keys(step, cid, now, rng)?;
        }
        Ok(!self.keyless.is_empty())
    }

    /// Begins with fresh keys for a contact, and tells it, with where this agent can be reached: the contact may have been told
    /// of mailboxes that are forgotten.
    fn renew_keys(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let epoch = self.settings.epoch;
        let peer = self.peer_mut(cid)?;
        peer.keys = KeyRing::generate(epoch, rng);
        peer.progress.resets.admits(now);
        peer.contact.raise_serial(now);
        self.put_contact(step, cid)?;
        self.put_keys(step, cid)?;
        self.queue_reset(step, cid, now, rng)?;
        self.enqueue_own(step, cid, News::TRANSPORTS, now, rng)
    }

    /// Answers what cannot be opened with the newest key, but not too often.
    pub(super) fn send_reset(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        if !self.peer_mut(cid)?.progress.resets.admits(now) {
            return Ok(());
        }
        tracing::info!(
            contact = cid,
            "a message is for a key that is not known; the contact is told the newest"
        );
        self.queue_reset(step, cid, now, rng)
    }

    /// What a reset says that is about to be queued.
    pub(super) fn reset(&self, cid: u32) -> Result<Reset, CommandError> {
        let peer = self.peer(cid)?;
        Ok(Reset {
            key: peer.keys.newest(),
            seen_epoch: peer.progress.windows.newest_epoch().unwrap_or_default(),
            transports: Some(peer.contact.mine.transports.clone()),
            channel_resets: peer.contact.resets.iter().map(|reset| reset.packet.clone()).collect(),
        })
    }

    fn queue_reset(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let outbox = &self.peer(cid)?.outbox;
        let older = outbox.entries().find(|entry| entry.kind == Kind::Reset).map(|entry| entry.number);
        if let Some(older) = older {
            self.peer_mut(cid)?.outbox.remove(older);
            Self::delete_queued(step, cid, older);
        }
        let draft = Draft {
            mid: MessageId::generate(rng),
            kind: Kind::Reset,
            message: None,
            content: &Map::new(),
            news: News::NONE,
        };
        self.enqueue(step, cid, draft, now, rng).map(|_| ())
    }

    /// Takes in a contact's reset: its new key is adopted if it is newer, and all that it has not acknowledged is sent again.
    /// An older one shows that the contact was set back without knowing: it is told what this side has seen.
    ///
    /// Its number need not be new: a contact that was set back may use one that it has used before.
    pub(super) fn receive_reset(
        &mut self,
        step: &mut Step,
        cid: u32,
        message: &MsgC<'_>,
        envelope: &Envelope,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Arrival, CommandError> {
        let peer = self.peer(cid)?;
        let Some(opened) = peer.open_reset(message, envelope) else { return Ok(Arrival::Damaged) };
        let reset = opened.dangerous_peek().clone();
        match peer.contact.author(|key| opened.verify(key).is_ok(), &reset.channel_resets) {
            Author::Present => {}
            Author::Replaced(resets) => self.adopt_resets(step, cid, resets, now, rng)?,
            Author::Rival => return self.dispute(step, cid),
            Author::Former | Author::Unknown => return Ok(Arrival::Damaged),
        }
        let peer = self.peer_mut(cid)?;
        let known = peer.contact.theirs.receiver_key.kid;
        if reset.key.kid < known {
            self.send_reset(step, cid, now, rng)?;
        } else if reset.key.kid > peer.progress.last_reset {
            peer.progress.last_reset = reset.key.kid;
            peer.contact.theirs.receiver_key = reset.key;
            peer.keys.peer_forgot();
            let again = peer.outbox.again(Reason::Reset, now);
            self.note_due_again(step, cid, again)?;
            self.put_contact(step, cid)?;
            self.put_keys(step, cid)?;
            if let Some(transports) = reset.transports {
                self.adopt_transports(step, cid, transports, now, rng)?;
            }
            // It may have forgotten where this agent can be reached now.
            self.enqueue_own(step, cid, News::TRANSPORTS, now, rng)?;
            let view = view::contact(self.peer(cid)?, self.can_receive());
            step.events.push(Event::Contact(view));
        }
        if self.peer_mut(cid)?.progress.windows.receive(envelope.number) {
            self.expect_messages(cid);
        }
        self.put_progress(step, cid)?;
        if reset.seen_epoch > self.settings.epoch && reset.seen_epoch <= MAX_EPOCH {
            // The contact has seen more of this node than the node knows itself: it was set back.
            self.settings.epoch = reset.seen_epoch.saturating_add(1);
            self.put_settings(step)?;
            self.renew_keys(step, cid, now, rng)?;
        }
        Ok(Arrival::Reset)
    }
}
