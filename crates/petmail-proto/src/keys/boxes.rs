//! NaCl box and sealed box (X25519, XSalsa20-Poly1305), with the key checks that NaCl leaves out.

use crypto_box::{
    PublicKey, SalsaBox, SecretKey,
    aead::{Aead, AeadCore},
};
use rand_core::CryptoRngCore;
use thiserror::Error;

/// A box that cannot be made or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BoxError {
    /// The other side's key is of low order or not canonical: everybody would know the shared secret.
    #[error("the public key is invalid")]
    BadPublicKey,
    /// The box is truncated, damaged, forged, or for another key.
    #[error("the box does not open")]
    DoesNotOpen,
}

const NONCE_BYTES: usize = 24;

/// The canonical u-coordinates of low order on Curve25519 and its twist: 0, 1, two points of order 8, and p − 1.
/// With any of them X25519 gives zero whatever the secret (RFC 7748, section 6.1).
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

/// 2^255 − 19, little-endian.
const FIELD_PRIME: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// Tells whether bytes are an X25519 public key that may be used: canonical and not of low order.
#[must_use]
pub fn is_valid_public_key(bytes: &[u8; 32]) -> bool {
    let canonical = bytes.iter().rev().lt(FIELD_PRIME.iter().rev());
    canonical && !LOW_ORDER.contains(bytes)
}

fn checked(bytes: &[u8; 32]) -> Result<PublicKey, BoxError> {
    if is_valid_public_key(bytes) { Ok(PublicKey::from_bytes(*bytes)) } else { Err(BoxError::BadPublicKey) }
}

pub(super) fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    SecretKey::from_bytes(*secret).public_key().to_bytes()
}

pub(super) fn seal(
    recipient: &[u8; 32],
    plaintext: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, BoxError> {
    checked(recipient)?.seal(rng, plaintext).map_err(|_| BoxError::DoesNotOpen)
}

pub(super) fn open_sealed(secret: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, BoxError> {
    let ephemeral = sealed.first_chunk::<32>().ok_or(BoxError::DoesNotOpen)?;
    checked(ephemeral)?;
    SecretKey::from_bytes(*secret).unseal(sealed).map_err(|_| BoxError::DoesNotOpen)
}

pub(super) fn seal_box(
    secret: &[u8; 32],
    recipient: &[u8; 32],
    plaintext: &[u8],
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, BoxError> {
    let salsa = SalsaBox::new(&checked(recipient)?, &SecretKey::from_bytes(*secret));
    let nonce = SalsaBox::generate_nonce(rng);
    let ciphertext = salsa.encrypt(&nonce, plaintext).map_err(|_| BoxError::DoesNotOpen)?;
    Ok([nonce.as_slice(), &ciphertext].concat())
}

pub(super) fn open_box(secret: &[u8; 32], sender: &[u8; 32], boxed: &[u8]) -> Result<Vec<u8>, BoxError> {
    let (nonce, ciphertext) = boxed.split_first_chunk::<NONCE_BYTES>().ok_or(BoxError::DoesNotOpen)?;
    let salsa = SalsaBox::new(&checked(sender)?, &SecretKey::from_bytes(*secret));
    salsa.decrypt(nonce.into(), ciphertext).map_err(|_| BoxError::DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_order_keys_give_zero_and_are_refused() {
        for key in LOW_ORDER {
            assert_eq!(x25519_dalek::x25519([0x42; 32], key), [0; 32], "{key:x?} is not of low order");
            assert!(!is_valid_public_key(&key));
        }
    }

    #[test]
    fn non_canonical_keys_are_refused() {
        assert!(!is_valid_public_key(&FIELD_PRIME));
        assert!(!is_valid_public_key(&[0xff; 32]));
        let mut high_bit = [9; 32];
        high_bit[31] = 0x80;
        assert!(!is_valid_public_key(&high_bit));
        let mut nine = [0; 32];
        nine[0] = 9;
        assert!(is_valid_public_key(&nine));
    }
}
