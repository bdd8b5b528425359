//! A disk that fills up: commits must fail for good, and nothing acknowledged may be lost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use petmail_store::{Batch, CommitError, EngineKind, OpenError, Store};

use crate::ledger::Ledger;
use crate::power::with_disk;
use crate::writer::{KEYSPACES, value};

const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// What is removed to make room again.
const BALLAST_BYTES: usize = 24 * 1024 * 1024;

const RECORDS_PER_BATCH: usize = 16;

/// A generous limit on what would otherwise hang for ever.
const HANG: Duration = Duration::from_secs(120);

/// Fills a small disk, makes room, and reopens the store.
pub(crate) fn fill_disk(engine: EngineKind) {
    with_disk(DISK_BYTES, |disk| {
        let path = disk.join("store");
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![7; BALLAST_BYTES]).unwrap();
        let mut ledger = Ledger::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let filled = fill(&path, engine, &mut ledger);
            tokio::time::timeout(HANG, filled).await.unwrap();
        });
        // sled needs room to open; then it must say so, and leave its files as they are.
        if let Err(error) = Store::open(&path, engine, KEYSPACES) {
            assert!(matches!(error, OpenError::Io { .. }), "{error}");
        }
        fs::remove_file(ballast).unwrap();
        ledger.verify(&path, engine, "after the disk was full");
    });
}

async fn fill(path: &Path, engine: EngineKind, ledger: &mut Ledger) {
    let store = Store::open(path, engine, KEYSPACES).unwrap();
    for start in (1_u64..).step_by(RECORDS_PER_BATCH) {
        let ids = || (start..).take(RECORDS_PER_BATCH);
        note(ledger, "I", ids());
        match store.commit(ids().fold(Batch::new(), put)).await {
            Ok(()) => note(ledger, "A", ids()),
            Err(CommitError::Failed(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let later = store.commit(Batch::new()).await;
    assert!(matches!(later, Err(CommitError::Failed(_))));
    store.close().await;
}

fn put(batch: Batch, id: u64) -> Batch {
    KEYSPACES.iter().fold(batch, |batch, &keyspace| batch.put(keyspace, id.to_be_bytes(), value(id)))
}

fn note(ledger: &mut Ledger, verb: &str, ids: impl Iterator<Item = u64>) {
    for id in ids {
        ledger.note(&format!("{verb} {id}"));
    }
}
