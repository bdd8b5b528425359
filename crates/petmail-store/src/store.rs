//! [`Store`]: the handle through which the rest of Petmail reads and writes.
//!
//! Owns the queue to the committer thread and the engine's life. Knows no engine by name.

use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, TryAcquireError, mpsc, oneshot};

use crate::batch::{Batch, Keyspace, MAX_BATCH_BYTES, MAX_BATCH_OPS, Op, position};
use crate::committer::{self, CommitError, Request};
use crate::engine::{Access, Engine, EngineError, EngineKind, KeyRange};
use crate::layout::{self, Label, Layout, OpenError};
use crate::space::{self, DiskFull};

/// What a queued batch counts beside its keys and values, in bytes: a bound on their number.
const BATCH_COST: usize = 1024;

/// What an operation counts beside its key and value, in bytes: about what it takes in memory.
const OP_COST: usize = 64;

/// What the largest batch counts.
const MAX_BATCH_COST: usize = MAX_BATCH_BYTES + MAX_BATCH_OPS * OP_COST + BATCH_COST;

/// Tuning of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for the engine's cache, in bytes; at least 1 MiB is used.
    pub cache_bytes: u64,
    /// Memory for batches waiting to be committed, in bytes; at least that of one largest batch.
    /// Each counts as the bytes of its keys and values, 64 for each operation, and 1 KiB.
    pub queue_bytes: usize,
    /// How much of the disk has to be free for a commit, in bytes; a smaller number than the default risks that the
    /// engine runs out of room half-way, after which the store has to be opened again.
    pub floor_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, queue_bytes: 8 * 1024 * 1024, floor_bytes: space::FLOOR_BYTES }
    }
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Ascending,
    /// From the largest key down.
    Descending,
}

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Why a read failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store was not opened with this keyspace.
    #[error("the store was not opened with a keyspace {0:?}")]
    UnknownKeyspace(&'static str),
    /// The disk or the engine failed.
    #[error("cannot read from the store: {0}")]
    Failed(EngineError),
    /// A write has failed: what the engine would show may not be on disk, so nothing is shown until the store is opened
    /// again.
    #[error("the store has failed and shows nothing until it is opened again: {0}")]
    WriteFailed(EngineError),
    /// The store has been closed, or the runtime is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Counts since opening, and the present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Batches acknowledged.
    pub commits: u64,
    /// Groups committed; each took one sync.
    pub groups: u64,
    /// Operations acknowledged.
    pub ops: u64,
    /// Cost of the batches waiting or being committed, in bytes (see [`Options::queue_bytes`]).
    pub queued_bytes: usize,
    /// Size of the files, in bytes as allocated.
    pub disk_bytes: u64,
    /// Whether a write has failed, so that none succeeds until the store is opened again.
    pub failed: bool,
    /// Whether the engine has raised an alarm: sled keeps a value where it does not sync it, and
    /// every commit therefore syncs the whole file system. Compact the store.
    pub alarm: bool,
}

