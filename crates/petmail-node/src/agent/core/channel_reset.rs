//! The panic button: this side's half of a contact is replaced, and what happens when a contact replaces its own.
//!
//! Until the contact has acknowledged a message that carries a reset, what was queued before is signed by the key before.
//! Payloads carry the resets of the last [`REMEMBERED`], so that a contact that was restored from a backup learns of them.

use std::{collections::BTreeSet, time::Duration};

use petmail_proto::{
    channel::{
        MessageNumber,
        channel_reset::{ChannelReset, MAX_RESETS, NewHalf, follow},
        cid::Envelope,
        key_ring::adopt,
        message::MsgC,
        record::{ChannelRecord, SUITE_C1},
        reset::{Reset, UnverifiedReset},
    },
    invitation::safety::safety_digits,
    keys::{ChannelSigningKey, ChannelVerifyingKey, CidKey},
    outbox::Entry,
    time::UnixMillis,
    wire::WireError,
};
use rand_core::CryptoRngCore;

use super::{Core, Peer, Step, Subkeys, receive::Arrival, send::News};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{Contact, OldSigningKey, OwnReset, TheirHalf, TheirReset, Trust},
        view,
    },
    api::types::{ContactView, Event},
};

/// How long resets are repeated, and messages to the half before are recognised.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Who signed a message that a contact's key opened.
#[derive(Debug)]
pub(super) enum Author {
    /// The contact, with its present key.
    Present,
    /// The contact, with a key that replaces the present one; these are the resets between them.
    Replaced(Vec<(ChannelReset, NewHalf)>),
    /// The key before the present one.
    Former,
    /// A key that the one before the present also vouches for.
    Rival,
    /// Nobody who may.
    Unknown,
}

impl Core {
    /// Replaces this side's half of a contact: keys, marks and transports; and tells it.
    pub(crate) fn reset_channel(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<ContactView, CommandError> {
        self.check_resettable(cid)?;
        let (epoch, number) = (self.settings.epoch, self.next_number(self.peer(cid)?.progress.last_sent));
        self.peer_mut(cid)?.contact.leave_all_but(&BTreeSet::new());
        let (transports, homes) = self.fresh_transports(&[], rng);
        let Peer { contact, keys, .. } = self.peer_mut(cid)?;
        contact.mine.transports.list = transports;
        contact.homes = homes;
        contact.raise_serial(now);
        let newest = keys.newest();
        keys.used(&newest.key, epoch, now, rng);
        let old_signing_key =
            std::mem::replace(&mut contact.mine.signing_key, ChannelSigningKey::generate(rng));
        let old_cid_key = std::mem::replace(&mut contact.mine.cid_key, CidKey::generate(rng));
        contact.generation = contact.generation.saturating_add(1);
        let record = ChannelRecord {
            verifying_key: contact.mine.signing_key.verifying_key(),
            receiver_key: keys.newest(),
            cid_key: contact.mine.cid_key.clone(),
            transports: contact.mine.transports.clone(),
            suites: vec![SUITE_C1.to_owned()],
        };
        let half = NewHalf { generation: contact.generation, record };
        let packet = ChannelReset::sign(&half, &old_signing_key, &contact.mine.signing_key)
            .map_err(|error| CommandError::new(Fault::Internal, error.to_string(), "report this"))?;
        contact.resets.push(OwnReset {
            number,
            made_at: now,
            packet,
            old_verifying_key: old_signing_key.verifying_key(),
            old_signing_key: Some(OldSigningKey(old_signing_key)),
            old_cid_key,
        });
        self.halves_changed(cid)?;
        self.put_keys(step, cid)?;
        self.enqueue_own(step, cid, News::TRANSPORTS, now, rng)?;
        self.changed(step, cid)
    }

    fn check_resettable(&mut self, cid: u32) -> Result<(), CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if matches!(contact.state, Trust::Pending | Trust::Blocked) {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("contact {cid} is pending or blocked, and cannot be told of new keys"),
                format!("contact remove {cid}, and invite them anew"),
            ));
        }
        if contact.theirs.transports.list.is_empty() {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("contact {cid} has no mailbox where it could be told of new keys"),
                "do it once they have one",
            ));
        }
        if contact.resets.len() < MAX_RESETS {
            return Ok(());
        }
        if contact.resets.first().is_some_and(|oldest| oldest.old_signing_key.is_none()) {
            contact.resets.remove(0);
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            format!("contact {cid} has not acknowledged the last {MAX_RESETS} resets"),
            "nothing of yours can be stolen by them that is not replaced already; wait until their node is back",
        ))
    }

    /// What is derived from the keys of both sides is derived anew.
    fn halves_changed(&mut self, cid: u32) -> Result<(), CommandError> {
        let peer = self.peer_mut(cid)?;
        let mine = peer.contact.mine.signing_key.verifying_key();
        peer.contact.safety_words = safety_digits(&mine, &peer.contact.theirs.verifying_key);
        peer.subkeys = Subkeys::of(&peer.contact);
        self.expect_messages(cid);
        Ok(())
    }

    /// The contact has what `number` and messages before it carried: the keys before are not needed any more.
    pub(super) fn settle_resets(
        &mut self,
        step: &mut Step,
        cid: u32,
        number: MessageNumber,
    ) -> Result<(), WireError> {
        let can_receive = self.can_receive();
        let Some(peer) = self.peers.get_mut(&cid) else { return Ok(()) };
        let mut changed = false;
        for reset in peer.contact.resets.iter_mut().filter(|reset| reset.number <= number) {
            changed |= reset.old_signing_key.take().is_some();
        }
        if !changed {
            return Ok(());
        }
        step.events.push(Event::Contact(view::contact(peer, can_receive)));
        self.put_contact(step, cid)
    }

    /// Forgets resets that all contacts have had time enough to learn of; true if there may be more.
    pub(crate) fn forget_resets(&mut self, step: &mut Step, now: UnixMillis) -> Result<bool, CommandError> {
        let is_over =
            |reset: &OwnReset| reset.old_signing_key.is_none() && now.since(reset.made_at) > REMEMBERED;
        let over = self.peers.iter().find(|(_, peer)| peer.contact.resets.iter().any(is_over));
        let Some(cid) = over.map(|(cid, _)| *cid) else { return Ok(false) };
        let peer = self.peer_mut(cid)?;
        peer.contact.resets.retain(|reset| !is_over(reset));
        peer.subkeys = Subkeys::of(&peer.contact);
        self.put_contact(step, cid)?;
        Ok(true)
    }

    /// Takes over the half that a contact has replaced its own with.
    pub(super) fn adopt_resets(
        &mut self,
        step: &mut Step,
        cid: u32,
        resets: Vec<(ChannelReset, NewHalf)>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        for (packet, NewHalf { generation, record }) in resets {
            let contact = &mut self.peer_mut(cid)?.contact;
            let former = std::mem::replace(&mut contact.theirs.verifying_key, record.verifying_key);
            contact.theirs.cid_key = record.cid_key;
            adopt(&mut contact.theirs.receiver_key, record.receiver_key);
            let last = TheirReset { digest: packet.digest(), former, adopted_at: now };
            contact.their_half = TheirHalf { generation, last: Some(last) };
            if contact.state == Trust::Verified {
                contact.state = Trust::Confirmed;
            }
            self.halves_changed(cid)?;
            self.put_contact(step, cid)?;
            self.adopt_transports(step, cid, record.transports, now, rng)?;
        }
        tracing::warn!(contact = cid, "a contact has replaced its keys");
        self.changed(step, cid)?;
        Ok(())
    }

    /// The keys that a contact had before are in two hands: nobody can tell who is who, and nothing is sent any more.
    pub(super) fn dispute(&mut self, step: &mut Step, cid: u32) -> Result<Arrival, CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if contact.state != Trust::Disputed {
            contact.state = Trust::Disputed;
            self.set_ack_due(cid);
            self.changed(step, cid)?;
        }
        Ok(Arrival::Disputed)
    }
}

