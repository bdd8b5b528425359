//! The half of a contact that this agent owns: what it publishes in its channel record, with the secrets behind it.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use super::record::{ChannelRecord, KeyId, ReceiverKey, SUITE_C1, Transports};
use crate::keys::{ChannelSigningKey, CidKey, ReceiverSecretKey, stored_secret};

/// The secrets and the published transports of this agent towards one contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnHalf {
    /// Signs what is sent.
    #[serde(with = "stored_secret")]
    pub signing_key: ChannelSigningKey,
    /// Numbers the receiver key.
    pub receiver_kid: KeyId,
    /// Opens what is received.
    #[serde(with = "stored_secret")]
    pub receiver_key: ReceiverSecretKey,
    /// Marks what is received.
    #[serde(with = "stored_secret")]
    pub cid_key: CidKey,
    /// What the contact was told last.
    pub transports: Transports,
}

impl OwnHalf {
    /// Draws fresh secrets for one contact; they are never used for another.
    pub fn generate(epoch: u64, transports: Transports, rng: &mut impl CryptoRngCore) -> Self {
        Self {
            signing_key: ChannelSigningKey::generate(rng),
            receiver_kid: KeyId { epoch, index: 0 },
            receiver_key: ReceiverSecretKey::generate(rng),
            cid_key: CidKey::generate(rng),
            transports,
        }
    }

    /// Returns what to publish.
    #[must_use]
    pub fn record(&self) -> ChannelRecord {
        ChannelRecord {
            verifying_key: self.signing_key.verifying_key(),
            receiver_key: ReceiverKey { kid: self.receiver_kid, key: self.receiver_key.public_key() },
            cid_key: self.cid_key.clone(),
            transports: self.transports.clone(),
            suites: vec![SUITE_C1.to_owned()],
        }
    }
}
