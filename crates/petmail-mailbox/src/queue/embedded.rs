//! The embedded queue: rows in petmail-store, bodies above its value limit as files, accounts and counts in memory.
//!
//! Owns the order of writing (file, then row; row, then file on deletion) and everything that is kept in memory: it is
//! rebuilt from the rows at opening. Must not know HTTP, boxes or tokens.

mod check;
mod entry;
mod former;
mod gifts;
mod room;
mod rows;
mod transfer;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use petmail_proto::{
    delivery::{Bucket, MsgADigest},
    keys::AccountVerifyingKey,
    retrieval::MessageNumber,
    server::{
        account::{AccountId, AccountState, Allowance, Quota, RedeemRequest, RekeyRequest},
        mint::MintRequest,
        offer::RedeemTokenHash,
    },
    time::UnixMillis,
    token::SlotId,
    wire::Record,
};
use petmail_store::{Batch, BlobDir, BlobName, CommitError, Direction, EngineKind, OpenError, Store};
use rand_core::{OsRng, RngCore};
use tokio::sync::{mpsc, watch};

pub(crate) use self::check::{Checked, check_queue};
pub use self::rows::OfferRow;
use self::{
    entry::{Entry, lock},
    gifts::Gifts,
    room::Refusing,
    rows::{ACCOUNTS, BODIES, EXPIRY, KEYSPACES, MESSAGES, META, MessageRow, OFFERS, Place, REPLAYS},
};
use super::{
    Account, AccountChange, AccountUsage, DeliverError, Delivered, MintError, NewAccount, NewSecrets,
    OfferTerms, QUOTA_MESSAGES, QueueError, QueueStats, QueueStore, RedeemError, RekeyError, Rekeyed,
    RetrievalId, Totals, Usage, Waiting, WayIn, exported::Exported,
};

/// How many rows are read at a time while memory is rebuilt.
const SCAN_ROWS: usize = 1_000;

/// How many messages of a removed account are deleted at a time.
const REMOVED_AT_ONCE: usize = 256;

/// The key of the row that holds the last serial.
const SERIAL: &[u8] = b"serial";

/// A queue in one folder of this machine.
#[derive(Debug)]
pub struct EmbeddedQueue {
    store: Store,
    blobs: BlobDir,
    index: RwLock<Index>,
    /// Held by everything that changes accounts: it is rare, and so one at a time.
    changing: tokio::sync::Mutex<()>,
    /// What is being stored at this moment, so that the same bytes are not stored twice at once.
    arriving: Mutex<HashSet<MsgADigest>>,
    refusing: Refusing,
}

/// The accounts, and the ways to find them.
#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<AccountId, Arc<Entry>>,
    /// A former slot with when it ends.
    by_slot: HashMap<SlotId, (Arc<Entry>, Option<UnixMillis>)>,
    by_token: HashMap<RetrievalId, Arc<Entry>>,
    by_owner: HashMap<AccountVerifyingKey, Arc<Entry>>,
    gifts: HashMap<AccountId, Gifts>,
}

impl Index {
    fn add(&mut self, entry: &Arc<Entry>, account: &Account) {
        self.by_id.insert(account.id, Arc::clone(entry));
        self.by_slot.extend(account.slots().map(|(slot, until)| (slot, (Arc::clone(entry), until))));
        self.by_token.insert(RetrievalId::of(&account.secrets.retrieval_token), Arc::clone(entry));
        self.by_owner.insert(account.owner, Arc::clone(entry));
        if let Some(provider) = account.given_by {
            self.gifts.entry(provider).or_default().add_customer(account.id);
        }
    }

    fn remove(&mut self, account: &Account) {
        self.by_id.remove(&account.id);
        account.slots().for_each(|(slot, _)| drop(self.by_slot.remove(&slot)));
        self.by_token.remove(&RetrievalId::of(&account.secrets.retrieval_token));
        self.by_owner.remove(&account.owner);
        if let Some(gifts) = account.given_by.and_then(|provider| self.gifts.get_mut(&provider)) {
            gifts.remove_customer(&account.id);
        }
    }

