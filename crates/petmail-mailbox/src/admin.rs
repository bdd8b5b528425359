//! Administration: minting offers, and telling the operator what there is. Knows no HTTP; the command line uses it through
//! a socket, or directly while the server is stopped.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use petmail_proto::{
    base_url::BaseUrl,
    keys::{CertificatePin, RedeemToken, ServerIdentityKey},
    server::account::{AccountId, AccountState, Quota},
    time::UnixMillis,
};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    queue::{AccountUsage, OfferTerms, QueueError, QueueStats, QueueStore},
    size::ByteSize,
};

/// The most offers that are made at once: they fit into one change of the store.
pub const MAX_OFFERS: u32 = 500;
/// The most messages that an account may hold: what a person is behind after a year of a hundred a day, twice over.
pub const QUOTA_MESSAGES: u64 = 100_000;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What offers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// How many, at most [`MAX_OFFERS`].
    pub count: u32,
    /// How much an account may hold.
    pub mailbox_quota: ByteSize,
    /// How many days messages are kept.
    pub retention_days: u32,
    /// After how many days the offers can no longer be redeemed.
    pub expires_days: u32,
}

impl Default for OfferRequest {
    fn default() -> Self {
        Self { count: 1, mailbox_quota: ByteSize(100_000_000), retention_days: 30, expires_days: 14 }
    }
}

/// The offers that were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Their texts.
    pub offers: Vec<String>,
}

/// One account, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// Its id.
    pub id: AccountId,
    /// What it may do.
    pub state: AccountState,
    /// When it was made (RFC 3339).
    pub created: String,
    /// Bytes that it holds.
    pub used_bytes: u64,
    /// Bytes that it may hold.
    pub quota_bytes: u64,
    /// Messages that it holds.
    pub messages: u64,
    /// Messages that it may hold.
    pub quota_messages: u64,
    /// How long messages are kept, in seconds.
    pub retention_seconds: u64,
    /// How often its secrets were replaced.
    pub generation: u64,
}

/// The server as a whole, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a server is running, or the command looked into the store itself.
    pub running: bool,
    /// The program's version.
    pub version: String,
    /// The address that clients use.
    pub url: BaseUrl,
    /// The key that names the server.
    pub identity: ServerIdentityKey,
    /// The pin in its offers, if it has a self-signed certificate.
    pub pin: Option<CertificatePin>,
    /// How many accounts there are.
    pub accounts: u64,
    /// How many messages wait.
    pub messages: u64,
    /// Their bytes.
    pub message_bytes: u64,
    /// How many event streams are open.
    pub streams: u64,
    /// The store.
    pub store: QueueStats,
}

/// Why something is not done for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The numbers make no sense.
    #[error("{0}")]
    OutOfBounds(&'static str),
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Administers a server.
#[derive(Debug)]
pub struct Admin<Q> {
    queue: Arc<Q>,
    identity: Arc<Identity>,
    pin: Option<CertificatePin>,
}

impl<Q: QueueStore> Admin<Q> {
    /// Works on `queue` for the server `identity`, whose self-signed certificate has `pin`.
    pub const fn new(queue: Arc<Q>, identity: Arc<Identity>, pin: Option<CertificatePin>) -> Self {
        Self { queue, identity, pin }
    }

    /// Mints offers; they can be redeemed when this returns.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn mint_offers(&self, request: &OfferRequest, now: UnixMillis) -> Result<Offers, AdminError> {
        let terms = terms(request, now)?;
        let tokens: Vec<_> = (0..request.count).map(|_| RedeemToken::generate(&mut OsRng)).collect();
        let hashes: Vec<_> = tokens.iter().map(RedeemToken::hash).collect();
        self.queue.add_offers(&hashes, terms).await?;
        let offers =
            tokens.into_iter().map(|token| self.identity.offer(token, self.pin).expose_text()).collect();
        Ok(Offers { offers })
    }

    /// Lists the accounts, by id.
    ///
    /// # Errors
    /// [`AdminError::Queue`].
    pub async fn accounts(&self) -> Result<Vec<AccountSummary>, AdminError> {
        Ok(self.queue.accounts().await?.iter().map(summary).collect())
    }

    /// Describes the server. What only a running one knows is zero.
    ///
    /// # Errors
    /// [`AdminError::Queue`].
    pub async fn status(&self) -> Result<Status, AdminError> {
        let accounts = self.queue.accounts().await?;
        Ok(Status {
            running: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: self.identity.url().clone(),
            identity: self.identity.public(),
            pin: self.pin,
            accounts: u64::try_from(accounts.len()).unwrap_or(u64::MAX),
            messages: accounts.iter().map(|account| account.usage.messages).sum(),
            message_bytes: accounts.iter().map(|account| account.usage.bytes).sum(),
            streams: 0,
            store: self.queue.stats().await?,
        })
    }
}

fn terms(request: &OfferRequest, now: UnixMillis) -> Result<OfferTerms, AdminError> {
    if !(1..=MAX_OFFERS).contains(&request.count) {
        return Err(AdminError::OutOfBounds("the number of offers is between 1 and 500"));
    }
    if request.retention_days == 0 || request.expires_days == 0 {
        return Err(AdminError::OutOfBounds("messages and offers are kept for at least one day"));
    }
    if request.mailbox_quota.0 == 0 {
        return Err(AdminError::OutOfBounds("a mailbox without any room is of no use"));
    }
    Ok(OfferTerms {
        quota: Quota { bytes: request.mailbox_quota.0, messages: QUOTA_MESSAGES },
        retention_seconds: DAY.saturating_mul(request.retention_days).as_secs(),
        expires: now.plus(DAY.saturating_mul(request.expires_days)),
    })
}

fn summary(found: &AccountUsage) -> AccountSummary {
    let account = &found.account;
    AccountSummary {
        id: account.id,
        state: account.state,
        created: rfc3339(account.created),
        used_bytes: found.usage.bytes,
        quota_bytes: account.quota.bytes,
        messages: found.usage.messages,
        quota_messages: account.quota.messages,
        retention_seconds: account.retention_seconds,
        generation: account.generation,
    }
}

/// A time beyond what calendars of nine thousand years hold is shown as the epoch.
fn rfc3339(time: UnixMillis) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
