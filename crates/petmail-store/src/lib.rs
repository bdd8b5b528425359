//! Durable keyspaces: one [`Store::commit`] that resolves when the batch is on disk.
//!
//! A [`Store`] holds a few named [`Keyspace`]s of sorted byte keys. [`Batch`] is the only way to
//! write: it is atomic over all keyspaces, and acknowledged only after the engine's own flush *and*
//! a data sync of the file, so that neither a killed process nor a lost power supply takes back
//! what was acknowledged. Many callers' batches share one sync (group commit). Values above
//! [`MAX_VALUE_BYTES`] are files: see [`BlobDir`].
//!
//! ```
//! use petmail_store::{Batch, Direction, EngineKind, Keyspace, Store, prefix_range};
//!
//! const QUEUE: Keyspace = Keyspace::new("queue");
//! const ACCOUNTS: Keyspace = Keyspace::new("accounts");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path();
//! let store = Store::open(path, EngineKind::Sled, &[QUEUE, ACCOUNTS])?;
//! let batch = Batch::new()
//!     .put(QUEUE, "alice/0001", "sealed")
//!     .put(ACCOUNTS, "alice", "1 waiting");
//! store.commit(batch).await?; // Both are on disk.
//! let newest = store
//!     .range(QUEUE, prefix_range(b"alice/"), Direction::Descending, 10)
//!     .await?;
//! assert_eq!(newest.len(), 1);
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Two engines stand behind it, [`EngineKind::Sled`] and [`EngineKind::Redb`]; none of their types
//! leaves this crate. This crate knows nothing of Petmail's messages (`docs/architecture.md`,
//! petmail-store).

mod batch;
mod blobs;
mod committer;
mod engine;
mod layout;
mod offline;
mod space;
mod store;

pub use batch::{Batch, Keyspace, MAX_BATCH_BYTES, MAX_BATCH_OPS, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use blobs::{BlobDir, BlobError, BlobName, Listed, ParseBlobNameError, Swept};
pub use committer::CommitError;
pub use engine::{EngineError, EngineKind, KeyRange, ParseEngineKindError};
pub use layout::{Label, OpenError, ParseLabelError, label};
pub use offline::{OfflineError, Rewritten, RowError, compact_offline, migrate_offline, rewrite_offline};
pub use space::{DiskFull, RESERVE_BYTES, check_free, free_bytes};
pub use store::{Direction, Options, ReadError, Row, Stats, Store, prefix_range};
