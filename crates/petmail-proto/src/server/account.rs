//! Accounts: how an offer is redeemed, what the owner gets, and how its secrets are replaced.
//!
//! Owns the redeem and rekey requests and the account record, on both sides. Must not know where a server keeps accounts.
//! Specification: Servers, accounts, offers.
//!
//! Requests are sealed boxes to the retrieval key. Answers are boxes from the retrieval key that opened the request to the
//! X25519 key that it names, so that the owner knows who answered.

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    keys::{
        AccountPublicKey, AccountSecretKey, AccountSigningKey, AccountVerifyingKey, RedeemToken,
        RetrievalPublicKey, RetrievalSecretKey, RetrievalToken, ServerIdentityKey, SigningContext,
        SymmetricKey, is_valid_public_key, macros, stored_secret,
    },
    server::offer::RedeemTokenHash,
    token::{AccountToken, TokenKeyId},
    wire::{Reader, WireError, Writer},
};

/// The longest account record, in bytes of JSON.
pub const MAX_ACCOUNT_RECORD_BYTES: usize = 16 << 10;
/// The most notices that a server may show to an owner at a time.
pub const MAX_NOTICES: usize = 16;

/// The length of a redeem request, in bytes.
pub const REDEEM_REQUEST_BYTES: usize = 2 + 16 + 32 + 32 + 64 + 48;
/// The length of a rekey request, in bytes.
pub const REKEY_REQUEST_BYTES: usize = 2 + 32 + 8 + 32 + 32 + 1 + 64 + 48;

const PREFIX_REDEEM: &[u8; 2] = b"d1";
const PREFIX_REKEY: &[u8; 2] = b"k2";

macros::public_bytes! {
    /// Names an account to its server and its owner.
    AccountId, 16
}

/// What an account may hold at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of msgC.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountState {
    /// Everything.
    Active,
    /// Fetch and delete, but receive nothing more.
    Suspended,
}

/// How much an owner may give away in offers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Bytes of mailbox quota, all together.
    pub total_bytes: u64,
    /// Bytes that accounts made from such offers have, or can still get from them.
    pub given_bytes: u64,
}

/// What a server tells an account's owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRecord {
    /// Names the account in talks with the server's operator.
    pub account: AccountId,
    /// Counts how often the secrets below were replaced.
    pub generation: u64,
    /// Authenticates list requests: "RT".
    #[serde(with = "stored_secret")]
    pub retrieval_token: RetrievalToken,
    /// Opens lists and events.
    #[serde(with = "stored_secret")]
    pub symmetric_key: SymmetricKey,
    /// The token that contacts' tokens are made from: "TT0".
    pub token: AccountToken,
    /// The token key that it was made for.
    pub kid: TokenKeyId,
    /// The generation that the token's slot was made with: rises when contacts need new tokens.
    #[serde(default)]
    pub slot: u64,
    /// What the account may hold.
    pub quota: Quota,
    /// How long messages are kept, in seconds.
    pub retention_seconds: u64,
    /// What the operator has to say to the owner.
    #[serde(default)]
    pub notices: Vec<String>,
    /// What the account may do.
    pub state: AccountState,
    /// What its owner may give away; `None` if it is no provider.
    #[serde(default)]
    pub allowance: Option<Allowance>,
    /// How many bytes of messages it held when the server answered. Said in answers, and not kept.
    #[serde(skip)]
    pub used_bytes: Option<u64>,
}

/// An answer's JSON, as it is written.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(flatten)]
    record: &'a AccountRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_bytes: Option<u64>,
}

/// An answer's JSON, as it is read.
#[derive(Deserialize)]
struct Heard {
    #[serde(flatten)]
    record: AccountRecord,
    #[serde(default)]
    used_bytes: Option<u64>,
}

/// Why a request or an answer about an account is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// Damaged, forged, or for other keys.
    #[error("the box does not open")]
    DoesNotOpen,
    /// It opens, but holds no such message of this version.
    #[error("the message is malformed or of an unknown version")]
    Malformed,
    /// The owner's signature does not hold: it was made for another server, offer or generation.
    #[error("the account owner's signature does not hold")]
    BadSignature,
    /// The other side's X25519 key is of low order or not canonical.
    #[error("the other side's key is invalid")]
    BadKey,
    /// Out of bounds, or a token that is no pair of group elements.
    #[error("the account record is out of bounds")]
    BadRecord,
}

