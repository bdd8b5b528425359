//! What every engine must do, run on each of them through the public interface.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use petmail_store::{
    Batch, CommitError, Direction, EngineKind, Keyspace, Label, MAX_BATCH_BYTES, MAX_BATCH_OPS,
    MAX_KEY_BYTES, MAX_VALUE_BYTES, OfflineError, OpenError, ReadError, Row, Store, compact_offline, label,
    migrate_offline, prefix_range, rewrite_offline,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const LETTERS: Keyspace = Keyspace::new("letters");
const KEYS: Keyspace = Keyspace::new("keys");
const LATER: Keyspace = Keyspace::new("later");
const BOTH: &[Keyspace] = &[LETTERS, KEYS];

/// A generous limit on what would otherwise hang for ever.
const HANG: Duration = Duration::from_secs(120);

/// Runs a function as a test on each engine.
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        mod sled_engine {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::EngineKind::Sled).await;
            })*
        }
        mod redb_engine {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::EngineKind::Redb).await;
            })*
        }
    };
}

on_each_engine!(
    commits_are_read_back,
    the_later_operation_wins,
    ranges_are_ordered_and_bounded,
    several_ranges_are_read_at_once,
    limits_refuse_and_write_nothing,
    largest_batch_is_accepted,
    unknown_keyspaces_are_refused,
    rows_survive_reopening,
    closing_releases_at_once,
    dropping_closes,
    a_closed_store_refuses,
    open_stores_are_locked,
    foreign_folders_are_refused,
    the_other_engine_is_refused,
    newer_formats_are_refused,
    damage_is_an_error,
    lost_data_is_an_error,
    files_are_private,
    many_tasks_share_syncs,
    scans_see_whole_batches,
    compaction_keeps_rows_and_frees_space,
    migration_keeps_rows,
    rewriting_changes_every_value_and_the_label_at_once,
    rewriting_that_fails_changes_nothing,
    absent_stores_are_not_rewritten,
    leftovers_of_a_crash_are_removed,
);

fn open(path: &Path, engine: EngineKind) -> Store {
    Store::open(path, engine, BOTH).unwrap()
}

fn fresh(engine: EngineKind) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"), engine);
    (dir, store)
}

async fn all(store: &Store, keyspace: Keyspace) -> Vec<Row> {
    store.range(keyspace, .., Direction::Ascending, usize::MAX).await.unwrap()
}

fn keys(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|(key, _)| std::str::from_utf8(key).unwrap()).collect()
}

async fn commits_are_read_back(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let batch = Batch::new().put(LETTERS, "a", "1").put(KEYS, "a", "2").put(KEYS, "b", "");
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(LETTERS, "a").await.unwrap().unwrap(), b"1");
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"2");
    assert_eq!(store.get(KEYS, "b").await.unwrap().unwrap(), b"");
    assert_eq!(store.get(LETTERS, "b").await.unwrap(), None);
    let batch = Batch::new().delete(KEYS, "a").delete(LETTERS, "absent");
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(KEYS, "a").await.unwrap(), None);
    assert_eq!(store.get(LETTERS, "a").await.unwrap().unwrap(), b"1");
}

async fn the_later_operation_wins(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let batch = Batch::new()
        .put(LETTERS, "a", "1")
        .delete(LETTERS, "a")
        .put(LETTERS, "a", "2")
        .put(LETTERS, "b", "1")
        .delete(LETTERS, "b");
    store.commit(batch.clone()).await.unwrap();
    let rows = vec![(b"a".to_vec(), b"2".to_vec())];
    assert_eq!(all(&store, LETTERS).await, rows);
    store.commit(batch.put(KEYS, "c", "3")).await.unwrap();
    assert_eq!(all(&store, LETTERS).await, rows);
}