    /// Notes an open offer, if a provider has made it.
    fn note_open(&mut self, offer: RedeemTokenHash, terms: &OfferTerms) {
        if let Some(provider) = terms.given_by {
            self.gifts.entry(provider).or_default().open(offer, given(terms), terms.expires);
        }
    }

    /// Bytes of quota and storage that an account has given away.
    fn given_bytes(&self, provider: &AccountId, now: UnixMillis) -> u64 {
        let quota = |id: &AccountId| {
            let terms = self.by_id.get(id).map(|entry| entry.terms());
            terms.map_or(0, |terms| terms.quota.bytes.saturating_add(terms.storage_bytes))
        };
        self.gifts.get(provider).map_or(0, |gifts| gifts.bytes(now, quota))
    }
}

/// How much an offer gives away, in bytes.
const fn given(terms: &OfferTerms) -> u64 {
    terms.quota.bytes.saturating_add(terms.storage_bytes)
}

/// Why a queue cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenQueueError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store opens, but cannot be read, or holds what this program did not write.
    #[error("the queue cannot be read: {0}")]
    Queue(#[from] QueueError),
}

impl EmbeddedQueue {
    /// Opens the queue in `dir`, creating it if absent. `engine` decides how a new one is kept; an existing one is opened
    /// with its own engine if none is asked for.
    ///
    /// # Errors
    /// [`OpenQueueError`].
    pub async fn open(dir: &Path, engine: Option<EngineKind>) -> Result<Self, OpenQueueError> {
        let store = open_store(dir, engine)?;
        let blobs = BlobDir::open(&dir.join("blobs")).map_err(QueueError::new)?;
        let queue = Self {
            store,
            blobs,
            index: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
            arriving: Mutex::default(),
            refusing: Refusing::default(),
        };
        queue.load_accounts().await?;
        queue.load_gifts().await?;
        queue.load_messages().await?;
        queue.load_numbers().await?;
        Ok(queue)
    }

    /// Waits for what is being stored, then closes the store.
    pub async fn close(&self) {
        self.store.clone().close().await;
    }

    async fn load_accounts(&self) -> Result<(), QueueError> {
        let mut from = Vec::new();
        loop {
            let rows = self.scan(ACCOUNTS, from).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = after_key(last);
            let mut index = self.index_mut();
            for (_, bytes) in rows {
                let account = Account::decode_record(&bytes).map_err(QueueError::new)?;
                index.add(&Arc::new(Entry::new(&account)), &account);
            }
        }
    }

    /// Notes the open offers of providers; those of the operator need no counting.
    async fn load_gifts(&self) -> Result<(), QueueError> {
        let mut from = Vec::new();
        loop {
            let rows = self.scan(OFFERS, from).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = after_key(last);
            let mut index = self.index_mut();
            for (key, bytes) in &rows {
                let OfferRow { terms, redeemed } = OfferRow::decode_record(bytes).map_err(QueueError::new)?;
                if redeemed.is_none() {
                    index.note_open(rows::parse_offer_key(key)?, &terms);
                }
            }
        }
    }

    async fn load_messages(&self) -> Result<(), QueueError> {
        let mut blobs = HashSet::new();
        let mut from = Vec::new();
        loop {
            let rows = self.scan(MESSAGES, from).await?;
            let Some((last, _)) = rows.last() else { break };
            from = after_key(last);
            for (key, bytes) in rows {
                let row = MessageRow::decode_record(&bytes).map_err(QueueError::new)?;
                let (account, number) = rows::parse_message_key(&key)?;
                if let Some(entry) = self.entry(&account) {
                    entry.restore(number, &row);
                }
                blobs.extend(row.place.blob());
            }
        }
        let swept = self.blobs.sweep(move |name| blobs.contains(name)).await.map_err(QueueError::new)?;
        if !swept.orphans.is_empty() {
            tracing::info!(files = swept.orphans.len(), "removed files that belonged to no message");
        }
        Ok(())
    }

