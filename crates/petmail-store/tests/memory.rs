//! What a lightly used store holds in memory: its share of a small machine's node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use petmail_store::{Batch, Direction, EngineKind, Keyspace, Store};

const ROWS: Keyspace = Keyspace::new("rows");

/// The idle node must stay under 40 MiB; this much of it may be the store (and this program).
const MAX_RESIDENT_KIB: u64 = 24 * 1024;

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

/// The only test in its file: others in the same process would count.
#[tokio::test]
async fn a_lightly_used_store_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), EngineKind::default(), &[ROWS]).unwrap();
    println!("open: {} KiB resident", resident_kib());
    for number in 0..1000_u64 {
        let batch = Batch::new().put(ROWS, number.to_be_bytes(), vec![7; 2000]);
        store.commit(batch).await.unwrap();
    }
    println!("filled: {} KiB resident", resident_kib());
    store.close().await;
    let store = Store::open(dir.path(), EngineKind::default(), &[ROWS]).unwrap();
    let rows = store.range(ROWS, .., Direction::Descending, 50).await;
    assert_eq!(rows.unwrap().len(), 50);
    let resident_kib = resident_kib();
    println!("reopened: {resident_kib} KiB resident");
    assert!(resident_kib < MAX_RESIDENT_KIB, "{resident_kib} KiB resident");
}