impl From<WireError> for AccountError {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

/// The two keys by which an owner is known to its server, made for this account only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountKeys {
    /// Signs redeem and rekey requests.
    #[serde(with = "stored_secret")]
    pub signing: AccountSigningKey,
    /// Opens their answers.
    #[serde(with = "stored_secret")]
    pub answers: AccountSecretKey,
}

impl AccountKeys {
    /// Draws fresh keys.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self { signing: AccountSigningKey::generate(rng), answers: AccountSecretKey::generate(rng) }
    }

    /// Makes the request that redeems an offer.
    ///
    /// # Errors
    /// [`AccountError::BadKey`] if the server's retrieval key is invalid.
    pub fn seal_redeem(
        &self,
        token: &RedeemToken,
        server: &ServerIdentityKey,
        key: &RetrievalPublicKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, AccountError> {
        let answer_key = self.answers.public_key();
        let signature =
            self.signing.sign(SigningContext::Redeem, &redeem_transcript(&token.hash(), server, &answer_key));
        let plaintext = Writer::new()
            .fixed(PREFIX_REDEEM)
            .fixed(token.expose_bytes())
            .fixed(self.signing.verifying_key().as_bytes())
            .fixed(answer_key.as_bytes())
            .fixed(&signature);
        key.seal(&plaintext.finish(), rng).map_err(|_| AccountError::BadKey)
    }

    /// Makes the request that replaces the account's secrets, to be answered to the answer key among `new`.
    ///
    /// `generation` is greater than the record's; after a lost answer, the same request again.
    ///
    /// # Errors
    /// [`AccountError::BadKey`] if the server's retrieval key is invalid.
    pub fn seal_rekey(
        &self,
        generation: u64,
        new: &Self,
        new_slot: bool,
        server: &ServerIdentityKey,
        key: &RetrievalPublicKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, AccountError> {
        let request = RekeyRequest {
            owner: self.signing.verifying_key(),
            generation,
            new_owner: new.signing.verifying_key(),
            answer_key: new.answers.public_key(),
            new_slot,
        };
        let signature = self.signing.sign(SigningContext::Rekey, &request.transcript(server));
        let plaintext =
            Writer::new().fixed(PREFIX_REKEY).fixed(request.owner.as_bytes()).fixed(&request.asks_for());
        key.seal(&plaintext.fixed(&signature).finish(), rng).map_err(|_| AccountError::BadKey)
    }
}

/// A verified request to redeem an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedeemRequest {
    /// Finds the offer.
    pub offer: RedeemTokenHash,
    /// Who redeems it: whoever asks again with this key gets the same account.
    pub owner: AccountVerifyingKey,
    /// What the answer is boxed to.
    pub answer_key: AccountPublicKey,
}

impl RedeemRequest {
    /// Opens and verifies a request, at the server. Returns which key opened it: that one answers.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn open<'k>(
        bytes: &[u8],
        keys: &'k [RetrievalSecretKey],
        server: &ServerIdentityKey,
    ) -> Result<(Self, &'k RetrievalSecretKey), AccountError> {
        let (plaintext, key) = open_sealed(bytes, keys)?;
        let mut reader = Reader::new(&plaintext);
        reader.expect(PREFIX_REDEEM)?;
        let offer = RedeemToken::from_bytes(reader.array()?).hash();
        let owner = AccountVerifyingKey::from_bytes(reader.array()?);
        let answer_key = answer_key(&mut reader)?;
        let signature = reader.array()?;
        reader.finish()?;
        owner
            .verify(SigningContext::Redeem, &redeem_transcript(&offer, server, &answer_key), &signature)
            .map_err(|_| AccountError::BadSignature)?;
        Ok((Self { offer, owner, answer_key }, key))
    }
}

/// A verified request to replace an account's secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyRequest {
    /// Whose account.
    pub owner: AccountVerifyingKey,
    /// The generation asked for: acted upon once, then answered again with what it gave.
    pub generation: u64,
    /// Who owns it from then on: the same key, or another one if the old may be known to somebody else.
    pub new_owner: AccountVerifyingKey,
    /// What this and later answers are boxed to.
    pub answer_key: AccountPublicKey,
    /// Whether the account gets a new slot, and the present one is restricted.
    pub new_slot: bool,
}

