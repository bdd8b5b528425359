//! The one thread that writes: takes queued batches in order, commits them in groups, acknowledges.
//!
//! Group commit exists because one sync costs as much as hundreds of operations. After any error
//! of the engine nothing is acknowledged any more: a failed sync may have thrown away what it was to
//! write, and a later one that succeeds proves nothing (the "fsync-gate").

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_VALUE_BYTES, Op};
use crate::engine::{EngineError, panic_text};
use crate::space::DiskFull;
use crate::store::{Counters, Shared};

/// Why a batch was not, or is not known to be, committed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The queue is full; nothing was written. Only from [`Store::try_commit`](crate::Store::try_commit).
    #[error("the store's queue is full: try again later")]
    Overloaded,
    /// The caller's batch is over [`MAX_BATCH_OPS`] or [`MAX_BATCH_BYTES`]; nothing was written.
    #[error(
        "a batch of {ops} operations and {bytes} bytes is over the limit of {MAX_BATCH_OPS} operations or {MAX_BATCH_BYTES} bytes"
    )]
    BatchTooLarge {
        /// Its number of operations.
        ops: usize,
        /// Its size in bytes.
        bytes: usize,
    },
    /// The caller's value has this many bytes, over [`MAX_VALUE_BYTES`]; nothing was written.
    #[error("a value of {0} bytes is over the limit of {MAX_VALUE_BYTES} bytes")]
    ValueTooLarge(usize),
    /// The caller's key is empty or over [`MAX_KEY_BYTES`]; nothing was written.
    #[error("a key of {0} bytes is not within 1 to {MAX_KEY_BYTES} bytes")]
    BadKeyLength(usize),
    /// The store was not opened with this keyspace; nothing was written.
    #[error("the store was not opened with a keyspace {0:?}")]
    UnknownKeyspace(&'static str),
    /// There is too little room on the disk; nothing was written, and once there is room commits succeed again.
    #[error(transparent)]
    DiskFull(DiskFull),
    /// The disk or the engine failed, now or earlier. This batch may or may not be there after the
    /// store has been opened again; until then no commit succeeds.
    #[error("the store has failed and takes no more writes until it is opened again: {0}")]
    Failed(EngineError),
    /// The store has been closed; nothing was written.
    #[error("the store is closed")]
    Closed,
}

/// A queued batch.
pub(crate) struct Request {
    pub(crate) ops: Vec<Op>,
    pub(crate) bytes: usize,
    pub(crate) done: oneshot::Sender<Result<(), CommitError>>,
    /// Its share of the queue, freed when the batch is done.
    pub(crate) room: OwnedSemaphorePermit,
}

/// Commits until every sender of the queue is gone and the queue is empty.
pub(crate) fn run(shared: &Arc<Shared>, mut queue: mpsc::Receiver<Request>) {
    let mut held_over = None;
    while let Some(first) = held_over.take().or_else(|| queue.blocking_recv()) {
        let mut group = Group::new(first);
        held_over = group.fill(&mut queue);
        group.commit(shared);
    }
}

/// Batches that share one sync, within the limits of one batch.
struct Group {
    ops: Vec<Op>,
    bytes: usize,
    waiting: Vec<(oneshot::Sender<Result<(), CommitError>>, OwnedSemaphorePermit)>,
}

impl Group {
    fn new(first: Request) -> Self {
        let mut group = Self { ops: Vec::new(), bytes: 0, waiting: Vec::new() };
        group.add(first);
        group
    }

    /// Adds what is queued and fits; returns the first batch that does not.
    fn fill(&mut self, queue: &mut mpsc::Receiver<Request>) -> Option<Request> {
        while let Ok(next) = queue.try_recv() {
            let full =
                self.ops.len() + next.ops.len() > MAX_BATCH_OPS || self.bytes + next.bytes > MAX_BATCH_BYTES;
            if full {
                return Some(next);
            }
            self.add(next);
        }
        None
    }

    fn add(&mut self, request: Request) {
        self.ops.extend(request.ops);
        self.bytes += request.bytes;
        self.waiting.push((request.done, request.room));
    }

    fn commit(self, shared: &Shared) {
        let outcome = apply(shared, &self.ops);
        let counters = &shared.counters;
        if outcome.is_ok() {
            counters.groups.fetch_add(1, Ordering::Relaxed);
            Counters::add(&counters.ops, self.ops.len());
            Counters::add(&counters.commits, self.waiting.len());
        }
        for (done, room) in self.waiting {
            drop(room);
            // Fails only if the caller has gone away, who then does not want to know.
            drop(done.send(outcome.clone()));
        }
    }
}

fn apply(shared: &Shared, ops: &[Op]) -> Result<(), CommitError> {
    if let Some(failure) = shared.failure.get() {
        return Err(CommitError::Failed(failure.clone()));
    }
    if ops.is_empty() {
        return Ok(());
    }
    shared.check_floor().map_err(CommitError::DiskFull)?;
    let applied = shared
        .with_engine(|engine| catch_unwind(AssertUnwindSafe(|| engine.apply(ops))))
        .ok_or(CommitError::Closed)?;
    let error = match applied {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(panic) => EngineError::new(format_args!("the engine panicked: {}", panic_text(panic.as_ref()))),
    };
    tracing::error!(%error, "the store has failed and takes no more writes");
    // This thread alone sets it, and it was not set above.
    shared.failure.set(error.clone()).unwrap_or_default();
    Err(CommitError::Failed(error))
}
