//! CIDTokens and CIDBoxes: how a receiver, and nobody else, sees which contact a message is from.

use core::fmt;

use crypto_secretbox::{
    KeyInit, XSalsa20Poly1305,
    aead::{Aead, AeadCore},
};
use hkdf::Hkdf;
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::MessageNumber;
use crate::{
    keys::{CidKey, ReceiverPublicKey, TransportId, macros::public_bytes},
    wire::{Reader, WireError, Writer},
};

/// Separates the key of tokens from the key of boxes: a token must not reveal anything about a box's key.
const TOKEN_KEY_LABEL: &str = "petmail.org/v1/CIDKey/token";
/// As [`TOKEN_KEY_LABEL`].
const BOX_KEY_LABEL: &str = "petmail.org/v1/CIDKey/box";
/// As [`TOKEN_KEY_LABEL`].
const RESET_KEY_LABEL: &str = "petmail.org/v1/CIDKey/reset";
/// Binds a token to its use, so that no other derivation from the same key can collide with one.
const TOKEN_LABEL: &str = "petmail.org/v1/CIDToken";

const NONCE_BYTES: usize = 24;
const ENVELOPE_BYTES: usize = 1 + 8 + 8 + 32 + 32;
/// The length of a CIDBox: nonce, Poly1305 tag, envelope.
pub const CID_BOX_BYTES: usize = NONCE_BYTES + 16 + ENVELOPE_BYTES;

public_bytes! {
    /// Tells the receiver at a glance which contact, transport, attempt and number a message has.
    CidToken, 32
}

/// A CIDBox that is not from this contact, or is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the CIDBox does not open with this contact's key")]
pub struct NotForThisChannel;

/// What a CIDBox says of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Counts the encryptions of one message for one transport, from 0.
    pub attempt: u8,
    /// The message's number.
    pub number: MessageNumber,
    /// The SHA-256 of msgD.
    pub msg_d_hash: [u8; 32],
    /// The receiver key that msgD is encrypted to.
    pub receiver_key: ReceiverPublicKey,
}

/// The subkeys of a [`CidKey`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CidSubkeys {
    token_key: [u8; 32],
    box_key: [u8; 32],
    reset_key: [u8; 32],
}

impl CidSubkeys {
    /// Derives the subkeys (HKDF-SHA256, RFC 5869, without salt).
    #[must_use]
    pub fn derive(key: &CidKey) -> Self {
        let subkey = |label| expand(key.expose_bytes(), &Writer::labelled(label).finish());
        Self {
            token_key: subkey(TOKEN_KEY_LABEL),
            box_key: subkey(BOX_KEY_LABEL),
            reset_key: subkey(RESET_KEY_LABEL),
        }
    }

    /// Derives the token of one encryption of one message.
    #[must_use]
    pub fn token(&self, tid: &TransportId, attempt: u8, number: MessageNumber) -> CidToken {
        let info = Writer::labelled(TOKEN_LABEL)
            .fixed(tid.as_bytes())
            .u8(attempt)
            .u64(number.epoch)
            .u64(number.seqnum)
            .finish();
        CidToken::from_bytes(expand(&self.token_key, &info))
    }

    /// Boxes an envelope; [`CID_BOX_BYTES`] long.
    ///
    /// # Panics
    /// Never: the cipher takes any short plaintext.
    pub fn seal(&self, envelope: &Envelope, rng: &mut impl CryptoRngCore) -> Vec<u8> {
        let nonce = XSalsa20Poly1305::generate_nonce(rng);
        let plaintext = envelope.encode();
        let sealed =
            self.cipher().encrypt(&nonce, plaintext.as_slice()).expect("an envelope is 81 bytes long");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Opens a CIDBox.
    ///
    /// # Errors
    /// [`NotForThisChannel`].
    pub fn open(&self, cid_box: &[u8; CID_BOX_BYTES]) -> Result<Envelope, NotForThisChannel> {
        let (nonce, sealed) = cid_box.split_first_chunk::<NONCE_BYTES>().ok_or(NotForThisChannel)?;
        let plaintext = self.cipher().decrypt(nonce.into(), sealed).map_err(|_| NotForThisChannel)?;
        Envelope::decode(&plaintext).map_err(|_| NotForThisChannel)
    }

    /// Returns the cipher that key resets are boxed with.
    pub(super) fn reset_cipher(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new(&self.reset_key.into())
    }

    fn cipher(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new(&self.box_key.into())
    }
}

impl fmt::Debug for CidSubkeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CidSubkeys(redacted)")
    }
}

impl Envelope {
    /// Tells whether the envelope is about exactly these bytes of msgD.
    #[must_use]
    pub fn matches(&self, msg_d: &[u8]) -> bool {
        Sha256::digest(msg_d).ct_eq(&self.msg_d_hash).into()
    }

    /// Tells whether msgD is a key reset: nobody has a key of zeros.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.receiver_key.as_bytes() == &[0; 32]
    }

    fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u8(self.attempt)
            .u64(self.number.epoch)
            .u64(self.number.seqnum)
            .fixed(&self.msg_d_hash)
            .fixed(self.receiver_key.as_bytes())
            .finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let envelope = Self {
            attempt: reader.u8()?,
            number: MessageNumber { epoch: reader.u64()?, seqnum: reader.u64()? },
            msg_d_hash: reader.array()?,
            receiver_key: ReceiverPublicKey::from_bytes(reader.array()?),
        };
        reader.finish().map(|()| envelope)
    }
}

fn expand(key: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    Hkdf::<Sha256>::new(None, key).expand(info, &mut output).expect("32 bytes are less than HKDF's limit");
    output
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn subkeys_are_those_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/channel.json")).unwrap();
        let bytes = |name: &str| HEXLOWER.decode(vectors[name].as_str().unwrap().as_bytes()).unwrap();
        let subkeys = CidSubkeys::derive(&CidKey::from_bytes(bytes("cid_key").try_into().unwrap()));
        assert_eq!(subkeys.token_key.as_slice(), bytes("token_key"));
        assert_eq!(subkeys.box_key.as_slice(), bytes("box_key"));
        assert_eq!(subkeys.reset_key.as_slice(), bytes("reset_key"));
    }
}