async fn ranges_are_ordered_and_bounded(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let batch = ["b1", "a", "b\u{7f}", "c", "b0"]
        .into_iter()
        .fold(Batch::new(), |batch, key| batch.put(LETTERS, key, key));
    store.commit(batch).await.unwrap();
    let key = |text: &str| text.as_bytes().to_vec();
    let (up, down) = (Direction::Ascending, Direction::Descending);

    let rows = store.range(LETTERS, .., up, 9).await.unwrap();
    assert_eq!(keys(&rows), ["a", "b0", "b1", "b\u{7f}", "c"]);
    let rows = store.range(LETTERS, .., down, 2).await.unwrap();
    assert_eq!(keys(&rows), ["c", "b\u{7f}"]);
    let rows = store.range(LETTERS, key("b0")..key("c"), up, 2).await;
    assert_eq!(keys(&rows.unwrap()), ["b0", "b1"]);
    let after = (Bound::Excluded(key("b0")), Bound::Included(key("c")));
    let rows = store.range(LETTERS, after, down, 9).await.unwrap();
    assert_eq!(keys(&rows), ["c", "b\u{7f}", "b1"]);
    let rows = store.range(LETTERS, prefix_range(b"b"), up, 9).await;
    assert_eq!(keys(&rows.unwrap()), ["b0", "b1", "b\u{7f}"]);
    let rows = store.range(LETTERS, .., up, 0).await.unwrap();
    assert!(rows.is_empty());
    for empty in [key("c")..key("a"), key("b0")..key("b0")] {
        assert!(store.range(LETTERS, empty, up, 9).await.unwrap().is_empty());
    }
    let excluded = (Bound::Excluded(key("a")), Bound::Excluded(key("a")));
    let rows = store.range(LETTERS, excluded, down, 9).await.unwrap();
    assert!(rows.is_empty());
}

async fn several_ranges_are_read_at_once(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let batch =
        ["a1", "a2", "a3", "c1"].into_iter().fold(Batch::new(), |batch, key| batch.put(KEYS, key, key));
    store.commit(batch).await.unwrap();
    let ranges = vec![prefix_range(b"a"), prefix_range(b"b"), prefix_range(b"c")];
    let read = |limit| store.ranges(KEYS, ranges.clone(), Direction::Descending, limit);
    let rows: Vec<_> = read(2).await.unwrap();
    assert_eq!(
        rows.iter().map(|rows| keys(rows)).collect::<Vec<_>>(),
        [vec!["a3", "a2"], vec![], vec!["c1"]]
    );
    assert_eq!(read(0).await.unwrap(), vec![Vec::<Row>::new(); 3]);
}

async fn limits_refuse_and_write_nothing(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let good = || Batch::new().put(LETTERS, "good", "1");

    let refusal = store.commit(good().put(LETTERS, "", "1")).await;
    assert!(matches!(refusal, Err(CommitError::BadKeyLength(0))));
    let long = vec![1; MAX_KEY_BYTES + 1];
    let refusal = store.commit(good().delete(LETTERS, long)).await;
    assert!(matches!(refusal, Err(CommitError::BadKeyLength(_))));
    let large = vec![1; MAX_VALUE_BYTES + 1];
    let refusal = store.commit(good().put(KEYS, "large", large)).await;
    assert!(matches!(refusal, Err(CommitError::ValueTooLarge(_))));
    let many = (0..MAX_BATCH_OPS).fold(good(), |batch, _| batch.delete(KEYS, "x"));
    let refusal = store.commit(many).await;
    assert!(matches!(refusal, Err(CommitError::BatchTooLarge { .. })));
    let heavy = (0..=MAX_BATCH_BYTES / MAX_VALUE_BYTES)
        .fold(good(), |batch, _| batch.put(KEYS, "x", vec![1; MAX_VALUE_BYTES - 8]));
    let refusal = store.try_commit(heavy).await;
    assert!(matches!(refusal, Err(CommitError::BatchTooLarge { .. })));

    assert!(all(&store, LETTERS).await.is_empty());
    assert!(all(&store, KEYS).await.is_empty());
}