impl Contact {
    /// Tells whether anything is sent to it.
    pub(super) fn is_written_to(&self) -> bool {
        !matches!(self.state, Trust::Blocked | Trust::Disputed)
    }

    /// The key that signs a queued message: what was queued before a reset may come before it.
    pub(super) fn signing_key(&self, entry: &Entry) -> &ChannelSigningKey {
        let mut before = self.resets.iter().filter(|reset| entry.number < reset.number);
        let old = before.find_map(|reset| reset.old_signing_key.as_ref());
        old.map_or(&self.mine.signing_key, |OldSigningKey(key)| key)
    }

    /// Finds out who signed a message that carries `resets`.
    pub(super) fn author(
        &self,
        signed: impl Fn(&ChannelVerifyingKey) -> bool,
        resets: &[ChannelReset],
    ) -> Author {
        let present = self.theirs.verifying_key;
        if signed(&present) {
            return Author::Present;
        }
        if resets.len() > MAX_RESETS {
            return Author::Unknown;
        }
        let mut chain = Vec::new();
        for (packet, half) in follow(resets, (present, self.their_half.generation)) {
            let is_author = signed(&half.record.verifying_key);
            chain.push((packet.clone(), half));
            if is_author {
                return Author::Replaced(chain);
            }
        }
        let Some(TheirReset { digest, former, .. }) = &self.their_half.last else { return Author::Unknown };
        if signed(former) {
            return Author::Former;
        }
        let is_rival = |packet: &&ChannelReset| {
            let half = packet.verify(former).ok();
            let half = half.filter(|half| half.generation == self.their_half.generation);
            packet.digest() != *digest && half.is_some_and(|half| signed(&half.record.verifying_key))
        };
        if resets.iter().any(|packet| is_rival(&packet)) { Author::Rival } else { Author::Unknown }
    }
}

impl Peer {
    /// Opens a key reset, which the contact has bound to the half of this side that it knows.
    pub(super) fn open_reset(&self, message: &MsgC<'_>, envelope: &Envelope) -> Option<UnverifiedReset> {
        let present = (&self.subkeys.mine, self.contact.mine.signing_key.verifying_key());
        let former = self.contact.resets.iter().map(|reset| reset.old_verifying_key);
        let mut halves = std::iter::once(present).chain(self.subkeys.formerly_mine.iter().zip(former));
        halves.find_map(|(subkeys, mine)| Reset::open(message, envelope, subkeys, &mine).ok())
    }
}
