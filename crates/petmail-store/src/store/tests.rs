//! The queue, the groups and the poisoning, on an engine that fails and waits as told.

use std::sync::{Condvar, mpsc as std_mpsc};

use tokio::task::JoinSet;

use super::*;
use crate::batch::MAX_VALUE_BYTES;

const ROWS: Keyspace = Keyspace::new("rows");

/// What the engine does with the next group.
#[derive(Clone, Copy)]
enum Plan {
    Succeed,
    Fail,
    Panic,
}

/// An engine under the control of a test.
struct TestEngine {
    plan: Arc<Mutex<Plan>>,
    gate: Arc<Gate>,
    groups: Arc<Mutex<Vec<(usize, usize)>>>,
    entered: std_mpsc::Sender<()>,
}

/// Holds the engine while closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, closed: bool) {
        *lock(&self.closed) = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = lock(&self.closed);
        drop(self.changed.wait_while(closed, |closed| *closed).unwrap());
    }
}

impl Engine for TestEngine {
    fn apply(&self, ops: &[Op]) -> Result<(), EngineError> {
        let size = |op: &Op| op.key.len() + op.value.as_ref().map_or(0, Vec::len);
        lock(&self.groups).push((ops.len(), ops.iter().map(size).sum()));
        self.entered.send(()).unwrap();
        self.gate.pass();
        let plan = *lock(&self.plan);
        match plan {
            Plan::Succeed => Ok(()),
            Plan::Fail => Err(EngineError::new("no space left on device")),
            Plan::Panic => panic!("as told"),
        }
    }

    fn get(&self, _: usize, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        match key {
            b"panic" => panic!("as told"),
            b"fail" => Err(EngineError::new("bad sector")),
            _ => Ok(Some(key.to_vec())),
        }
    }

    fn range(&self, _: usize, _: KeyRange, _: Direction, _: usize) -> Result<Vec<Row>, EngineError> {
        Ok(Vec::new())
    }

    fn alarm(&self) -> bool {
        true
    }
}

/// A store on a [`TestEngine`], and the strings to pull.
struct Rig {
    store: Store,
    plan: Arc<Mutex<Plan>>,
    gate: Arc<Gate>,
    groups: Arc<Mutex<Vec<(usize, usize)>>>,
    entered: std_mpsc::Receiver<()>,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(queue_bytes: usize) -> Self {
        Self::with(Options { queue_bytes, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (plan, gate, groups) =
            (Arc::new(Mutex::new(Plan::Succeed)), Arc::<Gate>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (sender, entered) = std_mpsc::channel();
        let engine = TestEngine {
            plan: Arc::clone(&plan),
            gate: Arc::clone(&gate),
            groups: Arc::clone(&groups),
            entered: sender,
        };
        let open = Open { engine: Box::new(engine), dir: dir.path().to_owned(), _layout: None };
        Self {
            store: Store::start(open, None, &[ROWS], options).unwrap(),
            plan,
            gate,
            groups,
            entered,
            _dir: dir,
        }
    }

    /// Spawns a commit that has entered the queue when this returns.
    async fn queue(&self, tasks: &mut JoinSet<Result<(), CommitError>>, batch: Batch) {
        let store = self.store.clone();
        let (polled, was_polled) = oneshot::channel();
        tasks.spawn(async move {
            let commit = store.commit(batch);
            tokio::pin!(commit);
            tokio::select! {
                biased;
                done = &mut commit => return done,
                () = async { polled.send(()).unwrap() } => {}
            }
            commit.await
        });
        was_polled.await.unwrap();
    }

    /// Closes the gate and lets one commit into it.
    async fn block(&self, tasks: &mut JoinSet<Result<(), CommitError>>) {
        self.gate.set(true);
        self.queue(tasks, one()).await;
        self.entered.recv().unwrap();
    }
}

fn one() -> Batch {
    Batch::new().put(ROWS, "a", "1")
}

/// As large as a batch may be.
fn largest() -> Batch {
    let per_value = MAX_VALUE_BYTES;
    let mut batch = (1..MAX_BATCH_BYTES / per_value)
        .fold(Batch::new(), |batch, number| batch.put(ROWS, number.to_be_bytes(), vec![1; per_value - 8]));
    while batch.len() < MAX_BATCH_OPS {
        batch = batch.delete(ROWS, "0123456789abcdef");
    }
    let rest = MAX_BATCH_BYTES - batch.bytes();
    assert!(rest < per_value);
    batch
}

async fn assert_poisoned(rig: &Rig, text: &str) {
    let first = rig.store.commit(one()).await;
    assert!(matches!(&first, Err(CommitError::Failed(error)) if error.to_string().contains(text)));
    *lock(&rig.plan) = Plan::Succeed;
    for batch in [one(), Batch::new()] {
        let later = rig.store.commit(batch).await;
        assert!(matches!(later, Err(CommitError::Failed(_))));
    }
    assert_eq!(lock(&rig.groups).len(), 1, "the engine was used again");
    let stats = rig.store.stats().await.unwrap();
    assert!(stats.failed);
    assert_eq!((stats.commits, stats.groups, stats.ops), (0, 0, 0));
    // The engine would show what may not be on disk.
    let shown = rig.store.get(ROWS, "a").await;
    assert!(matches!(&shown, Err(ReadError::WriteFailed(error)) if error.to_string().contains(text)));
    assert!(rig.store.failed().await.to_string().contains(text));
}

#[tokio::test]
async fn without_room_nothing_is_written_and_nothing_has_failed() {
    let rig = Rig::with(Options { floor_bytes: u64::MAX, ..Options::default() });
    for _ in 0..2 {
        let refused = rig.store.commit(one()).await;
        assert!(matches!(refused, Err(CommitError::DiskFull(_))));
    }
    rig.store.commit(Batch::new()).await.unwrap();
    assert_eq!(*lock(&rig.groups), []);
    assert!(!rig.store.stats().await.unwrap().failed);
    assert!(rig.store.get(ROWS, "a").await.unwrap().is_some());
}

#[tokio::test]
async fn nothing_succeeds_after_a_failed_flush() {
    let rig = Rig::new(0);
    *lock(&rig.plan) = Plan::Fail;
    assert_poisoned(&rig, "no space left").await;
}

#[tokio::test]
async fn nothing_succeeds_after_a_panic() {
    let rig = Rig::new(0);
    *lock(&rig.plan) = Plan::Panic;
    assert_poisoned(&rig, "as told").await;
}

#[tokio::test]
async fn all_members_of_a_failed_group_fail() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    for _ in 0..3 {
        rig.queue(&mut tasks, one()).await;
    }
    *lock(&rig.plan) = Plan::Fail;
    rig.gate.set(false);
    let outcomes = tasks.join_all().await;
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.iter().all(Result::is_err));
}

#[tokio::test]
async fn waiting_batches_share_a_group() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    for _ in 0..100 {
        rig.queue(&mut tasks, one()).await;
    }
    rig.gate.set(false);
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(*lock(&rig.groups), [(1, 2), (100, 200)]);
    let stats = rig.store.stats().await.unwrap();
    assert_eq!((stats.commits, stats.groups, stats.ops), (101, 2, 101));
    assert!(stats.alarm);
}