async fn largest_batch_is_accepted(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let count = MAX_BATCH_BYTES / (MAX_VALUE_BYTES + MAX_KEY_BYTES);
    let mut batch = (0..count).fold(Batch::new(), |batch, number| {
        let mut key = vec![0; MAX_KEY_BYTES];
        key[0] = u8::try_from(number).unwrap();
        batch.put(KEYS, key, vec![7; MAX_VALUE_BYTES])
    });
    while batch.len() < MAX_BATCH_OPS {
        batch = batch.delete(LETTERS, "x");
    }
    store.try_commit(batch).await.unwrap();
    let rows = all(&store, KEYS).await;
    assert_eq!(rows.len(), count);
    assert!(rows.iter().all(|(_, value)| value.len() == MAX_VALUE_BYTES));
    assert!(!store.stats().await.unwrap().alarm);
}

async fn unknown_keyspaces_are_refused(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let refusal = store.commit(Batch::new().put(LATER, "a", "1")).await;
    assert!(matches!(refusal, Err(CommitError::UnknownKeyspace("later"))));
    let refusal = store.get(LATER, "a").await;
    assert!(matches!(refusal, Err(ReadError::UnknownKeyspace("later"))));
    let refusal = store.range(LATER, .., Direction::Ascending, 1).await;
    assert!(matches!(refusal, Err(ReadError::UnknownKeyspace("later"))));
}

async fn rows_survive_reopening(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    store.commit(Batch::new().put(LETTERS, "a", "1")).await.unwrap();
    store.close().await;

    let store = Store::open(&path, engine, &[LATER, KEYS]).unwrap();
    assert_eq!(store.get(LATER, "a").await.unwrap(), None);
    store.commit(Batch::new().put(LATER, "b", "2")).await.unwrap();
    store.close().await;

    let store = Store::open(&path, engine, &[LETTERS, LATER]).unwrap();
    assert_eq!(store.get(LETTERS, "a").await.unwrap().unwrap(), b"1");
    assert_eq!(store.get(LATER, "b").await.unwrap().unwrap(), b"2");
}

async fn closing_releases_at_once(engine: EngineKind) {
    let (dir, mut store) = fresh(engine);
    for round in 0..20_u8 {
        let batch = Batch::new().put(LETTERS, [round], vec![round; 5000]);
        store.commit(batch).await.unwrap();
        store.close().await;
        store = open(&dir.path().join("store"), engine);
    }
    assert_eq!(all(&store, LETTERS).await.len(), 20);
}

async fn dropping_closes(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let commit = tokio::spawn({
        let store = store.clone();
        async move { store.commit(Batch::new().put(KEYS, "a", "1")).await }
    });
    drop(store);
    commit.await.unwrap().unwrap();
    let store = open(&dir.path().join("store"), engine);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"1");
}

async fn a_closed_store_refuses(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    store.clone().close().await;
    let batch = || Batch::new().put(KEYS, "a", "1");
    let refusal = store.commit(batch()).await;
    assert!(matches!(refusal, Err(CommitError::Closed)));
    let refusal = store.try_commit(batch()).await;
    assert!(matches!(refusal, Err(CommitError::Closed)));
    let refusal = store.get(KEYS, "a").await;
    assert!(matches!(refusal, Err(ReadError::Closed)));
    assert!(matches!(store.stats().await, Err(ReadError::Closed)));
    store.close().await;
}

async fn open_stores_are_locked(engine: EngineKind) {
    let (dir, _store) = fresh(engine);
    let path = dir.path().join("store");
    let refusal = Store::open(&path, engine, BOTH);
    assert!(matches!(refusal, Err(OpenError::Locked { .. })));
    let refusal = compact_offline(&path, engine);
    assert!(matches!(refusal, Err(OfflineError::Open(OpenError::Locked { .. }))));
}

