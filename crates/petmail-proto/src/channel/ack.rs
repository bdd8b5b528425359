//! The `ack` packet: what a receiver has, and where a sender's outstanding messages begin.
//!
//! Every payload carries one; a payload of nothing else is *ack-only*: it is never outstanding and never acknowledged.
//! An acknowledgement above what was sent marks nothing, and none takes one back. Specification: Delivery, "Nothing lost".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{MessageNumber, window::Windows};
use crate::{
    keys::{MessageId, macros::public_bytes},
    wire::Writer,
};

/// Binds a digest to its use, so that no other hash of a message can pass for one.
const DIGEST_LABEL: &str = "petmail.org/v1/content";

/// The most epochs in one packet. If more are open, the oldest and the newest of them are said: the oldest let the
/// sender's base move on, the newest hold what is new.
pub const MAX_EPOCHS: usize = 32;

/// The most ranges of one epoch in one packet; the lowest are said.
pub const MAX_RANGES: usize = 32;

/// The most single numbers (retired, skipped) in one packet.
pub const MAX_NUMBERS: usize = 32;

/// What was received of one epoch of the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochAck {
    /// The sender's epoch.
    pub epoch: u64,
    /// Everything up to here was received, or is closed.
    pub through: u64,
    /// What was received above: first and last number of each range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<(u64, u64)>,
}

impl EpochAck {
    /// Tells whether a message of this epoch is acknowledged.
    #[must_use]
    pub fn covers(&self, seqnum: u64) -> bool {
        seqnum <= self.through || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&seqnum))
    }
}

public_bytes! {
    /// What a message says: the SHA-256 of its mid and its packets for people.
    ContentDigest, 32
}

impl ContentDigest {
    /// Computes label ‖ mid ‖ the packets as JSON with sorted names.
    #[must_use]
    pub fn of(mid: MessageId, packets: &Map<String, Value>) -> Self {
        let json = Value::from(packets.clone()).to_string();
        let content = Writer::labelled(DIGEST_LABEL).fixed(mid.as_bytes()).fixed(json.as_bytes()).finish();
        Self::from_bytes(Sha256::digest(content).into())
    }
}

/// A message before this one in its channel, so that its removal by a server is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its number.
    pub number: MessageNumber,
    /// What it says.
    pub digest: ContentDigest,
}

/// A message that came too late for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its number.
    pub number: MessageNumber,
    /// Which encryption of it came.
    pub attempt: u8,
}

/// The `ack` packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckPacket {
    /// The sender's lowest outstanding message, or its next one: all below will not be sent any more.
    pub base: MessageNumber,
    /// Epochs of the receiver below are closed: nothing of them will be taken in. A receiver that was set back may still hold
    /// messages of them.
    #[serde(default)]
    pub floor: u64,
    /// What the sender has received, the oldest epoch first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<EpochAck>,
    /// Messages that came too late for their key: to be encrypted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Retired>,
    /// Messages of the sender that were given up: holes that are no loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<MessageNumber>,
    /// How many bytes may be outstanding towards the sender of this packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u64>,
    /// The message for people before this one; none for the first, and in ack-only payloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Whether this payload is nothing but an acknowledgement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only: bool,
}

impl AckPacket {
    /// Says what `windows` received.
    #[must_use]
    pub fn new(base: MessageNumber, windows: &Windows) -> Self {
        let all = windows.acks();
        let (count, half) = (all.len(), MAX_EPOCHS >> 1);
        let is_said = |index: usize| index < half || index.saturating_add(half) >= count;
        let said = all.enumerate().filter(|(index, _)| is_said(*index));
        let epochs = said.map(|(_, mut ack)| {
            ack.ranges.truncate(MAX_RANGES);
            ack
        });
        Self { base, floor: windows.floor(), epochs: epochs.collect(), ..Self::default() }
    }

    /// Tells whether the packet keeps the bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.epochs.len() <= MAX_EPOCHS
            && self.epochs.iter().all(|ack| ack.ranges.len() <= MAX_RANGES)
            && self.retired.len() <= MAX_NUMBERS
            && self.skipped.len() <= MAX_NUMBERS
    }

    /// Tells whether a message is acknowledged.
    #[must_use]
    pub fn covers(&self, number: MessageNumber) -> bool {
        let is_open = |ack: &&EpochAck| ack.epoch == number.epoch;
        number.epoch < self.floor || self.epochs.iter().filter(is_open).any(|ack| ack.covers(number.seqnum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(epoch: u64, seqnum: u64) -> MessageNumber {
        MessageNumber { epoch, seqnum }
    }

    #[test]
    fn a_packet_says_what_was_received_and_nothing_else() {
        let mut windows = Windows::default();
        for seqnum in [1, 2, 4, 5, 8] {
            windows.receive(number(7, seqnum));
        }
        windows.close_below(number(6, 1));
        let packet = AckPacket::new(number(3, 4), &windows);
        let json = r#"{"base":{"epoch":3,"seqnum":4},"floor":6,"epochs":[{"epoch":7,"through":2,"ranges":[[4,5],[8,8]]}]}"#;
        assert_eq!(serde_json::to_string(&packet).unwrap(), json);
        assert_eq!(serde_json::from_str::<AckPacket>(json).unwrap(), packet);
        let covered: Vec<u64> = (1..10).filter(|seqnum| packet.covers(number(7, *seqnum))).collect();
        assert_eq!(covered, [1, 2, 4, 5, 8]);
        assert!(!packet.covers(number(8, 1)) && !packet.covers(number(6, 1)) && packet.covers(number(5, 9)));
    }

    #[test]
    fn with_many_epochs_the_oldest_and_the_newest_are_said() {
        let mut windows = Windows::default();
        for epoch in 1..=100 {
            for seqnum in (2..200).step_by(2).take(if epoch == 100 { 90 } else { 1 }) {
                windows.receive(number(epoch, seqnum));
            }
        }
        let packet = AckPacket::new(number(1, 1), &windows);
        let epochs: Vec<u64> = packet.epochs.iter().map(|ack| ack.epoch).collect();
        assert_eq!(epochs, (1..=16).chain(85..=100).collect::<Vec<_>>());
        assert_eq!(packet.epochs.last().unwrap().ranges.len(), MAX_RANGES);
        assert!(packet.is_bounded());
    }

    #[test]
    fn a_packet_out_of_bounds_is_told() {
        let acks = |count| vec![EpochAck { epoch: 1, through: 0, ranges: Vec::new() }; count];
        let packet = |epochs| AckPacket { epochs, ..AckPacket::default() };
        assert!(packet(acks(MAX_EPOCHS)).is_bounded() && !packet(acks(MAX_EPOCHS + 1)).is_bounded());
        let mut wide = packet(acks(1));
        wide.epochs[0].ranges = vec![(2, 2); MAX_RANGES + 1];
        assert!(!wide.is_bounded());
        let many = vec![number(1, 1); MAX_NUMBERS + 1];
        let retired = many.iter().map(|number| Retired { number: *number, attempt: 0 }).collect();
        assert!(!AckPacket { retired, ..AckPacket::default() }.is_bounded());
        assert!(!AckPacket { skipped: many, ..AckPacket::default() }.is_bounded());
    }
}