/// An open store. Clones share it; the last one to be dropped closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Opens the store in the folder `path` with default [`Options`], creating it if absent.
    ///
    /// Blocks for as long as the engine needs to recover. `keyspaces` are created as needed;
    /// others that the store holds stay untouched and cannot be reached.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(path: &Path, engine: EngineKind, keyspaces: &'static [Keyspace]) -> Result<Self, OpenError> {
        Self::open_with(path, engine, keyspaces, Options::default())
    }

    /// Opens the store as [`open`](Self::open) does, with given options.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_with(
        path: &Path,
        engine: EngineKind,
        keyspaces: &'static [Keyspace],
        options: Options,
    ) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        let layout = Layout::lock(path)?;
        let names: Vec<&str> = keyspaces.iter().map(Keyspace::name).collect();
        let dir = match layout.current()? {
            Some(dir) => dir,
            None => create(&layout, path, engine, &names)?,
        };
        let label = layout.check(&dir, engine)?;
        let opened = engine
            .open(&dir, Access::Open(options.cache_bytes), &names)
            .map_err(|error| error.on_opening(path))?;
        layout::make_private(&dir).map_err(io)?;
        layout::sync_dir(&dir).map_err(io)?;
        let open = Open { engine: opened, dir, _layout: Some(layout) };
        Self::start(open, label, keyspaces, options).map_err(io)
    }

    fn start(
        open: Open,
        label: Option<Label>,
        keyspaces: &'static [Keyspace],
        options: Options,
    ) -> io::Result<Self> {
        let queue_bytes = options.queue_bytes.clamp(MAX_BATCH_COST, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            open: RwLock::new(Some(open)),
            failure: SetOnce::new(),
            floor_bytes: options.floor_bytes,
            counters: Counters::default(),
        });
        // Room is given out in bytes, so that the channel itself can never be full.
        let (sender, receiver) = mpsc::channel(queue_bytes / BATCH_COST + 1);
        let thread = std::thread::Builder::new().name("store-committer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || committer::run(&shared, receiver)
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                label,
                keyspaces,
                queue_bytes,
                room: Arc::new(Semaphore::new(queue_bytes)),
                sender: Mutex::new(Some(sender)),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// The label that the store was rewritten with; none if it has none.
    #[must_use]
    pub fn label(&self) -> Option<&Label> {
        self.inner.label.as_ref()
    }

    /// Commits `batch`; waits for room in the queue, then until the batch is on disk.
    ///
    /// Batches are committed in the order in which they entered the queue. If the returned future
    /// is dropped while the batch is queued, it is committed all the same.
    ///
    /// # Errors
    ///
    /// See [`CommitError`]; after all but [`CommitError::Failed`] nothing has been written.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let batch = Checked::new(batch, self.inner.keyspaces)?;
        let room = Arc::clone(&self.inner.room)
            .acquire_many_owned(batch.cost)
            .await
            .map_err(|_closed| CommitError::Closed)?;
        self.inner.queue(batch, room)?.wait().await
    }

    /// Commits `batch` unless the queue is full; waits until the batch is on disk.
    ///
    /// # Errors
    ///
    /// [`CommitError::Overloaded`] if there is no room; else as [`commit`](Self::commit).
    pub async fn try_commit(&self, batch: Batch) -> Result<(), CommitError> {
        let batch = Checked::new(batch, self.inner.keyspaces)?;
        let room =
            Arc::clone(&self.inner.room).try_acquire_many_owned(batch.cost).map_err(|error| match error {
                TryAcquireError::NoPermits => CommitError::Overloaded,
                TryAcquireError::Closed => CommitError::Closed,
            })?;
        self.inner.queue(batch, room)?.wait().await
    }

    /// Reads the value of one key.
    ///
    /// Every acknowledged commit is seen. A commit may be seen a moment before it is durable: who
    /// acts on what others wrote, where that matters, first commits an empty batch.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(
        &self,
        keyspace: Keyspace,
        key: impl Into<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let position = self.position(keyspace)?;
        let key = key.into();
        self.read(move |engine| engine.get(position, &key)).await
    }

    /// Reads up to `limit` rows whose keys lie in `range`, in the given direction.
    ///
    /// A batch is seen whole or not at all. The caller bounds `limit`: all rows are held in memory,
    /// and commits wait while they are read. To go on, start after the last key read.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn range(
        &self,
        keyspace: Keyspace,
        range: impl RangeBounds<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, ReadError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        let mut rows = self.ranges(keyspace, vec![range], direction, limit).await?;
        Ok(rows.pop().unwrap_or_default())
    }

    /// Reads up to `limit` rows of each of `ranges`, in the given direction; one vector for each range.
    ///
    /// What [`range`](Self::range) says holds for all of them together: the caller bounds `limit` and the number of ranges.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn ranges(
        &self,
        keyspace: Keyspace,
        ranges: Vec<KeyRange>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Vec<Row>>, ReadError> {
        let position = self.position(keyspace)?;
        self.read(move |engine| {
            let read = |range: KeyRange| match is_empty(&range) || limit == 0 {
                true => Ok(Vec::new()),
                false => engine.range(position, range, direction, limit),
            };
            ranges.into_iter().map(read).collect()
        })
        .await
    }

    /// Checks that there is room for what makes the store larger: [`RESERVE_BYTES`](crate::RESERVE_BYTES) of the disk.
    /// To be asked before something is taken in; commits themselves are refused only when next to nothing is left.
    ///
    /// # Errors
    ///
    /// [`DiskFull`].
    pub fn check_room(&self) -> Result<(), DiskFull> {
        self.inner.shared.check_free(space::RESERVE_BYTES)
    }

    /// Waits until a write has failed, after which the store has to be opened again, and returns what the engine said.
    pub async fn failed(&self) -> EngineError {
        self.inner.shared.failure.wait().await.clone()
    }

    /// Counts since opening, and the present state.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        let shared = Arc::clone(&self.inner.shared);
        let sizes = move || {
            shared.with_open(|open| {
                layout::disk_bytes(&open.dir)
                    .map(|bytes| (bytes, open.engine.alarm()))
                    .map_err(|error| ReadError::Failed(EngineError::from(error)))
            })
        };
        let (disk_bytes, alarm) = blocking(sizes).await?;
        let shared = &self.inner.shared;
        Ok(Stats {
            commits: shared.counters.commits.load(Ordering::Relaxed),
            groups: shared.counters.groups.load(Ordering::Relaxed),
            ops: shared.counters.ops.load(Ordering::Relaxed),
            queued_bytes: self.inner.queue_bytes - self.inner.room.available_permits(),
            disk_bytes,
            failed: shared.failure.get().is_some(),
            alarm,
        })
    }

    /// Commits what is queued, then closes the engine and releases the folder.
    ///
    /// From now on every other use, also through clones, is answered with an error. Dropping the
    /// last clone does the same, but blocks its thread meanwhile.
    pub async fn close(self) {
        let inner = Arc::clone(&self.inner);
        if let Err(error) = tokio::task::spawn_blocking(move || inner.shut()).await {
            tracing::error!(%error, "closing the store failed");
        }
    }

    fn position(&self, keyspace: Keyspace) -> Result<usize, ReadError> {
        position(self.inner.keyspaces, keyspace).ok_or(ReadError::UnknownKeyspace(keyspace.name()))
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = Arc::clone(&self.inner.shared);
        blocking(move || {
            let shown = shared.with_open(|open| read(open.engine.as_ref()).map_err(ReadError::Failed));
            // Looked at afterwards: a write that failed meanwhile may have been seen.
            match shared.failure.get() {
                Some(failure) => Err(ReadError::WriteFailed(failure.clone())),
                None => shown,
            }
        })
        .await
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("keyspaces", &self.inner.keyspaces).finish_non_exhaustive()
    }
}

