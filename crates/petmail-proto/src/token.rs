//! Transport tokens: how a sender names a slot at a mailbox server without the server learning who sends.
//!
//! ElGamal over Ristretto255 (RFC 9496), re-randomisable. The server's key pair is (x, X = xB). A slot is a random group
//! element M; its account token is (rB, rX + M). Anybody who knows X re-randomises (C1, C2) to (C1 + sB, C2 + sX); the
//! server finds M = C2 − xC1 and looks for SHA-256(M). The owner re-randomises once for each contact, the sender once for
//! each message, so that no two tokens that the server or two senders see are equal.
//!
//! Not promised: the scheme is homomorphic, so senders who pool their tokens *and* spend a probe message learn whether
//! the tokens lead to one account (`tests/token_difference.rs` demonstrates it). Specification: Servers, transport tokens.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "arithmetic in the group and its scalar field cannot overflow"
)]

use core::fmt;

use curve25519_dalek::{
    RistrettoPoint, Scalar,
    constants::RISTRETTO_BASEPOINT_TABLE,
    ristretto::CompressedRistretto,
    traits::{Identity, IsIdentity},
};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::{
    macros::{public_bytes, public_text, secret_rules},
    stored_secret,
};

/// Names one of a server's token keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenKeyId(pub u32);

/// A server's token key: the scalar "x". Its bytes are the canonical little-endian scalar.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TokenSecretKey([u8; 32]);

/// The public half of a token key: the compressed point "X".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenPublicKey([u8; 32]);

/// A slot of an account: the random group element "M", known to the server only.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SlotElement([u8; 32]);

public_bytes! {
    /// Finds a slot in the server's tables: "TTID", the SHA-256 of M.
    SlotId, 32
}

/// A token that is no pair of group elements, or whose first element is the identity (it would not hide the second).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the transport token is invalid")]
pub struct BadToken;

impl TokenSecretKey {
    /// Draws a key from 64 uniform bytes.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self(random_scalar(rng).to_bytes())
    }

    /// Takes stored bytes; a value that is no canonical scalar is reduced.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Scalar::from_bytes_mod_order(bytes).to_bytes())
    }

    /// Returns the secret scalar, 32 bytes little-endian.
    #[must_use]
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns X = xB.
    #[must_use]
    pub fn public_key(&self) -> TokenPublicKey {
        TokenPublicKey((&*self.scalar() * RISTRETTO_BASEPOINT_TABLE).compress().to_bytes())
    }

    /// Finds the slot that a message's token leads to: SHA-256(C2 − xC1).
    ///
    /// A token made for another key gives a slot that exists nowhere.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn open(&self, token: &MessageToken) -> Result<SlotId, BadToken> {
        let (c1, c2) = decompress(&token.0)?;
        Ok(slot_id(&(c2 - *self.scalar() * c1)))
    }

    fn scalar(&self) -> Zeroizing<Scalar> {
        Zeroizing::new(Scalar::from_bytes_mod_order(self.0))
    }
}

secret_rules!(TokenSecretKey, 32);

impl TokenPublicKey {
    /// Takes the bytes as they are; they are checked when used.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Tells whether this is a group element other than the identity.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.point().is_ok()
    }

    fn point(&self) -> Result<RistrettoPoint, BadToken> {
        let point = CompressedRistretto(self.0).decompress().ok_or(BadToken)?;
        if point.is_identity() { Err(BadToken) } else { Ok(point) }
    }
}

public_text!(TokenPublicKey, 32);

impl SlotElement {
    /// Draws a random group element (from 64 uniform bytes, RFC 9496, section 4.3.4).
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        rng.fill_bytes(bytes.as_mut());
        Self(RistrettoPoint::from_uniform_bytes(&bytes).compress().to_bytes())
    }

    /// Takes stored bytes; they are checked when used.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the compressed element.
    #[must_use]
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns where the slot stands in the server's tables.
    #[must_use]
    pub fn slot_id(&self) -> SlotId {
        SlotId::from_bytes(Sha256::digest(self.0).into())
    }

    /// Makes the account's own token (rB, rX + M).
    ///
    /// # Errors
    /// [`BadToken`] if the key or the element is no group element.
    pub fn seal(&self, key: &TokenPublicKey, rng: &mut impl CryptoRngCore) -> Result<AccountToken, BadToken> {
        let element = CompressedRistretto(self.0).decompress().ok_or(BadToken)?;
        let token = add_randomness(RistrettoPoint::identity(), element, &key.point()?, &random_scalar(rng));
        Ok(AccountToken(token))
    }
}

secret_rules!(SlotElement, 32);

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; 64]);

        impl $name {
            /// The length of a token: two compressed group elements.
            pub const BYTES: usize = 64;

            /// Takes the bytes as they are; they are checked when used.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 64]) -> Self {
                Self(bytes)
            }

            /// Returns C1 ‖ C2.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 64] {
                &self.0
            }

            /// Tells whether this is a pair of group elements whose first is not the identity.
            #[must_use]
            pub fn is_valid(&self) -> bool {
                decompress(&self.0).is_ok()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                stored_secret::serialize_bytes(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                stored_secret::deserialize_bytes(deserializer).map(Self)
            }
        }
    };
}