    /// What is still to be forgotten names messages that may be deleted: their numbers are not given again meanwhile.
    async fn load_numbers(&self) -> Result<(), QueueError> {
        let mut from = Vec::new();
        loop {
            let rows = self.scan(EXPIRY, from).await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = after_key(last);
            for (_, message) in rows {
                let (account, number) = rows::parse_message_key(&message)?;
                if let Some(entry) = self.entry(&account) {
                    entry.skip(number);
                }
            }
        }
    }

    async fn scan(
        &self,
        keyspace: petmail_store::Keyspace,
        from: Vec<u8>,
    ) -> Result<Vec<petmail_store::Row>, QueueError> {
        self.store.range(keyspace, from.., Direction::Ascending, SCAN_ROWS).await.map_err(QueueError::new)
    }

    async fn commit(&self, batch: Batch) -> Result<(), QueueError> {
        self.store.commit(batch).await.map_err(queue_error)
    }

    /// Waits until the store has failed, after which the queue has to be opened again. Says why.
    pub async fn failed(&self) -> QueueError {
        QueueError::new(self.store.failed().await)
    }

    async fn get(
        &self,
        keyspace: petmail_store::Keyspace,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, QueueError> {
        self.store.get(keyspace, key).await.map_err(QueueError::new)
    }

    async fn message_row(&self, key: &[u8]) -> Result<Option<MessageRow>, QueueError> {
        let row = self.get(MESSAGES, key).await?;
        row.map(|bytes| MessageRow::decode_record(&bytes).map_err(QueueError::new)).transpose()
    }

    async fn put_account(&self, account: Account) -> Result<(), QueueError> {
        let row = account.encode_record().map_err(QueueError::new)?;
        self.commit(Batch::new().put(ACCOUNTS, *account.id.as_bytes(), row)).await
    }

    async fn last_serial(&self) -> Result<Option<u64>, QueueError> {
        let row = self.get(META, SERIAL).await?;
        row.map(|bytes| bytes.as_slice().try_into().map(u64::from_be_bytes).map_err(QueueError::new))
            .transpose()
    }

    /// Finds the account that any of the slots leads to, and how.
    fn find_slot(&self, slots: &[SlotId], now: UnixMillis) -> Option<(Arc<Entry>, WayIn)> {
        let index = self.index();
        slots.iter().find_map(|slot| {
            let (entry, until) = index.by_slot.get(slot)?;
            let way_in = match until {
                None => WayIn::Slot,
                Some(until) if *until > now => WayIn::FormerSlot,
                Some(_) => return None,
            };
            Some((Arc::clone(entry), way_in))
        })
    }

    /// Reads an account that is in memory.
    async fn known(&self, id: AccountId) -> Result<Arc<Account>, QueueError> {
        let row = self.get(ACCOUNTS, id.as_bytes()).await?;
        let row = row.ok_or_else(|| QueueError::new(format_args!("account {id} has no row")))?;
        Account::decode_record(&row).map(Arc::new).map_err(QueueError::new)
    }

    /// Reads the account that a key owns.
    async fn owned_by(&self, owner: &AccountVerifyingKey) -> Result<Option<Arc<Account>>, QueueError> {
        let id = self.index().by_owner.get(owner).map(|entry| entry.id());
        match id {
            Some(id) => self.known(id).await.map(Some),
            None => Ok(None),
        }
    }

    fn entry(&self, id: &AccountId) -> Option<Arc<Entry>> {
        self.index().by_id.get(id).cloned()
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn arriving(&self) -> MutexGuard<'_, HashSet<MsgADigest>> {
        lock(&self.arriving)
    }

    /// Stores a message under a number that is the caller's alone; `Busy` if the store's queue is full.
    async fn store_message(
        &self,
        (account, retention_seconds): (AccountId, u64),
        (number, way_in): (MessageNumber, WayIn),
        digest: MsgADigest,
        msg_c: Vec<u8>,
        now: UnixMillis,
    ) -> Result<(), DeliverError> {
        let length = rows::length_of(&msg_c)?;
        let key = rows::message_key(&account, number);
        let expiry = now.plus(std::time::Duration::from_secs(retention_seconds));
        let batch = Batch::new().put(REPLAYS, *digest.as_bytes(), expiry.0.to_be_bytes()).put(
            EXPIRY,
            rows::expiry_key(expiry, &digest),
            key.clone(),
        );
        let (batch, place) = if msg_c.len() <= petmail_store::MAX_VALUE_BYTES {
            (batch.put(BODIES, key.clone(), msg_c), Place::Row)
        } else {
            let name = random_blob_name();
            self.blobs.put(name, msg_c).await.map_err(QueueError::new)?;
            (batch, Place::File(*name.as_bytes()))
        };
        let row = MessageRow { received: now, length, place, is_former_slot: way_in == WayIn::FormerSlot };
        let row = row.encode_record().map_err(QueueError::new)?;
        let committed = self.store.try_commit(batch.put(MESSAGES, key, row)).await;
        committed.map_err(|error| match error {
            CommitError::Overloaded => DeliverError::Busy,
            other => queue_error(other).into(),
        })
    }

    /// Deletes messages of one account with its lock held, in one batch, and their files after it.
    async fn delete_from(
        &self,
        entry: &Entry,
        numbers: &[MessageNumber],
        batch: Batch,
    ) -> Result<(), QueueError> {
        let _one_at_a_time = entry.deleting.lock().await;
        let id = entry.id();
        let mut batch = batch;
        let mut gone: BTreeMap<MessageNumber, MessageRow> = BTreeMap::new();
        for number in numbers {
            let key = rows::message_key(&id, *number);
            if let Some(row) = self.message_row(&key).await? {
                gone.insert(*number, row);
                batch = batch.delete(MESSAGES, key.clone()).delete(BODIES, key);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.commit(batch).await?;
        for row in gone.values() {
            entry.forget(row);
            if let Some(name) = row.place.blob() {
                self.remove_file(name).await;
            }
        }
        Ok(())
    }

    /// Its row is gone: a file that stays is an orphan, removed at the next start.
    async fn remove_file(&self, name: BlobName) {
        if let Err(error) = self.blobs.remove(name).await {
            tracing::warn!(%error, "cannot remove the file of a deleted message");
        }
    }
}

impl QueueStore for EmbeddedQueue {
    async fn add_offers(&self, offers: &[RedeemTokenHash], terms: OfferTerms) -> Result<(), QueueError> {
        self.check_room_for(0).await?;
        let row = OfferRow { terms, redeemed: None }.encode_record().map_err(QueueError::new)?;
        let add = |batch: Batch, offer: &RedeemTokenHash| batch.put(OFFERS, *offer.as_bytes(), row.clone());
        self.commit(offers.iter().fold(Batch::new(), add)).await
    }

    async fn mint(&self, request: &MintRequest, now: UnixMillis) -> Result<(), MintError> {
        let MintRequest { owner, offer, terms: asked } = request;
        let _one_at_a_time = self.changing.lock().await;
        let provider = self.owned_by(owner).await?.ok_or(MintError::UnknownAccount)?;
        let total = provider.provider_total.filter(|_| provider.state == AccountState::Active);
        let total = total.ok_or(MintError::NotProvider)?;
        let terms = OfferTerms {
            quota: Quota { bytes: asked.mailbox_bytes, messages: QUOTA_MESSAGES },
            retention_seconds: asked.retention_seconds,
            expires: now.plus(std::time::Duration::from_secs(asked.life_seconds)),
            provider_total: None,
            given_by: Some(provider.id),
            storage_bytes: asked.storage_bytes,
        };
        if let Some(row) = self.get(OFFERS, offer.as_bytes()).await? {
            let known = OfferRow::decode_record(&row).map_err(QueueError::new)?.terms;
            let is_same = known == OfferTerms { expires: known.expires, ..terms };
            return if is_same { Ok(()) } else { Err(MintError::Taken) };
        }
        if asked.retention_seconds > provider.retention_seconds {
            return Err(MintError::TooLong);
        }
        {
            let mut index = self.index_mut();
            let given_already = index.given_bytes(&provider.id, now);
            let gifts = index.gifts.entry(provider.id).or_default();
            gifts.expire(now);
            if gifts.is_crowded() || given_already.saturating_add(given(&terms)) > total {
                return Err(MintError::Exhausted);
            }
        }
        self.check_room_for(0).await?;
        let row = OfferRow { terms, redeemed: None }.encode_record().map_err(QueueError::new)?;
        self.commit(Batch::new().put(OFFERS, *offer.as_bytes(), row)).await?;
        let mut index = self.index_mut();
        index.gifts.entry(provider.id).or_default().open(*offer, given(&terms), terms.expires);
        Ok(())
    }

    async fn allowance(&self, account: AccountId, now: UnixMillis) -> Result<Option<Allowance>, QueueError> {
        if self.entry(&account).is_none() {
            return Ok(None);
        }
        let total = self.known(account).await?.provider_total;
        let given_bytes = self.index().given_bytes(&account, now);
        Ok(total.map(|total_bytes| Allowance { total_bytes, given_bytes }))
    }

    async fn redeem(
        &self,
        request: &RedeemRequest,
        new: NewAccount,
        now: UnixMillis,
    ) -> Result<Arc<Account>, RedeemError> {
        let _one_at_a_time = self.changing.lock().await;
        let row = self.get(OFFERS, request.offer.as_bytes()).await?.ok_or(RedeemError::UnknownOffer)?;
        let offer = OfferRow::decode_record(&row).map_err(QueueError::new)?;
        let owned = self.owned_by(&request.owner).await?;
        match (offer.redeemed, owned) {
            (Some(id), Some(account)) if account.id == id => return Ok(account),
            (Some(_), _) => return Err(RedeemError::UsedByAnother),
            (None, Some(_)) => return Err(RedeemError::KeyInUse),
            (None, None) if offer.terms.expires < now => return Err(RedeemError::Expired),
            (None, None) => {}
        }
        self.check_room_for(0).await?;
        let account = open_account(request, new, offer.terms, now);
        let redeemed = OfferRow { redeemed: Some(account.id), ..offer };
        let batch = Batch::new()
            .put(OFFERS, *request.offer.as_bytes(), redeemed.encode_record().map_err(QueueError::new)?)
            .put(ACCOUNTS, *account.id.as_bytes(), account.encode_record().map_err(QueueError::new)?);
        self.commit(batch).await?;
        let entry = Arc::new(Entry::new(&account));
        let mut index = self.index_mut();
        if let Some(gifts) = offer.terms.given_by.and_then(|provider| index.gifts.get_mut(&provider)) {
            gifts.close(&request.offer);
        }
        index.add(&entry, &account);
        Ok(Arc::new(account))
    }

    async fn rekey(
        &self,
        request: &RekeyRequest,
        new: NewSecrets,
        now: UnixMillis,
    ) -> Result<Rekeyed, RekeyError> {
        let _one_at_a_time = self.changing.lock().await;
        let theirs = self.owned_by(&request.new_owner).await?;
        let is_answered = |account: &Arc<Account>| {
            request.generation == account.generation && request.answer_key == account.answer_key
        };
        if let Some(account) = theirs.clone().filter(is_answered) {
            return Ok(Rekeyed { account, is_new: false });
        }
        let entry = self.index().by_owner.get(&request.owner).cloned().ok_or(RekeyError::UnknownAccount)?;
        let old = self.known(entry.id()).await?;
        if request.generation <= old.generation {
            return Err(RekeyError::StaleGeneration);
        }
        if theirs.is_some_and(|account| account.id != old.id) {
            return Err(RekeyError::KeyInUse);
        }
        let account = old.rekeyed(request, new, now);
        self.put_account(account.clone()).await?;
        let mut index = self.index_mut();
        index.remove(&old);
        entry.replace(&account);
        index.add(&entry, &account);
        Ok(Rekeyed { account: Arc::new(account), is_new: true })
    }

    async fn change(
        &self,
        account: AccountId,
        change: &AccountChange,
    ) -> Result<Option<Arc<Account>>, QueueError> {
        let _one_at_a_time = self.changing.lock().await;
        let Some(entry) = self.entry(&account) else { return Ok(None) };
        let changed = self.known(account).await?.changed(change);
        self.put_account(changed.clone()).await?;
        entry.replace(&changed);
        Ok(Some(Arc::new(changed)))
    }

    async fn remove(&self, account: AccountId) -> Result<bool, QueueError> {
        let _one_at_a_time = self.changing.lock().await;
        let Some(entry) = self.entry(&account) else { return Ok(false) };
        // From now on nothing comes in; if the rest fails, the account is there again at the next start.
        let removed = self.known(account).await?;
        self.index_mut().remove(&removed);
        loop {
            let prefix = rows::message_key(&account, MessageNumber(0))
                ..=rows::message_key(&account, MessageNumber(u64::MAX));
            let rows = self.store.range(MESSAGES, prefix, Direction::Ascending, REMOVED_AT_ONCE).await;
            let numbers: Result<Vec<_>, _> = rows
                .map_err(QueueError::new)?
                .iter()
                .map(|(key, _)| rows::parse_message_key(key).map(|(_, number)| number))
                .collect();
            let numbers = numbers?;
            if numbers.is_empty() {
                break;
            }
            self.delete_from(&entry, &numbers, Batch::new()).await?;
        }
        // What it has given stays; its open offers end with it.
        let gifts = self.index_mut().gifts.remove(&account).unwrap_or_default();
        let batch = Batch::new().delete(ACCOUNTS, *account.as_bytes());
        let forget = |batch: Batch, offer: &RedeemTokenHash| batch.delete(OFFERS, *offer.as_bytes());
        self.commit(gifts.open_offers().fold(batch, forget)).await?;
        Ok(true)
    }

    async fn find(&self, token: RetrievalId) -> Result<Option<Arc<Account>>, QueueError> {
        let id = self.index().by_token.get(&token).map(|entry| entry.id());
        let Some(id) = id else { return Ok(None) };
        // Since the look into the index it may have been removed, or been given other secrets.
        let Some(row) = self.get(ACCOUNTS, id.as_bytes()).await? else { return Ok(None) };
        let account = Account::decode_record(&row).map_err(QueueError::new)?;
        let is_it = RetrievalId::of(&account.secrets.retrieval_token) == token;
        Ok(is_it.then(|| Arc::new(account)))
    }

    async fn account(&self, account: AccountId) -> Result<Option<Arc<Account>>, QueueError> {
        match self.entry(&account) {
            Some(_) => self.known(account).await.map(Some),
            None => Ok(None),
        }
    }

    async fn accounts(&self, now: UnixMillis) -> Result<Vec<AccountUsage>, QueueError> {
        let mut accounts = Vec::new();
        let mut from = Vec::new();
        loop {
            let rows = self.scan(ACCOUNTS, from).await?;
            let Some((last, _)) = rows.last() else { return Ok(accounts) };
            from = after_key(last);
            let index = self.index();
            for (_, bytes) in &rows {
                let account = Account::decode_record(bytes).map_err(QueueError::new)?;
                // One that is being removed is not listed.
                let Some(entry) = index.by_id.get(&account.id) else { continue };
                let given_bytes = index.given_bytes(&account.id, now);
                accounts.push(AccountUsage { usage: entry.usage(), given_bytes, account: Arc::new(account) });
            }
        }
    }

    async fn usage(&self, account: AccountId) -> Result<Usage, QueueError> {
        Ok(self.index().by_id.get(&account).map(|entry| entry.usage()).unwrap_or_default())
    }

    async fn totals(&self) -> Result<Totals, QueueError> {
        Ok(self.index().by_id.values().fold(Totals::default(), |sum, entry| sum.and(entry.usage())))
    }

    async fn deliver(
        &self,
        slots: &[SlotId],
        digest: MsgADigest,
        msg_c: Vec<u8>,
        now: UnixMillis,
    ) -> Result<Delivered, DeliverError> {
        let (entry, way_in) = self.find_slot(slots, now).ok_or(DeliverError::UnknownSlot)?;
        let _arrival = Arrival::begin(self, digest)?;
        let known = self.get(REPLAYS, digest.as_bytes()).await?;
        if known.is_some_and(|expiry| expiry.as_slice() >= now.0.to_be_bytes().as_slice()) {
            return Ok(Delivered::Repeated);
        }
        let terms = entry.terms();
        if terms.state != AccountState::Active {
            return Err(DeliverError::Full);
        }
        self.check_room_for(msg_c.len()).await?;
        let reserved = entry.reserve(rows::length_of(&msg_c)?, way_in, now).ok_or(DeliverError::Full)?;
        let number = reserved.number();
        self.store_message((entry.id(), terms.retention_seconds), (number, way_in), digest, msg_c, now)
            .await?;
        reserved.keep();
        Ok(Delivered::Stored(number))
    }

    async fn list(
        &self,
        account: AccountId,
        after: Option<MessageNumber>,
        limit: usize,
    ) -> Result<Vec<Waiting>, QueueError> {
        let Some(entry) = self.entry(&account) else { return Ok(Vec::new()) };
        let end = rows::message_key(&account, MessageNumber(entry.visible_end()));
        let from = after.map_or(0, |number| number.0.saturating_add(1));
        let start = rows::message_key(&account, MessageNumber(from));
        let rows = self.store.range(MESSAGES, start..end, Direction::Ascending, limit).await;
        rows.map_err(QueueError::new)?.iter().map(|(key, row)| rows::waiting(key, row)).collect()
    }

    async fn message(
        &self,
        account: AccountId,
        number: MessageNumber,
    ) -> Result<Option<Vec<u8>>, QueueError> {
        let key = rows::message_key(&account, number);
        match self.message_row(&key).await? {
            None => Ok(None),
            Some(MessageRow { place: Place::Row, .. }) => self.get(BODIES, &key).await,
            Some(MessageRow { place: Place::File(name), .. }) => {
                let max = u64::try_from(Bucket::Kib256.msg_c_bytes()).map_err(QueueError::new)?;
                self.blobs.get(BlobName::from_bytes(name), max).await.map_err(QueueError::new)
            }
        }
    }

    async fn delete(&self, account: AccountId, numbers: &[MessageNumber]) -> Result<(), QueueError> {
        match self.entry(&account) {
            Some(entry) => self.delete_from(&entry, numbers, Batch::new()).await,
            None => Ok(()),
        }
    }

    async fn sweep(&self, now: UnixMillis, limit: usize) -> Result<usize, QueueError> {
        let due = ..now.0.to_be_bytes().to_vec();
        let rows =
            self.store.range(EXPIRY, due, Direction::Ascending, limit).await.map_err(QueueError::new)?;
        let mut due: BTreeMap<AccountId, (Vec<MessageNumber>, Batch)> = BTreeMap::new();
        for (key, message) in &rows {
            let (account, number) = rows::parse_message_key(message)?;
            let (expiry, digest) = rows::parse_expiry_key(key)?;
            let (numbers, batch) = due.entry(account).or_default();
            numbers.push(number);
            *batch = std::mem::take(batch).delete(EXPIRY, key.clone());
            // The same bytes may have come again meanwhile.
            let remembered = self.get(REPLAYS, digest.as_bytes()).await?;
            if remembered.is_some_and(|until| until.as_slice() == expiry.0.to_be_bytes()) {
                *batch = std::mem::take(batch).delete(REPLAYS, *digest.as_bytes());
            }
        }
        for (account, (numbers, batch)) in due {
            match self.entry(&account) {
                Some(entry) => self.delete_from(&entry, &numbers, batch).await?,
                None => {
                    self.commit(numbers.iter().fold(batch, |batch, number| {
                        let key = rows::message_key(&account, *number);
                        batch.delete(MESSAGES, key.clone()).delete(BODIES, key)
                    }))
                    .await?
                }
            }
        }
        Ok(rows.len())
    }

    fn arrivals(&self, account: AccountId) -> Option<watch::Receiver<u64>> {
        self.entry(&account).map(|entry| entry.arrivals())
    }

    async fn stats(&self) -> Result<QueueStats, QueueError> {
        let stats = self.store.stats().await.map_err(QueueError::new)?;
        Ok(QueueStats {
            commits: stats.commits,
            flushes: stats.groups,
            disk_bytes: stats.disk_bytes,
            healthy: !stats.failed && !stats.alarm,
            disk_full: self.check_room_for(0).await.is_err(),
        })
    }

    async fn next_serial(&self, minimum: u64) -> Result<u64, QueueError> {
        let _one_at_a_time = self.changing.lock().await;
        let last = self.last_serial().await?.unwrap_or_default();
        let serial = minimum.max(last.saturating_add(1));
        self.commit(Batch::new().put(META, SERIAL, serial.to_be_bytes())).await?;
        Ok(serial)
    }

    async fn export(&self, sink: mpsc::Sender<Exported>) -> Result<(), QueueError> {
        self.hand_out(&sink).await
    }

    async fn import(&self, records: Vec<Exported>) -> Result<(), QueueError> {
        let _one_at_a_time = self.changing.lock().await;
        self.take_in(&records).await
    }
}

fn open_store(dir: &Path, engine: Option<EngineKind>) -> Result<Store, OpenError> {
    let dir = dir.join("store");
    match Store::open(&dir, engine.unwrap_or_default(), KEYSPACES) {
        Err(OpenError::WrongEngine { found, .. }) if engine.is_none() => Store::open(&dir, found, KEYSPACES),
        other => other,
    }
}

/// Marks a digest as arriving until it is dropped.
struct Arrival<'q> {
    queue: &'q EmbeddedQueue,
    digest: MsgADigest,
}

impl<'q> Arrival<'q> {
    fn begin(queue: &'q EmbeddedQueue, digest: MsgADigest) -> Result<Self, DeliverError> {
        if queue.arriving().insert(digest) { Ok(Self { queue, digest }) } else { Err(DeliverError::Busy) }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.queue.arriving().remove(&self.digest);
    }
}

fn open_account(request: &RedeemRequest, new: NewAccount, terms: OfferTerms, now: UnixMillis) -> Account {
    Account {
        id: new.id,
        owner: request.owner,
        answer_key: request.answer_key,
        generation: 0,
        secrets: new.secrets,
        slot: new.slot.slot,
        token: new.slot.token,
        kid: new.slot.kid,
        quota: terms.quota,
        retention_seconds: terms.retention_seconds,
        state: AccountState::Active,
        created: now,
        slot_generation: 0,
        former_slots: Vec::new(),
        notices: Vec::new(),
        provider_total: terms.provider_total,
        given_by: terms.given_by,
        storage_bytes: terms.storage_bytes,
    }
}

fn queue_error(error: CommitError) -> QueueError {
    match error {
        CommitError::DiskFull(full) => full.into(),
        other => QueueError::new(other),
    }
}

fn random_blob_name() -> BlobName {
    let mut name = [0; 16];
    OsRng.fill_bytes(&mut name);
    BlobName::from_bytes(name)
}

fn after_key(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
