//! The `file` packet: a file within a message, or the way to one, or to a folder, that a storage server keeps; and the
//! `fetched` packet, which says that it was fetched; `locate` asks where it is now, `location` says so. Specification: `docs/protocol/delivery.md`, "Packets".

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    content::{EntryKind, Location, Manifest, Reference},
    keys::MessageId,
    time::UnixMillis,
};

/// The largest file within a message, in bytes: in base64, with what else a message carries, it fits the largest bucket.
pub const MAX_INLINE_BYTES: usize = 180 * 1024;

/// The longest name of a file, in bytes of UTF-8.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// A file, or a folder, that a message brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePacket {
    /// What the sender calls it: a hint, to be made safe before it is shown or used.
    pub name: String,
    /// What is in it, or where that is: one field, `inline` or `stored`.
    #[serde(flatten)]
    pub content: FileContent,
}

/// What is in a file, or where that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileContent {
    /// The content itself.
    Inline(InlineFile),
    /// It is with a storage server.
    Stored(StoredFile),
}

/// A file or folder that a storage server keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Whether it is one file or a folder.
    pub kind: StoredKind,
    /// How long all files together are, in bytes.
    pub size: u64,
    /// How many files there are.
    pub count: u32,
    /// Until when the sender means to keep it.
    pub until: UnixMillis,
    /// Where it is, and what opens it.
    pub reference: Reference,
}

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoredKind {
    /// One file; the path in its manifest is no more than a name.
    File,
    /// A folder; the paths in its manifest begin below it.
    Folder,
}

impl StoredFile {
    /// Tells whether the manifest lists what the message has announced: nobody gets more than they agreed to fetch.
    #[must_use]
    pub fn is_listed_in(&self, manifest: &Manifest) -> bool {
        let files = manifest.entries().iter().filter(|entry| entry.kind != EntryKind::Folder).count();
        let is_of_its_kind = match self.kind {
            StoredKind::File => manifest.entries().len() == 1 && files == 1,
            StoredKind::Folder => true,
        };
        is_of_its_kind && manifest.total_bytes() == self.size && u32::try_from(files) == Ok(self.count)
    }
}

/// Says that the file of a message has been fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedPacket {
    /// The name of the message.
    pub mid: MessageId,
}

/// Asks the sender of a message where its file is now: it is not where it was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatePacket {
    /// The name of the message.
    pub mid: MessageId,
}

