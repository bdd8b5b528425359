//! Administration: minting offers, and telling the operator what there is. Knows no HTTP; the command line uses it through
//! a socket, or directly while the server is stopped.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use petmail_proto::{
    base_url::BaseUrl,
    keys::{CertificatePin, RedeemToken, ServerIdentityKey},
    server::{
        account::{AccountId, AccountState, MAX_NOTICES, Quota},
        descriptor::DescriptorError,
    },
    time::UnixMillis,
    token::TokenKeyId,
};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

use crate::{
    clock::now,
    identity::{CurrentIdentity, IdentityError},
    queue::{
        AccountChange, AccountUsage, OfferTerms, QUOTA_MESSAGES, QueueError, QueueStats, QueueStore, Totals,
    },
    size::ByteSize,
};

/// The most offers that are made at once: they fit into one change of the store.
pub const MAX_OFFERS: u32 = 500;

/// The longest notice to an owner, in bytes.
pub const MAX_NOTICE_BYTES: usize = 500;

/// How much the mailbox of an offer holds unless it is said, on a server that keeps messages.
pub const DEFAULT_MAILBOX: ByteSize = ByteSize(100_000_000);

/// How much an offer lets its taker store unless it is said, on a server that keeps files: enough for a film, and for a
/// hundred people on a small disk, since few will use it all.
const DEFAULT_STORAGE: ByteSize = ByteSize(1_000_000_000);

const NO_ROOM: &str = "an account without any room is of no use";

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What offers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// How many, at most [`MAX_OFFERS`].
    pub count: u32,
    /// How much the mailbox of an account may hold, 0 for no mailbox; `None` for what is usual on this server.
    #[serde(default)]
    pub mailbox_quota: Option<ByteSize>,
    /// How many days messages are kept.
    pub retention_days: u32,
    /// After how many days the offers can no longer be redeemed.
    pub expires_days: u32,
    /// How much of the server the owners may give away in offers of their own; `None` for nothing.
    #[serde(default)]
    pub provider_total: Option<ByteSize>,
    /// How much an account may store in packs; `None` for what is usual on this server.
    #[serde(default)]
    pub storage_quota: Option<ByteSize>,
}

impl Default for OfferRequest {
    fn default() -> Self {
        Self {
            count: 1,
            mailbox_quota: None,
            retention_days: 30,
            expires_days: 14,
            provider_total: None,
            storage_quota: None,
        }
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
    /// What its owner is told.
    pub notices: Vec<String>,
    /// Bytes of quota that its owner may give away; `None` if it is no provider.
    #[serde(default)]
    pub provider_total_bytes: Option<u64>,
    /// Bytes of quota that its owner has given away.
    #[serde(default)]
    pub given_bytes: u64,
    /// The account of the provider whose offer it was made from; `None` for the operator.
    #[serde(default)]
    pub given_by: Option<AccountId>,
    /// Bytes of packs that it may store; 0 for none.
    #[serde(default)]
    pub storage_bytes: u64,
}

/// What is to be changed of an account; what is left out stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRequest {
    /// The account's id.
    pub account: AccountId,
    /// How many bytes it may hold.
    #[serde(default)]
    pub mailbox_quota: Option<ByteSize>,
    /// How many days messages are kept that come from now on.
    #[serde(default)]
    pub retention_days: Option<u32>,
    /// Whether it takes messages.
    #[serde(default)]
    pub state: Option<AccountState>,
    /// Told to the owner beside what is told already, at most [`MAX_NOTICE_BYTES`].
    #[serde(default)]
    pub notice: Option<String>,
    /// How much of the server its owner may give away; nothing ends that.
    #[serde(default)]
    pub provider_total: Option<ByteSize>,
    /// How much it may store in packs; nothing ends that.
    #[serde(default)]
    pub storage_quota: Option<ByteSize>,
    /// Whether what was told before is taken back.
    #[serde(default)]
    pub clear_notices: bool,
}

/// Which account is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Its id.
    pub account: AccountId,
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
    /// Where the server went; `None` if it is here.
    #[serde(default)]
    pub moved_to: Option<BaseUrl>,
    /// The key that names the server.
    pub identity: ServerIdentityKey,
    /// The pin in its offers, if it has a self-signed certificate.
    pub pin: Option<CertificatePin>,
    /// The token key in use; it was made together with the other keys in use.
    pub kid: Option<TokenKeyId>,
    /// When the keys end that were replaced (RFC 3339), newest first.
    pub former_keys_end: Vec<String>,
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
    /// What is stored beside messages; `None` if the server keeps no files.
    #[serde(default)]
    pub packs: Option<PacksStatus>,
}

