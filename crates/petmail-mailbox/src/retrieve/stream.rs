//! One open event stream: what waits, then what arrives, until another stream of the account takes over.

use std::sync::Arc;

use petmail_proto::{
    keys::SymmetricKey,
    retrieval::{Event, MessageNumber, RequestKey, seal_event},
    server::account::AccountId,
    time::UnixMillis,
};
use rand_core::OsRng;
use tokio::sync::watch;

use super::{OpenStream, Page, Retrieval, RetrieveError, lock};
use crate::queue::QueueStore;

/// What a stream yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// A sealed event.
    Event(Vec<u8>),
    /// The operator has changed the account: its owner should ask how it is now.
    AccountChanged,
    /// Another stream of the account was opened, or its keys were replaced: this one ends.
    Superseded,
}

/// An open event stream.
#[derive(Debug)]
pub struct EventStream<Q> {
    service: Arc<Retrieval<Q>>,
    account: AccountId,
    request_key: RequestKey,
    key: SymmetricKey,
    arrivals: watch::Receiver<u64>,
    open: OpenStream,
    /// The last message shown.
    shown: Option<MessageNumber>,
    /// The number of the next event.
    next: u64,
}

impl<Q: QueueStore> EventStream<Q> {
    pub(super) const fn new(
        service: Arc<Retrieval<Q>>,
        account: AccountId,
        request_key: RequestKey,
        key: SymmetricKey,
        arrivals: watch::Receiver<u64>,
        open: OpenStream,
    ) -> Self {
        Self { service, account, request_key, key, arrivals, open, shown: None, next: 0 }
    }

    /// Waits for the next item. The first comes at once, and is empty if nothing waits; after `Superseded` nothing comes.
    ///
    /// # Errors
    /// [`RetrieveError`]; the stream is to be closed then.
    pub async fn next(&mut self, clock: impl Fn() -> UnixMillis) -> Result<StreamItem, RetrieveError> {
        loop {
            if self.open.superseded.is_cancelled() {
                if self.service.identity.get().moved_to().is_some() {
                    return Err(RetrieveError::Moved);
                }
                // The owner of an account that was removed has no rival, and is told so when it asks again.
                let is_there = self.service.queue.arrivals(self.account).is_some();
                return if is_there { Ok(StreamItem::Superseded) } else { Err(RetrieveError::UnknownToken) };
            }
            self.arrivals.mark_unchanged();
            let page = self.service.page(self.account, self.shown, clock()).await?;
            if !page.entries.is_empty() || self.next == 0 {
                return self.show(page).map(StreamItem::Event);
            }
            tokio::select! {
                () = self.open.superseded.cancelled() => {}
                () = self.open.changed.notified() => return Ok(StreamItem::AccountChanged),
                changed = self.arrivals.changed() => changed.map_err(|_| RetrieveError::UnknownToken)?,
            }
        }
    }

    fn show(&mut self, page: Page) -> Result<Vec<u8>, RetrieveError> {
        let event = Event { number: self.next, entries: page.entries, more: page.more };
        let sealed = seal_event(&event, &self.request_key, &self.key, &mut OsRng)?;
        self.next = self.next.saturating_add(1);
        self.shown = page.last.or(self.shown);
        Ok(sealed)
    }
}

impl<Q> Drop for EventStream<Q> {
    fn drop(&mut self) {
        // Looked at under the lock: a successor inserts itself and cancels this stream in one step.
        let mut streams = lock(&self.service.streams);
        if !self.open.superseded.is_cancelled() {
            streams.remove(&self.account);
        }
    }
}
