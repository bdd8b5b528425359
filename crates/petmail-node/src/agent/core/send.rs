//! Outgoing messages: numbering, queueing, what is offered to mailboxes, and what comes of it.

use petmail_proto::{
    channel::{
        MessageNumber,
        ack::{ContentDigest, Previous},
        attempt::bucket_for,
        file::{FetchedPacket, FilePacket, LocatePacket, LocationPacket},
        payload::{
            ACK, BASIC, CHANNEL_RESET, FETCHED, FILE, INTRODUCTION, KEY, LOCATE, LOCATION, MAX_TEXT_BYTES,
            PROFILE, Payload, RECEIPT, REPLY, TRANSPORTS,
        },
    },
    keys::{MessageId, SealSeed, ServerIdentityKey},
    outbox::{Entry, Kind, Next, Outcome},
    time::UnixMillis,
    wire::{Record, WireError},
};
use rand_core::CryptoRngCore;
use serde_json::{Map, Value};

use super::{Core, Ended, Offer, Step, offer::route, reply, reset::RESET};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{
            BODIES, EXTRAS, FILES, MESSAGE_IDS, MESSAGES, Message, MessageKey, OUTBOX, Queued, Stage, Way,
            outbox_key,
        },
        view,
    },
    api::types::{Event, MessageView},
};

/// A message to be queued.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    /// Its name; a fresh one, unless it was sent before.
    pub(super) mid: MessageId,
    /// What it is for.
    pub(super) kind: Kind,
    /// Its row in the message log, if it is a person's.
    pub(super) message: Option<u64>,
    /// What the person wrote.
    pub(super) content: &'a Map<String, Value>,
    /// What it tells the contact beside what every message tells.
    pub(super) news: News,
}

/// What has changed that a contact has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Where this agent can be reached.
    pub(super) transports: bool,
    /// What the person tells of themselves.
    pub(super) profile: bool,
    /// That the file of this message was fetched.
    pub(super) fetched: Option<MessageId>,
    /// The question where a file is.
    pub(super) locate: Option<LocatePacket>,
    /// The answer.
    pub(super) location: Option<LocationPacket>,
}

impl News {
    pub(super) const NONE: Self =
        Self { transports: false, profile: false, fetched: None, locate: None, location: None };
    pub(super) const TRANSPORTS: Self = Self { transports: true, ..Self::NONE };
}

