//! Who the server is: its address, its roles and its secret keys, made once by `init`.
//!
//! Owns the file `server.json` (0600) and the descriptor made from it. Must not know accounts or messages. Specification:
//! Servers, accounts, offers.

use std::{io, path::Path, time::Duration};

use petmail_net::program::write_private_file;
use petmail_proto::{
    base_url::BaseUrl,
    delivery::MAX_MSG_A_BYTES,
    keys::{
        CertificatePin, DeliverySecretKey, RedeemToken, RetrievalSecretKey, ServerIdentityKey,
        ServerSigningKey, stored_secret,
    },
    retrieval::MAX_FETCH_TOKENS,
    server::{
        descriptor::{Descriptor, DescriptorError, ROLE_MAILBOX, ServerLimits, TokenKey},
        offer::Offer,
    },
    time::UnixMillis,
    token::{TokenKeyId, TokenSecretKey},
};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How long a descriptor is good. The server signs a new one long before.
pub const DESCRIPTOR_LIFE: Duration = Duration::from_secs(14 * 24 * 3_600);

const VERSION: u32 = 1;
/// The first token key of a server.
const FIRST_KID: TokenKeyId = TokenKeyId(1);

/// A token key with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NumberedTokenKey {
    /// Which key.
    pub kid: TokenKeyId,
    /// The key.
    #[serde(with = "stored_secret")]
    pub key: TokenSecretKey,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct StoredDeliveryKey(#[serde(with = "stored_secret")] DeliverySecretKey);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct StoredRetrievalKey(#[serde(with = "stored_secret")] RetrievalSecretKey);

/// The file, field by field. Of each kind of key the newest comes first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredIdentity {
    version: u32,
    url: BaseUrl,
    roles: Vec<String>,
    #[serde(with = "stored_secret")]
    identity_key: ServerSigningKey,
    delivery_keys: Vec<StoredDeliveryKey>,
    retrieval_keys: Vec<StoredRetrievalKey>,
    token_keys: Vec<NumberedTokenKey>,
}

/// A server's address and keys.
#[derive(Debug)]
pub struct Identity {
    url: BaseUrl,
    roles: Vec<String>,
    signing: ServerSigningKey,
    delivery_keys: Vec<DeliverySecretKey>,
    retrieval_keys: Vec<RetrievalSecretKey>,
    token_keys: Vec<NumberedTokenKey>,
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

impl Identity {
    /// Draws all keys of a new server.
    pub fn generate(url: BaseUrl, rng: &mut impl CryptoRngCore) -> Self {
        Self {
            url,
            roles: vec![ROLE_MAILBOX.to_owned()],
            signing: ServerSigningKey::generate(rng),
            delivery_keys: vec![DeliverySecretKey::generate(rng)],
            retrieval_keys: vec![RetrievalSecretKey::generate(rng)],
            token_keys: vec![NumberedTokenKey { kid: FIRST_KID, key: TokenSecretKey::generate(rng) }],
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let json = Zeroizing::new(std::fs::read(path)?);
        let damaged = |error: serde_json::Error| IdentityError::Damaged(error.to_string());
        let stored: StoredIdentity = serde_json::from_slice(&json).map_err(damaged)?;
        if stored.version > VERSION {
            return Err(IdentityError::NewerVersion(stored.version));
        }
        let identity = Self::from_stored(stored);
        let complete = !identity.delivery_keys.is_empty()
            && !identity.retrieval_keys.is_empty()
            && !identity.token_keys.is_empty();
        if complete { Ok(identity) } else { Err(IdentityError::Damaged("keys are missing".to_owned())) }
    }

    /// Writes the file with mode 0600, durably.
    ///
    /// # Errors
    /// [`IdentityError::Io`].
    pub fn store(&self, path: &Path) -> Result<(), IdentityError> {
        let json =
            serde_json::to_vec_pretty(&self.to_stored()).map(Zeroizing::new).map_err(io::Error::other)?;
        Ok(write_private_file(path, &json)?)
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
            moved_to: None,
        };
        descriptor.sign(&self.signing)
    }

    /// Makes an offer of this server.
    #[must_use]
    pub fn offer(&self, token: RedeemToken, pin: Option<CertificatePin>) -> Offer {
        Offer { url: self.url.clone(), identity: self.public(), pin, token }
    }

    fn from_stored(stored: StoredIdentity) -> Self {
        Self {
            url: stored.url,
            roles: stored.roles,
            signing: stored.identity_key,
            delivery_keys: stored.delivery_keys.into_iter().map(|key| key.0).collect(),
            retrieval_keys: stored.retrieval_keys.into_iter().map(|key| key.0).collect(),
            token_keys: stored.token_keys,
        }
    }

    fn to_stored(&self) -> StoredIdentity {
        StoredIdentity {
            version: VERSION,
            url: self.url.clone(),
            roles: self.roles.clone(),
            identity_key: self.signing.clone(),
            delivery_keys: self.delivery_keys.iter().cloned().map(StoredDeliveryKey).collect(),
            retrieval_keys: self.retrieval_keys.iter().cloned().map(StoredRetrievalKey).collect(),
            token_keys: self.token_keys.clone(),
        }
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
        std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::NewerVersion(2))));
        std::fs::write(&path, text.replace("roles", "rules")).unwrap();
        assert!(matches!(Identity::load(&path), Err(IdentityError::Damaged(_))));
    }
}
