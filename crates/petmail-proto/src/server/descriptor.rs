//! The server descriptor: every key and limit of a mailbox server, vouched for by its identity key.
//!
//! Owns the signed form and its checks. Clients and senders take a server's keys from here and from nowhere else: a server
//! could tell accounts apart by keys that it hands out one by one. Specification: Servers, accounts, offers.
//!
//! Transported as one line `petmail-server-1 SIGNATURE` (base64url), a line feed, and JSON. The signature covers the JSON
//! exactly as transported.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    base_url::BaseUrl,
    keys::{
        CertificatePin, DeliveryPublicKey, RetrievalPublicKey, ServerIdentityKey, ServerSigningKey,
        SigningContext, is_valid_public_key,
    },
    time::UnixMillis,
    token::{TokenKeyId, TokenPublicKey},
};

/// The longest descriptor that is read, in bytes: the bounds below fit several times.
pub const MAX_DESCRIPTOR_BYTES: usize = 16 << 10;
/// The most token keys: the current one, and older ones for the retention time.
pub const MAX_TOKEN_KEYS: usize = 8;
/// The most certificate pins: the current one and its successor, with room for changes.
pub const MAX_PINS: usize = 4;
/// The most roles; there are two so far.
pub const MAX_ROLES: usize = 8;
/// The role of servers that keep packs.
pub const ROLE_STORAGE: &str = "storage";
/// The role of servers that keep messages.
pub const ROLE_MAILBOX: &str = "mailbox";

const TITLE: &str = "petmail-server-1 ";

/// A token key with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// Which key.
    pub kid: TokenKeyId,
    /// The key, "X".
    pub key: TokenPublicKey,
}

/// What the server takes in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerLimits {
    /// The longest msgA, in bytes.
    pub max_message_bytes: u64,
    /// The most tokens in one fetch request.
    pub max_tokens: u32,
}

/// Where a server went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedTo {
    /// The new address.
    pub url: BaseUrl,
    /// Who answers there.
    pub identity: ServerIdentityKey,
    /// The certificate that is presented there, if no public authority vouches for the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<CertificatePin>,
}

/// What a server publishes about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Only rises: an older descriptor never replaces a newer one.
    pub serial: u64,
    /// Where the server is reached.
    pub url: BaseUrl,
    /// What it does; unknown roles are left alone.
    pub roles: Vec<String>,
    /// What deliveries are sealed to.
    pub delivery_key: DeliveryPublicKey,
    /// What requests of account owners are sealed to.
    pub retrieval_key: RetrievalPublicKey,
    /// The token keys that the server opens, newest first.
    pub token_keys: Vec<TokenKey>,
    /// What one request may hold.
    pub limits: ServerLimits,
    /// The certificates that the server presents, if no public authority vouches for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<CertificatePin>,
    /// When to ask again at the latest.
    pub not_after: UnixMillis,
    /// The server's new address, after a move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<MovedTo>,
}

/// Why a descriptor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Longer than [`MAX_DESCRIPTOR_BYTES`].
    #[error("the server's descriptor is larger than {MAX_DESCRIPTOR_BYTES} bytes")]
    TooLarge,
    /// It is no descriptor of this version.
    #[error("the server's descriptor is malformed or of an unknown version")]
    Malformed,
    /// It is not signed by the expected server, or was changed.
    #[error("the server's descriptor is not signed by the expected identity key")]
    BadSignature,
    /// Lists out of bounds, or no token key.
    #[error("the server's descriptor is out of bounds")]
    Bounds,
    /// A key of low order, not canonical, or no group element.
    #[error("the server's descriptor holds an invalid key")]
    BadKey,
    /// `not_after` has passed.
    #[error("the server's descriptor has expired")]
    Expired,
    /// An older descriptor than one already seen: somebody replays it, or the server was restored from a backup.
    #[error("the server's descriptor has serial {found}; {known} is known already")]
    Stale {
        /// The serial of this one.
        found: u64,
        /// The greatest serial seen from this server.
        known: u64,
    },
}

/// A descriptor as it came from the network, taken apart but not believed.
#[derive(Clone, Copy, Debug)]
pub struct UnverifiedDescriptor<'a> {
    signature: [u8; 64],
    json: &'a [u8],
}

