//! The core's rows in the store.
//!
//! Owns the keyspaces and the way from changes to batches and from rows to a state. Must not know what the rows mean.

use std::ops::Bound;
use std::path::Path;

use petmail_store::{
    Batch, Direction, EngineKind, Keyspace, MAX_BATCH_BYTES, MAX_BATCH_OPS, OpenError, ReadError, Store,
};
use thiserror::Error;

use crate::state::{Change, Policy, RecordError, Restore, State, Table};

const NAMEPLATES: Keyspace = Keyspace::new("nameplates");
const MAILBOXES: Keyspace = Keyspace::new("mailboxes");
const MESSAGES: Keyspace = Keyspace::new("messages");
static KEYSPACES: [Keyspace; 3] = [NAMEPLATES, MAILBOXES, MESSAGES];

/// The store's folder in the basedir.
const STORE_DIR: &str = "store";

/// Rows read at once while loading.
const PAGE_ROWS: usize = 512;

/// Why the server's state could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store holds what this program cannot read.
    #[error("the store holds a row that this version cannot read: {0}")]
    Record(#[from] RecordError),
}

/// Opens the store of a basedir. Blocks.
pub(crate) fn open(basedir: &Path) -> Result<Store, OpenError> {
    Store::open(&basedir.join(STORE_DIR), EngineKind::default(), &KEYSPACES)
}

/// Reads the whole state.
pub(crate) async fn load(store: &Store, policy: Policy) -> Result<State, LoadError> {
    let mut restore = Restore::new(policy);
    for table in Table::ALL {
        let mut from = Bound::Unbounded;
        loop {
            let range = (from, Bound::Unbounded);
            let rows = store.range(keyspace(table), range, Direction::Ascending, PAGE_ROWS).await?;
            for (key, value) in &rows {
                restore.row(table, key, value)?;
            }
            match rows.into_iter().last() {
                Some((last, _)) => from = Bound::Excluded(last),
                None => break,
            }
        }
    }
    Ok(restore.finish()?)
}

/// Whether one more step's changes still fit into a batch.
pub(crate) fn has_room(batch: &Batch, changes: &[Change]) -> bool {
    let bytes: usize = changes.iter().map(|it| it.key.len() + it.value.as_ref().map_or(0, Vec::len)).sum();
    batch.len() + changes.len() <= MAX_BATCH_OPS && batch.bytes() + bytes <= MAX_BATCH_BYTES
}

/// Adds a step's changes to a batch.
pub(crate) fn extend(batch: Batch, changes: Vec<Change>) -> Batch {
    changes.into_iter().fold(batch, |batch, Change { table, key, value }| match value {
        Some(value) => batch.put(keyspace(table), key, value),
        None => batch.delete(keyspace(table), key),
    })
}

fn keyspace(table: Table) -> Keyspace {
    match table {
        Table::Nameplates => NAMEPLATES,
        Table::Mailboxes => MAILBOXES,
        Table::Messages => MESSAGES,
    }
}
