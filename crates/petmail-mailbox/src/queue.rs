//! What the services need from whatever keeps accounts and messages: the seam for other engines than the embedded one.
//!
//! Owns the trait and the records. Each method is one atomic, durable step, so that a database shared by several servers
//! can implement it. Must not know HTTP, boxes or tokens. Specification: Servers, accounts, offers; Retrieval.

mod account;
pub mod embedded;
pub mod exported;

use std::sync::Arc;

use petmail_proto::{
    delivery::MsgADigest,
    keys::RetrievalToken,
    retrieval::MessageNumber,
    server::{
        account::{AccountId, Allowance, Quota, RedeemRequest, RekeyRequest},
        mint::MintRequest,
        offer::RedeemTokenHash,
    },
    time::UnixMillis,
    token::SlotId,
};
use petmail_store::DiskFull;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

pub use self::account::{
    Account, AccountChange, AccountSecrets, FormerSlot, NewAccount, NewSecrets, NewSlot, WayIn,
};
pub use self::embedded::OfferRow as StoredOffer;
use self::exported::Exported;

/// The most messages that an account may hold: what a person is behind after a year of a hundred a day, twice over.
pub const QUOTA_MESSAGES: u64 = 100_000;

/// What an offer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferTerms {
    /// What the account may hold.
    pub quota: Quota,
    /// How long its messages are kept, in seconds.
    pub retention_seconds: u64,
    /// When the offer can no longer be redeemed.
    pub expires: UnixMillis,
    /// How many bytes of quota its owner may give away; `None` if it is to be no provider.
    pub provider_total: Option<u64>,
    /// Who gives; `None` for the operator.
    pub given_by: Option<AccountId>,
    /// Bytes of packs that the account may store; 0 for none.
    pub storage_bytes: u64,
}

/// Finds an account by its retrieval token: the token's SHA-256, so that a search takes no time that depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RetrievalId([u8; 32]);

impl RetrievalId {
    /// Hashes a token.
    #[must_use]
    pub fn of(token: &RetrievalToken) -> Self {
        Self(Sha256::digest(token.expose_bytes()).into())
    }
}

/// What an account holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of msgC.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
}

impl Usage {
    /// Returns what it is with one more message of `length` bytes.
    #[must_use]
    pub fn and_one_of(self, length: u32) -> Self {
        Self {
            bytes: self.bytes.saturating_add(u64::from(length)),
            messages: self.messages.saturating_add(1),
        }
    }

    /// Returns what it is without a message of `length` bytes.
    #[must_use]
    pub fn without_one_of(self, length: u32) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(u64::from(length)),
            messages: self.messages.saturating_sub(1),
        }
    }
}

/// An account with what it holds.
#[derive(Clone, Debug)]
pub struct AccountUsage {
    /// The account.
    pub account: Arc<Account>,
    /// What it holds now.
    pub usage: Usage,
    /// Bytes of quota that it has given away.
    pub given_bytes: u64,
}

/// An account after a request for new secrets.
#[derive(Clone, Debug)]
pub struct Rekeyed {
    /// The account as it is now.
    pub account: Arc<Account>,
    /// Whether the request changed it, or was answered before.
    pub is_new: bool,
}

/// One waiting message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub number: MessageNumber,
    /// The length of its msgC, in bytes.
    pub length: u32,
}

/// What all accounts hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many accounts there are.
    pub accounts: u64,
    /// What they hold.
    pub usage: Usage,
}

impl Totals {
    /// Adds an account.
    #[must_use]
    pub const fn and(self, usage: Usage) -> Self {
        Self {
            accounts: self.accounts.saturating_add(1),
            usage: Usage {
                bytes: self.usage.bytes.saturating_add(usage.bytes),
                messages: self.usage.messages.saturating_add(usage.messages),
            },
        }
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is on disk.
    Stored(MessageNumber),
    /// The same bytes were stored before; nothing was stored now.
    Repeated,
}

/// Nothing was stored; whoever asked may try again later.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is too little room on the disk. It can go on as soon as there is more.
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    /// The store failed.
    #[error("{0}")]
    Failed(String),
}

