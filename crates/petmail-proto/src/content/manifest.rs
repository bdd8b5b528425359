//! Manifests: the files and folders of one upload, and where their chunks are.

use std::cmp::Ordering;

use super::{ChunkHash, ChunkKey, ChunkPlace, MAX_CHUNK_BYTES, MAX_PACK_BYTES, PackId, sealed_bytes};
use crate::{
    time::UnixMillis,
    wire::{Reader, WireError, Writer},
};

/// The longest manifest, in bytes: some 800 GB of large files.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;
/// The most files and folders of an upload.
pub const MAX_ENTRIES: u32 = 1_000_000;
/// The most packs of an upload.
pub const MAX_PACKS: u32 = 1_000_000;
/// The longest path, in bytes of UTF-8.
pub const MAX_PATH_BYTES: usize = 4_096;
/// The longest name within a path, in bytes of UTF-8.
pub const MAX_COMPONENT_BYTES: usize = 255;

const PREFIX: &[u8; 2] = b"n1";

/// A pack that holds chunks of the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// Its name.
    pub id: PackId,
    /// Its length, in bytes.
    pub bytes: u32,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder, which may be empty.
    Folder,
    /// A file with its chunks in order: none if it is empty.
    File {
        /// Its length, in bytes.
        size: u64,
        /// When it was changed last.
        modified: UnixMillis,
        /// Its content.
        chunks: Vec<ChunkEntry>,
    },
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the upload's root, as [`is_path`] allows it.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// A chunk of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Which of the manifest's packs holds it.
    pub pack: u32,
    /// Where it begins there, in bytes.
    pub offset: u32,
    /// The length of its content, in bytes.
    pub length: u32,
    /// The hash of its content.
    pub hash: ChunkHash,
    /// What opens it.
    pub key: ChunkKey,
}

impl ChunkEntry {
    /// Where it is in its pack.
    #[must_use]
    pub fn place(&self) -> ChunkPlace {
        ChunkPlace { offset: self.offset, sealed_length: sealed_bytes(self.length) }
    }
}

/// The files and folders of one upload, in the order of [`Entry::path`]s by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    packs: Vec<PackEntry>,
    entries: Vec<Entry>,
}

/// Why bytes, or a list of files, are no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The frame is damaged, or of another version.
    #[error("the list of files is damaged: {0}")]
    Wire(#[from] WireError),
    /// More than the bounds of this module.
    #[error("these are more files than one transfer can hold")]
    TooMany,
    /// A path that names nothing below the root, or is too long.
    #[error("the list of files has a path that leads elsewhere")]
    BadPath,
    /// Two entries of one path, a file that is a folder too, or another order than that of names.
    #[error("the list of files is in disorder")]
    BadOrder,
    /// A chunk that is not where its pack is, or a file whose chunks are not as long as it is.
    #[error("the list of files contradicts itself")]
    BadChunk,
}

impl Manifest {
    /// Makes a manifest; the entries may come in any order.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), but for `BadOrder` only if a path comes twice or a file is a folder too.
    pub fn new(packs: Vec<PackEntry>, mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_by(|one, other| compare(&one.path, &other.path));
        let manifest = Self { packs, entries };
        manifest.check()?;
        Ok(manifest)
    }

    /// The packs.
    #[must_use]
    pub fn packs(&self) -> &[PackEntry] {
        &self.packs
    }

