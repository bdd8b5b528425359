//! Introductions: what two agents tell each other about themselves, and how each is sure of the other's.
//!
//! Owns the signed introduction in its two dresses, phase `0` of the rendezvous exchange and the `introduction` packet of
//! the channel, and the commitment that precedes it. What arrives is [`Unverified`] until it is checked. It must not know
//! when what is sent. Specification: `docs/protocol/`, invitations (§2).

use core::fmt;

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    channel::record::{ChannelRecord, RecordError},
    keys::{ChannelSigningKey, ChannelVerifyingKey, SigningContext, macros::public_bytes},
    server::offer::OfferText,
    wire::{Reader, WireError, Writer},
};

use super::wormhole::{SharedKey, Side};

/// The longest body0, in bytes: a stored invitation must stay within 32 KiB with two copies of it.
pub const MAX_BODY0_BYTES: usize = 8 * 1024;

/// The longest display name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 256;

/// The longest offer, in bytes.
pub const MAX_OFFER_BYTES: usize = 2 * 1024;

/// Keeps a commitment apart from every other hash.
const COMMIT: &str = "petmail.org/v1/commit";

public_bytes! {
    /// Hides an introduction behind its commitment, and makes the safety words unpredictable.
    IntroductionNonce, 32
}
public_bytes! {
    /// The promise to show one introduction and no other.
    Commitment, 32
}
public_bytes! {
    /// A channel key's signature over an introduction: "sig0" of the specification.
    IntroductionSignature, 64
}
public_bytes! {
    /// Shows that an introduction comes from the other end of the key exchange.
    IntroductionMac, 32
}

/// What the two agents are to become to each other. Each side chooses it locally; the choices must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Two people who write to each other.
    Contact,
    /// Two devices of one person.
    OwnDevice,
    /// Wants a mailbox from the other.
    MailboxCustomer,
    /// Gives the other a mailbox.
    MailboxProvider,
}

/// What an agent tells another about itself: "body0" of the specification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// How to write to this agent.
    pub channel: ChannelRecord,
    /// What the person calls themselves; at most [`MAX_NAME_BYTES`], no control characters.
    pub name: String,
    /// What this agent takes the other to be.
    pub purpose: Purpose,
    /// A mailbox offer; at most [`MAX_OFFER_BYTES`]. To be redeemed only when the receiving person asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<OfferText>,
}

/// An introduction as its author signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIntroduction {
    /// The commitment's nonce.
    #[serde(rename = "n")]
    pub nonce: IntroductionNonce,
    /// The introduction's JSON text, byte for byte as signed.
    pub body0: String,
    /// The signature by the key inside.
    #[serde(rename = "sig0")]
    pub signature: IntroductionSignature,
}

/// The `introduction` packet: a signed introduction that travels through the channel, for a peer that missed phase `0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntroductionPacket {
    /// The introduction.
    #[serde(flatten)]
    pub signed: SignedIntroduction,
    /// Made with the key of the exchange.
    pub mac: IntroductionMac,
}

/// What has arrived and was not checked yet.
#[derive(Clone, Debug)]
pub struct Unverified<T>(T);

/// An introduction that the other end of the exchange committed to and signed.
#[derive(Clone, Debug)]
pub struct VerifiedIntroduction {
    /// What it says.
    pub introduction: Introduction,
    /// Its nonce, for the safety words.
    pub nonce: IntroductionNonce,
}

/// Why an introduction is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntroductionError {
    /// The frame around it is malformed.
    #[error("the introduction's frame is malformed: {0}")]
    Frame(#[from] WireError),
    /// It is longer than [`MAX_BODY0_BYTES`].
    #[error("the introduction is too long")]
    TooLong,
    /// It is no introduction in JSON.
    #[error("the introduction is malformed")]
    Malformed,
    /// The display name is too long or has control characters.
    #[error("the display name is not acceptable")]
    Name,
    /// The offer is too long.
    #[error("the offer is too long")]
    Offer,
    /// The channel record inside is refused.
    #[error("the channel record is not acceptable: {0}")]
    Record(#[from] RecordError),
    /// It is not the one that was committed to.
    #[error("the introduction is not the one that was promised")]
    Commitment,
    /// It is not signed by the key inside.
    #[error("the introduction's signature does not hold")]
    Signature,
    /// The packet was not made by the other end of the exchange.
    #[error("the introduction packet is not from the other end of this invitation")]
    Mac,
    /// It is our own, reflected.
    #[error("the introduction is our own")]
    Own,
}

impl Purpose {
    /// Whether one side's purpose fits the other's. Who is offered a mailbox without having asked for one may take it later, or not
    /// at all; who asked for one gets nothing else.
    #[must_use]
    pub const fn fits(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Contact, Self::Contact | Self::MailboxProvider)
                | (Self::MailboxProvider, Self::Contact)
                | (Self::OwnDevice, Self::OwnDevice)
                | (Self::MailboxCustomer, Self::MailboxProvider)
                | (Self::MailboxProvider, Self::MailboxCustomer)
        )
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Contact => "contact",
            Self::OwnDevice => "own device",
            Self::MailboxCustomer => "mailbox customer",
            Self::MailboxProvider => "mailbox provider",
        })
    }
}

