//! What the writer said, and the comparison of the store with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use petmail_store::{Direction, EngineKind, Keyspace, Store};

use crate::writer::{KEYSPACES, value};

/// What must be in the store.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Acknowledged and not deleted since.
    present: BTreeSet<u64>,
    /// Intended and not acknowledged: a record with the older one that its batch deletes.
    open: BTreeMap<u64, Option<u64>>,
    last_id: u64,
    acknowledged: u64,
}

impl Ledger {
    /// Notes a line of the writer; says whether it was an acknowledgement.
    pub(crate) fn note(&mut self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let verb = words.next();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match (verb, number(), number()) {
            (Some("I"), Some(id), old) => {
                self.open.insert(id, old);
                self.last_id = self.last_id.max(id);
                false
            }
            (Some("A"), Some(id), _) => {
                let old = self.open.remove(&id).unwrap();
                self.settle(id, old, true);
                self.acknowledged += 1;
                true
            }
            _ => false,
        }
    }

    /// A number above all used so far.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Opens the store and compares. What was unsettled is settled as it is found.
    pub(crate) fn verify(&mut self, path: &Path, engine: EngineKind, when: &str) {
        let found = read(path, engine, when);
        for (id, old) in std::mem::take(&mut self.open) {
            let done = found.contains(&id);
            if let Some(old) = old {
                assert_eq!(!found.contains(&old), done, "{when}: batch {id} is torn");
            }
            self.settle(id, old, done);
        }
        let lost: Vec<_> = self.present.difference(&found).collect();
        assert!(lost.is_empty(), "{when}: lost {lost:?}");
        let undead: Vec<_> = found.difference(&self.present).collect();
        assert!(undead.is_empty(), "{when}: back again {undead:?}");
    }

    fn settle(&mut self, id: u64, old: Option<u64>, done: bool) {
        if done {
            self.present.insert(id);
            if let Some(old) = old {
                self.present.remove(&old);
            }
        }
    }
}

/// The records in the store, after checks that both keyspaces agree and all values are right.
fn read(path: &Path, engine: EngineKind, when: &str) -> BTreeSet<u64> {
    let store =
        Store::open(path, engine, KEYSPACES).unwrap_or_else(|error| panic!("{when}: cannot open: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found: Vec<_> =
        KEYSPACES.iter().map(|&keyspace| runtime.block_on(read_keyspace(&store, keyspace, when))).collect();
    let mut found = found.into_iter();
    let (first, second) = (found.next().unwrap(), found.next().unwrap());
    assert_eq!(first, second, "{when}: the keyspaces differ");
    runtime.block_on(store.close());
    first
}

async fn read_keyspace(store: &Store, keyspace: Keyspace, when: &str) -> BTreeSet<u64> {
    let rows = store.range(keyspace, .., Direction::Ascending, usize::MAX).await.unwrap();
    rows.into_iter()
        .map(|(key, bytes)| {
            let id = u64::from_be_bytes(key.try_into().unwrap());
            assert!(bytes == value(id), "{when}: the value of {id} is corrupt");
            id
        })
        .collect()
}