/// sled's threads keep the file of a closed database for a moment; the test holds it for longer.
#[tokio::test]
async fn sleds_lock_is_waited_for() {
    let (dir, store) = fresh(EngineKind::Sled);
    store.close().await;
    let path = dir.path().join("store");
    let held = File::open(path.join("data-1/db")).unwrap();
    held.lock().unwrap();
    let opening = std::thread::spawn(move || Store::open(&path, EngineKind::Sled, BOTH));
    for _ in 0..50 {
        assert!(!opening.is_finished(), "it did not wait");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(held);
    opening.join().unwrap().unwrap();
}

async fn foreign_folders_are_refused(engine: EngineKind) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("photo.jpeg"), "x").unwrap();
    let refusal = Store::open(dir.path(), engine, BOTH);
    assert!(matches!(refusal, Err(OpenError::NotAStore { .. })));
    let names: Vec<_> = dir.path().read_dir().unwrap().collect();
    assert_eq!(names.len(), 1, "the folder was touched");

    fs::remove_file(dir.path().join("photo.jpeg")).unwrap();
    let store = open(dir.path(), engine);
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
}

fn other(engine: EngineKind) -> EngineKind {
    match engine {
        EngineKind::Sled => EngineKind::Redb,
        EngineKind::Redb => EngineKind::Sled,
    }
}

async fn the_other_engine_is_refused(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    store.close().await;
    let error = Store::open(&dir.path().join("store"), other(engine), BOTH).unwrap_err();
    assert!(matches!(error, OpenError::WrongEngine { found, .. } if found == engine));
    assert!(error.to_string().contains(&format!("--store {engine}")));
}

/// The folder of the engine's files after `generations - 1` rewrites.
fn data_dir(dir: &TempDir, generation: u64) -> PathBuf {
    dir.path().join(format!("store/data-{generation}"))
}

async fn newer_formats_are_refused(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    store.close().await;
    let marker = data_dir(&dir, 1).join("marker");
    assert_eq!(fs::read_to_string(&marker).unwrap(), format!("petmail-store 1 {engine}\n"));
    let path = dir.path().join("store");
    fs::write(&marker, "petmail-store 3 glacier\n").unwrap();
    let error = Store::open(&path, engine, BOTH).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 3, .. }));
    for bad in [
        "",
        "petmail-store",
        "petmail-store one sled\n",
        "x 1 sled\n",
        "petmail-store 1 sled label\n",
        "petmail-store 2 sled\n",
        "petmail-store 2 sled Label\n",
        "petmail-store 2 sled label \n",
    ] {
        fs::write(&marker, bad).unwrap();
        let error = Store::open(&path, engine, BOTH).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{bad:?}");
    }
}

fn data_file(dir: &Path, engine: EngineKind) -> PathBuf {
    dir.join(match engine {
        EngineKind::Sled => "db",
        EngineKind::Redb => "store.redb",
    })
}

async fn damage_is_an_error(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    store.close().await;
    let file = data_file(&data_dir(&dir, 1), engine);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, vec![0xa5; bytes.len()]).unwrap();
    let error = Store::open(&dir.path().join("store"), engine, BOTH).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"));
}