#[tokio::test]
async fn groups_stay_within_the_limits_of_a_batch() {
    let rig = Rig::new(64 * 1024 * 1024);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    let many = (0..MAX_BATCH_OPS).fold(Batch::new(), |batch, _| batch.delete(ROWS, "x"));
    for batch in [largest(), one(), largest(), many.clone(), many, one()] {
        rig.queue(&mut tasks, batch).await;
    }
    rig.gate.set(false);
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    let groups = lock(&rig.groups).clone();
    assert_eq!(groups.len(), 7, "{groups:?}");
    for (ops, bytes) in groups {
        assert!(ops <= MAX_BATCH_OPS && bytes <= MAX_BATCH_BYTES);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_or_makes_wait() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    // What is being committed still takes up room, so that a second largest batch does not fit.
    rig.queue(&mut tasks, largest()).await;
    let refusal = rig.store.try_commit(largest()).await;
    assert!(matches!(refusal, Err(CommitError::Overloaded)));
    assert!(rig.store.stats().await.unwrap().queued_bytes > 0);
    rig.queue(&mut tasks, largest()).await;
    rig.gate.set(false);
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(rig.store.stats().await.unwrap().queued_bytes, 0);
    rig.store.try_commit(largest()).await.unwrap();
}

#[tokio::test]
async fn a_longer_queue_takes_more() {
    let rig = Rig::new(2 * MAX_BATCH_COST + MAX_BATCH_BYTES);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    rig.queue(&mut tasks, largest()).await;
    rig.queue(&mut tasks, largest()).await;
    let refusal = rig.store.try_commit(largest()).await;
    assert!(matches!(refusal, Err(CommitError::Overloaded)));
    rig.gate.set(false);
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_empty_batch_waits_for_those_before_it() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    let mut barrier = JoinSet::new();
    rig.queue(&mut barrier, Batch::new()).await;
    assert!(barrier.try_join_next().is_none());
    rig.gate.set(false);
    assert!(barrier.join_all().await.iter().all(Result::is_ok));
    assert_eq!(*lock(&rig.groups), [(1, 2)]);
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_abandoned_commit_is_carried_out() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    rig.queue(&mut tasks, one().put(ROWS, "b", "2")).await;
    tasks.shutdown().await;
    rig.gate.set(false);
    rig.store.commit(one()).await.unwrap();
    let ops: usize = lock(&rig.groups).iter().map(|(ops, _)| ops).sum();
    assert_eq!(ops, 4);
}

#[tokio::test]
async fn closing_commits_what_is_queued() {
    let rig = Rig::new(0);
    let mut tasks = JoinSet::new();
    rig.block(&mut tasks).await;
    rig.queue(&mut tasks, one()).await;
    let close = tokio::spawn(rig.store.clone().close());
    while !rig.store.inner.room.is_closed() {
        tokio::task::yield_now().await;
    }
    let refusal = rig.store.commit(one()).await;
    assert!(matches!(refusal, Err(CommitError::Closed)));
    rig.gate.set(false);
    close.await.unwrap();
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(lock(&rig.groups).len(), 2);
}

#[tokio::test]
async fn failed_reads_are_errors() {
    let rig = Rig::new(0);
    for key in ["panic", "fail"] {
        let error = rig.store.get(ROWS, key).await;
        assert!(matches!(error, Err(ReadError::Failed(_))));
    }
    assert!(rig.store.get(ROWS, "other").await.unwrap().is_some());
}
