//! Whether there is room for what is to be stored. Deletions do without: they are let through as long as the store itself
//! dares to write.

use std::sync::atomic::{AtomicBool, Ordering};

use petmail_store::{DiskFull, MAX_VALUE_BYTES, RESERVE_BYTES, check_free};

use super::EmbeddedQueue;
use crate::queue::QueueError;

/// A store whose files are so many times as large as what it holds takes messages without growing: what was deleted leaves
/// room in its files, but does not give it back to the disk.
const ROOMY: u64 = 3;

/// Whether something was refused since there was room, so that the log says it once.
#[derive(Debug, Default)]
pub(super) struct Refusing(AtomicBool);

impl Refusing {
    fn refused(&self, full: &DiskFull) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "{full}: deliveries are refused until there is room; what was accepted can be fetched"
            );
        }
    }

    fn has_room(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("there is room on the disk again: deliveries are accepted");
        }
    }
}

impl EmbeddedQueue {
    /// Checks that there is room for a message, or something else, of that length.
    pub(super) async fn check_room_for(&self, bytes: usize) -> Result<(), QueueError> {
        let Err(full) = self.store.check_room() else {
            self.refusing.has_room();
            return Ok(());
        };
        // A larger one would be a file of its own.
        if bytes <= MAX_VALUE_BYTES && self.has_room_within(&full).await? {
            return Ok(());
        }
        self.refusing.refused(&full);
        Err(full.into())
    }

    /// Tells whether the store has room in its own files, and half of the reserve is left all the same.
    async fn has_room_within(&self, full: &DiskFull) -> Result<bool, QueueError> {
        let held: u64 = self.index().by_id.values().map(|entry| entry.usage().bytes).sum();
        let stats = self.store.stats().await.map_err(QueueError::new)?;
        Ok(held.saturating_mul(ROOMY) <= stats.disk_bytes
            && check_free(&full.path, RESERVE_BYTES / 2).is_ok())
    }
}
