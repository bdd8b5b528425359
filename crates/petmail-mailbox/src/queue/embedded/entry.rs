//! One account in memory: what a delivery needs to know of it, what it holds, and which numbers are being stored. The rest of
//! its record stays on disk: there may be many accounts, and few of them are in use.
//!
//! Numbers are given in the order of acceptance, but their commits may end in another. A number is shown only when all
//! before it are settled, so that who has seen number 6 never misses a 5 that comes later.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use petmail_proto::{
    retrieval::MessageNumber,
    server::account::{AccountId, AccountState, Quota},
    time::UnixMillis,
};
use tokio::sync::watch;

use super::{former::FormerLoad, rows::MessageRow};
use crate::queue::{Account, Usage, WayIn};

/// An account in memory.
#[derive(Debug)]
pub(super) struct Entry {
    id: AccountId,
    load: Mutex<Load>,
    /// One deletion at a time, so that nothing is subtracted twice.
    pub(super) deleting: tokio::sync::Mutex<()>,
}

/// What a delivery needs to know of an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) quota: Quota,
    pub(super) storage_bytes: u64,
    pub(super) retention_seconds: u64,
    pub(super) state: AccountState,
}

impl Terms {
    fn of(account: &Account) -> Self {
        let Account { quota, storage_bytes, retention_seconds, state, .. } = *account;
        Self { quota, storage_bytes, retention_seconds, state }
    }
}

#[derive(Debug)]
struct Load {
    terms: Terms,
    usage: Usage,
    /// What came through former slots; it has a quota of its own. Most accounts have none.
    former: Option<Box<FormerLoad>>,
    next: u64,
    /// Numbers that are being stored.
    pending: BTreeSet<u64>,
    /// The first number that is not shown yet.
    visible: u64,
    /// Tells it to who follows: a few of all accounts are followed, and this takes more room than the rest.
    followed: Option<watch::Sender<u64>>,
}

impl Load {
    fn visible_end(&self) -> u64 {
        self.pending.first().copied().unwrap_or(self.next)
    }

    fn former(&mut self) -> &mut FormerLoad {
        self.former.get_or_insert_default()
    }

    /// Shows what can be shown.
    fn show(&mut self) {
        let end = self.visible_end();
        if end <= self.visible {
            return;
        }
        self.visible = end;
        if let Some(followed) = &self.followed {
            followed.send_replace(end);
        }
        self.followed.take_if(|followed| followed.is_closed());
    }
}

impl Entry {
    pub(super) fn new(account: &Account) -> Self {
        let load = Load {
            terms: Terms::of(account),
            usage: Usage::default(),
            former: None,
            next: 0,
            pending: BTreeSet::new(),
            visible: 0,
            followed: None,
        };
        Self { id: account.id, load: Mutex::new(load), deleting: tokio::sync::Mutex::default() }
    }

    pub(super) const fn id(&self) -> AccountId {
        self.id
    }

    pub(super) fn terms(&self) -> Terms {
        lock(&self.load).terms
    }

    pub(super) fn replace(&self, account: &Account) {
        lock(&self.load).terms = Terms::of(account);
    }

    pub(super) fn usage(&self) -> Usage {
        let load = lock(&self.load);
        let former = load.former.as_ref().map(|former| former.usage()).unwrap_or_default();
        Usage {
            bytes: load.usage.bytes.saturating_add(former.bytes),
            messages: load.usage.messages.saturating_add(former.messages),
        }
    }

    pub(super) fn visible_end(&self) -> u64 {
        lock(&self.load).visible_end()
    }

    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        let mut load = lock(&self.load);
        let visible = load.visible;
        load.followed.get_or_insert_with(|| watch::Sender::new(visible)).subscribe()
    }

    /// Counts a message that was found at opening.
    pub(super) fn restore(&self, number: MessageNumber, row: &MessageRow) {
        let mut load = lock(&self.load);
        if row.is_former_slot {
            load.former().restore(row.length, row.received);
        } else {
            load.usage = load.usage.and_one_of(row.length);
        }
        load.next = load.next.max(number.0.saturating_add(1));
        load.show();
    }

    /// Gives the number no more: it is remembered that a message had it.
    pub(super) fn skip(&self, number: MessageNumber) {
        let mut load = lock(&self.load);
        load.next = load.next.max(number.0.saturating_add(1));
        load.show();
    }

    /// Takes the room and the number for a message of `length` bytes; `None` if the account, or what a former slot may
    /// take, is full.
    pub(super) fn reserve(&self, length: u32, way_in: WayIn, now: UnixMillis) -> Option<Reserved<'_>> {
        let mut load = lock(&self.load);
        let quota = load.terms.quota;
        match way_in {
            WayIn::FormerSlot => load.former().take(length, now)?,
            WayIn::Slot => {
                let usage = load.usage.and_one_of(length);
                if usage.bytes > quota.bytes || usage.messages > quota.messages {
                    return None;
                }
                load.usage = usage;
            }
        }
        let number = load.next;
        load.next = number.saturating_add(1);
        load.pending.insert(number);
        Some(Reserved { entry: self, number, length, way_in, kept: false })
    }

    /// Gives back the room of a message that was deleted.
    pub(super) fn forget(&self, row: &MessageRow) {
        let way_in = if row.is_former_slot { WayIn::FormerSlot } else { WayIn::Slot };
        self.give_back(row.length, way_in);
    }

    fn give_back(&self, length: u32, way_in: WayIn) {
        let mut load = lock(&self.load);
        match way_in {
            WayIn::FormerSlot => load.former().give_back(length),
            WayIn::Slot => load.usage = load.usage.without_one_of(length),
        }
    }

    fn settle(&self, number: u64) {
        let mut load = lock(&self.load);
        load.pending.remove(&number);
        load.show();
    }
}

/// Room and number of a message that is being stored. Dropped without [`keep`](Self::keep), the room is given back; the
/// number is not used again.
pub(super) struct Reserved<'e> {
    entry: &'e Entry,
    number: u64,
    length: u32,
    way_in: WayIn,
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
            self.entry.give_back(self.length, self.way_in);
        }
        self.entry.settle(self.number);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