async fn lost_data_is_an_error(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    store.close().await;
    fs::remove_file(data_file(&data_dir(&dir, 1), engine)).unwrap();
    let error = Store::open(&dir.path().join("store"), engine, BOTH).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

fn assert_private(path: &Path) {
    let metadata = path.metadata().unwrap();
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        for entry in path.read_dir().unwrap() {
            assert_private(&entry.unwrap().path());
        }
    } else {
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

async fn files_are_private(engine: EngineKind) {
    rustix::process::umask(rustix::fs::Mode::empty());
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    assert_private(&path);
    store.close().await;
    assert_private(&path);
    compact_offline(&path, engine).unwrap();
    assert_private(&path);
}

async fn many_tasks_share_syncs(engine: EngineKind) {
    const TASKS: u64 = 64;
    const COMMITS: u64 = 10;
    let (_dir, store) = fresh(engine);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.spawn(async move {
            for number in 0..COMMITS {
                let key = (task * COMMITS + number).to_be_bytes();
                let batch = Batch::new().put(LETTERS, key, key).put(KEYS, key, key);
                store.commit(batch).await.unwrap();
                let seen = store.get(KEYS, key).await.unwrap();
                assert_eq!(seen.as_deref(), Some(key.as_slice()));
            }
        });
    }
    tokio::time::timeout(HANG, tasks.join_all()).await.unwrap();
    let stats = store.stats().await.unwrap();
    assert_eq!(stats.commits, TASKS * COMMITS);
    assert_eq!(stats.ops, 2 * TASKS * COMMITS);
    assert!(stats.groups < stats.commits / 2, "{stats:?}");
    assert_eq!(stats.queued_bytes, 0);
    assert!(stats.disk_bytes > 0);
    assert!(!stats.failed);
    assert_eq!(all(&store, KEYS).await.len() as u64, TASKS * COMMITS);
}

async fn scans_see_whole_batches(engine: EngineKind) {
    let (_dir, store) = fresh(engine);
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..40_u8 {
                let batch = (0..50_u8)
                    .fold(Batch::new().put(LETTERS, "x", "1"), |batch, key| batch.put(KEYS, [key], [round]));
                store.commit(batch).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let rows = all(&store, KEYS).await;
        let first = rows.first().map(|(_, value)| value.clone());
        assert!(rows.is_empty() || rows.len() == 50);
        assert!(rows.iter().all(|(_, value)| Some(value) == first.as_ref()));
    }
    writer.await.unwrap();
}

/// Writes, then mostly deletes, enough to leave an engine's files larger than its rows.
async fn churn(store: &Store) -> Vec<Row> {
    for round in 0..20_u8 {
        let batch =
            (0..100_u8).fold(Batch::new(), |batch, key| batch.put(LETTERS, [round, key], vec![key; 8000]));
        store.commit(batch).await.unwrap();
    }
    for round in 1..20_u8 {
        let batch = (0..100_u8).fold(Batch::new(), |batch, key| batch.delete(LETTERS, [round, key]));
        store.commit(batch).await.unwrap();
    }
    store.commit(Batch::new().put(KEYS, "a", "")).await.unwrap();
    all(store, LETTERS).await
}

async fn compaction_keeps_rows_and_frees_space(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    let rows = churn(&store).await;
    store.close().await;
    let done = compact_offline(&path, engine).unwrap();
    assert_eq!(done.rows, 101);
    assert!(done.after_bytes < done.before_bytes / 2, "{done:?}");
    let store = open(&path, engine);
    assert_eq!(all(&store, LETTERS).await, rows);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"");
    assert!(!data_dir(&dir, 1).exists());
}

async fn migration_keeps_rows(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    let rows = churn(&store).await;
    store.close().await;
    let refusal = migrate_offline(&path, other(engine), engine);
    assert!(matches!(refusal, Err(OfflineError::Open(OpenError::WrongEngine { .. }))));
    migrate_offline(&path, engine, other(engine)).unwrap();
    let store = open(&path, other(engine));
    assert_eq!(all(&store, LETTERS).await, rows);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"");
}

