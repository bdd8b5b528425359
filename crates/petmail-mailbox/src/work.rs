//! How the services run what must not be interrupted.
//!
//! Public-key work is done where it comes up: opening a message takes about as long as a TLS handshake, which is done there
//! too, and a pool of threads for it showed no gain.

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
