//! How the services run what must not be interrupted, and what would hold up others.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::Semaphore;

/// The work ended without a result: it panicked, or the program is stopping.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work was broken off")]
pub struct Interrupted;

/// Runs `future` to its end even if the caller is dropped, as happens when a client hangs up: what is being committed must
/// also be counted.
///
/// # Errors
/// [`Interrupted`].
pub async fn to_the_end<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, Interrupted> {
    tokio::spawn(future).await.map_err(|_| Interrupted)
}

/// Public-key work on as many threads as the machine has processors, and no more, apart from those that serve connections.
#[derive(Clone, Debug)]
pub struct Workers {
    permits: Arc<Semaphore>,
}

impl Default for Workers {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { permits: Arc::new(Semaphore::new(processors)) }
    }
}

impl Workers {
    /// Runs `work` on a thread that may block.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let _permit = self.permits.acquire().await.map_err(|_| Interrupted)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Interrupted)
    }
}