impl<'a> UnverifiedDescriptor<'a> {
    /// Takes the transported form apart.
    ///
    /// # Errors
    /// [`DescriptorError::TooLarge`] or [`DescriptorError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DescriptorError> {
        if bytes.len() > MAX_DESCRIPTOR_BYTES {
            return Err(DescriptorError::TooLarge);
        }
        let body = bytes.strip_prefix(TITLE.as_bytes()).ok_or(DescriptorError::Malformed)?;
        let end = body.iter().position(|byte| *byte == b'\n').ok_or(DescriptorError::Malformed)?;
        let (line, json) = body.split_at_checked(end).ok_or(DescriptorError::Malformed)?;
        let signature = BASE64URL_NOPAD.decode(line).map_err(|_| DescriptorError::Malformed)?;
        let signature = signature.try_into().map_err(|_| DescriptorError::Malformed)?;
        let json = json.strip_prefix(b"\n").ok_or(DescriptorError::Malformed)?;
        Ok(Self { signature, json })
    }

    /// Checks the signature, then everything else.
    ///
    /// # Errors
    /// [`DescriptorError`]; `Stale` is for [`Descriptor::check_serial`] to find.
    pub fn verify(
        &self,
        identity: &ServerIdentityKey,
        now: UnixMillis,
    ) -> Result<Descriptor, DescriptorError> {
        identity
            .verify(SigningContext::Descriptor, self.json, &self.signature)
            .map_err(|_| DescriptorError::BadSignature)?;
        let descriptor: Descriptor =
            serde_json::from_slice(self.json).map_err(|_| DescriptorError::Malformed)?;
        descriptor.check_bounds()?;
        descriptor.check_keys()?;
        if descriptor.not_after < now { Err(DescriptorError::Expired) } else { Ok(descriptor) }
    }
}

impl Descriptor {
    /// Signs the descriptor and returns its transported form.
    ///
    /// # Errors
    /// [`DescriptorError::Bounds`], [`DescriptorError::BadKey`] or [`DescriptorError::TooLarge`]: what nobody would accept.
    pub fn sign(&self, key: &ServerSigningKey) -> Result<Vec<u8>, DescriptorError> {
        self.check_bounds()?;
        self.check_keys()?;
        let json = serde_json::to_vec(self).map_err(|_| DescriptorError::Malformed)?;
        let signature = BASE64URL_NOPAD.encode(&key.sign(SigningContext::Descriptor, &json));
        let bytes = [TITLE.as_bytes(), signature.as_bytes(), b"\n", &json].concat();
        if bytes.len() > MAX_DESCRIPTOR_BYTES { Err(DescriptorError::TooLarge) } else { Ok(bytes) }
    }

    /// Takes the transported form apart and verifies it.
    ///
    /// # Errors
    /// As [`UnverifiedDescriptor::parse`] and [`UnverifiedDescriptor::verify`].
    pub fn verify(
        bytes: &[u8],
        identity: &ServerIdentityKey,
        now: UnixMillis,
    ) -> Result<Self, DescriptorError> {
        UnverifiedDescriptor::parse(bytes)?.verify(identity, now)
    }

    /// Checks that this one may replace a descriptor with serial `known`.
    ///
    /// # Errors
    /// [`DescriptorError::Stale`].
    pub const fn check_serial(&self, known: u64) -> Result<(), DescriptorError> {
        if self.serial < known { Err(DescriptorError::Stale { found: self.serial, known }) } else { Ok(()) }
    }

    /// Tells whether the server keeps packs.
    #[must_use]
    pub fn is_storage(&self) -> bool {
        self.roles.iter().any(|role| role == ROLE_STORAGE)
    }

    /// Tells whether the server keeps messages.
    #[must_use]
    pub fn is_mailbox(&self) -> bool {
        self.roles.iter().any(|role| role == ROLE_MAILBOX)
    }

    /// Returns the token key of that number, while the server still opens it.
    #[must_use]
    pub fn token_key(&self, kid: TokenKeyId) -> Option<&TokenPublicKey> {
        self.token_keys.iter().find(|key| key.kid == kid).map(|key| &key.key)
    }

    fn check_bounds(&self) -> Result<(), DescriptorError> {
        let kids: std::collections::BTreeSet<_> = self.token_keys.iter().map(|key| key.kid).collect();
        let good = (1..=MAX_TOKEN_KEYS).contains(&self.token_keys.len())
            && kids.len() == self.token_keys.len()
            && self.pins.len() <= MAX_PINS
            && self.roles.len() <= MAX_ROLES;
        if good { Ok(()) } else { Err(DescriptorError::Bounds) }
    }

