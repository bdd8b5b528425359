//! Fetch and delete tokens: stateless, each for one message, readable by the server only.
//!
//! nonce [24] ‖ XChaCha20-Poly1305(server key, account [16] ‖ message u64 ‖ kind u8 ‖ expiry u64).

use core::time::Duration;

use chacha20poly1305::{XChaCha20Poly1305, XNonce, aead::Aead, aead::KeyInit};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    keys::macros,
    server::account::AccountId,
    time::UnixMillis,
    wire::{Reader, WireError, Writer},
};

/// How long a token is good for. A client that needs it later lists again.
pub const TICKET_LIFE: Duration = Duration::from_secs(3_600);

const NONCE_BYTES: usize = 24;
const KIND_FETCH: u8 = 1;
const KIND_DELETE: u8 = 2;
const KIND_STORE: u8 = 3;

macros::secret_bytes! {
    /// Seals fetch and delete tokens; known to the server only.
    TicketKey, 32
}
macros::public_bytes! {
    /// Fetches one message.
    FetchToken, 73
}
macros::public_bytes! {
    /// Deletes one message.
    DeleteToken, 73
}

macros::public_bytes! {
    /// Stores, looks up and deletes an account's packs.
    StorageTicket, 73
}

/// Numbers the messages of an account in the order of their acceptance; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageNumber(pub u64);

/// Why a server refuses a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It was not made by this server for this purpose.
    #[error("the token is forged, damaged, or for another purpose")]
    Forged,
    /// It was good once: list again.
    #[error("the token has expired")]
    Expired,
}

impl From<WireError> for TicketError {
    fn from(_: WireError) -> Self {
        Self::Forged
    }
}

impl FetchToken {
    /// Makes a token that is good for [`TICKET_LIFE`] from `now`.
    pub fn seal(
        key: &TicketKey,
        account: &AccountId,
        message: MessageNumber,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        Self(key.seal(account, message, KIND_FETCH, now.plus(TICKET_LIFE), rng))
    }

    /// Returns whose message it fetches, and which.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn open(&self, key: &TicketKey, now: UnixMillis) -> Result<(AccountId, MessageNumber), TicketError> {
        key.open(&self.0, KIND_FETCH, now)
    }
}

impl DeleteToken {
    /// Makes a token that is good for [`TICKET_LIFE`] from `now`.
    pub fn seal(
        key: &TicketKey,
        account: &AccountId,
        message: MessageNumber,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Self {
        Self(key.seal(account, message, KIND_DELETE, now.plus(TICKET_LIFE), rng))
    }

    /// Returns whose message it deletes, and which.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn open(&self, key: &TicketKey, now: UnixMillis) -> Result<(AccountId, MessageNumber), TicketError> {
        key.open(&self.0, KIND_DELETE, now)
    }
}

impl StorageTicket {
    /// Makes a ticket that is good for [`TICKET_LIFE`] from `now`.
    pub fn seal(key: &TicketKey, account: &AccountId, now: UnixMillis, rng: &mut impl CryptoRngCore) -> Self {
        Self(key.seal(account, MessageNumber(0), KIND_STORE, now.plus(TICKET_LIFE), rng))
    }

    /// Returns whose packs it is for.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn open(&self, key: &TicketKey, now: UnixMillis) -> Result<AccountId, TicketError> {
        key.open(&self.0, KIND_STORE, now).map(|(account, _)| account)
    }
}

impl TicketKey {
    fn seal(
        &self,
        account: &AccountId,
        message: MessageNumber,
        kind: u8,
        expiry: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> [u8; 73] {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let plaintext =
            Writer::new().fixed(account.as_bytes()).u64(message.0).u8(kind).u64(expiry.0).finish();
        let sealed = XChaCha20Poly1305::new(self.expose_bytes().into())
            .encrypt(XNonce::from_slice(&nonce), plaintext.as_slice())
            .expect("33 bytes are far below the cipher's limit");
        let mut ticket = [0; 73];
        let (head, tail) = ticket.split_at_mut(NONCE_BYTES);
        head.copy_from_slice(&nonce);
        tail.copy_from_slice(&sealed);
        ticket
    }

    fn open(
        &self,
        ticket: &[u8; 73],
        kind: u8,
        now: UnixMillis,
    ) -> Result<(AccountId, MessageNumber), TicketError> {
        let (nonce, sealed) = ticket.split_at(NONCE_BYTES);
        let plaintext = XChaCha20Poly1305::new(self.expose_bytes().into())
            .decrypt(XNonce::from_slice(nonce), sealed)
            .map_err(|_| TicketError::Forged)?;
        let mut reader = Reader::new(&plaintext);
        let account = AccountId::from_bytes(reader.array()?);
        let message = MessageNumber(reader.u64()?);
        reader.expect(&[kind])?;
        let expiry = UnixMillis(reader.u64()?);
        if expiry < now { Err(TicketError::Expired) } else { Ok((account, message)) }
    }
}
