//! The channel record: all that a sender must know to write to a contact.
//!
//! It travels inside the introduction, and its transports again in `transports` packets (specification, Delivery).

use serde::{Deserialize, Serialize};

use crate::{
    base_url::BaseUrl,
    keys::{
        CertificatePin, ChannelVerifyingKey, CidKey, ReceiverPublicKey, ServerIdentityKey, TransportId,
        is_valid_public_key, stored_secret,
    },
    token::{SenderToken, TokenKeyId},
};

/// The only suite so far: X25519, XSalsa20-Poly1305, Ed25519.
pub const SUITE_C1: &str = "c1";

/// The most transports that a contact may announce; more would only multiply the tokens a receiver has to expect.
pub const MAX_TRANSPORTS: usize = 4;

/// The longest list of suites that is read.
pub const MAX_SUITES: usize = 8;

/// Names one receiver key of a channel; of two, the greater is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId {
    /// The epoch in which the key was made, in Unix milliseconds.
    pub epoch: u64,
    /// Its number within the epoch.
    pub index: u32,
}

/// A receiver key with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverKey {
    /// Which key.
    pub kid: KeyId,
    /// The key.
    pub key: ReceiverPublicKey,
}

/// One way to reach an agent: a slot of its account at a mailbox server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportRecord {
    /// Names this transport in CIDTokens; 8 random bytes for each contact and transport.
    pub tid: TransportId,
    /// Where the server is.
    pub url: BaseUrl,
    /// Who the server is: verifies its descriptor.
    pub server: ServerIdentityKey,
    /// The certificate that the server presents (SHA-256 of its DER), if none of the public authorities vouches for it.
    #[serde(default)]
    pub pin: Option<CertificatePin>,
    /// The server key that `token` was made for.
    pub kid: TokenKeyId,
    /// The token that finds the account, re-randomised for this contact.
    pub token: SenderToken,
    /// How long the server keeps messages, in seconds.
    pub retention_seconds: u64,
}

/// The transports of a contact, numbered: only a greater serial replaces them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transports {
    /// Rises with every change.
    pub serial: u64,
    /// The transports, best first; empty if the contact cannot receive yet.
    pub list: Vec<TransportRecord>,
}

/// What a receiver publishes to one contact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Verifies what the publisher sends back.
    pub verifying_key: ChannelVerifyingKey,
    /// What to encrypt to.
    pub receiver_key: ReceiverKey,
    /// Marks messages for the publisher.
    #[serde(with = "stored_secret")]
    pub cid_key: CidKey,
    /// Where to deliver.
    pub transports: Transports,
    /// The suites that the publisher reads.
    pub suites: Vec<String>,
}

/// Why a channel record or a list of transports is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More than [`MAX_TRANSPORTS`] or [`MAX_SUITES`], or two transports of one id.
    #[error("the list of transports or suites is out of bounds")]
    Bounds,
    /// The receiver key is of low order or not canonical.
    #[error("the receiver key is invalid")]
    BadReceiverKey,
    /// A sender token is no pair of group elements, or its first is the identity.
    #[error("a sender token is invalid")]
    BadToken,
    /// No suite that this version speaks.
    #[error("the other side speaks none of this version's suites")]
    NoCommonSuite,
}

impl ChannelRecord {
    /// Checks everything that decoding cannot: bounds, keys, tokens, suites.
    ///
    /// # Errors
    /// The first [`RecordError`] found.
    pub fn check(&self) -> Result<(), RecordError> {
        if self.suites.len() > MAX_SUITES {
            return Err(RecordError::Bounds);
        }
        if !self.suites.iter().any(|suite| suite == SUITE_C1) {
            return Err(RecordError::NoCommonSuite);
        }
        if !is_valid_public_key(self.receiver_key.key.as_bytes()) {
            return Err(RecordError::BadReceiverKey);
        }
        self.transports.check()
    }
}

impl Transports {
    /// Checks bounds and tokens.
    ///
    /// # Errors
    /// The first [`RecordError`] found.
    pub fn check(&self) -> Result<(), RecordError> {
        let ids: std::collections::BTreeSet<_> = self.list.iter().map(|transport| transport.tid).collect();
        if self.list.len() > MAX_TRANSPORTS || ids.len() != self.list.len() {
            return Err(RecordError::Bounds);
        }
        let good = self.list.iter().all(|transport| transport.token.is_valid());
        if good { Ok(()) } else { Err(RecordError::BadToken) }
    }
}
