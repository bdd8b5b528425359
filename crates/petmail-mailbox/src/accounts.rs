//! Accounts: redeeming offers and replacing secrets. Knows boxes and the queue, not HTTP. Specification: Servers,
//! accounts, offers.

use std::{sync::Arc, time::Duration};

use petmail_proto::{
    keys::{RetrievalToken, SymmetricKey},
    server::{
        account::{AccountError, AccountId, AccountRecord, Allowance, RedeemRequest, RekeyRequest},
        mint::{MintRequest, MintTerms},
    },
    time::UnixMillis,
    token::SlotElement,
};
use rand_core::OsRng;

use crate::{
    identity::{CurrentIdentity, Identity},
    queue::{
        Account, AccountSecrets, MintError, NewAccount, NewSecrets, NewSlot, QueueError, QueueStore,
        RedeemError, RekeyError, Rekeyed,
    },
    work::{Interrupted, to_the_end},
};

/// The shortest retention that a provider may give.
const MIN_RETENTION: Duration = Duration::from_secs(24 * 3_600);
/// The longest time that an offer of a provider may be open.
const MAX_OFFER_LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Why a request about an account is not granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The request does not open or verify.
    #[error(transparent)]
    Request(#[from] AccountError),
    /// The offer does not give an account.
    #[error(transparent)]
    Redeem(#[from] RedeemError),
    /// The secrets are not replaced.
    #[error(transparent)]
    Rekey(#[from] RekeyError),
    /// No offer is made.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The offer would give nothing, or not for long enough, or could be redeemed for too long.
    #[error("the terms of the offer make no sense")]
    Terms,
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The server's own keys cannot make an account.
    #[error("the server has no usable token key")]
    NoTokenKey,
    /// The program is stopping.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Grants and changes accounts.
#[derive(Debug)]
pub struct Accounts<Q> {
    queue: Arc<Q>,
    identity: Arc<CurrentIdentity>,
}

impl<Q: QueueStore> Accounts<Q> {
    /// Works on `queue` for the server `identity`.
    pub const fn new(queue: Arc<Q>, identity: Arc<CurrentIdentity>) -> Self {
        Self { queue, identity }
    }

    /// Redeems an offer. Returns the boxed answer.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn redeem(&self, body: Vec<u8>, now: UnixMillis) -> Result<Vec<u8>, AccountsError> {
        let identity = self.identity.get();
        let (request, key) = RedeemRequest::open(&body, identity.retrieval_keys(), &identity.public())?;
        let new = new_account(&identity)?;
        let queue = Arc::clone(&self.queue);
        let answer_key = request.answer_key;
        let account = to_the_end(async move { queue.redeem(&request, new, now).await }).await??;
        let record = self.record(&account, now).await?;
        Ok(record.seal_answer(&answer_key, key, &mut OsRng)?)
    }

    /// Replaces an account's secrets, and its slot if it is asked for. Returns the boxed answer, and whose streams now have an
    /// old key. A request for the present generation changes nothing: so an owner asks how its account is.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn rekey(
        &self,
        body: Vec<u8>,
        now: UnixMillis,
    ) -> Result<(Vec<u8>, Option<AccountId>), AccountsError> {
        let identity = self.identity.get();
        let (request, key) = RekeyRequest::open(&body, identity.retrieval_keys(), &identity.public())?;
        let slot = if request.new_slot { Some(new_slot(&identity)?) } else { None };
        let new = NewSecrets { secrets: new_secrets(), slot };
        let queue = Arc::clone(&self.queue);
        let rekeyed = to_the_end(async move { queue.rekey(&request, new, now).await }).await??;
        let Rekeyed { account, is_new } = rekeyed;
        let record = self.record(&account, now).await?;
        let answer = record.seal_answer(&account.answer_key, key, &mut OsRng)?;
        Ok((answer, is_new.then_some(account.id)))
    }

    /// Makes an offer for the owner of an account that may give mailboxes.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn mint(&self, body: &[u8], now: UnixMillis) -> Result<(), AccountsError> {
        let identity = self.identity.get();
        let request = MintRequest::open(body, identity.retrieval_keys(), &identity.public())?;
        check_terms(&request.terms, &identity)?;
        let queue = Arc::clone(&self.queue);
        Ok(to_the_end(async move { queue.mint(&request, now).await }).await??)
    }

    /// What the owner is told of an account.
    async fn record(&self, account: &Account, now: UnixMillis) -> Result<AccountRecord, AccountsError> {
        let used_bytes = Some(self.queue.usage(account.id).await?.bytes);
        Ok(AccountRecord { used_bytes, ..account.record(self.allowance(account, now).await?) })
    }

    async fn allowance(
        &self,
        account: &Account,
        now: UnixMillis,
    ) -> Result<Option<Allowance>, AccountsError> {
        if account.provider_total.is_none() {
            return Ok(None);
        }
        Ok(self.queue.allowance(account.id, now).await?)
    }
}

fn check_terms(terms: &MintTerms, identity: &Identity) -> Result<(), AccountsError> {
    let is_good = (terms.mailbox_bytes > 0 || terms.storage_bytes > 0)
        && (terms.mailbox_bytes == 0 || identity.is_mailbox())
        && (terms.storage_bytes == 0 || identity.is_storage())
        && terms.retention_seconds >= MIN_RETENTION.as_secs()
        && (1..=MAX_OFFER_LIFE.as_secs()).contains(&terms.life_seconds);
    if is_good { Ok(()) } else { Err(AccountsError::Terms) }
}

fn new_account(identity: &Identity) -> Result<NewAccount, AccountsError> {
    Ok(NewAccount { id: AccountId::generate(&mut OsRng), secrets: new_secrets(), slot: new_slot(identity)? })
}

fn new_slot(identity: &Identity) -> Result<NewSlot, AccountsError> {
    let rng = &mut OsRng;
    let key = identity.newest_token_key().ok_or(AccountsError::NoTokenKey)?;
    let slot = SlotElement::generate(rng);
    let token = slot.seal(&key.key.public_key(), rng).map_err(|_| AccountsError::NoTokenKey)?;
    Ok(NewSlot { slot, token, kid: key.kid })
}

fn new_secrets() -> AccountSecrets {
    let rng = &mut OsRng;
    AccountSecrets {
        retrieval_token: RetrievalToken::generate(rng),
        symmetric_key: SymmetricKey::generate(rng),
    }
}