impl RekeyRequest {
    /// Opens and verifies a request, at the server. Returns which key opened it: that one answers.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn open<'k>(
        bytes: &[u8],
        keys: &'k [RetrievalSecretKey],
        server: &ServerIdentityKey,
    ) -> Result<(Self, &'k RetrievalSecretKey), AccountError> {
        let (plaintext, key) = open_sealed(bytes, keys)?;
        let mut reader = Reader::new(&plaintext);
        reader.expect(PREFIX_REKEY)?;
        let request = Self {
            owner: AccountVerifyingKey::from_bytes(reader.array()?),
            generation: reader.u64()?,
            new_owner: AccountVerifyingKey::from_bytes(reader.array()?),
            answer_key: answer_key(&mut reader)?,
            new_slot: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(AccountError::Malformed),
            },
        };
        let signature = reader.array()?;
        reader.finish()?;
        request
            .owner
            .verify(SigningContext::Rekey, &request.transcript(server), &signature)
            .map_err(|_| AccountError::BadSignature)?;
        Ok((request, key))
    }

    fn transcript(&self, server: &ServerIdentityKey) -> Vec<u8> {
        Writer::new().fixed(server.as_bytes()).fixed(&self.asks_for()).finish()
    }

    fn asks_for(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.generation)
            .fixed(self.new_owner.as_bytes())
            .fixed(self.answer_key.as_bytes())
            .u8(u8::from(self.new_slot))
            .finish()
    }
}

impl AccountRecord {
    /// Makes the answer to a redeem or rekey request, at the server.
    ///
    /// # Errors
    /// [`AccountError::BadRecord`] if nobody would accept the record, [`AccountError::BadKey`].
    pub fn seal_answer(
        &self,
        recipient: &AccountPublicKey,
        key: &RetrievalSecretKey,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<u8>, AccountError> {
        self.check()?;
        let said = Said { record: self, used_bytes: self.used_bytes };
        let json = zeroize::Zeroizing::new(serde_json::to_vec(&said).map_err(|_| AccountError::BadRecord)?);
        if json.len() > MAX_ACCOUNT_RECORD_BYTES {
            return Err(AccountError::BadRecord);
        }
        key.seal_box(recipient.as_bytes(), &json, rng).map_err(|_| AccountError::BadKey)
    }

    /// Opens the answer to a redeem or rekey request, at the owner.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn open_answer(
        bytes: &[u8],
        server: &RetrievalPublicKey,
        key: &AccountSecretKey,
    ) -> Result<Self, AccountError> {
        let json = key.open_box(server.as_bytes(), bytes).map_err(|_| AccountError::DoesNotOpen)?;
        let json = zeroize::Zeroizing::new(json);
        if json.len() > MAX_ACCOUNT_RECORD_BYTES {
            return Err(AccountError::BadRecord);
        }
        let Heard { record, used_bytes } =
            serde_json::from_slice(&json).map_err(|_| AccountError::Malformed)?;
        record.check()?;
        Ok(Self { used_bytes, ..record })
    }

    fn check(&self) -> Result<(), AccountError> {
        if self.token.is_valid() && self.notices.len() <= MAX_NOTICES {
            Ok(())
        } else {
            Err(AccountError::BadRecord)
        }
    }
}

pub(super) fn open_sealed<'k>(
    bytes: &[u8],
    keys: &'k [RetrievalSecretKey],
) -> Result<(zeroize::Zeroizing<Vec<u8>>, &'k RetrievalSecretKey), AccountError> {
    let open = |key: &'k RetrievalSecretKey| key.open_sealed(bytes).ok().map(|plaintext| (plaintext, key));
    let (plaintext, key) = keys.iter().find_map(open).ok_or(AccountError::DoesNotOpen)?;
    Ok((zeroize::Zeroizing::new(plaintext), key))
}

fn answer_key(reader: &mut Reader<'_>) -> Result<AccountPublicKey, AccountError> {
    let bytes = reader.array()?;
    if is_valid_public_key(&bytes) {
        Ok(AccountPublicKey::from_bytes(bytes))
    } else {
        Err(AccountError::BadKey)
    }
}

/// The signature names the server, so that a server cannot redeem its customers' offers elsewhere; and the answer key, so
/// that only its holder gets the account.
fn redeem_transcript(
    offer: &RedeemTokenHash,
    server: &ServerIdentityKey,
    answer_key: &AccountPublicKey,
) -> Vec<u8> {
    Writer::new().fixed(offer.as_bytes()).fixed(server.as_bytes()).fixed(answer_key.as_bytes()).finish()
}

#[cfg(test)]
mod tests;