impl QueueError {
    /// Wraps what the engine says.
    pub fn new(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// Why a delivery is not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// No account has any of the slots.
    #[error("the token leads to no account")]
    UnknownSlot,
    /// The account holds as much as it may, or is suspended; or the slot is a former one that takes only little.
    #[error("the account takes no more")]
    Full,
    /// The same bytes are being stored at this moment, or too much else is.
    #[error("too busy")]
    Busy,
    /// The store failed.
    #[error("cannot store a message: {0}")]
    Queue(#[from] QueueError),
}

/// Why an offer is not redeemed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedeemError {
    /// No such offer was made here.
    #[error("the offer is unknown")]
    UnknownOffer,
    /// Its time is over.
    #[error("the offer has expired")]
    Expired,
    /// Another key redeemed it.
    #[error("the offer is already used by someone else")]
    UsedByAnother,
    /// The key owns an account already; one key serves one account.
    #[error("the key owns another account")]
    KeyInUse,
    /// The store failed.
    #[error("cannot redeem an offer: {0}")]
    Queue(#[from] QueueError),
}

/// Why an account's owner cannot make an offer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// No account has this owner.
    #[error("the account is unknown")]
    UnknownAccount,
    /// The account gives no mailboxes, or is suspended.
    #[error("the account may not give mailboxes")]
    NotProvider,
    /// More quota than the account may give, or too many offers are open.
    #[error("the account has given away as much as it may")]
    Exhausted,
    /// Messages would be kept longer than those of the account that gives.
    #[error("the account keeps messages for a shorter time itself")]
    TooLong,
    /// The offer is there already, with other terms or of another owner, or is redeemed.
    #[error("the offer is there already")]
    Taken,
    /// The store failed.
    #[error("cannot make an offer: {0}")]
    Queue(#[from] QueueError),
}

/// Why an account's secrets are not replaced.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// No account has this owner.
    #[error("the account is unknown")]
    UnknownAccount,
    /// A later generation is in use already, or the same one for another answer key.
    #[error("the generation is not newer than the account's")]
    StaleGeneration,
    /// The new owner's key owns an account already; one key serves one account.
    #[error("the key owns another account")]
    KeyInUse,
    /// The store failed.
    #[error("cannot replace an account's secrets: {0}")]
    Queue(#[from] QueueError),
}

/// How the store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// Changes that were acknowledged since the start.
    pub commits: u64,
    /// Flushes to the disk that they took.
    pub flushes: u64,
    /// Size of the files, in bytes.
    pub disk_bytes: u64,
    /// Whether changes are still taken.
    pub healthy: bool,
    /// Whether the disk is so full that nothing new is taken in.
    #[serde(default)]
    pub disk_full: bool,
}

/// Keeps accounts, offers and messages. Every change is durable when its future resolves.
pub trait QueueStore: Send + Sync + 'static {
    /// Adds offers.
    fn add_offers(
        &self,
        offers: &[RedeemTokenHash],
        terms: OfferTerms,
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Adds an offer by the owner of an account that may give mailboxes; the same request again changes nothing.
    fn mint(
        &self,
        request: &MintRequest,
        now: UnixMillis,
    ) -> impl Future<Output = Result<(), MintError>> + Send;

    /// Tells what an account may give away, and has given; `None` if it is no provider.
    fn allowance(
        &self,
        account: AccountId,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Option<Allowance>, QueueError>> + Send;

    /// Turns an offer into an account; the same owner again gets the account that it has.
    fn redeem(
        &self,
        request: &RedeemRequest,
        new: NewAccount,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Arc<Account>, RedeemError>> + Send;

    /// Replaces an account's secrets, and its slot if there is a new one; a request for the generation that there is gets what
    /// that gave.
    fn rekey(
        &self,
        request: &RekeyRequest,
        new: NewSecrets,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Rekeyed, RekeyError>> + Send;

    /// Changes an account for the operator; `None` if there is no such account.
    fn change(
        &self,
        account: AccountId,
        change: &AccountChange,
    ) -> impl Future<Output = Result<Option<Arc<Account>>, QueueError>> + Send;

    /// Removes an account with all that it holds; false if there is no such account. If this fails, or the program ends, a
    /// part may be left, and it is to be asked again.
    fn remove(&self, account: AccountId) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// Finds an account by its retrieval token.
    fn find(
        &self,
        token: RetrievalId,
    ) -> impl Future<Output = Result<Option<Arc<Account>>, QueueError>> + Send;

    /// Finds an account by its id.
    fn account(
        &self,
        account: AccountId,
    ) -> impl Future<Output = Result<Option<Arc<Account>>, QueueError>> + Send;

    /// Lists all accounts, by id.
    fn accounts(&self, now: UnixMillis)
    -> impl Future<Output = Result<Vec<AccountUsage>, QueueError>> + Send;

    /// Tells what an account holds; nothing if there is none.
    fn usage(&self, account: AccountId) -> impl Future<Output = Result<Usage, QueueError>> + Send;

    /// Sums up what all accounts hold, for monitoring: far cheaper than listing them.
    fn totals(&self) -> impl Future<Output = Result<Totals, QueueError>> + Send;

    /// Stores a message in the first of `slots` that exists, once for each digest within the account's retention time.
    fn deliver(
        &self,
        slots: &[SlotId],
        digest: MsgADigest,
        msg_c: Vec<u8>,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Delivered, DeliverError>> + Send;

    /// Lists an account's messages after a number, in the order of acceptance. Nothing is ever inserted before what this
    /// has shown.
    fn list(
        &self,
        account: AccountId,
        after: Option<MessageNumber>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Waiting>, QueueError>> + Send;

    /// Reads a message; `None` if it is gone.
    fn message(
        &self,
        account: AccountId,
        number: MessageNumber,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, QueueError>> + Send;

    /// Deletes messages; those that are gone already are no error.
    fn delete(
        &self,
        account: AccountId,
        numbers: &[MessageNumber],
    ) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Deletes up to `limit` messages whose retention time is over, with what was remembered about them. Returns how many
    /// were looked at; `limit` means that more may be left.
    fn sweep(&self, now: UnixMillis, limit: usize) -> impl Future<Output = Result<usize, QueueError>> + Send;

    /// Watches for arrivals: the value changes when [`list`](Self::list) has more to show. `None` for no account.
    fn arrivals(&self, account: AccountId) -> Option<watch::Receiver<u64>>;

    /// Tells how the store is doing.
    fn stats(&self) -> impl Future<Output = Result<QueueStats, QueueError>> + Send;

    /// Hands out everything that it holds, the serial and the memory of deleted messages too; whoever takes it may be slow.
    /// Nothing must be changed meanwhile.
    fn export(&self, sink: mpsc::Sender<Exported>) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Takes in what a queue of any kind has handed out, part by part and in that order. This queue must be empty at first; if
    /// this fails, it is of no use.
    fn import(&self, records: Vec<Exported>) -> impl Future<Output = Result<(), QueueError>> + Send;

    /// Returns a number that is greater than every number it returned before, and at least `minimum`.
    fn next_serial(&self, minimum: u64) -> impl Future<Output = Result<u64, QueueError>> + Send;
}
