//! The half of a contact that this agent owns: what it publishes in its channel record, with the secrets behind it.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use super::record::{ChannelRecord, KeyId, ReceiverKey, SUITE_C1, Transports};
use crate::keys::{ChannelSigningKey, CidKey, ReceiverSecretKey, stored_secret};

/// What of an agent's half of a contact lasts: the secrets that mark and sign, and the published transports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnChannel {
    /// Signs what is sent.
    #[serde(with = "stored_secret")]
    pub signing_key: ChannelSigningKey,
    /// Marks what is received.
    #[serde(with = "stored_secret")]
    pub cid_key: CidKey,
    /// What the contact was told last.
    pub transports: Transports,
}

/// A whole half, with the first key that opens what is received; later ones replace it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnHalf {
    /// What lasts.
    pub channel: OwnChannel,
    /// Numbers the receiver key.
    pub receiver_kid: KeyId,
    /// Opens what is received.
    #[serde(with = "stored_secret")]
    pub receiver_key: ReceiverSecretKey,
}

impl OwnHalf {
    /// Draws fresh secrets for one contact; they are never used for another.
    pub fn generate(epoch: u64, transports: Transports, rng: &mut impl CryptoRngCore) -> Self {
        let signing_key = ChannelSigningKey::generate(rng);
        let receiver_key = ReceiverSecretKey::generate(rng);
        let channel = OwnChannel { signing_key, cid_key: CidKey::generate(rng), transports };
        Self { channel, receiver_kid: KeyId { epoch, index: 0 }, receiver_key }
    }

    /// Returns what to publish.
    #[must_use]
    pub fn record(&self) -> ChannelRecord {
        ChannelRecord {
            verifying_key: self.channel.signing_key.verifying_key(),
            receiver_key: ReceiverKey { kid: self.receiver_kid, key: self.receiver_key.public_key() },
            cid_key: self.channel.cid_key.clone(),
            transports: self.channel.transports.clone(),
            suites: vec![SUITE_C1.to_owned()],
        }
    }
}
