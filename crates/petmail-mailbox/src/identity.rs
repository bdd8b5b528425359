//! Who the server is: its address, its roles and its secret keys, made once by `init` and replaced by `rotate-keys`.
//!
//! Owns the descriptor, and with `identity/stored.rs` the file `server.json` (0600). Must not know accounts or messages.
//! Specification: Servers, accounts, offers.

mod current;
mod stored;

use std::{io, path::Path, time::Duration};

use petmail_net::program::write_private_file;
use petmail_proto::{
    base_url::BaseUrl,
    delivery::MAX_MSG_A_BYTES,
    keys::{
        CertificatePin, DeliverySecretKey, RedeemToken, RetrievalSecretKey, ServerIdentityKey,
        ServerSigningKey,
    },
    retrieval::MAX_FETCH_TOKENS,
    server::{
        descriptor::{
            Descriptor, DescriptorError, MAX_TOKEN_KEYS, MovedTo, ROLE_MAILBOX, ROLE_STORAGE, ServerLimits,
            TokenKey,
        },
        offer::Offer,
    },
    time::UnixMillis,
    token::{TokenKeyId, TokenSecretKey},
};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

pub use self::current::CurrentIdentity;

/// How long a descriptor is good. The server signs a new one long before.
pub const DESCRIPTOR_LIFE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The first token key of a server.
const FIRST_KID: TokenKeyId = TokenKeyId(1);

/// A token key with its number.
#[derive(Clone, Debug)]
pub struct NumberedTokenKey {
    /// Which key.
    pub kid: TokenKeyId,
    /// The key.
    pub key: TokenSecretKey,
}

/// A server's address and keys. Of each kind there are equally many keys, newest first: they are replaced together.
#[derive(Clone, Debug)]
pub struct Identity {
    url: BaseUrl,
    roles: Vec<String>,
    signing: ServerSigningKey,
    delivery_keys: Vec<DeliverySecretKey>,
    retrieval_keys: Vec<RetrievalSecretKey>,
    token_keys: Vec<NumberedTokenKey>,
    /// When those end that are not the newest, in the same order.
    ends: Vec<UnixMillis>,
    /// Where it went.
    moved_to: Option<MovedTo>,
}

/// Why a server's identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot access the server's keys: {0}")]
    Io(#[from] io::Error),
    /// The file holds something else.
    #[error("the server's keys are damaged: {0}")]
    Damaged(String),
    /// The file was written by a newer program.
    #[error("the server's keys have version {0}: use a newer petmail-mailbox")]
    NewerVersion(u32),
}

/// Why a server does not get new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// A descriptor has no room for more keys.
    #[error("the server has {MAX_TOKEN_KEYS} sets of keys already, and no more are possible")]
    TooMany {
        /// When the oldest ends.
        oldest_ends: UnixMillis,
    },
    /// No greater number can be given to a token key.
    #[error("all numbers of token keys are used up")]
    NoNumberLeft,
}

impl Identity {
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

    /// What the server does.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Returns the identity of a server with other roles.
    #[must_use]
    pub fn with_roles(self, roles: Vec<String>) -> Self {
        Self { roles, ..self }
    }

    /// Draws all keys of a new server, which has every role.
    pub fn generate(url: BaseUrl, rng: &mut impl CryptoRngCore) -> Self {
        Self {
            url,
            roles: [ROLE_MAILBOX, ROLE_STORAGE].map(str::to_owned).to_vec(),
            signing: ServerSigningKey::generate(rng),
            delivery_keys: vec![DeliverySecretKey::generate(rng)],
            retrieval_keys: vec![RetrievalSecretKey::generate(rng)],
            token_keys: vec![NumberedTokenKey { kid: FIRST_KID, key: TokenSecretKey::generate(rng) }],
            ends: Vec::new(),
            moved_to: None,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let json = Zeroizing::new(std::fs::read(path)?);
        stored::parse(&json)
    }

    /// Writes the file with mode 0600, durably and as a whole.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, path: &Path) -> Result<(), IdentityError> {
        Ok(write_private_file(path, &stored::to_json(self)?)?)
    }