token! {
    /// The token that a server gives to an account's owner: "TT0".
    AccountToken
}
token! {
    /// The token that an owner gives to one contact: "STT".
    SenderToken
}
token! {
    /// The token on one message: "MSTT".
    MessageToken
}

impl AccountToken {
    /// Makes the token for one contact.
    ///
    /// # Errors
    /// [`BadToken`] if this token or `key` is invalid.
    pub fn for_contact(
        &self,
        key: &TokenPublicKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<SenderToken, BadToken> {
        rerandomise(&self.0, key, rng).map(SenderToken)
    }
}

impl SenderToken {
    /// Makes the token for one message.
    ///
    /// # Errors
    /// [`BadToken`] if this token or `key` is invalid.
    pub fn for_message(
        &self,
        key: &TokenPublicKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageToken, BadToken> {
        rerandomise(&self.0, key, rng).map(MessageToken)
    }
}

fn rerandomise(
    token: &[u8; 64],
    key: &TokenPublicKey,
    rng: &mut impl CryptoRngCore,
) -> Result<[u8; 64], BadToken> {
    let (c1, c2) = decompress(token)?;
    Ok(add_randomness(c1, c2, &key.point()?, &random_scalar(rng)))
}

fn add_randomness(c1: RistrettoPoint, c2: RistrettoPoint, key: &RistrettoPoint, s: &Scalar) -> [u8; 64] {
    join(c1 + s * RISTRETTO_BASEPOINT_TABLE, c2 + s * key)
}

fn random_scalar(rng: &mut impl CryptoRngCore) -> Zeroizing<Scalar> {
    let mut bytes = Zeroizing::new([0; 64]);
    rng.fill_bytes(bytes.as_mut());
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&bytes))
}

fn slot_id(element: &RistrettoPoint) -> SlotId {
    SlotId::from_bytes(Sha256::digest(element.compress().as_bytes()).into())
}

fn join(c1: RistrettoPoint, c2: RistrettoPoint) -> [u8; 64] {
    let mut token = [0; 64];
    let (first, second) = token.split_at_mut(32);
    first.copy_from_slice(c1.compress().as_bytes());
    second.copy_from_slice(c2.compress().as_bytes());
    token
}

fn decompress(token: &[u8; 64]) -> Result<(RistrettoPoint, RistrettoPoint), BadToken> {
    let (first, second) = token.split_at(32);
    let point = |bytes| CompressedRistretto::from_slice(bytes).ok()?.decompress();
    let c1 = point(first).ok_or(BadToken)?;
    let c2 = point(second).ok_or(BadToken)?;
    if c1.is_identity() { Err(BadToken) } else { Ok((c1, c2)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    #[test]
    fn a_message_finds_its_slot_through_every_randomisation() {
        let rng = &mut rng(1);
        let key = TokenSecretKey::generate(rng);
        let slot = SlotElement::generate(rng);
        let account = slot.seal(&key.public_key(), rng).unwrap();
        let sender = account.for_contact(&key.public_key(), rng).unwrap();
        let first = sender.for_message(&key.public_key(), rng).unwrap();
        let second = sender.for_message(&key.public_key(), rng).unwrap();
        assert_eq!(key.open(&first).unwrap(), slot.slot_id());
        assert_eq!(key.open(&second).unwrap(), slot.slot_id());
        assert_ne!(first.as_bytes()[..32], second.as_bytes()[..32]);
        assert_ne!(first.as_bytes()[32..], second.as_bytes()[32..]);
    }

    #[test]
    fn another_servers_key_finds_nothing_of_ours() {
        let rng = &mut rng(2);
        let (ours, theirs) = (TokenSecretKey::generate(rng), TokenSecretKey::generate(rng));
        let slot = SlotElement::generate(rng);
        let account = slot.seal(&ours.public_key(), rng).unwrap();
        let sender = account.for_contact(&ours.public_key(), rng).unwrap();
        let message = sender.for_message(&ours.public_key(), rng).unwrap();
        assert_ne!(theirs.open(&message).unwrap(), slot.slot_id());
    }

    #[test]
    fn the_identity_and_non_points_are_refused() {
        let rng = &mut rng(3);
        let key = TokenSecretKey::generate(rng);
        let point = key.public_key().0;
        let mut identity_first = [0; 64];
        identity_first[32..].copy_from_slice(&point);
        let mut no_point = [0xff; 64];
        no_point[..32].copy_from_slice(&point);
        for bytes in [identity_first, no_point, [0xff; 64]] {
            assert!(!MessageToken::from_bytes(bytes).is_valid());
            assert_eq!(key.open(&MessageToken::from_bytes(bytes)), Err(BadToken));
            assert!(SenderToken::from_bytes(bytes).for_message(&key.public_key(), rng).is_err());
        }
        let slot = SlotElement::generate(rng);
        assert!(slot.seal(&TokenPublicKey([0; 32]), rng).is_err(), "X = identity hides nothing");
    }

    proptest! {
        #[test]
        fn opening_never_panics(seed: u64, first: [u8; 32], second: [u8; 32]) {
            let key = TokenSecretKey::generate(&mut rng(seed));
            let bytes: [u8; 64] = [first, second].concat().try_into().unwrap();
            let token = MessageToken::from_bytes(bytes);
            prop_assert_eq!(key.open(&token).is_ok(), token.is_valid());
        }
    }
}
