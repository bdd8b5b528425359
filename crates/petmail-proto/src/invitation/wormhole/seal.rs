//! How bodies are sealed between the two sides: magic-wormhole's key schedule.
//!
//! Owns the keys derived from the shared key and what they are for. It must not know what the bodies say.
//! Specification: `docs/protocol/`, invitations (§2), and magic-wormhole's `client-protocol`.

use crypto_secretbox::{
    Key, XSalsa20Poly1305,
    aead::{Aead, KeyInit},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{keys::macros::secret_bytes, wire::Writer};

use super::{Body, FieldError, Phase, Side};

/// One key for each side and phase, so that no body can be presented as another.
const PHASE: &[u8] = b"wormhole:phase:";

/// What both sides can show without giving away the key.
const VERIFIER: &[u8] = b"wormhole:verifier";

/// Authenticates introductions that travel through the channel; never seals anything.
const INTRODUCTION_MAC: &str = "petmail.org/v1/introduction-mac";

const NONCE_BYTES: usize = 24;

secret_bytes! {
    /// What the key exchange gives both sides: "K" of the specification.
    SharedKey, 32
}

/// A body that was not sealed with this key for this side and phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body does not open")]
pub struct OpenError;

impl SharedKey {
    /// Seals what `side` says in `phase`: 40 bytes longer than `plaintext`.
    ///
    /// # Errors
    /// [`FieldError::TooLong`] if that is more than a [`Body`] holds.
    ///
    /// # Panics
    /// Never: the cipher fails only above its limit of 256 GiB.
    pub fn seal(
        &self,
        side: &Side,
        phase: &Phase,
        plaintext: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Body, FieldError> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let sealed =
            self.cipher(side, phase).encrypt(&nonce.into(), plaintext).expect("far below the cipher's limit");
        Body::new([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what `side` sealed in `phase`.
    ///
    /// # Errors
    /// [`OpenError`] if the body is damaged, or of another key, side or phase.
    pub fn open(&self, side: &Side, phase: &Phase, body: &Body) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, sealed) = body.as_bytes().split_first_chunk::<NONCE_BYTES>().ok_or(OpenError)?;
        let opened = self.cipher(side, phase).decrypt(nonce.into(), sealed).map_err(|_| OpenError)?;
        Ok(Zeroizing::new(opened))
    }

    /// What both sides can sign without giving away the key.
    #[must_use]
    pub fn verifier(&self) -> [u8; 32] {
        *self.derive(VERIFIER)
    }

    /// The code (HMAC-SHA256) over `message` that only the two sides can make.
    ///
    /// # Panics
    /// Never: HMAC takes a key of any length.
    #[must_use]
    pub fn introduction_mac(&self, message: &[u8]) -> [u8; 32] {
        self.introduction_hmac(message).finalize().into_bytes().into()
    }

    /// Whether `mac` is [`SharedKey::introduction_mac`] of `message`, in constant time.
    #[must_use]
    pub fn is_introduction_mac(&self, message: &[u8], mac: &[u8; 32]) -> bool {
        self.introduction_hmac(message).verify_slice(mac).is_ok()
    }

    fn introduction_hmac(&self, message: &[u8]) -> Hmac<Sha256> {
        let key = self.derive(&Writer::labelled(INTRODUCTION_MAC).finish());
        <Hmac<Sha256> as Mac>::new_from_slice(key.as_slice())
            .expect("HMAC takes any key")
            .chain_update(message)
    }

    fn cipher(&self, side: &Side, phase: &Phase) -> XSalsa20Poly1305 {
        let info =
            [PHASE, &Sha256::digest(side.as_str().as_bytes()), &Sha256::digest(phase.as_str().as_bytes())];
        XSalsa20Poly1305::new(Key::from_slice(self.derive(&info.concat()).as_slice()))
    }

    fn derive(&self, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, self.expose_bytes())
            .expand(info, key.as_mut_slice())
            .expect("32 bytes are within HKDF's limit");
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn key() -> SharedKey {
        SharedKey::from_bytes([7; 32])
    }

    fn side(text: &str) -> Side {
        Side::new(text).unwrap()
    }

    fn phase(text: &str) -> Phase {
        Phase::new(text).unwrap()
    }

    #[test]
    fn a_body_opens_only_for_its_side_phase_and_key() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let body = key().seal(&side("a"), &phase("0"), b"text", &mut rng).unwrap();
        assert_eq!(key().open(&side("a"), &phase("0"), &body).unwrap().as_slice(), b"text");
        assert_eq!(key().open(&side("b"), &phase("0"), &body), Err(OpenError));
        assert_eq!(key().open(&side("a"), &phase("1"), &body), Err(OpenError));
        assert_eq!(SharedKey::from_bytes([8; 32]).open(&side("a"), &phase("0"), &body), Err(OpenError));
    }

    #[test]
    fn an_overlong_text_is_an_error() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let text = vec![0; Body::MAX_BYTES - 39];
        assert!(key().seal(&side("a"), &phase("0"), &text, &mut rng).is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(bit in 0_usize..8 * 44) {
            let mut rng = ChaCha20Rng::seed_from_u64(4);
            let body = key().seal(&side("a"), &phase("0"), b"text", &mut rng).unwrap();
            let mut bytes = body.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key().open(&side("a"), &phase("0"), &Body::new(bytes).unwrap()), Err(OpenError));
        }
    }
}
