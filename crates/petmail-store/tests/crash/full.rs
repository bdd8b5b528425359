//! A disk that fills up: nothing acknowledged may be lost, whether the store sees it coming or not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use petmail_store::{Batch, CommitError, EngineKind, OpenError, Options, Store};

use crate::ledger::Ledger;
use crate::power::with_disk;
use crate::writer::{KEYSPACES, value};

const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// What is removed to make room again.
const BALLAST_BYTES: usize = 24 * 1024 * 1024;

const RECORDS_PER_BATCH: usize = 16;

/// A generous limit on what would otherwise hang for ever.
const HANG: Duration = Duration::from_secs(120);

/// Fills a small disk: commits are refused before the engine fails, and go on once there is room.
pub(crate) fn fill_disk(engine: EngineKind) {
    on_small_disk(|path, ballast, ledger| {
        hang_limit(async {
            let store = Store::open(path, engine, KEYSPACES).unwrap();
            let error = fill(&store, ledger, 1).await;
            assert!(matches!(error, CommitError::DiskFull(_)), "{error}");
            let stats = store.stats().await.unwrap();
            assert!(!stats.failed && store.check_room().is_err());
            fs::remove_file(ballast).unwrap();
            let next = ledger.next_id();
            let again = (next..).take(RECORDS_PER_BATCH);
            note(ledger, "I", again.clone());
            store.commit(again.clone().fold(Batch::new(), put)).await.unwrap();
            note(ledger, "A", again);
            store.close().await;
        });
        ledger.verify(path, engine, "after the disk was nearly full");
    });
}

/// Lets the engine itself run out of room: then commits fail for good, until the store is opened again.
pub(crate) fn fill_disk_unseen(engine: EngineKind) {
    on_small_disk(|path, ballast, ledger| {
        hang_limit(async {
            let options = Options { floor_bytes: 0, ..Options::default() };
            let store = Store::open_with(path, engine, KEYSPACES, options).unwrap();
            let error = fill(&store, ledger, 1).await;
            assert!(matches!(error, CommitError::Failed(_)), "{error}");
            let later = store.commit(Batch::new()).await;
            assert!(matches!(later, Err(CommitError::Failed(_))));
            store.close().await;
        });
        // sled needs room to open; then it must say so, and leave its files as they are.
        let filler = path.with_file_name("filler");
        fs::write(&filler, vec![7; BALLAST_BYTES]).unwrap_err();
        for _ in 0..2 {
            if let Err(error) = Store::open(path, engine, KEYSPACES) {
                assert!(matches!(error, OpenError::Io { .. }), "{error}");
            }
        }
        fs::remove_file(filler).unwrap();
        fs::remove_file(ballast).unwrap();
        ledger.verify(path, engine, "after the disk was full");
    });
}

fn on_small_disk(work: impl FnOnce(&Path, &Path, &mut Ledger)) {
    with_disk(DISK_BYTES, |disk| {
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![7; BALLAST_BYTES]).unwrap();
        work(&disk.join("store"), &ballast, &mut Ledger::default());
    });
}

fn hang_limit(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(HANG, work).await.unwrap() });
}

/// Writes until a commit fails, and returns why.
async fn fill(store: &Store, ledger: &mut Ledger, first: u64) -> CommitError {
    let mut start = first;
    loop {
        let ids = || (start..).take(RECORDS_PER_BATCH);
        note(ledger, "I", ids());
        match store.commit(ids().fold(Batch::new(), put)).await {
            Ok(()) => note(ledger, "A", ids()),
            Err(error) => return error,
        }
        start += RECORDS_PER_BATCH as u64;
    }
}

fn put(batch: Batch, id: u64) -> Batch {
    KEYSPACES.iter().fold(batch, |batch, &keyspace| batch.put(keyspace, id.to_be_bytes(), value(id)))
}

fn note(ledger: &mut Ledger, verb: &str, ids: impl Iterator<Item = u64>) {
    for id in ids {
        ledger.note(&format!("{verb} {id}"));
    }
}
