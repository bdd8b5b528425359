//! A data key wrapped by a passphrase: the file `vault` of a node, and the head of a backup.
//!
//! ```text
//! title ‖ version u16 ‖ memory KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt [16] ‖ key id [16] ‖ nonce [24] ‖
//! XChaCha20-Poly1305(argon2id key, data key; associated data = all before the nonce) ‖ SHA-256(all before) [8]
//! ```
//! The check tells damage from a wrong passphrase.

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    DataKey, DataKeyId, SEALED_OVERHEAD_BYTES,
    passphrase::{Passphrase, Stretching},
};
use crate::wire::{Reader, WireError, Writer};

const VERSION: u16 = 1;
const WRAPPED_BYTES: usize = 32 + SEALED_OVERHEAD_BYTES;
const CHECK_BYTES: usize = 8;

/// What the wrapped key is for; keys of one purpose do not open as those of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A node's database and files.
    Vault,
    /// One backup.
    Backup,
}

impl Purpose {
    /// What the bytes begin with; both titles have the same length.
    const fn title(self) -> &'static [u8; 16] {
        match self {
            Self::Vault => b"petmail vault  \n",
            Self::Backup => b"petmail backup \n",
        }
    }
}

/// A data key that a passphrase unlocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    purpose: Purpose,
    stretching: Stretching,
    id: DataKeyId,
    wrapped: [u8; WRAPPED_BYTES],
}

/// Why bytes are no wrapped key that this program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// They are something else.
    #[error("it was not made by Petmail")]
    Foreign,
    /// A later version of this program wrote them.
    #[error("it has version {found}, but this program knows only {VERSION}: use a newer Petmail")]
    Newer {
        /// The version that it has.
        found: u16,
    },
    /// They are damaged or incomplete.
    #[error("its head is damaged")]
    Damaged,
}

/// The passphrase does not unlock the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the passphrase is wrong")]
pub struct WrongPassphrase;

impl WrappedKey {
    /// The length of the bytes.
    pub const BYTES: usize = 16 + 2 + 12 + 16 + 16 + WRAPPED_BYTES + CHECK_BYTES;

    /// Wraps `key`. Takes about 0.2 s and 64 MiB.
    #[must_use]
    pub fn wrap(
        purpose: Purpose,
        id: DataKeyId,
        key: &DataKey,
        passphrase: &Passphrase,
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        let stretching = Stretching::generate(rng);
        Self::wrap_with(purpose, id, key, (passphrase, stretching), rng)
    }

    /// Wraps with given parameters.
    pub(super) fn wrap_with(
        purpose: Purpose,
        id: DataKeyId,
        key: &DataKey,
        (passphrase, stretching): (&Passphrase, Stretching),
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        let mut this = Self { purpose, stretching, id, wrapped: [0; WRAPPED_BYTES] };
        let sealed = stretching.derive(passphrase).seal(&this.place(), key.expose_bytes(), rng);
        this.wrapped = sealed.try_into().expect("a sealed key has this length");
        this
    }

    /// Unlocks the key. Takes as long as its parameters say.
    ///
    /// # Errors
    /// [`WrongPassphrase`].
    pub fn unwrap(&self, passphrase: &Passphrase) -> Result<DataKey, WrongPassphrase> {
        let wrapping = self.stretching.derive(passphrase);
        let key = Zeroizing::new(wrapping.open(&self.place(), &self.wrapped).map_err(|_| WrongPassphrase)?);
        key.as_slice().try_into().map(DataKey::from_bytes).map_err(|_| WrongPassphrase)
    }

    /// Returns the name of the key.
    #[must_use]
    pub const fn id(&self) -> DataKeyId {
        self.id
    }

    /// Writes the bytes, [`WrappedKey::BYTES`] of them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.place();
        bytes.extend(self.wrapped);
        bytes.extend(check(&bytes));
        bytes
    }

    /// Reads what [`WrappedKey::encode`] wrote, all of it.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn decode(purpose: Purpose, bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(bytes);
        reader.expect(purpose.title()).map_err(|_| HeaderError::Foreign)?;
        let version = reader.array().map(u16::from_be_bytes).map_err(|_| HeaderError::Damaged)?;
        if version > VERSION {
            return Err(HeaderError::Newer { found: version });
        }
        let (before, checked) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(HeaderError::Damaged)?;
        if version != VERSION || check(before) != *checked {
            return Err(HeaderError::Damaged);
        }
        Self::read(purpose, reader).map_err(|_| HeaderError::Damaged)
    }

    fn read(purpose: Purpose, mut reader: Reader<'_>) -> Result<Self, WireError> {
        let stretching = Stretching::read(&mut reader)?;
        let id = DataKeyId::from_bytes(reader.array()?);
        let wrapped = reader.array()?;
        reader.array::<CHECK_BYTES>()?;
        reader.finish()?;
        Ok(Self { purpose, stretching, id, wrapped })
    }

    /// What the wrapping is bound to.
    fn place(&self) -> Vec<u8> {
        let head = Writer::new().fixed(self.purpose.title()).fixed(&VERSION.to_be_bytes());
        self.stretching.write(head).fixed(self.id.as_bytes()).finish()
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    *digest.first_chunk().expect("32 bytes have a beginning")
}
