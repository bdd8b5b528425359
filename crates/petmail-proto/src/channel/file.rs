//! The `file` packet: a file within a message. Specification: `docs/protocol/delivery.md`, "Packets".

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The largest file within a message, in bytes: in base64, with what else a message carries, it fits the largest bucket.
pub const MAX_INLINE_BYTES: usize = 180 * 1024;

/// The longest name of a file, in bytes of UTF-8.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// A file that a message brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePacket {
    /// What the sender calls it: a hint, to be made safe before it is shown or used.
    pub name: String,
    /// What is in it.
    pub inline: InlineFile,
}

impl FilePacket {
    /// Tells whether the name is 1 to [`MAX_FILE_NAME_BYTES`] long; the content always is within its bound.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        (1..=MAX_FILE_NAME_BYTES).contains(&self.name.len())
    }
}

/// The content of a file, 0 to [`MAX_INLINE_BYTES`]; base64url without padding in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct InlineFile(Vec<u8>);

/// The file is larger than a message can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has more than {MAX_INLINE_BYTES} bytes")]
pub struct FileTooLarge;

impl InlineFile {
    /// Takes a file's content.
    ///
    /// # Errors
    /// [`FileTooLarge`].
    pub fn new(content: Vec<u8>) -> Result<Self, FileTooLarge> {
        if content.len() > MAX_INLINE_BYTES { Err(FileTooLarge) } else { Ok(Self(content)) }
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.0
    }

    /// Returns the content.
    #[must_use]
    pub fn into_content(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for InlineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InlineFile({} bytes)", self.0.len())
    }
}

impl Serialize for InlineFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for InlineFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let content = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        Self::new(content).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::{
            attempt::bucket_for,
            payload::{FILE, Payload},
        },
        keys::MessageId,
    };

    fn payload(name: &str, content: Vec<u8>) -> Payload {
        let packet = FilePacket { name: name.to_owned(), inline: InlineFile::new(content).unwrap() };
        Payload::new(MessageId::from_bytes([0; 16])).with(FILE, &packet)
    }

    #[test]
    fn the_largest_file_fits_a_message_with_room_for_what_agents_say() {
        let largest = payload(&"\u{1}".repeat(MAX_FILE_NAME_BYTES), vec![0xff; MAX_INLINE_BYTES]);
        assert!(bucket_for(largest.encode().len() + 12 * 1024).is_some());
        assert_eq!(InlineFile::new(vec![0; MAX_INLINE_BYTES + 1]), Err(FileTooLarge));
    }

    #[test]
    fn a_file_comes_back() {
        for content in [Vec::new(), vec![0, 1, 255], vec![7; 5_000]] {
            let read = Payload::decode(&payload("ä.png", content.clone()).encode()).unwrap();
            let packet = read.packet::<FilePacket>(FILE).unwrap();
            assert_eq!((packet.name.as_str(), packet.inline.content()), ("ä.png", content.as_slice()));
            assert!(packet.is_bounded());
        }
    }

    #[test]
    fn a_packet_out_of_bounds_is_none() {
        let long = BASE64URL_NOPAD.encode(&vec![0; MAX_INLINE_BYTES + 1]);
        for bad in [
            r#"{"name":"a"}"#.to_owned(),
            r#"{"inline":""}"#.to_owned(),
            r#"{"name":"a","inline":"A"}"#.to_owned(),
            r#"{"name":"a","inline":"AA=="}"#.to_owned(),
            r#"{"name":1,"inline":""}"#.to_owned(),
            format!(r#"{{"name":"a","inline":"{long}"}}"#),
        ] {
            assert!(serde_json::from_str::<FilePacket>(&bad).is_err(), "{:.60}", bad);
        }
        for name in [String::new(), "x".repeat(256)] {
            assert!(!FilePacket { name, inline: InlineFile::new(Vec::new()).unwrap() }.is_bounded());
        }
    }
}
