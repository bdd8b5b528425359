//! A payload: one JSON object of named packets.
//!
//! Packets that this version does not know are kept and shown as such; they are never an error.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::keys::MessageId;

/// The longest text of a `basic` packet, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 65_536;

/// A text message.
pub const BASIC: &str = "basic";
/// A file.
pub const FILE: &str = "file";
/// Says that the file of a message was fetched.
pub const FETCHED: &str = "fetched";
/// Asks where the file of a message is now.
pub const LOCATE: &str = "locate";
/// Says where the file of a message is now.
pub const LOCATION: &str = "location";
/// The message that a text answers.
pub const REPLY: &str = "reply";
/// The sender's introduction, carried until the contact is confirmed.
pub const INTRODUCTION: &str = "introduction";
/// What the sender has received, and where its outstanding messages begin.
pub const ACK: &str = "ack";
/// The sender's newest receiver key, and which of the receiver's it knows.
pub const KEY: &str = "key";
/// The sender's transports, replacing those of a lower serial.
pub const TRANSPORTS: &str = "transports";
/// What the sender tells of itself, replacing what has a lower serial.
pub const PROFILE: &str = "profile";
/// How far the person has read, if they want it to be known.
pub const RECEIPT: &str = "receipt";
/// What replaces the sender's keys, vouched for by the keys before.
pub const CHANNEL_RESET: &str = "channel-reset";

/// A payload that is no JSON object with a message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the payload is malformed")]
pub struct BadPayload;

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// Names the message for good.
    pub mid: MessageId,
    /// The packets by name.
    #[serde(flatten)]
    pub packets: Map<String, Value>,
}

impl Payload {
    /// Makes a payload without packets.
    #[must_use]
    pub fn new(mid: MessageId) -> Self {
        Self { mid, packets: Map::new() }
    }

    /// Adds a packet, replacing one of the same name.
    ///
    /// # Panics
    /// If `packet` has no JSON form; every packet type of this crate has one.
    #[must_use]
    pub fn with(mut self, name: &str, packet: &impl Serialize) -> Self {
        let value = serde_json::to_value(packet).expect("packet types have a JSON form");
        self.packets.insert(name.to_owned(), value);
        self
    }

    /// Reads a packet; none if it is absent or not of this type.
    #[must_use]
    pub fn packet<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.packets.get(name)?).ok()
    }

    /// Returns the JSON as it is sealed.
    ///
    /// # Panics
    /// Never: maps with text keys have a JSON form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a map with text keys has a JSON form")
    }

    /// Reads a payload; its size is bounded by the message that carried it.
    ///
    /// # Errors
    /// [`BadPayload`].
    pub fn decode(json: &[u8]) -> Result<Self, BadPayload> {
        serde_json::from_slice(json).map_err(|_| BadPayload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_packets_are_kept() {
        let json = br#"{"mid":"AAAAAAAAAAAAAAAAAAAAAA","basic":"hi","from-the-future":{"a":[1]}}"#;
        let payload = Payload::decode(json).unwrap();
        assert_eq!(payload.packet::<String>(BASIC).as_deref(), Some("hi"));
        assert!(payload.packets.contains_key("from-the-future"));
        assert_eq!(Payload::decode(&payload.encode()).unwrap(), payload);
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        for json in
            ["", "{}", "[]", "{\"mid\":1}", "{\"mid\":\"AA\"}", "{\"mid\":\"AAAAAAAAAAAAAAAAAAAAAA\"} x"]
        {
            assert_eq!(Payload::decode(json.as_bytes()), Err(BadPayload), "{json}");
        }
        let deep =
            format!("{{\"mid\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert_eq!(Payload::decode(deep.as_bytes()), Err(BadPayload));
    }

    #[test]
    fn a_packet_of_another_type_is_absent() {
        let payload = Payload::new(MessageId::from_bytes([0; 16])).with(BASIC, &7);
        assert_eq!(payload.packet::<String>(BASIC), None);
    }
}
