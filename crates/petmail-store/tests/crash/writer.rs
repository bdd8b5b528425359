//! The program to be killed, in both views: what it does, and how the test handles it.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use petmail_store::{Batch, EngineKind, Keyspace, MAX_VALUE_BYTES, Store};

use crate::ledger::Ledger;
use crate::say;

/// Each record is written to both, in one batch.
pub(crate) const KEYSPACES: &[Keyspace] = &[Keyspace::new("first"), Keyspace::new("second")];

/// Tasks that write at the same time.
const TASKS: u64 = 8;

const PATH: &str = "PETMAIL_STORE_TEST_WRITER_PATH";
const START: &str = "PETMAIL_STORE_TEST_WRITER_START";

/// A running writer; killed when dropped.
pub(crate) struct Writer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Writer {
    /// Starts this program's own `test` as writer, numbering its records from `start`.
    pub(crate) fn start(test: &str, store: &Path, start: u64) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(PATH, store)
            .env(START, start.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Notes what the writer prints, until it has opened the store and got so many
    /// acknowledgements, and then lets it go on for a moment.
    pub(crate) fn follow(&mut self, ledger: &mut Ledger, acks: u64, delay_us: u64) {
        let mut missing = acks;
        let mut opened = false;
        while !opened || missing > 0 {
            let line = self.line().expect("the writer ended by itself");
            opened |= line.contains("OPEN");
            if ledger.note(&line) {
                missing = missing.saturating_sub(1);
            }
        }
        std::thread::sleep(Duration::from_micros(delay_us));
    }

    /// Kills the writer, and notes what it had still printed.
    pub(crate) fn kill(mut self, ledger: &mut Ledger) {
        assert!(self.child.try_wait().unwrap().is_none(), "the writer ended");
        self.child.kill().unwrap();
        while let Some(line) = self.line() {
            ledger.note(&line);
        }
    }

    /// The next whole line.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.ends_with('\n').then_some(line)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Fails only if it is dead already, which is what is wanted.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

/// The value of a record: every byte depends on the number, some are as large as may be.
pub(crate) fn value(id: u64) -> Vec<u8> {
    let length = match id % 16 {
        0 => MAX_VALUE_BYTES - usize::try_from(id % 100).unwrap(),
        _ => 200 + usize::try_from(id % 900).unwrap(),
    };
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().into_iter().cycle().take(length).collect()
}

/// Becomes the writer, and never returns, if this process was started as one.
pub(crate) fn run_if_child(engine: EngineKind) {
    let (Ok(path), Ok(start)) = (env::var(PATH), env::var(START)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(write_for_ever(Path::new(&path), engine, start.parse().unwrap()));
}

async fn write_for_ever(path: &Path, engine: EngineKind, start: u64) {
    let store = Store::open(path, engine, KEYSPACES).unwrap();
    say("OPEN");
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(write_records(store.clone(), start + task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Writes records numbered in steps of [`TASKS`]; every third batch also deletes an older one.
async fn write_records(store: Store, start: u64) {
    let mut live = VecDeque::new();
    for round in 0_u64.. {
        let id = start + round * TASKS;
        let old = (round % 3 == 2).then(|| live.pop_front()).flatten();
        let names = old.map_or_else(|| id.to_string(), |old| format!("{id} {old}"));
        say(&format!("I {names}"));
        store.commit(batch(id, old)).await.unwrap();
        say(&format!("A {names}"));
        live.push_back(id);
    }
}

fn batch(id: u64, old: Option<u64>) -> Batch {
    KEYSPACES.iter().fold(Batch::new(), |batch, &keyspace| {
        let batch = batch.put(keyspace, id.to_be_bytes(), value(id));
        match old {
            Some(old) => batch.delete(keyspace, old.to_be_bytes()),
            None => batch,
        }
    })
}
