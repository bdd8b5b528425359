//! What a service manager such as systemd is told: ready, alive, stopping. Nothing if there is none.
//!
//! Source: sd_notify(3), sd_watchdog_enabled(3).

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// Tells that the program does its work now.
pub(super) fn tell_ready() {
    tell(NotifyState::Ready);
}

/// Tells that the program is about to end.
pub(super) fn tell_stopping() {
    tell(NotifyState::Stopping);
}

/// Tells that the program lives, twice in the time that the service manager's watchdog allows, for as long as `is_healthy`
/// says so, until `shutdown`. Returns at once if there is no watchdog.
pub async fn feed_watchdog<F>(shutdown: &CancellationToken, is_healthy: impl Fn() -> F)
where
    F: Future<Output = bool>,
{
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut due = tokio::time::interval(patience / 2);
    let feed = async {
        loop {
            due.tick().await;
            if is_healthy().await {
                tell(NotifyState::Watchdog);
            } else {
                tracing::error!("the server is not healthy: the watchdog is not told that it lives");
            }
        }
    };
    shutdown.run_until_cancelled(feed).await.unwrap_or(());
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
