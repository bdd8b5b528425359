//! Delivery: the outer two layers of a message, between a sender and a mailbox server.
//!
//! Owns msgA and msgB and their sizes. msgC is bytes here: what a receiver makes of it is the business of `channel`. Must
//! not know accounts, queues or HTTP. Specification: Delivery, first paragraph.
//!
//! msgB = `"b1" ‖ "t1" ‖ MSTT ‖ msgC`; msgA = `"a1" ‖` sealed box (to the delivery key, msgB).

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    keys::{DeliveryPublicKey, DeliverySecretKey, macros},
    token::MessageToken,
    wire::{Reader, WireError, Writer},
};

const PREFIX_A: &[u8; 2] = b"a1";
const PREFIX_B: &[u8; 2] = b"b1";
const PREFIX_TOKEN: &[u8; 2] = b"t1";

/// The bytes that a NaCl sealed box adds: a public key and an authenticator.
pub const SEALED_BOX_OVERHEAD_BYTES: usize = 48;

/// The bytes that msgA has more than its msgC.
pub const OVERHEAD_BYTES: usize =
    PREFIX_A.len() + SEALED_BOX_OVERHEAD_BYTES + PREFIX_B.len() + PREFIX_TOKEN.len() + MessageToken::BYTES;

/// The sizes that a msgA may have: an observer learns no more about a message's length than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// 4,096 bytes: text.
    Kib4,
    /// 16,384 bytes.
    Kib16,
    /// 65,536 bytes: the largest that lists and event streams carry themselves.
    Kib64,
    /// 262,144 bytes: the longest text with everything around it.
    Kib256,
}

impl Bucket {
    /// All sizes, smallest first.
    pub const ALL: [Self; 4] = [Self::Kib4, Self::Kib16, Self::Kib64, Self::Kib256];

    /// Returns the exact length of a msgA of this size, in bytes.
    #[must_use]
    pub const fn msg_a_bytes(self) -> usize {
        match self {
            Self::Kib4 => 4 << 10,
            Self::Kib16 => 16 << 10,
            Self::Kib64 => 64 << 10,
            Self::Kib256 => 256 << 10,
        }
    }

    /// Returns the exact length of the msgC inside, in bytes.
    #[must_use]
    pub const fn msg_c_bytes(self) -> usize {
        self.msg_a_bytes().saturating_sub(OVERHEAD_BYTES)
    }

    /// Returns the smallest size whose msgC has room for `needed_bytes`.
    #[must_use]
    pub fn with_room_for(needed_bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| needed_bytes <= bucket.msg_c_bytes())
    }

    /// Returns the size whose msgA is exactly `length` bytes long.
    #[must_use]
    pub fn of_msg_a(length: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|bucket| bucket.msg_a_bytes() == length)
    }
}

/// The longest msgA, in bytes: what a server has to read from one request.
pub const MAX_MSG_A_BYTES: usize = Bucket::Kib256.msg_a_bytes();

macros::public_bytes! {
    /// The SHA-256 of a msgA: what a server remembers, so that a repeated delivery is stored once.
    MsgADigest, 32
}

/// Sealed bytes, ready to be posted to a server.
#[derive(Clone, PartialEq, Eq)]
pub struct MsgA(Vec<u8>);

impl MsgA {
    /// Returns the bytes: 4, 16, 64 or 256 KiB.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl core::fmt::Debug for MsgA {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MsgA({} bytes)", self.0.len())
    }
}

/// What a server finds in a msgA.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Finds the slot.
    pub token: MessageToken,
    /// For the slot's owner.
    pub msg_c: Vec<u8>,
}

impl core::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Delivery({} bytes)", self.msg_c.len())
    }
}

/// Why a message could not be sealed: the caller's or its records' fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// msgC fits no [`Bucket`] exactly.
    #[error("a msgC of {found} bytes fits no message size")]
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// The server's delivery key is of low order or not canonical.
    #[error("the server's delivery key is invalid")]
    BadDeliveryKey,
}

/// Why a delivery is malformed: the sender's fault, or the message is for another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The length is none of the four message sizes.
    #[error("a message of {found} bytes has none of the message sizes")]
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// Another format, or one of a later version.
    #[error("the message has an unknown format")]
    UnknownFormat,
    /// Damaged, forged, or sealed to another key.
    #[error("the message does not open with this server's keys")]
    DoesNotOpen,
}

impl From<WireError> for OpenError {
    fn from(_: WireError) -> Self {
        Self::UnknownFormat
    }
}

