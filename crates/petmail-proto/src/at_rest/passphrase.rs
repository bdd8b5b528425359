//! A passphrase, and what makes it slow to guess.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::DataKey;
use crate::wire::{Reader, WireError, Writer};

/// Longest passphrase in bytes: a whole paragraph.
pub const MAX_PASSPHRASE_BYTES: usize = 1024;

/// What new wrappings cost: about 0.2 s and 64 MiB.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

/// The most that a header may ask for: beyond it a forged file would take the machine's memory or minutes.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

const SALT_BYTES: usize = 16;

/// What protects a node's disk or a backup: a line of text. Wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

/// Why a text is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It protects nothing.
    #[error("the passphrase is empty")]
    Empty,
    /// It is beyond all use.
    #[error("the passphrase has more than {MAX_PASSPHRASE_BYTES} bytes")]
    TooLong,
    /// Nobody can type a line end in the middle.
    #[error("the passphrase has more than one line")]
    NotOneLine,
}

impl Passphrase {
    /// Takes a line of text, without its line end.
    ///
    /// # Errors
    /// It is empty, too long, or more than one line.
    pub fn new(text: Zeroizing<String>) -> Result<Self, PassphraseError> {
        if text.is_empty() {
            return Err(PassphraseError::Empty);
        }
        if text.len() > MAX_PASSPHRASE_BYTES {
            return Err(PassphraseError::TooLong);
        }
        if text.contains(['\n', '\r', '\0']) {
            return Err(PassphraseError::NotOneLine);
        }
        Ok(Self(text))
    }

    /// Returns the text; the caller must not print or keep it.
    #[must_use]
    pub fn expose_text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// How a passphrase becomes a key: argon2id with these parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretching {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; SALT_BYTES],
}

impl Stretching {
    /// Today's parameters with a new salt.
    pub(super) fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt }
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        writer.u32(self.memory_kib).u32(self.passes).u32(self.lanes).fixed(&self.salt)
    }

    /// Reads parameters; those that cost too much, or that argon2 does not have, are malformed.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (memory_kib, passes, lanes) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let stretching = Self { memory_kib, passes, lanes, salt: reader.array()? };
        if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
            return Err(WireError::TooLarge);
        }
        stretching.params().map(|_| stretching).ok_or(WireError::Malformed)
    }

    /// Stretches a passphrase. Takes as long as the parameters say.
    pub(super) fn derive(&self, passphrase: &Passphrase) -> DataKey {
        let mut key = Zeroizing::new([0; 32]);
        let params = self.params().expect("made or read within bounds");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose_text().as_bytes(), &self.salt, key.as_mut_slice())
            .expect("lengths within bounds");
        DataKey::from_bytes(*key)
    }

    fn params(&self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}

#[cfg(test)]
impl Stretching {
    /// As cheap as argon2 allows.
    pub(super) const fn cheap(salt: [u8; SALT_BYTES]) -> Self {
        Self { memory_kib: 8, passes: 1, lanes: 1, salt }
    }
}
