//! One chunk: its hash, its key, and how it is sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{MAX_CHUNK_BYTES, padded_bytes};
use crate::{
    keys::macros::{public_bytes, secret_bytes},
    wire::Writer,
};

/// Bytes of the authenticator.
const TAG_BYTES: usize = 16;

const CHUNK_KEY: &str = "petmail.org/v1/content/chunk-key";
const CHUNKER: &str = "petmail.org/v1/content/chunker";

secret_bytes! {
    /// What decides where a node cuts what it stores, and what it encrypts each chunk with. The same content under the same
    /// secret is stored once; nobody without it can tell what is stored.
    ContentSecret, 32
}
secret_bytes! {
    /// Encrypts one chunk, and nothing else ever.
    ChunkKey, 32
}
public_bytes! {
    /// The BLAKE3 hash of a chunk's content. It tells what the content is to whoever can guess it: only within what is
    /// encrypted.
    ChunkHash, 32
}

/// A chunk does not open, or holds something else than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the file is damaged")]
pub struct Damaged;

/// A chunk as it is stored, with what opens it.
#[derive(Clone)]
pub struct SealedChunk {
    /// The hash of the content.
    pub hash: ChunkHash,
    /// What opens it.
    pub key: ChunkKey,
    /// The length of the content, in bytes: 1 to [`MAX_CHUNK_BYTES`].
    pub length: u32,
    /// The encrypted bytes, [`sealed_bytes`] of them.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedChunk").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Returns how long a chunk of `length` bytes is when it is sealed: padded, and with the authenticator.
#[must_use]
pub fn sealed_bytes(length: u32) -> u32 {
    let padded = u32::try_from(padded_bytes(length.into())).unwrap_or(u32::MAX);
    padded.saturating_add(TAG_BYTES.try_into().unwrap_or(u32::MAX))
}

impl ChunkHash {
    /// Hashes a chunk's content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self::from_bytes(*blake3::hash(content).as_bytes())
    }
}

impl ContentSecret {
    /// Returns the key of the chunk with this hash: always the same, so that the same chunk is stored once.
    #[must_use]
    pub fn chunk_key(&self, hash: &ChunkHash) -> ChunkKey {
        let input = Writer::labelled(CHUNK_KEY).fixed(hash.as_bytes()).finish();
        ChunkKey::from_bytes(*blake3::keyed_hash(self.expose_bytes(), &input).as_bytes())
    }

    /// Seals a chunk.
    ///
    /// # Panics
    /// If `content` is empty or longer than [`MAX_CHUNK_BYTES`].
    #[must_use]
    pub fn seal(&self, content: &[u8]) -> SealedChunk {
        self.seal_hashed(content.to_vec(), ChunkHash::of(content))
    }

    /// Seals a chunk whose hash is known, where it is; with another hash than its content's, nobody can open it.
    ///
    /// # Panics
    /// As [`seal`](Self::seal).
    #[must_use]
    pub fn seal_hashed(&self, content: Vec<u8>, hash: ChunkHash) -> SealedChunk {
        assert!(!content.is_empty() && content.len() <= MAX_CHUNK_BYTES, "a chunk has 1 to 4 MiB");
        let length = u32::try_from(content.len()).expect("4 MiB at most");
        let key = self.chunk_key(&hash);
        let sealed_length = usize::try_from(sealed_bytes(length)).expect("some 4 MiB at most");
        let mut sealed = content;
        sealed.reserve_exact(sealed_length.saturating_sub(sealed.len()));
        sealed.resize(sealed_length.saturating_sub(TAG_BYTES), 0);
        key.cipher()
            .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
            .expect("within the cipher's limit of 64 GiB");
        SealedChunk { hash, key, length, sealed }
    }

    /// Returns what changes the chunker's table.
    pub(super) fn chunker_seed(&self) -> u64 {
        let hash = blake3::keyed_hash(self.expose_bytes(), &Writer::labelled(CHUNKER).finish());
        let (seed, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
        u64::from_be_bytes(*seed)
    }
}

impl ChunkKey {
    /// Opens a sealed chunk that should have `length` bytes of content and this hash.
    ///
    /// # Errors
    /// [`Damaged`], whatever is wrong with it.
    pub fn open(&self, sealed: &[u8], length: u32, hash: &ChunkHash) -> Result<Vec<u8>, Damaged> {
        let mut opened = Vec::new();
        let content = self.open_into(sealed, length, hash, &mut opened)?.len();
        opened.truncate(content);
        Ok(opened)
    }

    /// Does what [`open`](Self::open) does, in a buffer that can be used again.
    ///
    /// # Errors
    /// [`Damaged`], whatever is wrong with it.
    pub fn open_into<'a>(
        &self,
        sealed: &[u8],
        length: u32,
        hash: &ChunkHash,
        opened: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Damaged> {
        let length_bytes = usize::try_from(length).map_err(|_| Damaged)?;
        if length_bytes > MAX_CHUNK_BYTES || usize::try_from(sealed_bytes(length)) != Ok(sealed.len()) {
            return Err(Damaged);
        }
        let (padded, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Damaged)?;
        opened.resize(padded.len(), 0);
        let opening = self.cipher().open_separate_gather(nonce(), Aad::empty(), padded, tag, opened);
        opening.map_err(|_| Damaged)?;
        let (content, padding) = opened.split_at_checked(length_bytes).ok_or(Damaged)?;
        let is_right = ChunkHash::of(content) == *hash && padding.iter().all(|byte| *byte == 0);
        if is_right { Ok(content) } else { Err(Damaged) }
    }

    /// AES-256-GCM. One key seals one content, so the nonce need not change.
    fn cipher(&self) -> LessSafeKey {
        let bytes = Zeroizing::new(*self.expose_bytes());
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.as_slice()).expect("a key has 32 bytes"))
    }
}

impl PartialEq for ChunkKey {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for ChunkKey {}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}
