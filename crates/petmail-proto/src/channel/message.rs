//! msgC, msgD, msgE: one message of a channel, encrypted anew for every attempt and transport.
//!
//! msgC = "c1" ‖ CIDToken ‖ CIDBox ‖ msgD; msgD = pubkey2 ‖ box(receiver key, privkey2, msgE);
//! msgE = epoch ‖ seqnum ‖ signature ‖ payload; payload = length u32 ‖ "p1" ‖ JSON ‖ zeros. The signature covers the
//! single-use key and the numbers, not the payload: the receiver is convinced, and can convince nobody else.

use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{
    MessageNumber,
    cid::{CID_BOX_BYTES, CidSubkeys, CidToken, Envelope},
    record::SUITE_C1,
};
use crate::{
    keys::{
        BoxError, ChannelSigningKey, ChannelVerifyingKey, EphemeralPublicKey, EphemeralSecretKey,
        ReceiverPublicKey, ReceiverSecretKey, SigningContext, TransportId,
    },
    wire::{Reader, WireError, Writer},
};

const PAYLOAD_FORM: &[u8] = b"p1";
const MSG_D_OVERHEAD_BYTES: usize = 32 + 24 + 16;
const MSG_E_OVERHEAD_BYTES: usize = 8 + 8 + 64;
const PAYLOAD_OVERHEAD_BYTES: usize = 4 + PAYLOAD_FORM.len();

/// What a msgC adds to the JSON that it carries, in bytes, before padding.
pub const MSG_C_OVERHEAD_BYTES: usize = SUITE_C1.len()
    + 32
    + CID_BOX_BYTES
    + MSG_D_OVERHEAD_BYTES
    + MSG_E_OVERHEAD_BYTES
    + PAYLOAD_OVERHEAD_BYTES;

/// Why a message cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The payload does not fit.
    #[error("the payload is too large for one message")]
    TooLarge,
    /// The contact's receiver key is invalid.
    #[error(transparent)]
    Box(#[from] BoxError),
}

/// A message that is damaged or forged; it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damaged {
    /// No msgC of a suite that this version reads.
    #[error("malformed message: {0}")]
    Malformed(#[from] WireError),
    /// The CIDBox belongs to another msgD.
    #[error("the message does not belong to its envelope")]
    Envelope,
    /// msgD does not open.
    #[error("the message does not open: {0}")]
    Box(#[from] BoxError),
    /// The numbers inside and outside differ.
    #[error("the message's numbers differ from its envelope's")]
    Numbers,
    /// The contact did not sign.
    #[error("the message is not signed by this contact")]
    Signature,
}

/// Everything that sealing needs to know of the channel and the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The sender's key for this channel.
    pub signing_key: &'a ChannelSigningKey,
    /// The contact's newest receiver key.
    pub receiver_key: &'a ReceiverPublicKey,
    /// The subkeys of the contact's CIDKey.
    pub cid_subkeys: &'a CidSubkeys,
    /// The transport that the message is for.
    pub tid: &'a TransportId,
    /// Counts the encryptions of this message for this transport, from 0.
    pub attempt: u8,
    /// The message's number.
    pub number: MessageNumber,
}

impl Outgoing<'_> {
    /// Seals `json` into a msgC of exactly `msg_c_bytes`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(
        &self,
        json: &[u8],
        msg_c_bytes: usize,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, SealError> {
        let ephemeral = EphemeralSecretKey::generate(rng);
        let pubkey2 = ephemeral.public_key();
        let transcript = transcript(&pubkey2, self.receiver_key, self.number);
        let msg_e = Writer::new()
            .u64(self.number.epoch)
            .u64(self.number.seqnum)
            .fixed(&self.signing_key.sign(SigningContext::Ephemeral, &transcript))
            .fixed(&pad(json, msg_c_bytes)?)
            .finish();
        let boxed = ephemeral.seal_box(self.receiver_key.as_bytes(), &msg_e, rng)?;
        let msg_d = [pubkey2.as_bytes().as_slice(), &boxed].concat();
        let envelope = Envelope {
            attempt: self.attempt,
            number: self.number,
            msg_d_hash: Sha256::digest(&msg_d).into(),
            receiver_key: *self.receiver_key,
        };
        Ok(Writer::new()
            .fixed(SUITE_C1.as_bytes())
            .fixed(self.cid_subkeys.token(self.tid, self.attempt, self.number).as_bytes())
            .fixed(&self.cid_subkeys.seal(&envelope, rng))
            .fixed(&msg_d)
            .finish())
    }
}

