//! Stretching a code into the password of the key exchange.
//!
//! The key exchange gives an attacker one guess, stretched or not. Stretching matters only should its group be broken:
//! then a 3-word code costs tens of core-days to search. Takes about 0.2 s and 64 MiB, so a program runs it off its
//! event loop. Specification: `docs/protocol/`, invitations (§2).

use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{keys::macros::secret_bytes, wire::Writer};

use super::{code::Code, wormhole::APP_ID};

/// Keeps the salt apart from every other hash.
const LABEL: &str = "petmail.org/v1/stretch";

const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;

secret_bytes! {
    /// A stretched code.
    StretchedCode, 32
}

impl StretchedCode {
    /// Stretches a code: argon2id, 64 MiB, 3 passes, 1 lane, salted with application and nameplate.
    ///
    /// # Panics
    /// Never: the parameters are constants within argon2's bounds.
    #[must_use]
    pub fn derive(code: &Code) -> Self {
        let nameplate = code.nameplate();
        let salt = Writer::labelled(LABEL)
            .variable(APP_ID.as_bytes())
            .variable(nameplate.as_str().as_bytes())
            .finish();
        let salt: [u8; 32] = Sha256::digest(salt).into();
        let [salt, _] = halves(&salt);
        let mut out = Zeroizing::new([0; 32]);
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, Some(out.len())).expect("constants within bounds");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(code.expose_text().as_bytes(), salt, out.as_mut_slice())
            .expect("lengths within bounds");
        Self(*out)
    }
}

fn halves(bytes: &[u8; 32]) -> [&[u8]; 2] {
    let (first, second) = bytes.split_at(16);
    [first, second]
}