/// The range of all keys that begin with `prefix`.
#[must_use]
pub fn prefix_range(prefix: &[u8]) -> KeyRange {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

/// What the handles share. Dropping it closes the store.
struct Inner {
    shared: Arc<Shared>,
    label: Option<Label>,
    keyspaces: &'static [Keyspace],
    queue_bytes: usize,
    room: Arc<Semaphore>,
    sender: Mutex<Option<mpsc::Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    fn queue(&self, batch: Checked, room: OwnedSemaphorePermit) -> Result<Receipt, CommitError> {
        let (done, receipt) = oneshot::channel();
        let request = Request { ops: batch.ops, bytes: batch.bytes, done, room };
        lock(&self.sender).as_ref().ok_or(CommitError::Closed)?.try_send(request).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => CommitError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => CommitError::Closed,
            },
        )?;
        Ok(Receipt(receipt))
    }

    /// Ends the committer once its queue is empty, then closes the engine. Further calls wait for
    /// the first and do nothing.
    fn shut(&self) {
        self.room.close();
        drop(lock(&self.sender).take());
        let mut thread = lock(&self.thread);
        if thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's committer panicked");
        }
        let open = self.shared.open.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            open.close();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut();
    }
}

/// A batch within all limits.
struct Checked {
    ops: Vec<Op>,
    bytes: usize,
    /// What it takes up in the queue, in bytes.
    cost: u32,
}

