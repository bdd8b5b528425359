//! Accounts: redeeming offers and replacing secrets. Knows boxes and the queue, not HTTP. Specification: Servers,
//! accounts, offers.

use std::sync::Arc;

use petmail_proto::{
    keys::{RetrievalToken, SymmetricKey},
    server::account::{AccountError, AccountId, RedeemRequest, RekeyRequest},
    time::UnixMillis,
    token::SlotElement,
};
use rand_core::OsRng;

use crate::{
    identity::{CurrentIdentity, Identity},
    queue::{AccountSecrets, NewAccount, NewSecrets, NewSlot, QueueStore, RedeemError, RekeyError, Rekeyed},
    work::{Interrupted, to_the_end},
};

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
        Ok(account.record().seal_answer(&answer_key, key, &mut OsRng)?)
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
        let answer = account.record().seal_answer(&account.answer_key, key, &mut OsRng)?;
        Ok((answer, is_new.then_some(account.id)))
    }
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
