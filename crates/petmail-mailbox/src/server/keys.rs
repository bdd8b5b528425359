//! Replacing the server's keys, and dropping those that were replaced long ago.

use std::time::Duration;

use petmail_proto::time::UnixMillis;
use rand_core::OsRng;

use super::Services;
use crate::{
    admin::{AdminError, RotatedKeys, rfc3339},
    identity::{DESCRIPTOR_LIFE, RotateError},
    queue::QueueStore,
};

impl<Q: QueueStore> Services<Q> {
    /// Makes new keys, and says so in the descriptor at once. Those that there are stay good for as long as a message is kept
    /// for anybody, and for as long as somebody may still go by an earlier descriptor.
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::TooManyKeys`] says when it works again.
    pub async fn rotate_keys(&self, now: UnixMillis) -> Result<RotatedKeys, AdminError> {
        let _one_at_a_time = self.replacing_keys.lock().await;
        let accounts = self.queue.accounts(now).await?;
        let longest = accounts.iter().map(|found| found.account.retention_seconds).max().unwrap_or_default();
        let end = now.plus(Duration::from_secs(longest).max(DESCRIPTOR_LIFE));
        let rotated = self.identity.get().rotated(now, end, &mut OsRng).map_err(refusal)?;
        let identity = self.identity.replace(rotated).await?;
        self.sign_descriptor(now).await?;
        self.rotated.notify_one();
        let kid = identity.newest_token_key().map(|key| key.kid);
        tracing::info!(?kid, "the server has new keys");
        Ok(RotatedKeys { kid, former_end: rfc3339(end) })
    }

    /// Drops the keys that have ended, also from the descriptor.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn end_keys(&self, now: UnixMillis) -> Result<(), AdminError> {
        let _one_at_a_time = self.replacing_keys.lock().await;
        let Some(rest) = self.identity.get().without_ended(now) else { return Ok(()) };
        self.identity.replace(rest).await?;
        self.sign_descriptor(now).await?;
        tracing::info!("keys that were replaced have ended");
        Ok(())
    }
}

fn refusal(error: RotateError) -> AdminError {
    match error {
        RotateError::TooMany { oldest_ends } => {
            AdminError::TooManyKeys(format!("{error}; the oldest end {}", rfc3339(oldest_ends)))
        }
        RotateError::NoNumberLeft => AdminError::TooManyKeys(error.to_string()),
    }
}