impl Checked {
    fn new(batch: Batch, keyspaces: &[Keyspace]) -> Result<Self, CommitError> {
        let (len, bytes) = (batch.len(), batch.bytes());
        let cost = u32::try_from(bytes + len * OP_COST + BATCH_COST)
            .ok()
            .filter(|_| len <= MAX_BATCH_OPS && bytes <= MAX_BATCH_BYTES)
            .ok_or(CommitError::BatchTooLarge { ops: len, bytes })?;
        let ops = batch.resolve(keyspaces)?;
        Ok(Self { ops, bytes, cost })
    }
}

/// A queued batch's coming answer.
struct Receipt(oneshot::Receiver<Result<(), CommitError>>);

impl Receipt {
    async fn wait(self) -> Result<(), CommitError> {
        // The committer answers every request that it takes; it is gone only if it panicked.
        self.0
            .await
            .unwrap_or_else(|_gone| Err(CommitError::Failed(EngineError::new("the committer is gone"))))
    }
}

/// What handles, reads and the committer share.
pub(crate) struct Shared {
    open: RwLock<Option<Open>>,
    /// The first failure of a write.
    pub(crate) failure: SetOnce<EngineError>,
    floor_bytes: u64,
    pub(crate) counters: Counters,
}

impl Shared {
    /// Uses the engine; none if the store is closed.
    pub(crate) fn with_engine<T>(&self, use_it: impl FnOnce(&dyn Engine) -> T) -> Option<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(|open| use_it(open.engine.as_ref()))
    }

    /// Checks that the engine can be let write.
    pub(crate) fn check_floor(&self) -> Result<(), DiskFull> {
        self.check_free(self.floor_bytes)
    }

    fn check_free(&self, wanted_bytes: u64) -> Result<(), DiskFull> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(Ok(()), |open| space::check_free(&open.dir, wanted_bytes))
    }

    fn with_open<T>(&self, use_it: impl FnOnce(&Open) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map_or(Err(ReadError::Closed), use_it)
    }
}

/// The opened engine with its locked folder; none in tests that bring their own engine.
struct Open {
    engine: Box<dyn Engine>,
    dir: PathBuf,
    _layout: Option<Layout>,
}

impl Open {
    /// Closes the engine before it releases the folder.
    fn close(self) {
        drop(self.engine);
        // sled writes a snapshot on closing, with whatever mode the umask gives.
        if let Err(error) = layout::make_private(&self.dir) {
            tracing::warn!(%error, "cannot set the permissions of the store's files");
        }
    }
}

/// What [`Stats`] counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) ops: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

/// Creates the first generation of a store.
fn create(layout: &Layout, path: &Path, engine: EngineKind, names: &[&str]) -> Result<PathBuf, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let dir = layout.begin(engine, None).map_err(io)?;
    let opened = engine.open(&dir, Access::Create, names);
    drop(opened.map_err(|error| error.on_opening(path))?);
    layout.finish().map_err(io)
}

/// Whether no key can lie in the range; engines disagree on what an inverted range means.
fn is_empty(range: &KeyRange) -> bool {
    match range {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
        _ => false,
    }
}

/// Runs what may wait for the disk where it holds up no task.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(if error.is_panic() {
            ReadError::Failed(EngineError::new("the engine panicked"))
        } else {
            ReadError::Closed
        })
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
