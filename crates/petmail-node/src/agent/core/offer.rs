//! One attempt to deliver one message: all that the delivery task needs to know, and how it ended.

use std::time::Duration;

use petmail_proto::{
    channel::{
        MessageNumber,
        attempt::{Attempt, AttemptError},
        cid::CidSubkeys,
        message::Outgoing,
        payload::Payload,
        record::{ReceiverKey, TransportRecord},
        reset::Reset,
    },
    delivery::MsgA,
    keys::{ChannelSigningKey, ChannelVerifyingKey, DeliveryPublicKey},
    outbox::{Entry, Outcome, Route},
    token::TokenPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Peer, reset::RESET};
use crate::agent::records::{MessageKey, Way, outbox_key};

/// The shortest retention that is believed: each time it runs out, a message may be sent anew.
const MIN_RETENTION: Duration = Duration::from_secs(3_600);

/// The longest retention that is believed: so long a lost copy is not replaced.
const MAX_RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// One attempt to deliver one message.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The contact.
    pub(crate) cid: u32,
    /// Where to.
    pub(crate) transport: TransportRecord,
    /// How to seal it.
    pub(crate) sealing: Sealing,
}

/// The packets of one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packets {
    /// What the person wrote; nothing in a message of the program's own.
    pub(crate) content: Map<String, Value>,
    /// What the message carries for the other agent.
    pub(crate) extras: Map<String, Value>,
}

/// How an offer ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// For the outbox.
    pub(crate) outcome: Outcome,
    /// What was wrong, for people.
    pub(crate) trouble: Option<String>,
}

impl Offer {
    pub(super) fn new(
        cid: u32,
        peer: &Peer,
        transport: &TransportRecord,
        entry: &Entry,
        attempt: u8,
    ) -> Self {
        let contact = &peer.contact;
        let sealing = Sealing {
            entry: entry.clone(),
            attempt,
            signing_key: contact.signing_key(entry).clone(),
            receiver_key: contact.theirs.receiver_key,
            their_subkeys: peer.subkeys.theirs.clone(),
            their_verifying_key: contact.theirs.verifying_key,
        };
        Self { cid, transport: transport.clone(), sealing }
    }

    /// The number of the message.
    pub(crate) fn number(&self) -> MessageNumber {
        self.sealing.entry.number
    }

    /// The row of [`BODIES`](crate::agent::records::BODIES) with the content; none for a message of the program's own.
    pub(crate) fn body_key(&self) -> Option<Vec<u8>> {
        let key = MessageKey { cid: self.cid, way: Way::Out, number: self.number() };
        self.sealing.entry.message.map(|_| key.encode())
    }

    /// The row of [`EXTRAS`](crate::agent::records::EXTRAS).
    pub(crate) fn extras_key(&self) -> Vec<u8> {
        outbox_key(self.cid, self.number())
    }

    /// The contact's key that the message is encrypted to.
    #[cfg(test)]
    pub(super) fn key(&self) -> petmail_proto::channel::record::KeyId {
        self.sealing.receiver_key.kid
    }

    /// The transport, as the outbox sees it.
    pub(super) fn route(&self) -> Route {
        route(&self.transport)
    }
}

/// Everything to seal one message for one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Sealing {
    entry: Entry,
    attempt: u8,
    signing_key: ChannelSigningKey,
    receiver_key: ReceiverKey,
    their_subkeys: CidSubkeys,
    their_verifying_key: ChannelVerifyingKey,
}

impl Sealing {
    /// Seals the message for a transport whose server has these keys. The same attempt always gives the same bytes.
    ///
    /// # Errors
    /// [`AttemptError`], if the contact or its server published what cannot be used.
    pub(crate) fn seal(
        &self,
        transport: &TransportRecord,
        token_key: &TokenPublicKey,
        delivery_key: &DeliveryPublicKey,
        packets: Packets,
    ) -> Result<MsgA, AttemptError> {
        let Entry { seed, mid, number, .. } = &self.entry;
        let reset = packets.extras.get(RESET).and_then(|reset| Reset::deserialize(reset).ok());
        let outgoing = Outgoing {
            signing_key: &self.signing_key,
            receiver_key: &self.receiver_key.key,
            cid_subkeys: &self.their_subkeys,
            tid: &transport.tid,
            attempt: self.attempt,
            number: *number,
        };
        let attempt = Attempt { outgoing, token: &transport.token, token_key, delivery_key };
        match reset {
            Some(reset) => attempt.seal_reset(seed, &reset, &self.their_verifying_key),
            None => {
                let mut payload = Payload { mid: *mid, packets: packets.content };
                payload.packets.extend(packets.extras);
                attempt.seal(seed, &payload.encode())
            }
        }
    }
}

/// A transport, as the outbox sees it. A contact may write any retention into its record.
pub(super) fn route(transport: &TransportRecord) -> Route {
    let retention = Duration::from_secs(transport.retention_seconds);
    Route { tid: transport.tid, retention: retention.clamp(MIN_RETENTION, MAX_RETENTION) }
}