impl Core {
    /// Queues a text for a contact; it is durable once the step is committed.
    pub(crate) fn send_basic(
        &mut self,
        step: &mut Step,
        cid: u32,
        text: &str,
        answers: Option<MessageKey>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageView, CommandError> {
        check_text(text)?;
        self.check_written_to(cid)?;
        let mut content = Map::from_iter([(BASIC.to_owned(), Value::from(text))]);
        if let Some(key) = answers {
            content.insert(REPLY.to_owned(), reply::packet(key));
        }
        let id = self.next_message_id();
        self.queue_message(step, cid, (id, MessageId::generate(rng)), content, now, rng)
    }

    /// Queues a file for a contact; it is durable once the step is committed.
    pub(crate) fn send_file(
        &mut self,
        step: &mut Step,
        cid: u32,
        file: &FilePacket,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageView, CommandError> {
        self.check_written_to(cid)?;
        let mid = MessageId::generate(rng);
        let content = Payload::new(mid).with(FILE, file).packets;
        let id = self.next_message_id();
        self.queue_message(step, cid, (id, mid), content, now, rng)
    }

    /// Queues a person's message under its number in the log, and shows it as waiting.
    pub(super) fn queue_message(
        &mut self,
        step: &mut Step,
        cid: u32,
        (id, mid): (u64, MessageId),
        content: Map<String, Value>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageView, CommandError> {
        let draft =
            Draft { mid, kind: Kind::Content, message: Some(id), content: &content, news: News::NONE };
        let entry = self.enqueue(step, cid, draft, now, rng)?;
        let key = MessageKey { cid, way: Way::Out, number: entry.number };
        let message = Message { id, when: now, state: Stage::Waiting, mid: Some(mid) };
        log_message(step, key, &message, &content)?;
        let view = view::message(self.peer(cid)?, key, &message, content, now);
        step.events.push(Event::Message(view.clone()));
        Ok(view)
    }

    /// Queues a message without text: it carries the introduction, and what is new.
    pub(super) fn enqueue_own(
        &mut self,
        step: &mut Step,
        cid: u32,
        news: News,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let draft = Draft {
            mid: MessageId::generate(rng),
            kind: Kind::Content,
            message: None,
            content: &Map::new(),
            news,
        };
        self.enqueue(step, cid, draft, now, rng).map(|_| ())
    }

    /// Queues a message. What it says to the other agent is fixed now, so that a repeated offer has the same bytes.
    pub(super) fn enqueue(
        &mut self,
        step: &mut Step,
        cid: u32,
        draft: Draft<'_>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Entry, CommandError> {
        let number = self.next_number(self.peer(cid)?.progress.last_sent);
        let extras = self.extras(cid, number, &draft)?;
        let Draft { mid, kind, message, content, .. } = draft;
        let mut payload = Payload { mid, packets: content.clone() };
        payload.packets.extend(extras.clone());
        let bucket = bucket_for(payload.encode().len()).ok_or_else(too_large)?;
        let entry = Entry {
            number,
            mid,
            kind,
            message,
            queued_at: now,
            bytes: u32::try_from(bucket.msg_a_bytes()).unwrap_or(u32::MAX),
            seed: SealSeed::generate(rng),
            deposits: Vec::new(),
        };
        let peer = self.peer_mut(cid)?;
        peer.progress.last_sent = number;
        if kind == Kind::Content {
            peer.progress.last_content = Some(Previous { number, digest: ContentDigest::of(mid, content) });
        }
        peer.outbox.enqueue(entry.clone());
        self.put_queued(step, cid, &entry)?;
        step.put_bytes(EXTRAS, outbox_key(cid, number), view::encode_packets(&extras));
        self.acks_travel(cid, &entry)?;
        self.put_progress(step, cid)?;
        self.wake(step, cid);
        Ok(entry)
    }

    /// What a message carries for the other agent.
    fn extras(
        &self,
        cid: u32,
        number: MessageNumber,
        draft: &Draft<'_>,
    ) -> Result<Map<String, Value>, CommandError> {
        if draft.kind == Kind::Reset {
            return Ok(Payload::new(draft.mid).with(RESET, &self.reset(cid)?).packets);
        }
        let contact = &self.peer(cid)?.contact;
        let mut payload = Payload::new(draft.mid)
            .with(ACK, &self.ack_packet(cid, number, draft.kind)?)
            .with(KEY, &self.key_packet(cid)?);
        if let Some(introduction) = &contact.introduction
            && let Ok(packet) = serde_json::from_str::<Value>(introduction)
        {
            payload = payload.with(INTRODUCTION, &packet);
        }
        if !contact.resets.is_empty() {
            let resets: Vec<_> = contact.resets.iter().map(|reset| &reset.packet).collect();
            payload = payload.with(CHANNEL_RESET, &resets);
        }
        if let Some(receipt) = self.receipt(cid)? {
            payload = payload.with(RECEIPT, &receipt);
        }
        if draft.news.transports {
            payload = payload.with(TRANSPORTS, &contact.mine.transports);
        }
        if draft.news.profile {
            payload = payload.with(PROFILE, &self.profile_packet());
        }
        if let Some(mid) = draft.news.fetched {
            payload = payload.with(FETCHED, &FetchedPacket { mid });
        }
        if let Some(locate) = &draft.news.locate {
            payload = payload.with(LOCATE, locate);
        }
        if let Some(location) = &draft.news.location {
            payload = payload.with(LOCATION, location);
        }
        Ok(payload.packets)
    }

    /// Fixes what messages say that the first version of the program has queued.
    pub(crate) fn freeze(&mut self, step: &mut Step, limit: usize) -> Result<(), CommandError> {
        for (cid, number, announces_transports) in
            self.unfrozen.split_off(self.unfrozen.len().saturating_sub(limit))
        {
            let Some(entry) = self.peer(cid)?.outbox.entry(number).cloned() else { continue };
            let (mid, kind, message) = (entry.mid, entry.kind, entry.message);
            let news = News { transports: announces_transports, ..News::NONE };
            let draft = Draft { mid, kind, message, content: &Map::new(), news };
            let extras = self.extras(cid, number, &draft)?;
            step.put_bytes(EXTRAS, outbox_key(cid, number), view::encode_packets(&extras));
            self.put_queued(step, cid, &entry)?;
        }
        Ok(())
    }

    /// Tells how many messages of the first version are left to [`Self::freeze`].
    pub(crate) fn unfrozen(&self) -> usize {
        self.unfrozen.len()
    }

    pub(super) fn put_queued(&self, step: &mut Step, cid: u32, entry: &Entry) -> Result<(), WireError> {
        step.put(OUTBOX, outbox_key(cid, entry.number), &Queued { entry: entry.clone(), unfrozen: None })
    }

    pub(super) fn delete_queued(step: &mut Step, cid: u32, number: MessageNumber) {
        step.delete(OUTBOX, outbox_key(cid, number));
        step.delete(EXTRAS, outbox_key(cid, number));
    }

    /// Has a contact's outbox asked.
    pub(super) fn wake(&mut self, step: &mut Step, cid: u32) {
        self.turns.wake(cid);
        step.wake_outbox = true;
    }

    /// Returns what can be offered to mailboxes now, at most `limit`, and when to ask again at the latest. Contacts take
    /// turns, so that slow mailboxes of some cannot hold up the others'.
    pub(crate) fn next_offers(&mut self, limit: usize, now: UnixMillis) -> (Vec<Offer>, Option<UnixMillis>) {
        let mut offers = Vec::new();
        while offers.len() < limit
            && let Some(cid) = self.turns.next(now)
        {
            let Some(peer) = self.peers.get_mut(&cid) else { continue };
            if !peer.contact.is_written_to() {
                continue;
            }
            let transports = &peer.contact.theirs.transports.list;
            let routes: Vec<_> = transports.iter().map(route).collect();
            match peer.outbox.next(&routes, now) {
                Next::Offer { number, tid, attempt } => {
                    let transport = transports.iter().find(|transport| transport.tid == tid);
                    let entry = peer.outbox.entry(number);
                    let (Some(transport), Some(entry)) = (transport, entry) else { continue };
                    offers.push(Offer::new(cid, peer, transport, entry, attempt));
                }
                Next::WaitUntil(time) => self.turns.wake_at(cid, time),
                // It is woken by what changes that.
                Next::NoRoute | Next::Idle => {}
            }
        }
        let times = [self.turns.next_alarm(), self.next_ack_due()];
        (offers, times.into_iter().flatten().min())
    }

    /// A server answers again: what failed there need not wait longer.
    pub(crate) fn server_is_back(&mut self, step: &mut Step, server: &ServerIdentityKey) {
        for (cid, peer) in &mut self.peers {
            let mut transports = peer.contact.theirs.transports.list.iter();
            if peer.outbox.retrying_at().is_some() && transports.any(|transport| transport.server == *server)
            {
                peer.outbox.retry_now();
                self.turns.wake(*cid);
                step.wake_outbox = true;
            }
        }
    }

    /// Notes how an offer ended.
    pub(crate) fn finish_offer(
        &mut self,
        step: &mut Step,
        offer: &Offer,
        ended: Ended,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), WireError> {
        let Ended { outcome, trouble } = ended;
        let cid = offer.cid;
        self.wake(step, cid);
        // The contact may have been removed while the offer was under way.
        let Some(peer) = self.peers.get_mut(&cid) else { return Ok(()) };
        let had_trouble = std::mem::replace(&mut peer.trouble, trouble).is_some();
        let Some(taken) = peer.outbox.finish(offer.number(), offer.route(), outcome, now, rng) else {
            return Ok(());
        };
        if had_trouble && outcome == Outcome::Taken {
            self.server_is_back(step, &offer.transport.server);
        }
        if taken.kind != Kind::Content {
            Self::delete_queued(step, cid, taken.number);
            return Ok(());
        }
        self.put_queued(step, cid, &taken)?;
        let key = MessageKey { cid, way: Way::Out, number: taken.number };
        if let Some(id) = taken.message {
            let message = Message { id, when: taken.queued_at, state: Stage::Sent, mid: Some(taken.mid) };
            put_message(step, key, &message)?;
            step.changed.push((key, message));
        }
        self.sweep_acknowledged(step, cid)
    }
}

/// Writes a message with its content into the log.
pub(super) fn log_message(
    step: &mut Step,
    key: MessageKey,
    message: &Message,
    content: &Map<String, Value>,
) -> Result<(), WireError> {
    put_message(step, key, message)?;
    step.put_bytes(BODIES, key.encode(), view::encode_packets(content));
    step.put_bytes(MESSAGE_IDS, message.id.to_be_bytes(), key.encode());
    if content.contains_key(FILE) {
        step.put_bytes(FILES, message.id.to_be_bytes(), Vec::new());
    }
    Ok(())
}

pub(super) fn put_message(step: &mut Step, key: MessageKey, message: &Message) -> Result<(), WireError> {
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

fn too_large() -> CommandError {
    CommandError::new(Fault::BadRequest, "the message is too large", "split it into several messages")
}

/// The longest JSON form of a text: leaves room in the largest bucket for what a message carries for the other agent. Only
/// texts of mostly control characters reach it.
const MAX_ENCODED_TEXT_BYTES: usize = 180_000;
