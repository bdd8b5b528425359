//! The rotation of receiver keys, and their erasure.

use petmail_proto::{
    channel::{
        MessageNumber,
        ack::{MAX_NUMBERS, Retired},
        cid::Envelope,
        key_ring::{KeyPacket, adopt},
    },
    keys::ReceiverPublicKey,
    time::UnixMillis,
};
use rand_core::CryptoRngCore;

use super::{Core, Step, acks::Why, receive::Arrival};
use crate::agent::error::CommandError;

/// How many contacts' keys are written in one step.
const AT_ONCE: usize = 256;

impl Core {
    /// Makes the `key` packet of a message that is about to be queued.
    pub(super) fn key_packet(&self, cid: u32) -> Result<KeyPacket, CommandError> {
        let peer = self.peer(cid)?;
        let packet = peer.keys.packet(peer.contact.theirs.receiver_key.kid);
        let told = peer.tells_key.then(|| peer.keys.newest());
        Ok(KeyPacket { newest: packet.newest.or(told), ..packet })
    }

    /// A message to `key` was opened and verified, with this `key` packet: the keys of both sides go on. `is_answered` tells
    /// whether an acknowledgement is owed for it, which will bring the successor to the contact.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a message says of keys, and the clock and randomness"
    )]
    pub(super) fn rotate(
        &mut self,
        step: &mut Step,
        cid: u32,
        key: &ReceiverPublicKey,
        is_answered: bool,
        packet: Option<KeyPacket>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let epoch = self.settings.epoch;
        let peer = self.peer_mut(cid)?;
        peer.tells_key = false;
        // Who is not told of a successor goes on with the key that it has.
        let can_tell = is_answered && !peer.contact.theirs.transports.list.is_empty();
        let mut changed = can_tell && peer.keys.used(key, epoch, now, rng);
        if let Some(KeyPacket { newest, using }) = packet {
            changed |= peer.keys.peer_uses(using);
            if newest.is_some_and(|newest| adopt(&mut peer.contact.theirs.receiver_key, newest)) {
                self.put_contact(step, cid)?;
            }
        }
        let peer = self.peer_mut(cid)?;
        let all_received = peer.progress.windows.is_gapless();
        if peer.keys.erase(all_received, now) || changed {
            self.put_keys(step, cid)?;
        }
        Ok(())
    }

    /// The contact has a key of another life of this node, or of a copy of it: it adopts none with a lesser number, so the
    /// newest is made to be of the present epoch.
    pub(super) fn outnumber(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let epoch = self.settings.epoch;
        let keys = &mut self.peer_mut(cid)?.keys;
        let newest = keys.newest();
        if newest.kid.epoch < epoch && keys.used(&newest.key, epoch, now, rng) {
            self.put_keys(step, cid)?;
        }
        Ok(())
    }

    /// A message came for a key that is erased, or lost: it is asked for again.
    pub(super) fn ask_again(
        &mut self,
        step: &mut Step,
        cid: u32,
        envelope: &Envelope,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Arrival, CommandError> {
        let (number, attempt) = (envelope.number, envelope.attempt);
        self.received_after_all(cid, number)?;
        let peer = self.peer_mut(cid)?;
        peer.tells_key = true;
        let why = if peer.progress.windows.is_new(number) { Why::New } else { Why::Duplicate };
        let retired = &mut peer.progress.retired;
        retired.push(Retired { number, attempt });
        if retired.len() > MAX_NUMBERS {
            retired.remove(0);
        }
        self.owe_ack(cid, why, now, rng);
        self.put_progress(step, cid)?;
        step.wake_outbox = true;
        Ok(Arrival::Retired)
    }

    /// A message need not be asked for any more; tells whether it was.
    pub(super) fn received_after_all(
        &mut self,
        cid: u32,
        number: MessageNumber,
    ) -> Result<bool, CommandError> {
        let retired = &mut self.peer_mut(cid)?.progress.retired;
        let before = retired.len();
        retired.retain(|retired| retired.number != number);
        Ok(retired.len() < before)
    }

    /// Erases the keys whose time is over, as many as one step holds; true if there may be more.
    pub(crate) fn erase_keys(&mut self, step: &mut Step, now: UnixMillis) -> Result<bool, CommandError> {
        let is_due =
            |keys: &petmail_proto::channel::key_ring::KeyRing| keys.erases_at().is_some_and(|at| at <= now);
        let due = self.peers.iter().filter(|(_, peer)| is_due(&peer.keys)).map(|(cid, _)| *cid);
        let due: Vec<u32> = due.take(AT_ONCE).collect();
        for cid in &due {
            self.peer_mut(*cid)?.keys.erase(false, now);
            self.put_keys(step, *cid)?;
        }
        Ok(due.len() == AT_ONCE)
    }

    /// Moves keys that lie where the first version put them, as many as one step holds; true if there may be more.
    pub(crate) fn move_keys(&mut self, step: &mut Step) -> Result<bool, CommandError> {
        let rest = self.unmoved.len().saturating_sub(AT_ONCE);
        for cid in self.unmoved.split_off(rest) {
            self.put_contact(step, cid)?;
            self.put_keys(step, cid)?;
        }
        Ok(!self.unmoved.is_empty())
    }
}
