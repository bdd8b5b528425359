//! What is kept in memory of packs.

use std::collections::{BTreeSet, HashMap};

use petmail_proto::{content::PackId, server::account::AccountId, time::UnixMillis};

/// What would be too slow to count each time.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Bytes that accounts are charged for.
    pub(super) used: HashMap<AccountId, u64>,
    /// What is deleted and goes when its lease ends, soonest first.
    pub(super) deleted: BTreeSet<(UnixMillis, AccountId, PackId)>,
    /// Packs that have begun.
    pub(super) open: HashMap<AccountId, BTreeSet<PackId>>,
    /// Packs of which a part is being written.
    pub(super) writing: BTreeSet<(PackId, AccountId)>,
    /// Objects at a service that nobody owns any more, to be removed.
    pub(super) ownerless: BTreeSet<PackId>,
    /// The one of them that is being removed.
    pub(super) removing: Option<PackId>,
    /// Why the service could not be used when it was asked last.
    pub(super) trouble: Option<String>,
    /// Packs in the folder that are to move to the service, once they are known.
    pub(super) to_move: Option<Vec<PackId>>,
    /// How many packs there are.
    pub(super) packs: u64,
}

impl Memory {
    /// Changes what an account is charged for.
    pub(super) fn charge(&mut self, account: &AccountId, change: impl FnOnce(u64) -> u64) {
        let used = self.used.entry(*account).or_default();
        *used = change(*used);
    }

    /// Whether a part of a pack is being written.
    pub(super) fn is_written(&self, id: &PackId) -> bool {
        let (first, last) = (AccountId::from_bytes([0; 16]), AccountId::from_bytes([u8::MAX; 16]));
        self.writing.range((*id, first)..=(*id, last)).next().is_some()
    }

    /// Notes that a pack has arrived, or will not.
    pub(super) fn forget_upload(&mut self, account: &AccountId, id: &PackId) {
        if let Some(open) = self.open.get_mut(account) {
            open.remove(id);
            if open.is_empty() {
                self.open.remove(account);
            }
        }
    }
}