    /// The files and folders.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The length of all files, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |total, entry| total.saturating_add(entry.size()))
    }

    /// Returns the bytes that are stored as content.
    ///
    /// # Errors
    /// [`ManifestError::TooMany`] over [`MAX_MANIFEST_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let count = |length: usize| u32::try_from(length).map_err(|_| ManifestError::TooMany);
        let mut writer = Writer::new().fixed(PREFIX).u32(count(self.packs.len())?);
        for pack in &self.packs {
            writer = writer.fixed(pack.id.as_bytes()).u32(pack.bytes);
        }
        writer = writer.u32(count(self.entries.len())?);
        for Entry { path, kind } in &self.entries {
            writer = match kind {
                EntryKind::Folder => writer.u8(0).variable(path.as_bytes()),
                EntryKind::File { size, modified, chunks } => {
                    let head = writer.u8(1).variable(path.as_bytes()).u64(*size).u64(modified.0);
                    chunks.iter().fold(head.u32(count(chunks.len())?), |writer, chunk| {
                        let place = writer.u32(chunk.pack).u32(chunk.offset).u32(chunk.length);
                        place.fixed(chunk.hash.as_bytes()).fixed(chunk.key.expose_bytes())
                    })
                }
            };
        }
        let bytes = writer.finish();
        if bytes.len() > MAX_MANIFEST_BYTES { Err(ManifestError::TooMany) } else { Ok(bytes) }
    }

    /// Reads a manifest: every chunk lies within its pack, every file is as long as its chunks, every path is below the root,
    /// and no two are the same.
    ///
    /// # Errors
    /// The first [`ManifestError`] found. Memory is taken for what was read, not for what a count claims.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooMany);
        }
        let mut reader = Reader::new(bytes);
        reader.expect(PREFIX)?;
        let (mut packs, mut entries) = (Vec::new(), Vec::new());
        for _ in 0..reader.u32()? {
            packs.push(PackEntry { id: PackId::from_bytes(reader.array()?), bytes: reader.u32()? });
        }
        for _ in 0..reader.u32()? {
            entries.push(read_entry(&mut reader)?);
        }
        reader.finish()?;
        let manifest = Self { packs, entries };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let is_within = |length: usize, bound: u32| u32::try_from(length).is_ok_and(|length| length <= bound);
        if !is_within(self.packs.len(), MAX_PACKS) || !is_within(self.entries.len(), MAX_ENTRIES) {
            return Err(ManifestError::TooMany);
        }
        if self.packs.iter().any(|pack| pack.bytes > MAX_PACK_BYTES) {
            return Err(ManifestError::BadChunk);
        }
        let mut before: Option<&Entry> = None;
        for entry in &self.entries {
            if !is_path(&entry.path) {
                return Err(ManifestError::BadPath);
            }
            if before.is_some_and(|before| !follows(before, entry)) {
                return Err(ManifestError::BadOrder);
            }
            self.check_chunks(entry)?;
            before = Some(entry);
        }
        Ok(())
    }

    fn check_chunks(&self, entry: &Entry) -> Result<(), ManifestError> {
        let EntryKind::File { size, chunks, .. } = &entry.kind else { return Ok(()) };
        let mut total = 0_u64;
        for chunk in chunks {
            let pack = usize::try_from(chunk.pack).ok().and_then(|index| self.packs.get(index));
            let pack = pack.ok_or(ManifestError::BadChunk)?;
            let is_length =
                usize::try_from(chunk.length).is_ok_and(|length| (1..=MAX_CHUNK_BYTES).contains(&length));
            let place = chunk.place();
            let end = place.offset.checked_add(place.sealed_length);
            if !is_length || end.is_none_or(|end| end > pack.bytes) {
                return Err(ManifestError::BadChunk);
            }
            total = total.saturating_add(chunk.length.into());
        }
        if total == *size { Ok(()) } else { Err(ManifestError::BadChunk) }
    }
}

impl Entry {
    /// Its length, in bytes; 0 for a folder.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match &self.kind {
            EntryKind::Folder => 0,
            EntryKind::File { size, .. } => *size,
        }
    }
}

/// Tells whether a path is one: names with `/` between them, at most [`MAX_PATH_BYTES`]; each of 1 to [`MAX_COMPONENT_BYTES`],
/// neither `.` nor `..`, without NUL. It may still be one that a system or a person should not be shown as it is.
#[must_use]
pub fn is_path(path: &str) -> bool {
    let is_name = |name: &str| {
        !matches!(name, "" | "." | "..") && name.len() <= MAX_COMPONENT_BYTES && !name.contains('\0')
    };
    path.len() <= MAX_PATH_BYTES && path.split('/').all(is_name)
}

/// Compares paths name by name: what is in a folder follows it at once.
fn compare(one: &str, other: &str) -> Ordering {
    one.split('/').cmp(other.split('/'))
}

/// Tells whether `entry` may stand behind `before`.
fn follows(before: &Entry, entry: &Entry) -> bool {
    let is_below = || entry.path.strip_prefix(&before.path).is_some_and(|rest| rest.starts_with('/'));
    compare(&before.path, &entry.path).is_lt() && (before.kind == EntryKind::Folder || !is_below())
}

fn read_entry(reader: &mut Reader<'_>) -> Result<Entry, ManifestError> {
    let is_file = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(WireError::Malformed.into()),
    };
    let path =
        std::str::from_utf8(reader.variable(MAX_PATH_BYTES)?).map_err(|_| WireError::Malformed)?.to_owned();
    if !is_file {
        return Ok(Entry { path, kind: EntryKind::Folder });
    }
    let (size, modified) = (reader.u64()?, UnixMillis(reader.u64()?));
    let mut chunks = Vec::new();
    for _ in 0..reader.u32()? {
        chunks.push(ChunkEntry {
            pack: reader.u32()?,
            offset: reader.u32()?,
            length: reader.u32()?,
            hash: ChunkHash::from_bytes(reader.array()?),
            key: ChunkKey::from_bytes(reader.array()?),
        });
    }
    Ok(Entry { path, kind: EntryKind::File { size, modified, chunks } })
}
