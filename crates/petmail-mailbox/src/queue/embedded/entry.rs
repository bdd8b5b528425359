//! One account in memory: its record, what it holds, and which numbers are being stored.
//!
//! Numbers are given in the order of acceptance, but their commits may end in another. A number is shown only when all
//! before it are settled, so that who has seen number 6 never misses a 5 that comes later.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use petmail_proto::retrieval::MessageNumber;
use tokio::sync::watch;

use super::rows::MessageRow;
use crate::queue::{Account, Usage};

/// An account in memory.
#[derive(Debug)]
pub(super) struct Entry {
    account: RwLock<Arc<Account>>,
    load: Mutex<Load>,
    /// The first number that is not shown yet.
    visible: watch::Sender<u64>,
    /// One deletion at a time, so that nothing is subtracted twice.
    pub(super) deleting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Load {
    usage: Usage,
    next: u64,
    /// Numbers that are being stored.
    pending: BTreeSet<u64>,
}

impl Load {
    fn visible_end(&self) -> u64 {
        self.pending.first().copied().unwrap_or(self.next)
    }
}

impl Entry {
    pub(super) fn new(account: Account) -> Self {
        Self {
            account: RwLock::new(Arc::new(account)),
            load: Mutex::default(),
            visible: watch::Sender::new(0),
            deleting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.account.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, account: Account) {
        *self.account.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(account);
    }

    pub(super) fn usage(&self) -> Usage {
        lock(&self.load).usage
    }

    pub(super) fn visible_end(&self) -> u64 {
        lock(&self.load).visible_end()
    }

    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.visible.subscribe()
    }

    /// Counts a message that was found at opening.
    pub(super) fn restore(&self, number: MessageNumber, row: &MessageRow) {
        let mut load = lock(&self.load);
        load.usage.bytes = load.usage.bytes.saturating_add(u64::from(row.length));
        load.usage.messages = load.usage.messages.saturating_add(1);
        load.next = load.next.max(number.0.saturating_add(1));
        self.visible.send_replace(load.next);
    }

    /// Takes the room and the number for a message of `length` bytes; `None` if the account is full.
    pub(super) fn reserve(&self, length: u32) -> Option<Reserved<'_>> {
        let quota = self.account().quota;
        let mut load = lock(&self.load);
        let usage = Usage {
            bytes: load.usage.bytes.saturating_add(u64::from(length)),
            messages: load.usage.messages.saturating_add(1),
        };
        if usage.bytes > quota.bytes || usage.messages > quota.messages {
            return None;
        }
        let number = load.next;
        load.usage = usage;
        load.next = number.saturating_add(1);
        load.pending.insert(number);
        Some(Reserved { entry: self, number, length, kept: false })
    }

    /// Gives back the room of a message that was deleted.
    pub(super) fn forget(&self, row: &MessageRow) {
        self.give_back(row.length);
    }

    fn give_back(&self, length: u32) {
        let mut load = lock(&self.load);
        load.usage.bytes = load.usage.bytes.saturating_sub(u64::from(length));
        load.usage.messages = load.usage.messages.saturating_sub(1);
    }

    fn settle(&self, number: u64) {
        let mut load = lock(&self.load);
        load.pending.remove(&number);
        let end = load.visible_end();
        self.visible.send_if_modified(|visible| {
            let rises = end > *visible;
            *visible = end.max(*visible);
            rises
        });
    }
}

/// Room and number of a message that is being stored. Dropped without [`keep`](Self::keep), the room is given back; the
/// number is not used again.
pub(super) struct Reserved<'e> {
    entry: &'e Entry,
    number: u64,
    length: u32,
    kept: bool,
}

impl Reserved<'_> {
    pub(super) fn number(&self) -> MessageNumber {
        MessageNumber(self.number)
    }

    /// The message is on disk.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.entry.give_back(self.length);
        }
        self.entry.settle(self.number);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
