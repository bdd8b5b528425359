//! Retrieval: list requests, event streams, fetching and deleting. Knows boxes, tokens and the queue, not HTTP.
//! Specification: Retrieval.

mod replay;
mod stream;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use petmail_proto::{
    retrieval::{
        DeleteRequest, DeleteToken, Entry, Event, FetchAnswer, FetchRequest, FetchToken, ListRequest,
        MAX_ENTRIES, MAX_INLINE_BYTES, MessageNumber, Refusal, RefusalReason, RequestKey, RetrievalError,
        StorageGrant, StorageTicket, TicketError, TicketKey, seal_event, seal_refusal,
    },
    server::account::{AccountId, AccountState},
    time::UnixMillis,
};
use rand_core::OsRng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::replay::{ReplayMemory, Seen};
pub use self::stream::{EventStream, StreamItem};
use crate::{
    identity::CurrentIdentity,
    packs::Depositor,
    queue::{Account, QueueError, QueueStore, RetrievalId, Waiting},
    work::{Interrupted, to_the_end},
};

/// Why a request of an account's owner is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrieveError {
    /// It does not open, or is malformed.
    #[error(transparent)]
    Request(#[from] RetrievalError),
    /// No account has this retrieval token.
    #[error("the retrieval token is unknown")]
    UnknownToken,
    /// The server has another address now.
    #[error("the server has moved")]
    Moved,
    /// A fetch or delete token is not good, or no more.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The time is wrong or the request was seen before; the answer is for the owner.
    #[error("the list request is refused: {reason:?}")]
    Refused {
        /// Why.
        reason: RefusalReason,
        /// The boxed refusal.
        answer: Vec<u8>,
    },
    /// More list requests came within the window than are remembered.
    #[error("too many list requests")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The program is stopping.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Answers the owners of accounts.
#[derive(Debug)]
pub struct Retrieval<Q> {
    queue: Arc<Q>,
    identity: Arc<CurrentIdentity>,
    /// Drawn at every start: tokens of an earlier run are refused, and the owner lists again.
    tickets: TicketKey,
    started: UnixMillis,
    replays: Mutex<ReplayMemory>,
    /// The open stream of each account.
    streams: Mutex<HashMap<AccountId, OpenStream>>,
}

/// How an open stream is spoken to.
#[derive(Clone, Debug, Default)]
struct OpenStream {
    /// Another one takes over.
    superseded: CancellationToken,
    /// The operator has changed the account.
    changed: Arc<Notify>,
}

/// A list request that was granted.
struct Granted {
    account: Arc<Account>,
    request_key: RequestKey,
}

impl<Q: QueueStore> Retrieval<Q> {
    /// Works on `queue` for the server `identity` from `started` on.
    pub fn new(queue: Arc<Q>, identity: Arc<CurrentIdentity>, started: UnixMillis) -> Self {
        Self {
            queue,
            identity,
            tickets: TicketKey::generate(&mut OsRng),
            started,
            replays: Mutex::default(),
            streams: Mutex::default(),
        }
    }

    /// Answers a poll: one sealed event.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn poll(&self, body: &[u8], now: UnixMillis) -> Result<Vec<u8>, RetrieveError> {
        let granted = self.grant(body, now).await?;
        let page = self.page(granted.account.id, None, now).await?;
        let event = Event { number: 0, entries: page.entries, more: page.more };
        Ok(seal_event(&event, &granted.request_key, &granted.account.secrets.symmetric_key, &mut OsRng)?)
    }

    /// Opens an event stream, and ends the account's earlier one.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn stream(
        self: &Arc<Self>,
        body: &[u8],
        now: UnixMillis,
    ) -> Result<EventStream<Q>, RetrieveError> {
        let granted = self.grant(body, now).await?;
        let id = granted.account.id;
        let arrivals = self.queue.arrivals(id).ok_or(RetrieveError::UnknownToken)?;
        let stream = self.supersede(id);
        let key = granted.account.secrets.symmetric_key.clone();
        Ok(EventStream::new(Arc::clone(self), id, granted.request_key, key, arrivals, stream))
    }

    /// Returns how many streams are open.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        lock(&self.streams).len()
    }

    /// Returns the accounts whose owners have a stream open.
    #[must_use]
    pub fn streaming(&self) -> Vec<AccountId> {
        lock(&self.streams).keys().copied().collect()
    }

    /// Ends an account's stream, whose keys were replaced.
    pub fn end_stream(&self, account: &AccountId) {
        if let Some(earlier) = lock(&self.streams).remove(account) {
            earlier.superseded.cancel();
        }
    }

    /// Ends all streams: their owners ask anew where the server is.
    pub fn end_streams(&self) {
        lock(&self.streams).drain().for_each(|(_, stream)| stream.superseded.cancel());
    }

    /// Has an account's stream tell its owner that the account was changed.
    pub fn tell_changed(&self, account: &AccountId) {
        if let Some(stream) = lock(&self.streams).get(account) {
            stream.changed.notify_one();
        }
    }

    /// Answers a request for a ticket to an account's packs, of which it holds so many bytes.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn grant_storage(
        &self,
        body: &[u8],
        used_bytes: impl FnOnce(&AccountId) -> u64,
        now: UnixMillis,
    ) -> Result<Vec<u8>, RetrieveError> {
        let Granted { account, request_key } = self.grant(body, now).await?;
        let grant = StorageGrant {
            ticket: StorageTicket::seal(&self.tickets, &account.id, now, &mut OsRng),
            quota_bytes: account.storage_bytes,
            used_bytes: used_bytes(&account.id),
        };
        Ok(grant.seal(&request_key, &account.secrets.symmetric_key, &mut OsRng))
    }

    /// Tells who comes with a ticket, and what they may store; a suspended account may store nothing more.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn depositor(
        &self,
        ticket: &StorageTicket,
        now: UnixMillis,
    ) -> Result<Depositor, RetrieveError> {
        let account = ticket.open(&self.tickets, now)?;
        let found = self.queue.account(account).await?.ok_or(RetrieveError::UnknownToken)?;
        let quota_bytes = if found.state == AccountState::Active { found.storage_bytes } else { 0 };
        Ok(Depositor { account, quota_bytes })
    }

    /// Answers a fetch.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn fetch(&self, body: &[u8], now: UnixMillis) -> Result<Vec<u8>, RetrieveError> {
        let request = FetchRequest::decode(body)?;
        let opened: Result<Vec<_>, _> =
            request.tokens.iter().map(|token| token.open(&self.tickets, now)).collect();
        let mut messages = Vec::new();
        for (account, number) in opened? {
            messages.push(self.queue.message(account, number).await?);
        }
        Ok(FetchAnswer { messages }.encode()?)
    }

    /// Deletes messages; they are gone from the disk when this returns. One bad token, and nothing is deleted.
    ///
    /// # Errors
    /// [`RetrieveError`].
    pub async fn delete(&self, body: &[u8], now: UnixMillis) -> Result<(), RetrieveError> {
        let request = DeleteRequest::decode(body)?;
        let mut numbers: BTreeMap<AccountId, Vec<MessageNumber>> = BTreeMap::new();
        for token in &request.tokens {
            let (account, number) = token.open(&self.tickets, now)?;
            numbers.entry(account).or_default().push(number);
        }
        let queue = Arc::clone(&self.queue);
        let delete = async move {
            for (account, numbers) in numbers {
                queue.delete(account, &numbers).await?;
            }
            Ok::<_, QueueError>(())
        };
        Ok(to_the_end(delete).await??)
    }

    async fn grant(&self, body: &[u8], now: UnixMillis) -> Result<Granted, RetrieveError> {
        let request = ListRequest::open(body, self.identity.get().retrieval_keys())?;
        let found = self.queue.find(RetrievalId::of(&request.token)).await?;
        let account = found.ok_or(RetrieveError::UnknownToken)?;
        let fresh = request.check_time(self.started, now).and_then(|()| {
            match lock(&self.replays).remember(request.request_key, now) {
                Seen::Never => Ok(true),
                Seen::Before => Err(RefusalReason::Replayed),
                Seen::TooMany => Ok(false),
            }
        });
        match fresh {
            Ok(true) => Ok(Granted { account, request_key: request.request_key }),
            Ok(false) => Err(RetrieveError::Busy),
            Err(reason) => {
                let refusal = Refusal { server_time: now, reason };
                let key = &account.secrets.symmetric_key;
                let answer = seal_refusal(refusal, &request.request_key, key, &mut OsRng);
                Err(RetrieveError::Refused { reason, answer })
            }
        }
    }

    fn supersede(&self, account: AccountId) -> OpenStream {
        let stream = OpenStream::default();
        let mut streams = lock(&self.streams);
        if let Some(earlier) = streams.insert(account, stream.clone()) {
            earlier.superseded.cancel();
        }
        drop(streams);
        stream
    }

    /// Gathers the messages after `after` that fit into one event.
    async fn page(
        &self,
        account: AccountId,
        after: Option<MessageNumber>,
        now: UnixMillis,
    ) -> Result<Page, QueueError> {
        let waiting = self.queue.list(account, after, MAX_ENTRIES.saturating_add(1)).await?;
        let mut page = Page::default();
        let mut bytes = 0_usize;
        for message in waiting {
            let Some(entry) = self.entry(account, message, now).await? else { continue };
            if !Event::has_room(page.entries.len(), bytes, &entry) {
                page.more = true;
                break;
            }
            bytes = bytes.saturating_add(entry.encoded_bytes());
            page.entries.push(entry);
            page.last = Some(message.number);
        }
        Ok(page)
    }

    /// Makes the entry of a message; `None` if it was deleted meanwhile.
    async fn entry(
        &self,
        account: AccountId,
        message: Waiting,
        now: UnixMillis,
    ) -> Result<Option<Entry>, QueueError> {
        let inline = usize::try_from(message.length).is_ok_and(|length| length <= MAX_INLINE_BYTES);
        let body = if inline { self.queue.message(account, message.number).await? } else { None };
        if inline && body.is_none() {
            return Ok(None);
        }
        let fetch = FetchToken::seal(&self.tickets, &account, message.number, now, &mut OsRng);
        let delete = DeleteToken::seal(&self.tickets, &account, message.number, now, &mut OsRng);
        Ok(Some(Entry { fetch, delete, length: message.length, message: body }))
    }
}

/// What one event shows.
#[derive(Debug, Default)]
struct Page {
    entries: Vec<Entry>,
    more: bool,
    /// The last message shown.
    last: Option<MessageNumber>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