impl Introduction {
    /// Writes the JSON text that is signed.
    ///
    /// # Errors
    /// [`IntroductionError`] if a bound is exceeded or the record is not acceptable.
    pub fn to_body0(&self) -> Result<String, IntroductionError> {
        self.check()?;
        let body0 = serde_json::to_string(self).map_err(|_| IntroductionError::Malformed)?;
        if body0.len() > MAX_BODY0_BYTES { Err(IntroductionError::TooLong) } else { Ok(body0) }
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// [`IntroductionError`] if it is malformed, exceeds a bound, or its record is not acceptable.
    pub fn from_body0(body0: &str) -> Result<Self, IntroductionError> {
        if body0.len() > MAX_BODY0_BYTES {
            return Err(IntroductionError::TooLong);
        }
        let introduction: Self = serde_json::from_str(body0).map_err(|_| IntroductionError::Malformed)?;
        introduction.check()?;
        Ok(introduction)
    }

    /// Whether mail can reach this agent.
    #[must_use]
    pub fn has_transport(&self) -> bool {
        !self.channel.transports.list.is_empty()
    }

    fn check(&self) -> Result<(), IntroductionError> {
        if !is_name(&self.name) {
            return Err(IntroductionError::Name);
        }
        if self.offer.as_ref().is_some_and(|offer| offer.length() > MAX_OFFER_BYTES) {
            return Err(IntroductionError::Offer);
        }
        Ok(self.channel.check()?)
    }
}

impl SignedIntroduction {
    /// Signs an introduction for one exchange.
    pub fn sign(
        body0: String,
        key: &ChannelSigningKey,
        shared: &SharedKey,
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        let nonce = IntroductionNonce::generate(rng);
        let message = signed_message(&shared.verifier(), &body0);
        let signature = IntroductionSignature::from_bytes(key.sign(SigningContext::Introduction, &message));
        Self { nonce, body0, signature }
    }

    /// The promise that `side` makes before it shows this introduction.
    #[must_use]
    pub fn commitment(&self, side: &Side) -> Commitment {
        let transcript = Writer::labelled(COMMIT).fixed(&self.transcript(side)).finish();
        Commitment::from_bytes(Sha256::digest(transcript).into())
    }

    /// The frame that phase `0` carries.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .fixed(self.nonce.as_bytes())
            .fixed(self.signature.as_bytes())
            .variable(self.body0.as_bytes())
            .finish()
    }

    /// The packet that `side` sends through the channel.
    #[must_use]
    pub fn into_packet(self, side: &Side, shared: &SharedKey) -> IntroductionPacket {
        let mac = IntroductionMac::from_bytes(shared.introduction_mac(&self.transcript(side)));
        IntroductionPacket { signed: self, mac }
    }

    fn transcript(&self, side: &Side) -> Vec<u8> {
        Writer::new()
            .variable(side.as_str().as_bytes())
            .fixed(self.nonce.as_bytes())
            .variable(self.body0.as_bytes())
            .fixed(self.signature.as_bytes())
            .finish()
    }
}

impl Unverified<SignedIntroduction> {
    /// Reads the frame of phase `0`, all of it.
    ///
    /// # Errors
    /// [`IntroductionError::Frame`].
    pub fn decode(frame: &[u8]) -> Result<Self, IntroductionError> {
        let mut reader = Reader::new(frame);
        let nonce = IntroductionNonce::from_bytes(reader.array()?);
        let signature = IntroductionSignature::from_bytes(reader.array()?);
        let body0 = reader.variable(MAX_BODY0_BYTES)?;
        reader.finish()?;
        let body0 = String::from_utf8(body0.to_vec()).map_err(|_| WireError::Malformed)?;
        Ok(Self(SignedIntroduction { nonce, body0, signature }))
    }

    /// Checks it against what the peer, named `side`, promised.
    ///
    /// # Errors
    /// [`IntroductionError`], the first fault found.
    pub fn verify(
        self,
        side: &Side,
        commitment: &Commitment,
        shared: &SharedKey,
    ) -> Result<VerifiedIntroduction, IntroductionError> {
        let Self(signed) = self;
        if signed.commitment(side) != *commitment {
            return Err(IntroductionError::Commitment);
        }
        let introduction = Introduction::from_body0(&signed.body0)?;
        let message = signed_message(&shared.verifier(), &signed.body0);
        introduction
            .channel
            .verifying_key
            .verify(SigningContext::Introduction, &message, signed.signature.as_bytes())
            .map_err(|_| IntroductionError::Signature)?;
        Ok(VerifiedIntroduction { introduction, nonce: signed.nonce })
    }
}

impl Unverified<IntroductionPacket> {
    /// Takes a packet as it came out of a payload.
    #[must_use]
    pub const fn new(packet: IntroductionPacket) -> Self {
        Self(packet)
    }

    /// The key that the packet claims, to find out whether the message around it was made by it. Nothing is known of it
    /// until [`Unverified::verify`].
    ///
    /// # Errors
    /// [`IntroductionError`] if the introduction is malformed.
    pub fn dangerous_claimed_key(&self) -> Result<ChannelVerifyingKey, IntroductionError> {
        Ok(Introduction::from_body0(&self.0.signed.body0)?.channel.verifying_key)
    }

    /// Checks it as phase `0` is checked, and that the other end of the exchange made it.
    ///
    /// # Errors
    /// [`IntroductionError`], the first fault found.
    pub fn verify(
        self,
        side: &Side,
        commitment: &Commitment,
        shared: &SharedKey,
    ) -> Result<VerifiedIntroduction, IntroductionError> {
        let Self(IntroductionPacket { signed, mac }) = self;
        if !shared.is_introduction_mac(&signed.transcript(side), mac.as_bytes()) {
            return Err(IntroductionError::Mac);
        }
        Unverified(signed).verify(side, commitment, shared)
    }
}

/// Binds the introduction to this exchange, so that it cannot be replayed in another.
fn signed_message(verifier: &[u8; 32], body0: &str) -> Vec<u8> {
    Writer::new().fixed(verifier).variable(body0.as_bytes()).finish()
}

/// Tells whether this can be a display name: at most [`MAX_NAME_BYTES`] without control characters; it may be empty.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}
