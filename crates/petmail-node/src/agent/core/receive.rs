//! Incoming messages: whose they are, whether they count, and what their packets change.
//!
//! The order of checks is the specification's: parse, find the channel, compare token, envelope and key, and drop what
//! disagrees without any change of state; then count it once, open it, verify it, and only then act on it.

use std::time::Duration;

use petmail_proto::{
    channel::{
        MessageNumber,
        ack::{AckPacket, ContentDigest},
        channel_reset::ChannelReset,
        cid::{CidSubkeys, Envelope},
        file::{FetchedPacket, LocatePacket, LocationPacket},
        key_ring::{Holding, KeyPacket},
        message::MsgC,
        payload::{
            ACK, CHANNEL_RESET, FETCHED, INTRODUCTION, KEY, LOCATE, LOCATION, PROFILE, Payload, RECEIPT,
            TRANSPORTS,
        },
        profile::ProfilePacket,
        record::Transports,
    },
    keys::{MessageId, TransportId},
    time::UnixMillis,
};
use rand_core::CryptoRngCore;

use super::{Core, InQuarantine, Peer, Step, acks::Why, channel_reset::Author, reading::Receipt, send::News};
use crate::{
    agent::{
        error::CommandError,
        records::{MIDS, MessageKey, QUARANTINE, Quarantined, Trust, Way, mid_key},
        view,
    },
    api::types::Event,
};

/// What became of an arriving message. In every case the server may delete it once the step is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was new and is stored.
    Accepted,
    /// It was received before.
    Duplicate,
    /// It is damaged, forged or malformed; it is dropped.
    Damaged,
    /// It is a key reset.
    Reset,
    /// It is for a key that is not there any more, and is asked for again.
    Retired,
    /// It is from a blocked contact; it is dropped.
    Blocked,
    /// It is from one of two who claim to be this contact; it is dropped.
    Disputed,
    /// Nobody known wrote it; it is kept for a contact that may still come about.
    Unknown,
}

/// Whose message it is, as far as the outside says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// This contact's, with what its CIDBox says.
    Contact(u32, Envelope),
    /// It has an expected token, but no CIDBox to go with it.
    Damaged,
    /// No contact's.
    Nobody,
}

/// How long a message that nobody known wrote is kept.
const QUARANTINE_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How much of such messages is kept; the oldest go first. Who knows a token can send as many as they like.
const MAX_QUARANTINE_BYTES: usize = 16 << 20;

/// Packets that the agent acts on and a person does not need to see.
const OWN_PACKETS: [&str; 10] =
    [ACK, CHANNEL_RESET, FETCHED, INTRODUCTION, KEY, LOCATE, LOCATION, PROFILE, RECEIPT, TRANSPORTS];