/// What is stored beside messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacksStatus {
    /// How many packs there are.
    pub packs: u64,
    /// How many bytes accounts are charged for.
    pub charged_bytes: u64,
    /// The service where they are; `None` if they are in the server's folder.
    pub service: Option<String>,
    /// Why the service cannot be used, if it could not when it was asked last.
    pub problem: Option<String>,
}

/// Where the server goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// The new address.
    pub to: BaseUrl,
    /// Whether a public authority vouches for the certificate there. Else it is the self-signed one that is used now.
    #[serde(default)]
    pub no_pin: bool,
}

/// Where the server went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its address until now.
    pub url: BaseUrl,
    /// Its new one; `None` if it stays.
    pub moved_to: Option<BaseUrl>,
}

/// The keys after they were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotatedKeys {
    /// The token key in use now.
    pub kid: Option<TokenKeyId>,
    /// When the replaced ones end (RFC 3339).
    pub former_end: String,
}

/// Why something is not done for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The numbers make no sense.
    #[error("{0}")]
    OutOfBounds(&'static str),
    /// No account has this id.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The server has as many keys as it may.
    #[error("{0}")]
    TooManyKeys(String),
    /// The file of the server's keys cannot be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The descriptor cannot be made.
    #[error("cannot make the server's descriptor: {0}")]
    Descriptor(#[from] DescriptorError),
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Administers a server.
#[derive(Debug)]
pub struct Admin<Q> {
    queue: Arc<Q>,
    identity: Arc<CurrentIdentity>,
    pin: Option<CertificatePin>,
}

impl<Q: QueueStore> Admin<Q> {
    /// Works on `queue` for the server `identity`, whose self-signed certificate has `pin`.
    pub const fn new(queue: Arc<Q>, identity: Arc<CurrentIdentity>, pin: Option<CertificatePin>) -> Self {
        Self { queue, identity, pin }
    }

    /// Mints offers; they can be redeemed when this returns.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn mint_offers(&self, request: &OfferRequest, now: UnixMillis) -> Result<Offers, AdminError> {
        self.check_roles(request.mailbox_quota, request.storage_quota)?;
        let terms = terms(request, self.room(request), now)?;
        let tokens: Vec<_> = (0..request.count).map(|_| RedeemToken::generate(&mut OsRng)).collect();
        let hashes: Vec<_> = tokens.iter().map(RedeemToken::hash).collect();
        self.queue.add_offers(&hashes, terms).await?;
        let identity = self.identity.get();
        let offers = tokens.into_iter().map(|token| identity.offer(token, self.pin).expose_text()).collect();
        Ok(Offers { offers })
    }

    /// Says how much room an offer brings.
    fn room(&self, request: &OfferRequest) -> Room {
        let identity = self.identity.get();
        let usual = |has_role: bool, quota: ByteSize| if has_role { quota } else { ByteSize(0) };
        Room {
            mailbox: request.mailbox_quota.unwrap_or(usual(identity.is_mailbox(), DEFAULT_MAILBOX)),
            storage: request.storage_quota.unwrap_or(usual(identity.is_storage(), DEFAULT_STORAGE)),
        }
    }

    /// Checks that what is to be kept can be kept here.
    fn check_roles(
        &self,
        mailbox_quota: Option<ByteSize>,
        storage_quota: Option<ByteSize>,
    ) -> Result<(), AdminError> {
        let identity = self.identity.get();
        let is_asked = |quota: Option<ByteSize>| quota.is_some_and(|quota| quota.0 > 0);
        if is_asked(storage_quota) && !identity.is_storage() {
            return Err(AdminError::OutOfBounds(
                "this server keeps no files: stop it, run `petmail-mailbox add-role storage`, and start it again",
            ));
        }
        if is_asked(mailbox_quota) && !identity.is_mailbox() {
            return Err(AdminError::OutOfBounds(
                "this server keeps no messages: stop it, run `petmail-mailbox add-role mailbox`, and start it again",
            ));
        }
        Ok(())
    }

    /// Lists the accounts, by id.
    ///
    /// # Errors
    /// [`AdminError::Queue`].
    pub async fn accounts(&self) -> Result<Vec<AccountSummary>, AdminError> {
        Ok(self.queue.accounts(now()).await?.iter().map(summary).collect())
    }

    /// Describes one account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn account(&self, request: AccountRequest) -> Result<AccountSummary, AdminError> {
        let accounts = self.queue.accounts(now()).await?;
        let found = accounts.iter().find(|found| found.account.id == request.account);
        found.map(summary).ok_or(AdminError::NoSuchAccount)
    }

    /// Changes an account. Its owner is to be told.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is changed then.
    pub async fn change(&self, request: &ChangeRequest) -> Result<AccountSummary, AdminError> {
        self.check_roles(request.mailbox_quota, request.storage_quota)?;
        let before = self.account(AccountRequest { account: request.account }).await?;
        let change = change(request, before)?;
        self.queue.change(request.account, &change).await?.ok_or(AdminError::NoSuchAccount)?;
        self.account(AccountRequest { account: request.account }).await
    }

    /// Removes an account with all that it holds.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn remove(&self, request: AccountRequest) -> Result<(), AdminError> {
        if self.queue.remove(request.account).await? { Ok(()) } else { Err(AdminError::NoSuchAccount) }
    }

    /// Sums up what all accounts hold.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn totals(&self) -> Result<Totals, QueueError> {
        self.queue.totals().await
    }

    /// Describes the server. What only a running one knows is zero.
    ///
    /// # Errors
    /// [`AdminError::Queue`].
    pub async fn status(&self) -> Result<Status, AdminError> {
        let Totals { accounts, usage } = self.queue.totals().await?;
        let identity = self.identity.get();
        Ok(Status {
            running: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: identity.url().clone(),
            moved_to: identity.moved_to().map(|moved| moved.url.clone()),
            identity: identity.public(),
            pin: self.pin,
            kid: identity.newest_token_key().map(|key| key.kid),
            former_keys_end: identity.former_keys_end().iter().copied().map(rfc3339).collect(),
            accounts,
            messages: usage.messages,
            message_bytes: usage.bytes,
            streams: 0,
            store: self.queue.stats().await?,
            packs: None,
        })
    }
}