    fn check_keys(&self) -> Result<(), DescriptorError> {
        let good = is_valid_public_key(self.delivery_key.as_bytes())
            && is_valid_public_key(self.retrieval_key.as_bytes())
            && self.token_keys.iter().all(|key| key.key.is_valid());
        if good { Ok(()) } else { Err(DescriptorError::BadKey) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;
    use crate::{
        keys::{DeliverySecretKey, RetrievalSecretKey},
        token::TokenSecretKey,
    };

    const NOW: UnixMillis = UnixMillis(1_000);

    fn key() -> ServerSigningKey {
        ServerSigningKey::from_bytes([1; 32])
    }

    fn descriptor() -> Descriptor {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        Descriptor {
            serial: 7,
            url: "https://mail.example.org/p".parse().unwrap(),
            roles: vec![ROLE_MAILBOX.to_owned()],
            delivery_key: DeliverySecretKey::generate(rng).public_key(),
            retrieval_key: RetrievalSecretKey::generate(rng).public_key(),
            token_keys: vec![TokenKey {
                kid: TokenKeyId(1),
                key: TokenSecretKey::generate(rng).public_key(),
            }],
            limits: ServerLimits { max_message_bytes: 262_144, max_tokens: 100 },
            pins: vec![],
            not_after: NOW,
            moved_to: None,
        }
    }

    /// Signs what [`Descriptor::sign`] would refuse.
    fn forge(descriptor: &Descriptor) -> Vec<u8> {
        let json = serde_json::to_vec(descriptor).unwrap();
        let signature = BASE64URL_NOPAD.encode(&key().sign(SigningContext::Descriptor, &json));
        [TITLE.as_bytes(), signature.as_bytes(), b"\n", &json].concat()
    }

    #[test]
    fn a_signed_descriptor_verifies_until_it_expires() {
        let bytes = descriptor().sign(&key()).unwrap();
        let identity = key().verifying_key();
        assert_eq!(Descriptor::verify(&bytes, &identity, NOW), Ok(descriptor()));
        assert_eq!(Descriptor::verify(&bytes, &identity, UnixMillis(1_001)), Err(DescriptorError::Expired));
        let other = ServerSigningKey::from_bytes([2; 32]).verifying_key();
        assert_eq!(Descriptor::verify(&bytes, &other, NOW), Err(DescriptorError::BadSignature));
    }

    #[test]
    fn serials_only_rise() {
        assert_eq!(descriptor().check_serial(6), Ok(()));
        assert_eq!(descriptor().check_serial(7), Ok(()));
        assert_eq!(descriptor().check_serial(8), Err(DescriptorError::Stale { found: 7, known: 8 }));
    }

    #[test]
    fn signed_nonsense_is_refused_on_both_sides() {
        let good = descriptor();
        let token_key = good.token_keys[0];
        let zero = DeliveryPublicKey::from_bytes([0; 32]);
        let identity_point = TokenKey { kid: TokenKeyId(1), key: TokenPublicKey::from_bytes([0; 32]) };
        let cases = [
            (Descriptor { token_keys: vec![], ..good.clone() }, DescriptorError::Bounds),
            (Descriptor { token_keys: vec![token_key; 2], ..good.clone() }, DescriptorError::Bounds),
            (
                Descriptor { pins: vec![CertificatePin::from_bytes([0; 32]); MAX_PINS + 1], ..good.clone() },
                DescriptorError::Bounds,
            ),
            (
                Descriptor { roles: vec![String::new(); MAX_ROLES + 1], ..good.clone() },
                DescriptorError::Bounds,
            ),
            (Descriptor { delivery_key: zero, ..good.clone() }, DescriptorError::BadKey),
            (Descriptor { token_keys: vec![identity_point], ..good.clone() }, DescriptorError::BadKey),
        ];
        for (bad, error) in cases {
            assert_eq!(bad.sign(&key()), Err(error));
            assert_eq!(Descriptor::verify(&forge(&bad), &key().verifying_key(), NOW), Err(error));
        }
        let large = Descriptor { roles: vec!["r".repeat(MAX_DESCRIPTOR_BYTES)], ..good };
        assert_eq!(large.sign(&key()), Err(DescriptorError::TooLarge));
        assert_eq!(UnverifiedDescriptor::parse(&forge(&large)).unwrap_err(), DescriptorError::TooLarge);
    }

    #[test]
    fn roles_and_token_keys_are_found() {
        assert!(descriptor().is_mailbox());
        assert!(!Descriptor { roles: vec!["storage".to_owned()], ..descriptor() }.is_mailbox());
        assert!(descriptor().token_key(TokenKeyId(1)).is_some());
        assert!(descriptor().token_key(TokenKeyId(2)).is_none());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_refused(position: prop::sample::Index, bit in 0_u8..8) {
            let mut bytes = descriptor().sign(&key()).unwrap();
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
            prop_assert!(Descriptor::verify(&bytes, &key().verifying_key(), NOW).is_err());
        }

        #[test]
        fn parsing_never_panics(rest: Vec<u8>) {
            let bytes = [TITLE.as_bytes(), &rest].concat();
            prop_assert!(Descriptor::verify(&bytes, &key().verifying_key(), NOW).is_err());
        }
    }
}