/// Says where the file of a message is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationPacket {
    /// The name of the message.
    pub mid: MessageId,
    /// Where; none if it is kept no longer.
    #[serde(default)]
    pub location: Option<Location>,
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
        content::{ChunkEntry, ContentSecret, Entry, ManifestChunk, PackEntry, PackWriter, StoragePlace},
    };

    fn payload(name: &str, content: Vec<u8>) -> Payload {
        let content = FileContent::Inline(InlineFile::new(content).unwrap());
        let packet = FilePacket { name: name.to_owned(), content };
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
            assert!(packet.is_bounded());
            let expected = FileContent::Inline(InlineFile::new(content).unwrap());
            assert_eq!((packet.name.as_str(), packet.content), ("ä.png", expected));
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
            r#"{"name":"a","stored":{}}"#.to_owned(),
            format!(r#"{{"name":"a","inline":"{long}"}}"#),
        ] {
            assert!(serde_json::from_str::<FilePacket>(&bad).is_err(), "{:.60}", bad);
        }
        for name in [String::new(), "x".repeat(256)] {
            let content = FileContent::Inline(InlineFile::new(Vec::new()).unwrap());
            assert!(!FilePacket { name, content }.is_bounded());
        }
    }

    #[test]
    fn where_a_file_is_now_comes_back_within_bounds() {
        let (mid, (stored, _)) = (MessageId::from_bytes([1; 16]), stored(StoredKind::File));
        let Reference { places, manifest, .. } = stored.reference;
        let link = crate::content::Link::new("https://store.example/pack?signature=1").unwrap();
        let linked = crate::content::LinkedPlace { link, list: manifest[0].clone() };
        for location in [
            None,
            Some(Location { places: places.clone(), linked: None }),
            Some(Location { places: Vec::new(), linked: Some(linked.clone()) }),
            Some(Location { places: vec![places[0].clone(); 8], linked: Some(linked.clone()) }),
        ] {
            let packet = LocationPacket { mid, location };
            let json = serde_json::to_string(&packet).unwrap();
            assert_eq!(serde_json::from_str::<LocationPacket>(&json).unwrap(), packet);
            assert!(!format!("{packet:?}").contains("signature"));
        }
        let too_long = ManifestChunk { length: u32::MAX, ..linked.list.clone() };
        for location in [
            Location { places: Vec::new(), linked: None },
            Location { places: vec![places[0].clone(); 9], linked: None },
            Location { places, linked: Some(crate::content::LinkedPlace { list: too_long, ..linked }) },
        ] {
            let json = serde_json::to_string(&LocationPacket { mid, location: Some(location) }).unwrap();
            assert!(serde_json::from_str::<LocationPacket>(&json).is_err(), "{json}");
        }
    }

    /// An upload of one file, as it is announced and as it is listed.
    fn stored(kind: StoredKind) -> (StoredFile, Manifest) {
        let secret = ContentSecret::from_bytes([1; 32]);
        let mut writer = PackWriter::new();
        let chunk = secret.seal(b"content");
        let (place, _) = writer.add(&chunk);
        let pack = writer.take().unwrap();
        let bytes = u32::try_from(pack.bytes.len()).unwrap();
        let listed = ChunkEntry {
            pack: 0,
            offset: place.offset,
            length: chunk.length,
            hash: chunk.hash,
            key: chunk.key.clone(),
        };
        let kind_of_entry = EntryKind::File { size: 7, modified: UnixMillis(1), chunks: vec![listed] };
        let entries = vec![Entry { path: "a".to_owned(), kind: kind_of_entry }];
        let manifest = Manifest::new(vec![PackEntry { id: pack.id, bytes }], entries).unwrap();
        let manifest_chunk = ManifestChunk {
            pack: pack.id,
            offset: place.offset,
            length: chunk.length,
            hash: chunk.hash,
            key: chunk.key,
        };
        let place = StoragePlace { url: "https://store.example".parse().unwrap(), pin: None };
        let reference = Reference { places: vec![place], linked: None, manifest: vec![manifest_chunk; 256] };
        (StoredFile { kind, size: 7, count: 1, until: UnixMillis(2), reference }, manifest)
    }

    #[test]
    fn a_reference_comes_back_and_the_longest_fits_a_message() {
        let (stored, _) = stored(StoredKind::Folder);
        let packet = FilePacket { name: "photos".to_owned(), content: FileContent::Stored(stored) };
        let payload = Payload::new(MessageId::from_bytes([0; 16])).with(FILE, &packet).encode();
        assert!(bucket_for(payload.len() + 12 * 1024).is_some());
        assert_eq!(Payload::decode(&payload).unwrap().packet::<FilePacket>(FILE), Some(packet));
    }

    #[test]
    fn only_what_was_announced_is_accepted() {
        let (file, manifest) = stored(StoredKind::File);
        assert!(file.is_listed_in(&manifest));
        assert!(!StoredFile { size: 8, ..file.clone() }.is_listed_in(&manifest));
        assert!(!StoredFile { count: 2, ..file.clone() }.is_listed_in(&manifest));
        let empty = Manifest::new(Vec::new(), Vec::new()).unwrap();
        assert!(!file.is_listed_in(&empty));
        assert!(!StoredFile { size: 0, count: 0, ..file }.is_listed_in(&empty));
        let (folder, manifest) = stored(StoredKind::Folder);
        assert!(folder.is_listed_in(&manifest));
        assert!(StoredFile { size: 0, count: 0, ..folder }.is_listed_in(&empty));
    }
}