impl Core {
    /// Takes in one message from a mailbox.
    ///
    /// # Errors
    /// If a record cannot be encoded; nothing of the message counts then.
    pub(crate) fn receive(
        &mut self,
        step: &mut Step,
        msg_c: &[u8],
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Arrival, CommandError> {
        let Ok(message) = MsgC::parse(msg_c) else { return Ok(Arrival::Damaged) };
        match self.find(&message) {
            Found::Contact(cid, envelope) => self.receive_from(step, cid, &message, &envelope, now, rng),
            Found::Damaged => Ok(Arrival::Damaged),
            Found::Nobody => match self.complete_invitation(step, &message, now, rng)? {
                Some((cid, envelope)) => self.receive_from(step, cid, &message, &envelope, now, rng),
                None => self.quarantine(step, msg_c, now),
            },
        }
    }

    /// Finds the contact by the token, else by trying every contact's key.
    pub(super) fn find(&self, message: &MsgC<'_>) -> Found {
        let opens = |cid: u32, peer: &Peer| {
            let (envelope, _) = peer.open(&message.cid_box)?;
            Some(Found::Contact(cid, envelope))
        };
        match self.tokens.find(&message.token).and_then(|cid| Some((cid, self.peers.get(&cid)?))) {
            Some((cid, peer)) => opens(cid, peer).unwrap_or(Found::Damaged),
            None => self.peers.iter().find_map(|(cid, peer)| opens(*cid, peer)).unwrap_or(Found::Nobody),
        }
    }

    fn receive_from(
        &mut self,
        step: &mut Step,
        cid: u32,
        message: &MsgC<'_>,
        envelope: &Envelope,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Arrival, CommandError> {
        let peer = self.peer(cid)?;
        let Some((_, subkeys)) = peer.open(&message.cid_box) else { return Ok(Arrival::Damaged) };
        let agrees = token_agrees(message, envelope, peer.my_tids(), subkeys);
        if !agrees || !envelope.matches(message.msg_d) {
            return Ok(Arrival::Damaged);
        }
        if peer.contact.state == Trust::Blocked {
            return Ok(Arrival::Blocked);
        }
        if envelope.is_reset() {
            return self.receive_reset(step, cid, message, envelope, now, rng);
        }
        let key = match peer.keys.find(&envelope.receiver_key) {
            Holding::Held(key) => key,
            Holding::Retired => {
                // Perhaps the contact was never reached by what announced later keys: asking alone would not reach it either.
                if peer.keys.is_out_of_reach() {
                    self.send_reset(step, cid, now, rng)?;
                }
                return self.ask_again(step, cid, envelope, now, rng);
            }
            Holding::Unknown => {
                self.outnumber(step, cid, now, rng)?;
                self.send_reset(step, cid, now, rng)?;
                return self.ask_again(step, cid, envelope, now, rng);
            }
        };
        let Ok(opened) = message.open(envelope, key) else { return Ok(Arrival::Damaged) };
        let Ok(payload) = Payload::decode(opened.dangerous_peek()) else { return Ok(Arrival::Damaged) };
        let resets: Vec<ChannelReset> = payload.packet(CHANNEL_RESET).unwrap_or_default();
        let author = peer.contact.author(|key| opened.verify(key).is_ok(), &resets);
        if !peer.progress.windows.is_new(envelope.number) {
            return self.receive_again(step, cid, envelope.number, author, payload, now, rng);
        }
        match author {
            Author::Present => {}
            Author::Replaced(resets) => self.adopt_resets(step, cid, resets, now, rng)?,
            Author::Former => return self.ask_again(step, cid, envelope, now, rng),
            Author::Rival => return self.dispute(step, cid),
            Author::Unknown => return Ok(Arrival::Damaged),
        }
        self.note_heard(step, cid, now)?;
        let peer = self.peer(cid)?;
        let known_epoch = peer.progress.windows.newest_epoch();
        let is_new_epoch = known_epoch.is_some_and(|known| known < envelope.number.epoch);
        self.peer_mut(cid)?.progress.windows.receive(envelope.number);
        self.received_after_all(cid, envelope.number)?;
        let packet = payload.packet::<KeyPacket>(KEY);
        let is_answered = !payload.packet::<AckPacket>(ACK).is_some_and(|acks| acks.only);
        self.apply(step, cid, envelope.number, is_new_epoch, payload, now, rng)?;
        self.rotate(step, cid, &envelope.receiver_key, is_answered, packet, now, rng)?;
        self.put_progress(step, cid)?;
        self.expect_messages(cid);
        Ok(Arrival::Accepted)
    }

    /// A message whose number counts as received: its acknowledgement may have been lost, so another one is owed.
    ///
    /// The number may also have been closed without its message, by a copy of the contact's node, or by somebody who stole its
    /// keys: what the message says for people is shown, if it never was.
    #[expect(clippy::too_many_arguments, reason = "the parts of one message, and the clock and randomness")]
    fn receive_again(
        &mut self,
        step: &mut Step,
        cid: u32,
        number: MessageNumber,
        author: Author,
        mut payload: Payload,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Arrival, CommandError> {
        match author {
            Author::Present | Author::Former | Author::Replaced(_) => {}
            Author::Rival => return self.dispute(step, cid),
            Author::Unknown => return Ok(Arrival::Damaged),
        }
        payload.packets.retain(|name, _| !OWN_PACKETS.contains(&name.as_str()));
        // The key of a contact that cannot be told of another one outlives what is remembered of messages.
        let keys_rotate = !self.peer(cid)?.contact.theirs.transports.list.is_empty();
        let may_be_new = matches!(author, Author::Present) && keys_rotate && !payload.packets.is_empty();
        if may_be_new && self.is_first(step, cid, payload.mid, now) {
            tracing::warn!(
                contact = cid,
                "a message came although its number was closed; are there copies of a node?"
            );
            let key = MessageKey { cid, way: Way::In, number };
            self.log_incoming(step, key, Some(payload.mid), payload.packets, now)?;
        }
        let before = self.peer(cid)?.progress.owed;
        self.owe_ack(cid, Why::Duplicate, now, rng);
        if self.received_after_all(cid, number)? || self.peer(cid)?.progress.owed != before {
            self.put_progress(step, cid)?;
            step.wake_outbox = true;
        }
        Ok(Arrival::Duplicate)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message, and the clock and randomness")]
    fn apply(
        &mut self,
        step: &mut Step,
        cid: u32,
        number: MessageNumber,
        is_new_epoch: bool,
        mut payload: Payload,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let acks = payload.packet::<AckPacket>(ACK).filter(AckPacket::is_bounded).unwrap_or_default();
        self.hear(step, cid, &acks, is_new_epoch, now)?;
        if let Some(transports) = payload.packet::<Transports>(TRANSPORTS) {
            self.adopt_transports(step, cid, transports, now, rng)?;
        }
        if let Some(profile) = payload.packet::<ProfilePacket>(PROFILE) {
            self.hear_profile(step, cid, profile)?;
        }
        if let Some(receipt) = payload.packet::<Receipt>(RECEIPT) {
            self.hear_receipt(step, cid, receipt)?;
        }
        if let Some(fetched) = payload.packet::<FetchedPacket>(FETCHED) {
            self.hear_fetched(step, cid, fetched, now)?;
        }
        if let Some(asked) = payload.packet::<LocatePacket>(LOCATE) {
            self.hear_locate(step, cid, asked);
        }
        if let Some(told) = payload.packet::<LocationPacket>(LOCATION) {
            self.hear_location(step, cid, told, now)?;
        }
        self.confirm(step, cid, now, rng)?;
        if acks.only {
            return Ok(());
        }
        self.owe_ack(cid, Why::New, now, rng);
        payload.packets.retain(|name, _| !OWN_PACKETS.contains(&name.as_str()));
        self.note_received(cid, number, ContentDigest::of(payload.mid, &payload.packets))?;
        // One that was sent anew under another number is not shown again.
        if payload.packets.is_empty() || !self.is_first(step, cid, payload.mid, now) {
            return Ok(());
        }
        let key = MessageKey { cid, way: Way::In, number };
        self.log_incoming(step, key, Some(payload.mid), payload.packets, now)
    }

    /// Tells whether a message comes for the first time under any number, and remembers it.
    fn is_first(&mut self, step: &mut Step, cid: u32, mid: MessageId, now: UnixMillis) -> bool {
        if self.mids.insert((cid, mid), now).is_some() {
            return false;
        }
        step.put_bytes(MIDS, mid_key(cid, mid), now.0.to_be_bytes().to_vec());
        true
    }

    /// The first message through the channel shows that the other side has our introduction.
    fn confirm(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if contact.state != Trust::Pending {
            return Ok(());
        }
        contact.state = Trust::Confirmed;
        contact.introduction = None;
        let invitation = contact.invitation;
        self.put_contact(step, cid)?;
        step.events.push(Event::Contact(view::contact(self.peer(cid)?, self.can_receive())));
        self.confirm_invitation(step, invitation, now, rng)
    }

    pub(super) fn adopt_transports(
        &mut self,
        step: &mut Step,
        cid: u32,
        transports: Transports,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let peer = self.peer_mut(cid)?;
        if transports.serial <= peer.contact.theirs.transports.serial || transports.check().is_err() {
            return Ok(());
        }
        peer.contact.theirs.transports = transports;
        peer.outbox.retry_now();
        let is_pending = peer.contact.state == Trust::Pending;
        self.put_contact(step, cid)?;
        step.events.push(Event::Contact(view::contact(self.peer(cid)?, self.can_receive())));
        self.set_ack_due(cid);
        self.wake(step, cid);
        if is_pending { self.enqueue_own(step, cid, News::NONE, now, rng) } else { Ok(()) }
    }

    fn quarantine(
        &mut self,
        step: &mut Step,
        msg_c: &[u8],
        now: UnixMillis,
    ) -> Result<Arrival, CommandError> {
        let id = self.quarantine.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        let row = Quarantined { received: now, msg_c: msg_c.to_vec() };
        step.put(QUARANTINE, id.to_be_bytes(), &row)?;
        self.quarantine.insert(id, InQuarantine { received: now, bytes: msg_c.len() });
        while let Some((oldest, kept)) = self.quarantine.first_key_value()
            && (self.quarantine_bytes() > MAX_QUARANTINE_BYTES || now.since(kept.received) > QUARANTINE_LIFE)
        {
            step.delete(QUARANTINE, oldest.to_be_bytes());
            self.quarantine.pop_first();
        }
        Ok(Arrival::Unknown)
    }

    /// How much is in quarantine.
    pub(crate) fn quarantine_bytes(&self) -> usize {
        self.quarantine.values().map(|kept| kept.bytes).sum()
    }

    /// Tries a message in quarantine again: it leaves when somebody known wrote it, or when it is too old.
    pub(crate) fn retry(
        &mut self,
        step: &mut Step,
        id: u64,
        row: &Quarantined,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let is_known = match MsgC::parse(&row.msg_c) {
            Ok(message) => match self.find(&message) {
                Found::Contact(cid, envelope) => {
                    self.receive_from(step, cid, &message, &envelope, now, rng)?;
                    true
                }
                Found::Damaged => true,
                Found::Nobody => false,
            },
            Err(_) => true,
        };
        if is_known || now.since(row.received) > QUARANTINE_LIFE {
            self.quarantine.remove(&id);
            step.delete(QUARANTINE, id.to_be_bytes());
        }
        Ok(())
    }
}

/// Compares the token with the one that its envelope calls for, at any transport that the sender was told of.
pub(super) fn token_agrees(
    message: &MsgC<'_>,
    envelope: &Envelope,
    tids: impl IntoIterator<Item = TransportId>,
    subkeys: &CidSubkeys,
) -> bool {
    tids.into_iter().any(|tid| subkeys.token(&tid, envelope.attempt, envelope.number) == message.token)
}
