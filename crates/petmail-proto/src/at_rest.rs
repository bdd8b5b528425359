//! What a node keeps secret on its own disk: values sealed under a data key, the data key wrapped by a passphrase, and the
//! stream of a backup.
//!
//! Knows neither rows nor files: a caller says by a *place* what a sealed value belongs to, and a value moved to another
//! place does not open. Specification: `docs/protocol/`, at rest.

mod passphrase;
mod stream;
mod wrapped_key;

pub use passphrase::{MAX_PASSPHRASE_BYTES, Passphrase, PassphraseError};
pub use stream::{CHUNK_BYTES, MAX_SEALED_CHUNK_BYTES, StreamError, StreamOpener, StreamSealer};
pub use wrapped_key::{HeaderError, Purpose, WrappedKey, WrongPassphrase};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use rand_core::CryptoRngCore;

use crate::keys::macros::{public_bytes, secret_bytes};

/// Bytes that sealing adds to a value: the nonce and the authenticator.
pub const SEALED_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

secret_bytes! {
    /// Encrypts what one node has on disk, or one backup.
    DataKey, 32
}
public_bytes! {
    /// Names a data key, so that a database and the file with its wrapped key can be held against each other.
    DataKeyId, 16
}

/// A sealed value was changed, moved to another place, or belongs to another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an encrypted value is damaged")]
pub struct Damaged;

impl DataKey {
    /// Seals a value for a place: a random nonce of 24 bytes, then XChaCha20-Poly1305 with the place as associated data.
    ///
    /// # Panics
    /// Never: values are far below the cipher's limit of 256 GiB.
    #[must_use]
    pub fn seal(&self, place: &[u8], value: &[u8], rng: &mut impl CryptoRngCore) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), Payload { msg: value, aad: place });
        [nonce.to_vec(), sealed.expect("within the cipher's limit")].concat()
    }

    /// Opens what [`DataKey::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Damaged> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Damaged)?;
        let payload = Payload { msg: sealed, aad: place };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Damaged)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.expose_bytes().into())
    }
}

#[cfg(test)]
mod tests;
