//! A long secret, chunk by chunk: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) with XChaCha20-Poly1305.
//!
//! Each chunk's nonce has its number and whether it is the last, so that chunks that are missing, repeated, swapped or cut
//! off do not open. Every chunk but the last holds [`CHUNK_BYTES`]; the last holds 1 to that many, or none if nothing
//! came before it.

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{
        generic_array::GenericArray,
        stream::{DecryptorBE32, EncryptorBE32},
    },
};
use zeroize::Zeroizing;

use super::{DataKey, TAG_BYTES};

/// The length of a chunk of the content, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// The length of a full sealed chunk, in bytes.
pub const MAX_SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// The part of the nonce that is the same for all chunks. A key seals one stream, so it need not be random.
const NONCE_PREFIX: [u8; 19] = [0; 19];

/// A chunk was changed, moved or cut, or is not the last although nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data is damaged or incomplete")]
pub struct StreamError;

/// Seals the chunks of one stream, in order.
pub struct StreamSealer(EncryptorBE32<XChaCha20Poly1305>);

/// Opens the chunks of one stream, in order.
pub struct StreamOpener(DecryptorBE32<XChaCha20Poly1305>);

impl StreamSealer {
    /// Begins a stream with a key that is used for no other, nor for anything else.
    #[must_use]
    pub fn new(key: &DataKey) -> Self {
        Self(EncryptorBE32::from_aead(key.cipher(), GenericArray::from_slice(&NONCE_PREFIX)))
    }

    /// Seals a full chunk that is not the last.
    ///
    /// # Errors
    /// The chunk is not full, or the stream has more than 2³² of them.
    pub fn next(&mut self, chunk: &[u8]) -> Result<Vec<u8>, StreamError> {
        if chunk.len() != CHUNK_BYTES {
            return Err(StreamError);
        }
        self.0.encrypt_next(chunk).map_err(|_| StreamError)
    }

    /// Seals the last chunk.
    ///
    /// # Errors
    /// It is too long.
    pub fn last(self, chunk: &[u8]) -> Result<Vec<u8>, StreamError> {
        if chunk.len() > CHUNK_BYTES {
            return Err(StreamError);
        }
        self.0.encrypt_last(chunk).map_err(|_| StreamError)
    }
}

impl StreamOpener {
    /// Begins to read a stream.
    #[must_use]
    pub fn new(key: &DataKey) -> Self {
        Self(DecryptorBE32::from_aead(key.cipher(), GenericArray::from_slice(&NONCE_PREFIX)))
    }

    /// Opens a chunk that is not the last.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn next(&mut self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StreamError> {
        if sealed.len() != MAX_SEALED_CHUNK_BYTES {
            return Err(StreamError);
        }
        self.0.decrypt_next(sealed).map(Zeroizing::new).map_err(|_| StreamError)
    }

    /// Opens the last chunk.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn last(self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StreamError> {
        if sealed.len() > MAX_SEALED_CHUNK_BYTES {
            return Err(StreamError);
        }
        self.0.decrypt_last(sealed).map(Zeroizing::new).map_err(|_| StreamError)
    }
}

impl std::fmt::Debug for StreamSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamSealer(redacted)")
    }
}

impl std::fmt::Debug for StreamOpener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamOpener(redacted)")
    }
}