fn pad(json: &[u8], msg_c_bytes: usize) -> Result<Vec<u8>, SealError> {
    let capacity = msg_c_bytes.checked_sub(MSG_C_OVERHEAD_BYTES).ok_or(SealError::TooLarge)?;
    let padding = capacity.checked_sub(json.len()).ok_or(SealError::TooLarge)?;
    Ok(Writer::new().variable(&[PAYLOAD_FORM, json].concat()).fixed(&vec![0; padding]).finish())
}

/// A msgC taken apart; nothing in it is authenticated yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsgC<'a> {
    /// Whose message it claims to be.
    pub token: CidToken,
    /// The sealed envelope.
    pub cid_box: [u8; CID_BOX_BYTES],
    /// The encrypted message.
    pub msg_d: &'a [u8],
}

impl<'a> MsgC<'a> {
    /// Takes the bytes apart.
    ///
    /// # Errors
    /// [`Damaged::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        reader.expect(SUITE_C1.as_bytes())?;
        let token = CidToken::from_bytes(reader.array()?);
        Ok(Self { token, cid_box: reader.array()?, msg_d: reader.rest() })
    }

    /// Opens msgD and checks it against its envelope; what comes out still lacks the check of the signature.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn open(&self, envelope: &Envelope, secret: &ReceiverSecretKey) -> Result<Unverified, Damaged> {
        if !envelope.matches(self.msg_d) || secret.public_key() != envelope.receiver_key {
            return Err(Damaged::Envelope);
        }
        let (pubkey2, boxed) = self.msg_d.split_first_chunk::<32>().ok_or(WireError::Truncated)?;
        let msg_e = secret.open_box(pubkey2, boxed)?;
        let mut reader = Reader::new(&msg_e);
        let number = MessageNumber { epoch: reader.u64()?, seqnum: reader.u64()? };
        if number != envelope.number {
            return Err(Damaged::Numbers);
        }
        let signature = reader.array()?;
        let pubkey2 = EphemeralPublicKey::from_bytes(*pubkey2);
        let transcript = transcript(&pubkey2, &envelope.receiver_key, number);
        Ok(Unverified { json: unpad(&mut reader)?, transcript, signature })
    }
}

/// An opened message whose sender is not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    json: Vec<u8>,
    transcript: Vec<u8>,
    signature: [u8; 64],
}

impl Unverified {
    /// Returns the payload's JSON if `key` signed for it.
    ///
    /// # Errors
    /// [`Damaged::Signature`].
    pub fn verify(&self, key: &ChannelVerifyingKey) -> Result<&[u8], Damaged> {
        key.verify(SigningContext::Ephemeral, &self.transcript, &self.signature)
            .map_err(|_| Damaged::Signature)?;
        Ok(&self.json)
    }

    /// Lets the caller look for a key that the payload itself introduces; it then calls [`Self::verify`].
    #[must_use]
    pub fn dangerous_peek(&self) -> &[u8] {
        &self.json
    }
}

fn unpad(reader: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let padded = reader.variable(usize::MAX)?;
    let json = padded.strip_prefix(PAYLOAD_FORM).ok_or(WireError::Malformed)?;
    if reader.rest().iter().all(|byte| *byte == 0) { Ok(json.to_vec()) } else { Err(WireError::Malformed) }
}

fn transcript(
    pubkey2: &EphemeralPublicKey,
    receiver_key: &ReceiverPublicKey,
    number: MessageNumber,
) -> Vec<u8> {
    Writer::new()
        .fixed(SUITE_C1.as_bytes())
        .fixed(pubkey2.as_bytes())
        .fixed(receiver_key.as_bytes())
        .u64(number.epoch)
        .u64(number.seqnum)
        .finish()
}

#[cfg(test)]
mod tests;
