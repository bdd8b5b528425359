//! Key types, one newtype for each role, and the signatures and boxes they make.
//!
//! A public value is plain data: it compares, prints (base64url) and serialises. A secret is none of that: its `Debug` is
//! redacted, it is wiped when dropped, it compares in constant time, and its bytes leave through `expose_bytes` only.
//! Programs that store secrets say so field by field with [`stored_secret`].

mod boxes;
pub(crate) mod macros;
mod signing;
pub mod stored_secret;

pub use boxes::{BoxError, is_valid_public_key};
pub use signing::{BadSignature, SigningContext};

use macros::{box_keys, public_bytes, secret_bytes, signing_keys};

/// Why text or bytes are no key or identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct MalformedKey {
    /// What was expected, for people.
    pub what: &'static str,
}

signing_keys! {
    /// Signs what an agent sends through one channel; made for one contact and never shown to another.
    ChannelSigningKey,
    /// Verifies what one contact sends through its channel: the "V" of the specification.
    ChannelVerifyingKey
}
signing_keys! {
    /// Signs a server's descriptor.
    ServerSigningKey,
    /// Names a server for good: the key that verifies its descriptor.
    ServerIdentityKey
}
signing_keys! {
    /// Proves to a server that its account's owner asks (redeem, rekey).
    AccountSigningKey,
    /// Names the owner of an account to its server.
    AccountVerifyingKey
}
box_keys! {
    /// Opens what is sent to an agent through one channel.
    ReceiverSecretKey,
    /// What one contact encrypts to.
    ReceiverPublicKey
}
box_keys! {
    /// Opens the outer layer of deliveries, at the server.
    DeliverySecretKey,
    /// What every sender seals deliveries to: one key for all accounts of a server.
    DeliveryPublicKey
}
box_keys! {
    /// Opens redeem, list and rekey requests, at the server.
    RetrievalSecretKey,
    /// What owners of accounts seal their requests to: one key for all accounts of a server.
    RetrievalPublicKey
}
box_keys! {
    /// Opens a server's answers to its account's owner.
    AccountSecretKey,
    /// What a server boxes its answers to an account's owner with.
    AccountPublicKey
}
box_keys! {
    /// Used for one message and wiped.
    EphemeralSecretKey,
    /// The public half of a single-use key: "pubkey2" of the specification.
    EphemeralPublicKey
}
secret_bytes! {
    /// The secret two contacts share for one direction: tells the receiver, and nobody else, which contact a message
    /// is from. Subkeys: tokens, boxes, resets.
    CidKey, 32
}
secret_bytes! {
    /// Authenticates list requests for one account: "RT" of the specification.
    RetrievalToken, 32
}
secret_bytes! {
    /// Encrypts what a server tells an account's owner in lists and event streams.
    SymmetricKey, 32
}
secret_bytes! {
    /// Redeems an offer once.
    RedeemToken, 16
}
secret_bytes! {
    /// What the randomness of every encryption of one outgoing message is derived from.
    SealSeed, 32
}
public_bytes! {
    /// Names one transport towards one contact, so that tokens for different transports differ.
    TransportId, 8
}
public_bytes! {
    /// Names a message for good, through retries with new sequence numbers: "mid" of the specification.
    MessageId, 16
}

public_bytes! {
    /// The SHA-256 of a server certificate's DER form.
    CertificatePin, 32
}

#[cfg(test)]
mod tests;
