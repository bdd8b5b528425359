//! Outgoing messages: numbering, queueing, sealing for one attempt, and what comes of it.

use petmail_proto::{
    channel::{
        MessageNumber,
        cid::CidSubkeys,
        message::{MSG_C_OVERHEAD_BYTES, Outgoing, SealError},
        payload::{BASIC, INTRODUCTION, MAX_TEXT_BYTES, Payload, TRANSPORTS},
        record::{ReceiverKey, TransportRecord, Transports},
    },
    delivery::Bucket,
    keys::{ChannelSigningKey, MessageId, ServerIdentityKey},
    outbox::{Entry, Next, Outcome},
    time::UnixMillis,
    wire::{Record, WireError},
};
use rand_core::CryptoRngCore;
use serde_json::{Map, Value};

use super::{Core, Step};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{
            BODIES, MESSAGE_IDS, MESSAGES, Message, MessageKey, OUTBOX, Queued, Stage, Way, outbox_key,
        },
        view,
    },
    api::types::{Event, MessageView},
};

/// One attempt to deliver one message: what the delivery task needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The contact.
    pub(crate) cid: u32,
    /// Where to.
    pub(crate) transport: TransportRecord,
    /// How to seal it.
    pub(crate) sealing: Sealing,
    /// The row of [`BODIES`] with the packets; none for a message of the program's own.
    pub(crate) body: Option<Vec<u8>>,
}

impl Offer {
    /// The number of the message.
    pub(crate) fn number(&self) -> MessageNumber {
        self.sealing.entry.number
    }
}

/// How an offer ended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// For the outbox.
    pub(crate) outcome: Outcome,
    /// What was wrong, for people.
    pub(crate) trouble: Option<String>,
    /// The packets of the message that was offered, for the event.
    pub(crate) packets: Map<String, Value>,
}

/// Everything to seal one message for one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Sealing {
    entry: Entry,
    attempt: u8,
    signing_key: ChannelSigningKey,
    receiver_key: ReceiverKey,
    their_subkeys: CidSubkeys,
    introduction: Option<String>,
    transports: Option<Transports>,
}

impl Sealing {
    /// Seals the message with the packets of its row into the smallest msgC that holds it.
    pub(crate) fn seal(
        &self,
        transport: &TransportRecord,
        packets: Map<String, Value>,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        let json = self.payload(packets).encode();
        let needed = json.len().saturating_add(MSG_C_OVERHEAD_BYTES);
        let bucket = Bucket::with_room_for(needed).ok_or(SealError::TooLarge)?;
        let outgoing = Outgoing {
            signing_key: &self.signing_key,
            receiver_key: &self.receiver_key.key,
            cid_subkeys: &self.their_subkeys,
            tid: &transport.tid,
            attempt: self.attempt,
            number: self.entry.number,
        };
        outgoing.seal(&json, bucket.msg_c_bytes(), rng)
    }

    fn payload(&self, packets: Map<String, Value>) -> Payload {
        let mut payload = Payload { mid: self.entry.mid, packets };
        if let Some(introduction) = &self.introduction
            && let Ok(packet) = serde_json::from_str::<Value>(introduction)
        {
            payload = payload.with(INTRODUCTION, &packet);
        }
        match &self.transports {
            Some(transports) => payload.with(TRANSPORTS, transports),
            None => payload,
        }
    }
}

