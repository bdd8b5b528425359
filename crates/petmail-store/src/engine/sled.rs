//! sled 0.34.7, in the only way in which it was found to be safe.
//!
//! `flush_async` is never called: it deadlocks from seven callers on. `flush` alone is no sync on
//! Linux, so every commit ends with our own `fdatasync` of the `db` file. Segments of 4 MiB keep
//! values of up to 32 KiB out of `blobs/`, whose files sled never syncs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};

use super::{Access, Engine, EngineError, KeyRange, no_keyspace};
use crate::batch::Op;
use crate::store::{Direction, Row};

/// Fixed for the life of a store: sled refuses to open it with another size.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// sled's own default tree, which we leave empty.
const DEFAULT_TREE: &[u8] = b"__sled__default";

/// A tree that is created with the database, and can be no keyspace.
const EVIDENCE_TREE: &[u8] = b"__petmail";

/// How often, and how far apart, a database's lock is looked at before it counts as held for good.
const LOCK_TRIES: u32 = 5_000;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// An opened sled database.
pub(super) struct SledEngine {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    /// A second descriptor of the same inode, for `fdatasync`.
    data: File,
    blobs: PathBuf,
    alarm: AtomicBool,
    /// Held for writing while a batch is applied: sled's scans lock row by row, and would
    /// otherwise show half a batch.
    scans: RwLock<()>,
}

impl SledEngine {
    pub(super) fn open(dir: &Path, access: Access, keyspaces: &[&str]) -> Result<Self, EngineError> {
        let db = open_db(dir, access)?;
        let trees = keyspaces.iter().map(|name| db.open_tree(name)).collect::<Result<_, _>>()?;
        db.flush()?;
        let data = File::open(dir.join("db"))?;
        data.sync_all()?;
        let engine = Self {
            db,
            trees,
            data,
            blobs: dir.join("blobs"),
            alarm: AtomicBool::new(false),
            scans: RwLock::new(()),
        };
        engine.look_for_blobs()?;
        Ok(engine)
    }

    fn tree(&self, keyspace: usize) -> Result<&sled::Tree, EngineError> {
        self.trees.get(keyspace).ok_or_else(|| no_keyspace(keyspace))
    }

    /// Applies in memory and to sled's log buffer; not durable yet.
    fn write(&self, ops: &[Op]) -> Result<(), EngineError> {
        let _scans = self.scans.write().unwrap_or_else(PoisonError::into_inner);
        match ops {
            [first, rest @ ..] if rest.iter().all(|op| op.keyspace == first.keyspace) => {
                let mut batch = sled::Batch::default();
                for op in ops {
                    match &op.value {
                        Some(value) => batch.insert(op.key.as_slice(), value.as_slice()),
                        None => batch.remove(op.key.as_slice()),
                    }
                }
                Ok(self.tree(first.keyspace)?.apply_batch(batch)?)
            }
            _ => Ok(self
                .trees
                .as_slice()
                .transaction(|trees: &Vec<TransactionalTree>| write_all(trees, ops))?),
        }
    }

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), EngineError> {
        self.db.flush()?;
        if self.look_for_blobs()? {
            // Slower, as it waits for the whole file system, but it covers the blob files.
            rustix::fs::syncfs(&self.data)?;
        } else {
            self.data.sync_data()?;
        }
        Ok(())
    }

    /// Whether sled has moved a value into `blobs/`, where it is not synced.
    fn look_for_blobs(&self) -> Result<bool, EngineError> {
        let found = self.blobs.read_dir()?.next().is_some();
        if found && !self.alarm.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "the store's blobs folder is not empty: commits sync the whole file system \
                 from now on; compact the store while it is stopped"
            );
        }
        Ok(found)
    }
}

impl Engine for SledEngine {
    fn apply(&self, ops: &[Op]) -> Result<(), EngineError> {
        self.write(ops)?;
        self.sync()
    }

    fn get(&self, keyspace: usize, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.tree(keyspace)?.get(key)?.map(|value| value.to_vec()))
    }

    fn range(
        &self,
        keyspace: usize,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, EngineError> {
        let _scans = self.scans.read().unwrap_or_else(PoisonError::into_inner);
        let rows = self.tree(keyspace)?.range(range);
        let owned = |row: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = row?;
            Ok((key.to_vec(), value.to_vec()))
        };
        match direction {
            Direction::Ascending => rows.take(limit).map(owned).collect(),
            Direction::Descending => rows.rev().take(limit).map(owned).collect(),
        }
    }

    fn alarm(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }
}

/// The names of the keyspaces in `dir`.
pub(super) fn keyspace_names(dir: &Path) -> Result<Vec<String>, EngineError> {
    open_db(dir, Access::Open(0))?
        .tree_names()
        .into_iter()
        .filter(|name| name != DEFAULT_TREE && name != EVIDENCE_TREE)
        .map(|name| String::from_utf8(name.to_vec()).map_err(EngineError::new))
        .collect()
}

/// sled makes an empty database of whatever it does not recognise; ours has a tree as evidence.
fn open_db(dir: &Path, access: Access) -> Result<sled::Db, EngineError> {
    await_unlocked(dir)?;
    remove_unfinished_snapshots(dir)?;
    let db = sled::Config::new()
        .path(dir)
        .cache_capacity(access.cache_bytes())
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None)
        .open()?;
    match access {
        Access::Create => drop(db.open_tree(EVIDENCE_TREE)?),
        Access::Open(_) if db.tree_names().iter().any(|name| name == EVIDENCE_TREE) => {}
        Access::Open(_) => return Err(EngineError::new("sled found no data in its files")),
    }
    Ok(db)
}

/// Waits until the database that was open here before has let go of its lock.
///
/// sled's I/O threads keep a closed database's file for a moment longer, and sled itself takes a
/// held lock for another process. The store's own lock is held by now, so there is none.
fn await_unlocked(dir: &Path) -> Result<(), EngineError> {
    let file = match File::open(dir.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes what a full disk or a crash left of a snapshot that was being written.
///
/// sled takes it for the newest snapshot, cannot read it, and calls the database corrupted for ever. The snapshot before
/// it is still there, and without any sled reads its whole log.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), EngineError> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            tracing::info!("an unfinished snapshot of the store is removed");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_all(
    trees: &[TransactionalTree],
    ops: &[Op],
) -> Result<(), ConflictableTransactionError<EngineError>> {
    for op in ops {
        let tree = trees
            .get(op.keyspace)
            .ok_or_else(|| ConflictableTransactionError::Abort(no_keyspace(op.keyspace)))?;
        match &op.value {
            Some(value) => tree.insert(op.key.as_slice(), value.as_slice())?,
            None => tree.remove(op.key.as_slice())?,
        };
    }
    Ok(())
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            other => Self::new(other),
        }
    }
}

impl From<TransactionError<Self>> for EngineError {
    fn from(error: TransactionError<Self>) -> Self {
        match error {
            TransactionError::Abort(error) => error,
            TransactionError::Storage(error) => error.into(),
        }
    }
}

impl From<rustix::io::Errno> for EngineError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}
