//! Packs: what a storage server keeps. A pack is a prefix and sealed chunks, one after the other; only a manifest tells where
//! each begins.

use std::io::{self, Read};

use super::{Damaged, SealedChunk};
use crate::keys::macros::public_bytes;

/// The longest pack, in bytes.
pub const MAX_PACK_BYTES: u32 = 8 << 20;

/// How many buffers wait for later packs.
const MAX_SPARE: usize = 4;

const PREFIX: &[u8; 2] = b"s1";

public_bytes! {
    /// Names a pack: the BLAKE3 hash of its bytes.
    PackId, 32
}

impl PackId {
    /// Names these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_bytes(*blake3::hash(bytes).as_bytes())
    }

    /// Tells whether `source` yields the bytes of a pack of this version that this names; not how many there are. Reads them once,
    /// and holds little of them.
    ///
    /// # Errors
    /// Those of `source`.
    pub fn names(&self, mut source: impl Read) -> io::Result<bool> {
        let mut start = Vec::new();
        source.by_ref().take(PREFIX.len() as u64).read_to_end(&mut start)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&start).update_reader(source)?;
        Ok(start == PREFIX && hasher.finalize().as_bytes() == self.as_bytes())
    }
}

/// A full pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// Its bytes, at most [`MAX_PACK_BYTES`].
    pub bytes: Vec<u8>,
}

impl Pack {
    /// Checks that these are the bytes of a pack of this version, and that `id` names them.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn check(id: PackId, bytes: Vec<u8>) -> Result<Self, Damaged> {
        let is_short = u32::try_from(bytes.len()).is_ok_and(|length| length <= MAX_PACK_BYTES);
        if is_short && bytes.starts_with(PREFIX) && PackId::of(&bytes) == id {
            Ok(Self { id, bytes })
        } else {
            Err(Damaged)
        }
    }

    /// Returns a sealed chunk.
    ///
    /// # Errors
    /// [`Damaged`] if the pack does not reach that far.
    pub fn sealed(&self, place: ChunkPlace) -> Result<&[u8], Damaged> {
        let (start, length) = (usize::try_from(place.offset), usize::try_from(place.sealed_length));
        let (start, length) = (start.map_err(|_| Damaged)?, length.map_err(|_| Damaged)?);
        let end = start.checked_add(length).ok_or(Damaged)?;
        self.bytes.get(start..end).ok_or(Damaged)
    }
}

/// Where a sealed chunk is within its pack, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Where it begins.
    pub offset: u32,
    /// How long it is.
    pub sealed_length: u32,
}

/// Fills packs with sealed chunks, in order. Dropping it loses the last one.
#[derive(Debug)]
pub struct PackWriter {
    bytes: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

impl Default for PackWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl PackWriter {
    /// Begins the first pack.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: begun(None), spare: Vec::new() }
    }

    /// Takes the buffer of a pack that nobody needs any more, for a later one: asking the system for so much memory again and
    /// again costs time, and leaves holes.
    pub fn reuse(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    /// Adds a chunk, and returns its place in the present pack. If it did not fit into the one before, that one is returned
    /// too, full.
    pub fn add(&mut self, chunk: &SealedChunk) -> (ChunkPlace, Option<Pack>) {
        let end = self.bytes.len().saturating_add(chunk.sealed.len());
        let full = match u32::try_from(end) {
            Ok(end) if end <= MAX_PACK_BYTES => None,
            _ => self.take(),
        };
        let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let sealed_length = u32::try_from(chunk.sealed.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&chunk.sealed);
        (ChunkPlace { offset, sealed_length }, full)
    }

    /// Ends the present pack and begins another; none if nothing is in it.
    pub fn take(&mut self) -> Option<Pack> {
        if self.bytes.len() == PREFIX.len() {
            return None;
        }
        let next = begun(self.spare.pop());
        let bytes = std::mem::replace(&mut self.bytes, next);
        Some(Pack { id: PackId::of(&bytes), bytes })
    }
}

/// The beginning of a pack, with room for all of it: growing would copy it some times.
fn begun(buffer: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = buffer.unwrap_or_default();
    bytes.clear();
    bytes.reserve_exact(MAX_PACK_BYTES as usize);
    bytes.extend_from_slice(PREFIX);
    bytes
}