impl Core {
    /// Queues a text for a contact; it is durable once the step is committed.
    pub(crate) fn send_basic(
        &mut self,
        step: &mut Step,
        cid: u32,
        text: &str,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageView, CommandError> {
        check_text(text)?;
        self.peer(cid)?;
        let packets = Map::from_iter([(BASIC.to_owned(), Value::from(text))]);
        let id = self.next_message_id();
        let entry = self.enqueue(step, cid, Some(id), false, now, rng)?;
        let key = MessageKey { cid, way: Way::Out, number: entry.number };
        let message = Message { id, when: now, state: Stage::Waiting };
        put_message(step, key, &message)?;
        step.put_bytes(BODIES, key.encode(), view::encode_packets(&packets));
        step.put_bytes(MESSAGE_IDS, id.to_be_bytes(), key.encode());
        let view = view::message(self.peer(cid)?, key, &message, packets, now);
        step.events.push(Event::Message(view.clone()));
        Ok(view)
    }

    /// Queues a message without text: it carries the introduction, and the transports if they are to be announced.
    pub(super) fn enqueue_own(
        &mut self,
        step: &mut Step,
        cid: u32,
        announces_transports: bool,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        self.enqueue(step, cid, None, announces_transports, now, rng).map(|_| ())
    }

    fn enqueue(
        &mut self,
        step: &mut Step,
        cid: u32,
        message: Option<u64>,
        announces_transports: bool,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Entry, CommandError> {
        let number = self.next_number(self.peer(cid)?.progress.last_sent);
        let mid = MessageId::generate(rng);
        let entry = Entry { number, mid, message, announces_transports, queued_at: now };
        let peer = self.peer_mut(cid)?;
        peer.progress.last_sent = number;
        let had_nothing = peer.outbox.is_empty();
        peer.outbox.enqueue(entry.clone());
        self.turns.extend(had_nothing.then_some(cid));
        step.put(OUTBOX, outbox_key(cid, number), &Queued(entry.clone()))?;
        self.put_progress(step, cid)?;
        step.wake_outbox = true;
        Ok(entry)
    }

    /// Returns what can be offered to mailboxes now, at most `limit`, and when to ask again at the latest. Contacts take
    /// turns, so that slow mailboxes of some cannot hold up the others'.
    pub(crate) fn next_offers(&mut self, limit: usize, now: UnixMillis) -> (Vec<Offer>, Option<UnixMillis>) {
        let (mut offers, mut wake_at) = (Vec::new(), None);
        for _ in 0..self.turns.len() {
            if offers.len() >= limit {
                break;
            }
            let Some(cid) = self.turns.pop_front() else { break };
            let Some(peer) = self.peers.get_mut(&cid).filter(|peer| !peer.outbox.is_empty()) else {
                continue;
            };
            self.turns.push_back(cid);
            let transports = &peer.contact.theirs.transports.list;
            let tids: Vec<_> = transports.iter().map(|transport| transport.tid).collect();
            match peer.outbox.next(&tids, now) {
                Next::Offer { number, tid, attempt } => {
                    let transport = transports.iter().find(|transport| transport.tid == tid);
                    let entry = peer.outbox.entry(number);
                    let (Some(transport), Some(entry)) = (transport, entry) else { continue };
                    offers.push(offer(cid, peer, transport, entry, attempt));
                }
                Next::WaitUntil(time) => {
                    wake_at = Some(wake_at.map_or(time, |other: UnixMillis| other.min(time)));
                }
                Next::NoRoute | Next::Idle => {}
            }
        }
        (offers, wake_at)
    }

    /// A server answers again: what failed there need not wait longer.
    pub(crate) fn server_is_back(&mut self, step: &mut Step, server: &ServerIdentityKey) {
        for cid in &self.turns {
            let Some(peer) = self.peers.get_mut(cid) else { continue };
            if peer.contact.theirs.transports.list.iter().any(|transport| transport.server == *server) {
                peer.outbox.retry_now();
                step.wake_outbox = true;
            }
        }
    }

    /// Notes how an offer ended.
    pub(crate) fn finish_offer(
        &mut self,
        step: &mut Step,
        offer: &Offer,
        attempt: Attempt,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), WireError> {
        let Attempt { outcome, trouble, packets } = attempt;
        step.wake_outbox = true;
        let cid = offer.cid;
        // The contact may have been removed while the offer was under way.
        let Some(peer) = self.peers.get_mut(&cid) else { return Ok(()) };
        let had_trouble = std::mem::replace(&mut peer.trouble, trouble).is_some();
        let Some(done) = peer.outbox.finish((offer.number(), offer.transport.tid), outcome, now, rng) else {
            return Ok(());
        };
        step.delete(OUTBOX, outbox_key(cid, done.number));
        if had_trouble {
            self.server_is_back(step, &offer.transport.server);
        }
        let (Some(id), Some(peer)) = (done.message, self.peers.get_mut(&cid)) else { return Ok(()) };
        peer.progress.sent = peer.progress.sent.saturating_add(1);
        let key = MessageKey { cid, way: Way::Out, number: done.number };
        let message = Message { id, when: done.queued_at, state: Stage::Sent };
        put_message(step, key, &message)?;
        step.events.push(Event::Message(view::message(peer, key, &message, packets, now)));
        self.put_progress(step, cid)
    }
}

fn offer(cid: u32, peer: &super::Peer, transport: &TransportRecord, entry: &Entry, attempt: u8) -> Offer {
    let key = MessageKey { cid, way: Way::Out, number: entry.number };
    let contact = &peer.contact;
    let sealing = Sealing {
        entry: entry.clone(),
        attempt,
        signing_key: contact.mine.signing_key.clone(),
        receiver_key: contact.theirs.receiver_key,
        their_subkeys: peer.their_subkeys.clone(),
        introduction: contact.introduction.clone(),
        transports: entry.announces_transports.then(|| contact.mine.transports.clone()),
    };
    Offer { cid, transport: transport.clone(), sealing, body: entry.message.map(|_| key.encode()) }
}

fn put_message(step: &mut Step, key: MessageKey, message: &Message) -> Result<(), WireError> {
    step.put_bytes(MESSAGES, key.encode(), message.encode_record()?);
    Ok(())
}

/// Refuses a text that no message can carry.
fn check_text(text: &str) -> Result<(), CommandError> {
    if text.is_empty() {
        return Err(CommandError::new(Fault::BadRequest, "the message is empty", "write something to send"));
    }
    let encoded = serde_json::to_string(text).map_or(usize::MAX, |json| json.len());
    if text.len() > MAX_TEXT_BYTES || encoded > MAX_ENCODED_TEXT_BYTES {
        return Err(CommandError::new(
            Fault::BadRequest,
            format!("the message has {} bytes; the limit is {MAX_TEXT_BYTES} bytes", text.len()),
            "split it into several messages",
        ));
    }
    Ok(())
}

/// The longest JSON form of a text: leaves room in the largest bucket for the introduction and the transports. Only texts
/// of mostly control characters reach it.
const MAX_ENCODED_TEXT_BYTES: usize = 200_000;
