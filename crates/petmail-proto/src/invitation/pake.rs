//! The password-authenticated key exchange: symmetric SPAKE2 over Ed25519, as magic-wormhole and python-spake2 speak it.
//!
//! Owns the exchange's secret in a form that survives a restart, and the refusal of every peer message that is not an
//! honest one. It must not know what the shared key is used for. What is kept here is wiped; `spake2`'s own copies, made
//! for the length of one call, are not. Specification: `docs/protocol/`, invitations (§2).

use core::fmt;

use curve25519_dalek::{edwards::CompressedEdwardsY, traits::IsIdentity};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand_core::{CryptoRng, CryptoRngCore, RngCore};
use serde::{Deserialize, Serialize};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::{macros::secret_bytes, stored_secret};

use super::{
    stretch::StretchedCode,
    wormhole::{APP_ID, Body, SharedKey},
};

/// The length of a message: a prefix and a point.
pub const MESSAGE_BYTES: usize = 33;

/// The prefix of a message of the symmetric exchange.
const SYMMETRIC: u8 = b'S';

secret_bytes! {
    /// The randomness from which the exchange's secret scalar is drawn, again and again the same.
    PakeSeed, 64
}

/// One side's secret half of the exchange. To be erased once the shared key is known.
#[derive(Clone, Serialize, Deserialize)]
pub struct PakeSecret {
    #[serde(with = "stored_secret")]
    seed: PakeSeed,
    #[serde(with = "stored_secret")]
    password: StretchedCode,
}

/// Why a peer's message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PakeError {
    /// The body is not the JSON object that carries a message.
    #[error("the key exchange body is malformed")]
    Malformed,
    /// The message is not 33 bytes long.
    #[error("the key exchange message has the wrong length")]
    Length,
    /// The message is of another kind of SPAKE2.
    #[error("the key exchange message is not of the symmetric exchange")]
    Prefix,
    /// The message is our own, reflected.
    #[error("the key exchange message is our own")]
    Own,
    /// The bytes are no point of the curve.
    #[error("the key exchange message is no point")]
    NotAPoint,
    /// The point is not written in its only allowed form.
    #[error("the key exchange message is not canonical")]
    NonCanonical,
    /// The point is the identity.
    #[error("the key exchange message is the identity")]
    Identity,
    /// The point is not in the group of prime order.
    #[error("the key exchange message has a torsion component")]
    Torsion,
}

impl PakeSecret {
    /// Starts an exchange.
    pub fn generate(password: StretchedCode, rng: &mut impl CryptoRngCore) -> Self {
        Self { seed: PakeSeed::generate(rng), password }
    }

    /// The message for the peer; the same at every call.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        self.start().1
    }

    /// The rendezvous body that carries the message.
    ///
    /// # Panics
    /// Never: the message is short.
    #[must_use]
    pub fn body(&self) -> Body {
        let json = serde_json::json!({ "pake_v1": HEXLOWER.encode(&self.message()) });
        Body::new(json.to_string().into_bytes()).expect("a point is short")
    }

    /// Finishes the exchange with the peer's message.
    ///
    /// # Errors
    /// [`PakeError`] if the message could not have come from an honest peer.
    pub fn finish(&self, message: &[u8]) -> Result<SharedKey, PakeError> {
        let (exchange, own) = self.start();
        check(message, &own)?;
        let key = Zeroizing::new(exchange.finish(message).map_err(|_| PakeError::NotAPoint)?);
        let key = key.as_slice().try_into().map_err(|_| PakeError::Length)?;
        Ok(SharedKey::from_bytes(key))
    }

    /// Finishes the exchange with the peer's rendezvous body.
    ///
    /// # Errors
    /// As [`PakeSecret::finish`].
    pub fn finish_body(&self, body: &Body) -> Result<SharedKey, PakeError> {
        self.finish(&parse_body(body)?)
    }

    fn start(&self) -> (Spake2<Ed25519Group>, Vec<u8>) {
        let text = Zeroizing::new(HEXLOWER.encode(self.password.expose_bytes()));
        Spake2::start_symmetric_with_rng(
            &Password::new(text.as_bytes()),
            &Identity::new(APP_ID.as_bytes()),
            Replay(self.seed.clone()),
        )
    }
}

impl fmt::Debug for PakeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PakeSecret(redacted)")
    }
}

/// Hands out the seed as randomness. `spake2` keeps its state to itself; this is how it is rebuilt after a restart.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Replay(PakeSeed);

impl RngCore for Replay {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for (to, from) in target.iter_mut().zip(self.0.expose_bytes().iter().cycle()) {
            *to = *from;
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Replay {}

#[derive(Deserialize)]
struct PakeBody {
    pake_v1: String,
}

fn parse_body(body: &Body) -> Result<Vec<u8>, PakeError> {
    let parsed: PakeBody = serde_json::from_slice(body.as_bytes()).map_err(|_| PakeError::Malformed)?;
    HEXLOWER_PERMISSIVE.decode(parsed.pake_v1.as_bytes()).map_err(|_| PakeError::Malformed)
}

/// Refuses what `spake2` would accept: above all the identity, with which an attacker would know the key in advance.
fn check(message: &[u8], own: &[u8]) -> Result<(), PakeError> {
    let message: &[u8; MESSAGE_BYTES] = message.try_into().map_err(|_| PakeError::Length)?;
    let (prefix, bytes) = message.split_first().ok_or(PakeError::Length)?;
    if *prefix != SYMMETRIC {
        return Err(PakeError::Prefix);
    }
    if message.as_slice() == own {
        return Err(PakeError::Own);
    }
    let bytes = CompressedEdwardsY::from_slice(bytes).map_err(|_| PakeError::Length)?;
    let point = bytes.decompress().ok_or(PakeError::NotAPoint)?;
    if point.compress() != bytes {
        return Err(PakeError::NonCanonical);
    }
    if point.is_identity() {
        return Err(PakeError::Identity);
    }
    if point.is_torsion_free() { Ok(()) } else { Err(PakeError::Torsion) }
}