/// How much an account may keep.
#[derive(Clone, Copy, Debug)]
struct Room {
    mailbox: ByteSize,
    storage: ByteSize,
}

fn terms(request: &OfferRequest, room: Room, now: UnixMillis) -> Result<OfferTerms, AdminError> {
    if !(1..=MAX_OFFERS).contains(&request.count) {
        return Err(AdminError::OutOfBounds("the number of offers is between 1 and 500"));
    }
    if request.retention_days == 0 || request.expires_days == 0 {
        return Err(AdminError::OutOfBounds("messages and offers are kept for at least one day"));
    }
    if room.mailbox.0 == 0 && room.storage.0 == 0 {
        return Err(AdminError::OutOfBounds(NO_ROOM));
    }
    if request.provider_total.is_some_and(|total| total.0 == 0) {
        return Err(AdminError::OutOfBounds("a provider needs something to give"));
    }
    Ok(OfferTerms {
        quota: Quota { bytes: room.mailbox.0, messages: QUOTA_MESSAGES },
        retention_seconds: DAY.saturating_mul(request.retention_days).as_secs(),
        expires: now.plus(DAY.saturating_mul(request.expires_days)),
        provider_total: request.provider_total.map(|total| total.0),
        given_by: None,
        storage_bytes: room.storage.0,
    })
}

fn change(request: &ChangeRequest, before: AccountSummary) -> Result<AccountChange, AdminError> {
    let mailbox = request.mailbox_quota.map_or(before.quota_bytes, |quota| quota.0);
    let storage = request.storage_quota.map_or(before.storage_bytes, |quota| quota.0);
    if mailbox == 0 && storage == 0 {
        return Err(AdminError::OutOfBounds(NO_ROOM));
    }
    if request.retention_days == Some(0) {
        return Err(AdminError::OutOfBounds("messages are kept for at least one day"));
    }
    let is_good = |notice: &String| {
        (1..=MAX_NOTICE_BYTES).contains(&notice.len()) && !notice.chars().any(char::is_control)
    };
    if !request.notice.as_ref().is_none_or(is_good) {
        return Err(AdminError::OutOfBounds("a notice is one line of at most 500 bytes"));
    }
    let kept = if request.clear_notices { Vec::new() } else { before.notices };
    let notices: Vec<String> = kept.into_iter().chain(request.notice.clone()).collect();
    if notices.len() > MAX_NOTICES {
        return Err(AdminError::OutOfBounds("there are too many notices; clear them first"));
    }
    let quota = |bytes: ByteSize| Quota { bytes: bytes.0, messages: before.quota_messages };
    Ok(AccountChange {
        quota: request.mailbox_quota.map(quota),
        retention_seconds: request.retention_days.map(|days| DAY.saturating_mul(days).as_secs()),
        state: request.state,
        notices: Some(notices),
        provider_total: request.provider_total.map(|total| total.0),
        storage_bytes: request.storage_quota.map(|quota| quota.0),
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
        notices: account.notices.clone(),
        provider_total_bytes: account.provider_total,
        given_bytes: found.given_bytes,
        given_by: account.given_by,
        storage_bytes: account.storage_bytes,
    }
}

/// A time beyond what calendars of nine thousand years hold is shown as the epoch.
pub(crate) fn rfc3339(time: UnixMillis) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
