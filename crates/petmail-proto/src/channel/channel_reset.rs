//! Channel resets: how an agent whose keys may be stolen replaces its half of a contact, vouched for by the old key.
//!
//! A `channel-reset` packet is a list of them, oldest first: whoever has missed some follows the chain. Each replaces the
//! publisher's verifying key, CIDKey, receiver key and transports, and carries two signatures: that of the key before, which
//! the contact knows, and that of the new one. Specification: Delivery, "Panic button".

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::{ChannelRecord, RecordError};
use crate::{
    keys::{ChannelSigningKey, ChannelVerifyingKey, SigningContext, macros::public_bytes},
    wire::Writer,
};

/// The most resets that one payload carries.
pub const MAX_RESETS: usize = 4;

/// The longest body, in bytes of JSON.
pub const MAX_BODY_BYTES: usize = 8 * 1024;

public_bytes! {
    /// A channel key's signature over a channel reset.
    ResetSignature, 64
}
public_bytes! {
    /// Tells two channel resets apart.
    ResetDigest, 32
}

/// A channel reset as it travels; nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelReset {
    /// The JSON text, byte for byte as signed.
    body: String,
    /// By the key that the contact knows.
    by_old: ResetSignature,
    /// By the key inside.
    by_new: ResetSignature,
}

/// What a channel reset says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewHalf {
    /// One more than that of the half before; the half of the introduction has 0.
    pub generation: u64,
    /// All that the contact must know to write to its publisher.
    pub record: ChannelRecord,
}

/// Why a channel reset is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReset {
    /// It is longer than [`MAX_BODY_BYTES`], or no such JSON.
    #[error("the channel reset is malformed")]
    Malformed,
    /// The channel record inside is refused.
    #[error("the channel record is not acceptable: {0}")]
    Record(#[from] RecordError),
    /// One of the two keys did not sign.
    #[error("the channel reset is not signed by both keys")]
    Signature,
}

impl ChannelReset {
    /// Signs a new half with the key before it and its own.
    ///
    /// # Errors
    /// [`BadReset`], if nobody would accept it.
    pub fn sign(half: &NewHalf, old: &ChannelSigningKey, new: &ChannelSigningKey) -> Result<Self, BadReset> {
        half.record.check()?;
        let body = serde_json::to_string(half).map_err(|_| BadReset::Malformed)?;
        if body.len() > MAX_BODY_BYTES {
            return Err(BadReset::Malformed);
        }
        let signed = transcript(&body);
        let sign = |key: &ChannelSigningKey| key.sign(SigningContext::ChannelReset, &signed);
        let [by_old, by_new] = [old, new].map(|key| ResetSignature::from_bytes(sign(key)));
        Ok(Self { body, by_old, by_new })
    }

    /// Returns what it says if the key `old` vouches for it.
    ///
    /// # Errors
    /// [`BadReset`].
    pub fn verify(&self, old: &ChannelVerifyingKey) -> Result<NewHalf, BadReset> {
        if self.body.len() > MAX_BODY_BYTES {
            return Err(BadReset::Malformed);
        }
        let half: NewHalf = serde_json::from_str(&self.body).map_err(|_| BadReset::Malformed)?;
        let signed = transcript(&self.body);
        let holds = |key: &ChannelVerifyingKey, signature: &ResetSignature| {
            key.verify(SigningContext::ChannelReset, &signed, signature.as_bytes())
                .map_err(|_| BadReset::Signature)
        };
        holds(old, &self.by_old)?;
        holds(&half.record.verifying_key, &self.by_new)?;
        half.record.check()?;
        Ok(half)
    }

    /// Tells it apart from every other.
    #[must_use]
    pub fn digest(&self) -> ResetDigest {
        ResetDigest::from_bytes(Sha256::digest(self.body.as_bytes()).into())
    }
}

/// Follows resets from the key and generation known: each that the one before vouches for, in turn.
pub fn follow(
    resets: &[ChannelReset],
    known: (ChannelVerifyingKey, u64),
) -> impl Iterator<Item = (&ChannelReset, NewHalf)> {
    let (mut key, mut generation) = known;
    resets.iter().filter_map(move |reset| {
        let next = generation.saturating_add(1);
        let half = reset.verify(&key).ok().filter(|half| half.generation == next)?;
        (key, generation) = (half.record.verifying_key, next);
        Some((reset, half))
    })
}

fn transcript(body: &str) -> Vec<u8> {
    Writer::new().variable(body.as_bytes()).finish()
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::channel::{own_half::OwnHalf, record::Transports};

    fn half(generation: u64, rng: &mut ChaCha20Rng) -> (NewHalf, ChannelSigningKey) {
        let own = OwnHalf::generate(7, Transports::default(), rng);
        (NewHalf { generation, record: own.record() }, own.channel.signing_key)
    }

    #[test]
    fn both_keys_have_to_vouch_for_it() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let (old, stranger) = (ChannelSigningKey::generate(rng), ChannelSigningKey::generate(rng));
        let (half, new) = half(3, rng);
        let reset = ChannelReset::sign(&half, &old, &new).unwrap();
        let read = reset.verify(&old.verifying_key()).unwrap();
        assert_eq!((read.generation, read.record.verifying_key), (3, new.verifying_key()));
        assert_eq!(reset.verify(&stranger.verifying_key()).unwrap_err(), BadReset::Signature);
        let not_its_own = ChannelReset::sign(&half, &old, &stranger).unwrap();
        assert_eq!(not_its_own.verify(&old.verifying_key()).unwrap_err(), BadReset::Signature);
        let json = serde_json::to_string(&reset).unwrap();
        let later = ChannelReset { body: reset.body.replace(":3", ":4"), ..reset.clone() };
        assert_ne!(later.digest(), reset.digest());
        assert_eq!(later.verify(&old.verifying_key()).unwrap_err(), BadReset::Signature);
        assert_eq!(serde_json::from_str::<ChannelReset>(&json).unwrap(), reset);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_on_both_sides() {
        let rng = &mut ChaCha20Rng::seed_from_u64(2);
        let old = ChannelSigningKey::generate(rng);
        let (mut half, new) = half(1, rng);
        let good = ChannelReset::sign(&half, &old, &new).unwrap();
        let long = ChannelReset { body: " ".repeat(MAX_BODY_BYTES) + &good.body, ..good };
        assert_eq!(long.verify(&old.verifying_key()).unwrap_err(), BadReset::Malformed);
        half.record.suites = vec!["c9".to_owned()];
        let refused = ChannelReset::sign(&half, &old, &new).unwrap_err();
        assert_eq!(refused, BadReset::Record(RecordError::NoCommonSuite));
        let body = serde_json::to_string(&half).unwrap();
        let sign = |key: &ChannelSigningKey| {
            ResetSignature::from_bytes(key.sign(SigningContext::ChannelReset, &transcript(&body)))
        };
        let forced = ChannelReset { by_old: sign(&old), by_new: sign(&new), body: body.clone() };
        assert_eq!(
            forced.verify(&old.verifying_key()).unwrap_err(),
            BadReset::Record(RecordError::NoCommonSuite)
        );
    }
}
