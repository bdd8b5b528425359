//! What a node stores of files on their way to and from storage servers.

use std::fmt;

use petmail_proto::{
    channel::file::StoredKind,
    content::{ChunkHash, Location, PackId},
    keys::MessageId,
    time::UnixMillis,
    wire::{self, Record, WireError},
};
use petmail_store::Keyspace;
use serde::{Deserialize, Serialize};

use super::migrate::known;

/// [`Upload`]s by the id that their message will have.
pub(crate) const UPLOADS: Keyspace = Keyspace::new("uploads");
/// [`Share`]s by the id of their message.
pub(crate) const SHARES: Keyspace = Keyspace::new("shares");
/// [`Download`]s by the id of their message.
pub(crate) const DOWNLOADS: Keyspace = Keyspace::new("downloads");
/// [`StoredPack`]s by mailbox ‖ pack.
pub(crate) const PACKS: Keyspace = Keyspace::new("packs");
/// Which uploads and shares need which packs: mailbox ‖ pack ‖ id; the rows are empty.
pub(crate) const PACK_USES: Keyspace = Keyspace::new("pack-uses");
/// [`Located`] by the id of a message: where its file is now, if that is not where the message says.
pub(crate) const LOCATIONS: Keyspace = Keyspace::new("locations");
/// Which messages' files contacts ask for: [`question_key`]; the rows are empty.
pub(crate) const QUESTIONS: Keyspace = Keyspace::new("questions");
/// Up to which size files of a contact are fetched without asking (bytes, u64 big-endian), by cid.
pub(crate) const FETCH_LIMITS: Keyspace = Keyspace::new("fetch-limits");

/// The key in `agent` of the secret that cuts and encrypts what this node stores.
pub(crate) const CONTENT_SECRET_KEY: &[u8] = b"content-secret";

/// How a transfer is going.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It goes on, or will when a server can be reached.
    Active,
    /// A person stopped it for now.
    Paused,
    /// It cannot go on.
    Failed(Hitch),
    /// The file is not where it was said to be; its sender was asked where it is now.
    Asked,
}

/// Why a transfer does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hitch {
    /// A name that does not change.
    pub(crate) code: String,
    /// What differs from case to case.
    pub(crate) detail: Option<String>,
    /// The whole in one line, with what to do.
    pub(crate) text: String,
}

impl Hitch {
    /// One that has no name of its own.
    pub(crate) fn other(text: String) -> Self {
        Self { code: "transfer-trouble".to_owned(), detail: Some(text.clone()), text }
    }

    /// One that may be over soon.
    pub(crate) fn waiting(text: String) -> Self {
        Self { code: "transfer-waits".to_owned(), detail: Some(text.clone()), text }
    }
}

/// Version 1 of [`Phase`].
#[derive(Deserialize)]
enum PhaseV1 {
    Active,
    Paused,
    Failed(String),
}

impl From<PhaseV1> for Phase {
    fn from(phase: PhaseV1) -> Self {
        match phase {
            PhaseV1::Active => Self::Active,
            PhaseV1::Paused => Self::Paused,
            PhaseV1::Failed(text) => Self::Failed(Hitch::other(text)),
        }
    }
}

/// Where the content of an upload is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// A file or folder of this machine: its absolute path.
    Path(String),
    /// A file in the basedir that came through the control API.
    Spool,
}

/// A file or folder that is being stored; its message is sent when all of it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) id: u64,
    pub(crate) cid: u32,
    /// The name of its message.
    pub(crate) mid: MessageId,
    /// What the contact sees.
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) kind: StoredKind,
    /// In bytes, as it was when it was given.
    pub(crate) size: u64,
    /// How many files.
    pub(crate) count: u32,
    /// How long it is to be kept once it is sent.
    pub(crate) keep_days: u32,
    pub(crate) phase: Phase,
}

/// Version 1 of [`Upload`].
#[derive(Deserialize)]
struct UploadV1 {
    id: u64,
    cid: u32,
    mid: MessageId,
    name: String,
    source: Source,
    kind: StoredKind,
    size: u64,
    count: u32,
    keep_days: u32,
    phase: PhaseV1,
}

impl Record for Upload {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        known::<Self>(version)?;
        let UploadV1 { id, cid, mid, name, source, kind, size, count, keep_days, phase } =
            wire::decode(body)?;
        Ok(Self { id, cid, mid, name, source, kind, size, count, keep_days, phase: phase.into() })
    }
}