    /// Returns the server with a new key of each kind. Those that it has end at `end`, unless they end earlier; what has ended
    /// is gone.
    ///
    /// # Errors
    /// [`RotateError`].
    pub fn rotated(
        &self,
        now: UnixMillis,
        end: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, RotateError> {
        let mut rotated = self.without_ended(now).unwrap_or_else(|| self.clone());
        if rotated.token_keys.len() >= MAX_TOKEN_KEYS {
            let oldest_ends = rotated.ends.last().copied().unwrap_or_default();
            return Err(RotateError::TooMany { oldest_ends });
        }
        let last = rotated.newest_token_key().map_or(0, |key| key.kid.0);
        let kid = last.checked_add(1).map(TokenKeyId).ok_or(RotateError::NoNumberLeft)?;
        rotated.delivery_keys.insert(0, DeliverySecretKey::generate(rng));
        rotated.retrieval_keys.insert(0, RetrievalSecretKey::generate(rng));
        rotated.token_keys.insert(0, NumberedTokenKey { kid, key: TokenSecretKey::generate(rng) });
        rotated.ends.iter_mut().for_each(|earlier| *earlier = end.min(*earlier));
        rotated.ends.insert(0, end);
        Ok(rotated)
    }

    /// Returns the server without the keys that have ended; `None` if none has.
    #[must_use]
    pub fn without_ended(&self, now: UnixMillis) -> Option<Self> {
        let kept = self.ends.iter().take_while(|end| **end > now).count();
        if kept == self.ends.len() {
            return None;
        }
        let mut rest = self.clone();
        let keys = kept.saturating_add(1);
        rest.ends.truncate(kept);
        rest.delivery_keys.truncate(keys);
        rest.retrieval_keys.truncate(keys);
        rest.token_keys.truncate(keys);
        Some(rest)
    }

    /// Returns the server as it is once it has moved; with `None`, as it is if it stays after all.
    #[must_use]
    pub fn moving(&self, to: Option<MovedTo>) -> Self {
        Self { moved_to: to, ..self.clone() }
    }

    /// Where the server went, if it has moved.
    #[must_use]
    pub const fn moved_to(&self) -> Option<&MovedTo> {
        self.moved_to.as_ref()
    }

    /// Returns the server at the address to which it has moved; `None` if it has not.
    #[must_use]
    pub fn arrived(&self) -> Option<Self> {
        let MovedTo { url, .. } = self.moved_to.clone()?;
        Some(Self { url, moved_to: None, ..self.clone() })
    }

    /// Returns the address that clients use.
    #[must_use]
    pub const fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Returns the key that names the server.
    #[must_use]
    pub fn public(&self) -> ServerIdentityKey {
        self.signing.verifying_key()
    }

    /// Returns the keys that open deliveries, newest first.
    #[must_use]
    pub fn delivery_keys(&self) -> &[DeliverySecretKey] {
        &self.delivery_keys
    }

    /// Returns the keys that open requests of account owners, newest first.
    #[must_use]
    pub fn retrieval_keys(&self) -> &[RetrievalSecretKey] {
        &self.retrieval_keys
    }

    /// Returns the keys that open transport tokens, newest first.
    #[must_use]
    pub fn token_keys(&self) -> &[NumberedTokenKey] {
        &self.token_keys
    }

    /// Returns when the keys end that were replaced, newest first.
    #[must_use]
    pub fn former_keys_end(&self) -> &[UnixMillis] {
        &self.ends
    }

    /// Returns the token key for new accounts; there is always one.
    #[must_use]
    pub fn newest_token_key(&self) -> Option<&NumberedTokenKey> {
        self.token_keys.first()
    }

    /// Makes the signed descriptor.
    ///
    /// # Errors
    /// [`DescriptorError`] if nobody would accept it.
    pub fn descriptor(
        &self,
        serial: u64,
        pin: Option<CertificatePin>,
        now: UnixMillis,
    ) -> Result<Vec<u8>, DescriptorError> {
        let delivery_key = self.delivery_keys.first().ok_or(DescriptorError::Bounds)?.public_key();
        let retrieval_key = self.retrieval_keys.first().ok_or(DescriptorError::Bounds)?.public_key();
        let descriptor = Descriptor {
            serial,
            url: self.url.clone(),
            roles: self.roles.clone(),
            delivery_key,
            retrieval_key,
            token_keys: self
                .token_keys
                .iter()
                .map(|key| TokenKey { kid: key.kid, key: key.key.public_key() })
                .collect(),
            limits: ServerLimits {
                max_message_bytes: u64::try_from(MAX_MSG_A_BYTES).unwrap_or(u64::MAX),
                max_tokens: u32::try_from(MAX_FETCH_TOKENS).unwrap_or(u32::MAX),
            },
            pins: pin.into_iter().collect(),
            not_after: now.plus(DESCRIPTOR_LIFE),
            moved_to: self.moved_to.clone(),
        };
        descriptor.sign(&self.signing)
    }

    /// Makes an offer of this server.
    #[must_use]
    pub fn offer(&self, token: RedeemToken, pin: Option<CertificatePin>) -> Offer {
        Offer { url: self.url.clone(), identity: self.public(), pin, token }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rand_core::OsRng;

    use super::*;

    #[test]
    fn an_identity_survives_its_file_and_shows_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.json");
        let identity = Identity::generate("https://mail.example.org".parse().unwrap(), &mut OsRng);
        identity.store(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let back = Identity::load(&path).unwrap();
        assert_eq!(back.public(), identity.public());
        let now = UnixMillis(1_000);
        let bytes = back.descriptor(3, None, now).unwrap();
        let descriptor = Descriptor::verify(&bytes, &identity.public(), now).unwrap();
        assert_eq!(descriptor.delivery_key, identity.delivery_keys()[0].public_key());
        assert_eq!(format!("{identity:?}").matches("(redacted)").count(), 4);
    }

    #[test]
    fn damaged_and_newer_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.json");
        Identity::generate("https://a.b".parse().unwrap(), &mut OsRng).store(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"version\": 2", "\"version\": 3, \"more\": 1")).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::NewerVersion(3))));
        std::fs::write(&path, text.replace("roles", "rules")).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Damaged(_))));
    }

    #[test]
    fn keys_are_replaced_together_and_the_old_ones_end() {
        let first = Identity::generate("https://a.b".parse().unwrap(), &mut OsRng);
        let now = UnixMillis(1_000);
        let second = first.rotated(now, UnixMillis(5_000), &mut OsRng).unwrap();
        let kids =
            |identity: &Identity| identity.token_keys().iter().map(|key| key.kid.0).collect::<Vec<_>>();
        assert_eq!(kids(&second), [2, 1]);
        assert_eq!(second.delivery_keys()[1].public_key(), first.delivery_keys()[0].public_key());
        assert_eq!(second.retrieval_keys()[1].public_key(), first.retrieval_keys()[0].public_key());
        let descriptor = second.descriptor(1, None, now).unwrap();
        let descriptor = Descriptor::verify(&descriptor, &first.public(), now).unwrap();
        assert_eq!(descriptor.delivery_key, second.delivery_keys()[0].public_key());
        assert_eq!(descriptor.token_keys.len(), 2);
        // A later rotation does not let the oldest live on.
        let third = second.rotated(UnixMillis(2_000), UnixMillis(9_000), &mut OsRng).unwrap();
        assert_eq!(
            (kids(&third), third.ends.as_slice()),
            (vec![3, 2, 1], &[UnixMillis(9_000), UnixMillis(5_000)][..])
        );
        assert!(third.without_ended(UnixMillis(4_999)).is_none());
        let rest = third.without_ended(UnixMillis(5_000)).unwrap();
        assert_eq!(
            (kids(&rest), rest.delivery_keys().len(), rest.retrieval_keys().len()),
            (vec![3, 2], 2, 2)
        );
        assert_eq!(kids(&rest.without_ended(UnixMillis(u64::MAX)).unwrap()), [3]);
        assert_eq!(
            kids(&third.rotated(UnixMillis(9_000), UnixMillis(u64::MAX), &mut OsRng).unwrap()),
            [4, 3]
        );
    }

    #[test]
    fn a_descriptor_has_room_for_eight_sets_of_keys() {
        let mut identity = Identity::generate("https://a.b".parse().unwrap(), &mut OsRng);
        for end in 1..=7 {
            identity = identity.rotated(UnixMillis(0), UnixMillis(end * 100), &mut OsRng).unwrap();
        }
        let refused = identity.rotated(UnixMillis(0), UnixMillis(800), &mut OsRng).unwrap_err();
        assert_eq!(refused, RotateError::TooMany { oldest_ends: UnixMillis(100) });
        let descriptor = identity.descriptor(1, None, UnixMillis(0)).unwrap();
        assert!(Descriptor::verify(&descriptor, &identity.public(), UnixMillis(0)).is_ok());
        let path = tempfile::tempdir().unwrap();
        let path = path.path().join("server.json");
        identity.store(&path).unwrap();
        let back = Identity::load(&path).unwrap();
        assert_eq!(back.ends, identity.ends);
        assert!(back.rotated(UnixMillis(100), UnixMillis(800), &mut OsRng).is_ok());
    }
}
