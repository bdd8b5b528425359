//! Ed25519 with a context for every use.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::wire::Writer;

/// What a signature is about. Without it, a signature made for one purpose could be presented for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningContext {
    /// A channel key vouches for an introduction (specification, Invitations).
    Introduction,
    /// A channel key vouches for the single-use key of one message (specification, Delivery).
    Ephemeral,
    /// A channel key vouches for a new receiver key after its owner lost all others (specification, Delivery).
    KeyReset,
    /// A channel key vouches for the one that replaces it (specification, Delivery).
    ChannelReset,
    /// A server vouches for its descriptor (specification, Servers).
    Descriptor,
    /// An account's owner redeems an offer.
    Redeem,
    /// An account's owner replaces its retrieval token and symmetric key.
    Rekey,
    /// An account's owner makes an offer of its server.
    Mint,
}

impl SigningContext {
    const fn label(self) -> &'static str {
        match self {
            Self::Introduction => "petmail.org/v1/introduction",
            Self::Ephemeral => "petmail.org/v1/ephemeral",
            Self::KeyReset => "petmail.org/v1/key-reset",
            Self::ChannelReset => "petmail.org/v1/channel-reset",
            Self::Descriptor => "petmail.org/v1/server",
            Self::Redeem => "petmail.org/v1/redeem",
            Self::Rekey => "petmail.org/v1/rekey",
            Self::Mint => "petmail.org/v1/mint",
        }
    }

    fn transcript(self, message: &[u8]) -> Vec<u8> {
        Writer::labelled(self.label()).fixed(message).finish()
    }
}

/// A signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

pub(super) fn sign(seed: &[u8; 32], context: SigningContext, message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(seed).sign(&context.transcript(message)).to_bytes()
}

pub(super) fn verify(
    key: &[u8; 32],
    context: SigningContext,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| BadSignature)?;
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&context.transcript(message), &signature).map_err(|_| BadSignature)
}
