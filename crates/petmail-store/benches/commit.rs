//! Durable commits a second, and how long each takes, beside the disk's own limit.
//!
//! Run with `cargo bench -p petmail-store`. Figures depend on the disk below the temporary folder
//! (`TMPDIR`), and memory file systems say nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use petmail_store::{Batch, EngineKind, Keyspace, Store};
use tokio::task::JoinSet;

const ROWS: Keyspace = Keyspace::new("rows");
const VALUE_BYTES: usize = 1024;
const DURATION: Duration = Duration::from_secs(3);

fn main() {
    // `cargo test --all-targets` runs this program too, without that argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    raw_appends();
    for engine in [EngineKind::Sled, EngineKind::Redb] {
        for tasks in [1, 64] {
            commits(engine, tasks);
        }
    }
}

/// What the disk itself can do: one append and one `fdatasync` after the other.
fn raw_appends() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create_new(dir.path().join("file")).unwrap();
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < DURATION {
        let begun = Instant::now();
        file.write_all(&[7; VALUE_BYTES]).unwrap();
        file.sync_data().unwrap();
        times.push(begun.elapsed());
    }
    report("fdatasync", times, start.elapsed(), "");
}

fn commits(engine: EngineKind, tasks: u64) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::open(dir.path(), engine, &[ROWS]).unwrap();
    let start = Instant::now();
    let times = runtime.block_on(run_tasks(&store, tasks, start));
    let elapsed = start.elapsed();
    let stats = runtime.block_on(store.stats()).unwrap();
    let extra = format!(
        ", {:.0} groups/s, {} MiB resident, {} MiB on disk",
        stats.groups as f64 / elapsed.as_secs_f64(),
        resident_bytes() >> 20,
        stats.disk_bytes >> 20,
    );
    report(&format!("{engine}, {tasks} tasks"), times, elapsed, &extra);
    runtime.block_on(store.close());
}

async fn run_tasks(store: &Store, tasks: u64, start: Instant) -> Vec<Duration> {
    let mut running = JoinSet::new();
    for task in 0..tasks {
        running.spawn(run_task(store.clone(), task, start));
    }
    running.join_all().await.concat()
}

async fn run_task(store: Store, task: u64, start: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while start.elapsed() < DURATION {
        let begun = Instant::now();
        let number = (task << 40) | times.len() as u64;
        let batch = Batch::new().put(ROWS, number.to_be_bytes(), [7; VALUE_BYTES]);
        store.commit(batch).await.unwrap();
        times.push(begun.elapsed());
    }
    times
}

fn report(name: &str, mut times: Vec<Duration>, elapsed: Duration, extra: &str) {
    times.sort_unstable();
    let percentile = |percent: usize| times.get(times.len() * percent / 100).unwrap();
    println!(
        "{name}: {:.0} acknowledged/s, p50 {:.2?}, p99 {:.2?}{extra}",
        times.len() as f64 / elapsed.as_secs_f64(),
        percentile(50),
        percentile(99),
    );
}

/// Memory that the process holds at present.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}