/// Wraps a msgC for a server. `msg_c` already has the exact length of a [`Bucket`]; `token` was made for this message.
///
/// # Errors
/// [`SealError`].
pub fn seal_delivery(
    msg_c: &[u8],
    token: &MessageToken,
    key: &DeliveryPublicKey,
    rng: &mut impl CryptoRngCore,
) -> Result<MsgA, SealError> {
    let found = msg_c.len();
    if !Bucket::ALL.into_iter().any(|bucket| bucket.msg_c_bytes() == found) {
        return Err(SealError::Length { found });
    }
    let msg_b =
        Writer::new().fixed(PREFIX_B).fixed(PREFIX_TOKEN).fixed(token.as_bytes()).fixed(msg_c).finish();
    let sealed = key.seal(&msg_b, rng).map_err(|_| SealError::BadDeliveryKey)?;
    Ok(MsgA(Writer::new().fixed(PREFIX_A).fixed(&sealed).finish()))
}

/// Opens a delivery with the first of `keys` that fits: the current delivery key, then older ones that are still valid.
///
/// The token is not looked at: [`TokenSecretKey::open`](crate::token::TokenSecretKey::open) does that.
///
/// # Errors
/// [`OpenError`].
pub fn open_delivery(msg_a: &[u8], keys: &[DeliverySecretKey]) -> Result<Delivery, OpenError> {
    if Bucket::of_msg_a(msg_a.len()).is_none() {
        return Err(OpenError::Length { found: msg_a.len() });
    }
    let mut reader = Reader::new(msg_a);
    reader.expect(PREFIX_A)?;
    let sealed = reader.rest();
    let opened = keys.iter().find_map(|key| key.open_sealed(sealed).ok());
    let mut msg_b = opened.ok_or(OpenError::DoesNotOpen)?;
    let mut reader = Reader::new(&msg_b);
    reader.expect(PREFIX_B)?;
    reader.expect(PREFIX_TOKEN)?;
    let token = MessageToken::from_bytes(reader.array()?);
    let header_bytes = msg_b.len().saturating_sub(reader.rest().len());
    Ok(Delivery { token, msg_c: msg_b.split_off(header_bytes) })
}

/// Returns what a server remembers of a delivery.
#[must_use]
pub fn msg_a_digest(msg_a: &[u8]) -> MsgADigest {
    MsgADigest::from_bytes(Sha256::digest(msg_a).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn token() -> MessageToken {
        MessageToken::from_bytes([5; 64])
    }

    #[test]
    fn every_bucket_fits_exactly_and_opens() {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let old = DeliverySecretKey::generate(rng);
        let keys = [DeliverySecretKey::generate(rng), old.clone()];
        for bucket in Bucket::ALL {
            let msg_c = vec![7; bucket.msg_c_bytes()];
            let msg_a = seal_delivery(&msg_c, &token(), &old.public_key(), rng).unwrap();
            assert_eq!(msg_a.as_bytes().len(), bucket.msg_a_bytes());
            let delivery = open_delivery(msg_a.as_bytes(), &keys).unwrap();
            assert_eq!(delivery, Delivery { token: token(), msg_c });
        }
    }

    #[test]
    fn another_length_is_refused_on_both_sides() {
        let rng = &mut ChaCha20Rng::seed_from_u64(2);
        let key = DeliverySecretKey::generate(rng);
        for found in [0, 1, Bucket::Kib4.msg_c_bytes() + 1, Bucket::Kib256.msg_c_bytes() + 1] {
            let sealed = seal_delivery(&vec![0; found], &token(), &key.public_key(), rng);
            assert_eq!(sealed, Err(SealError::Length { found }));
            let opened = open_delivery(&vec![b'a'; found], core::slice::from_ref(&key));
            assert_eq!(opened, Err(OpenError::Length { found }));
        }
    }

    #[test]
    fn a_bucket_is_chosen_by_what_has_to_fit() {
        assert_eq!(Bucket::with_room_for(0), Some(Bucket::Kib4));
        assert_eq!(Bucket::with_room_for(Bucket::Kib4.msg_c_bytes()), Some(Bucket::Kib4));
        assert_eq!(Bucket::with_room_for(Bucket::Kib4.msg_c_bytes() + 1), Some(Bucket::Kib16));
        assert_eq!(Bucket::with_room_for(Bucket::Kib256.msg_c_bytes() + 1), None);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
            let rng = &mut ChaCha20Rng::seed_from_u64(seed);
            let key = DeliverySecretKey::generate(rng);
            let msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
            let mut bytes = seal_delivery(&msg_c, &token(), &key.public_key(), rng).unwrap().into_bytes();
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
            prop_assert!(open_delivery(&bytes, &[key]).is_err());
        }

        #[test]
        fn opening_never_panics(seed: u64, mut bytes in prop::collection::vec(any::<u8>(), 4096)) {
            let key = DeliverySecretKey::generate(&mut ChaCha20Rng::seed_from_u64(seed));
            bytes[..2].copy_from_slice(PREFIX_A);
            prop_assert_eq!(open_delivery(&bytes, &[key]), Err(OpenError::DoesNotOpen));
        }
    }
}