async fn rewriting_changes_every_value_and_the_label_at_once(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    let rows = churn(&store).await;
    store.close().await;
    let sealed: Label = "sealed-1".parse().unwrap();
    let done = rewrite_offline(&path, engine, Some(&sealed), |keyspace, key, value| {
        Ok([keyspace.as_bytes(), key, &value].concat())
    });
    assert_eq!(done.unwrap().rows, 101);
    assert_eq!(label(&path).unwrap().as_ref(), Some(&sealed));
    compact_offline(&path, engine).unwrap();
    let store = open(&path, engine);
    assert_eq!(store.label(), Some(&sealed), "compaction keeps the label");
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), [KEYS.name().as_bytes(), b"a"].concat());
    for ((key, before), (same_key, after)) in rows.iter().zip(all(&store, LETTERS).await) {
        assert_eq!((key, after), (&same_key, [LETTERS.name().as_bytes(), key, before].concat()));
    }
    store.close().await;
    rewrite_offline(&path, engine, None, |_, _, value| Ok(value)).unwrap();
    assert_eq!((label(&path).unwrap(), open(&path, engine).label()), (None, None));
}

async fn rewriting_that_fails_changes_nothing(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    assert_eq!(label(&dir.path().join("absent")).unwrap(), None);
    store.commit(Batch::new().put(KEYS, "a", "1").put(KEYS, "b", "2")).await.unwrap();
    store.close().await;
    let sealed: Label = "sealed".parse().unwrap();
    let refuse = |_: &str, key: &[u8], value| if key == b"b" { Err("no".into()) } else { Ok(value) };
    let refusal = rewrite_offline(&path, engine, Some(&sealed), refuse);
    assert!(matches!(refusal, Err(OfflineError::Row(_))));
    let too_large = |_: &str, _: &[u8], _| Ok(vec![0; MAX_VALUE_BYTES + 1]);
    let refusal = rewrite_offline(&path, engine, Some(&sealed), too_large);
    assert!(matches!(refusal, Err(OfflineError::Row(_))));
    let store = open(&path, engine);
    assert_eq!((store.label(), store.get(KEYS, "a").await.unwrap().unwrap()), (None, b"1".to_vec()));
}

#[test]
fn labels_are_short_and_plain() {
    for bad in ["", "A", "a b", "a\n", &"a".repeat(65)] {
        assert!(bad.parse::<Label>().is_err(), "{bad:?}");
    }
    assert_eq!("a-1".parse::<Label>().unwrap().as_str(), "a-1");
}

async fn absent_stores_are_not_rewritten(engine: EngineKind) {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("absent")] {
        let refusal = compact_offline(&path, engine);
        assert!(matches!(refusal, Err(OfflineError::Absent)));
    }
    assert!(!dir.path().join("absent").exists());
}

async fn leftovers_of_a_crash_are_removed(engine: EngineKind) {
    let (dir, store) = fresh(engine);
    let path = dir.path().join("store");
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    store.close().await;
    // A crash while a generation was built, and one after it had been put in place.
    fs::create_dir_all(path.join("new/blobs")).unwrap();
    fs::rename(data_dir(&dir, 1), data_dir(&dir, 2)).unwrap();
    fs::create_dir_all(data_dir(&dir, 1)).unwrap();
    let store = open(&path, engine);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"1");
    assert!(!path.join("new").exists());
    assert!(!data_dir(&dir, 1).exists());
}

/// As a full disk leaves it; sled alone would call the store corrupted from now on.
#[tokio::test]
async fn an_unfinished_snapshot_of_sled_is_removed() {
    let (dir, store) = fresh(EngineKind::Sled);
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    store.close().await;
    let unfinished = data_dir(&dir, 1).join("snap.00000000FFFFFFFF.generating");
    fs::write(&unfinished, "").unwrap();
    let store = open(&dir.path().join("store"), EngineKind::Sled);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"1");
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn sled_blob_files_raise_an_alarm() {
    let (dir, store) = fresh(EngineKind::Sled);
    assert!(!store.stats().await.unwrap().alarm);
    fs::write(data_dir(&dir, 1).join("blobs/7"), "x").unwrap();
    store.commit(Batch::new().put(KEYS, "a", "1")).await.unwrap();
    assert!(store.stats().await.unwrap().alarm);
    assert_eq!(store.get(KEYS, "a").await.unwrap().unwrap(), b"1");
}