/// A sent file that its storage server keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) cid: u32,
    pub(crate) mid: MessageId,
    /// The mailbox whose account stores it, or the service, by its number among both.
    pub(crate) mailbox: u32,
    /// Until when.
    pub(crate) until: UnixMillis,
    /// When the contact said to have it.
    pub(crate) fetched: Option<UnixMillis>,
}

impl Record for Share {
    const VERSION: u16 = 1;
}

/// Where a fetched file is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// In this folder, under its name, or with a number if that is taken.
    Folder(String),
    /// Exactly there.
    Exactly(String),
}

/// A file or folder that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Download {
    pub(crate) id: u64,
    pub(crate) cid: u32,
    /// The name of its message.
    pub(crate) mid: MessageId,
    pub(crate) target: Target,
    /// The permissions of files, before any are taken away: never to execute.
    pub(crate) mode: u32,
    /// What it is being renamed to, from just before until just after.
    pub(crate) renaming: Option<String>,
    pub(crate) phase: Phase,
    pub(crate) saved: Option<Saved>,
}

/// A file that is whole and in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) path: String,
    /// Its media type, if it is a picture that can be shown.
    pub(crate) picture: Option<String>,
}

/// Version 1 of [`Download`].
#[derive(Deserialize)]
struct DownloadV1 {
    id: u64,
    cid: u32,
    mid: MessageId,
    target: Target,
    mode: u32,
    renaming: Option<String>,
    phase: PhaseV1,
    saved: Option<Saved>,
}

impl Record for Download {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        known::<Self>(version)?;
        let DownloadV1 { id, cid, mid, target, mode, renaming, phase, saved } = wire::decode(body)?;
        Ok(Self { id, cid, mid, target, mode, renaming, phase: phase.into(), saved })
    }
}

/// Where the file of a message is now.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Located {
    /// When that was found out.
    pub(crate) at: UnixMillis,
    /// The JSON of a [`Location`]; none if it is kept no longer.
    location: Option<String>,
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Links and keys are secrets.
        f.debug_struct("Located").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Located {
    pub(crate) fn new(location: Option<&Location>, at: UnixMillis) -> Self {
        // Its types have a JSON form.
        Self { at, location: location.and_then(|location| serde_json::to_string(location).ok()) }
    }

    pub(crate) fn location(&self) -> Option<Location> {
        serde_json::from_str(self.location.as_ref()?).ok()
    }
}

impl Record for Located {
    const VERSION: u16 = 1;
}

/// A pack of this node's at a storage server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredPack {
    pub(crate) bytes: u32,
    pub(crate) chunks: Vec<StoredChunk>,
}

/// A chunk in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredChunk {
    pub(crate) hash: ChunkHash,
    /// Where it begins, in bytes.
    pub(crate) offset: u32,
    /// How long its content is, in bytes.
    pub(crate) length: u32,
}

impl Record for StoredPack {
    const VERSION: u16 = 1;
}

/// The key of a contact's question where the file of a message is.
pub(crate) fn question_key(cid: u32, mid: &MessageId) -> Vec<u8> {
    [cid.to_be_bytes().as_slice(), mid.as_bytes()].concat()
}

/// The contact and the message that a key of [`QUESTIONS`] names.
pub(crate) fn question_of(key: &[u8]) -> Option<(u32, MessageId)> {
    let (cid, mid) = key.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*cid), MessageId::from_bytes(mid.try_into().ok()?)))
}

/// The key of a pack.
pub(crate) fn pack_key(mailbox: u32, pack: &PackId) -> Vec<u8> {
    [mailbox.to_be_bytes().as_slice(), pack.as_bytes()].concat()
}

/// The key of a pack's use.
pub(crate) fn use_key(mailbox: u32, pack: &PackId, id: u64) -> Vec<u8> {
    [pack_key(mailbox, pack).as_slice(), &id.to_be_bytes()].concat()
}

/// The pack that a key of [`PACKS`] or [`PACK_USES`] names, with its mailbox.
pub(crate) fn pack_of(key: &[u8]) -> Option<(u32, PackId)> {
    let (mailbox, rest) = key.split_first_chunk::<4>()?;
    let (pack, _) = rest.split_first_chunk::<32>()?;
    Some((u32::from_be_bytes(*mailbox), PackId::from_bytes(*pack)))
}

/// The upload or share that a key of [`PACK_USES`] names.
pub(crate) fn user_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}
