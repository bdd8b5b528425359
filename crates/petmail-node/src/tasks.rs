//! The long-running tasks of a node, all children of one supervisor: none outlives it.

mod invitations;
mod mailboxes;
mod outbox;
mod rival;
mod transfers;
mod upkeep;

use std::time::Duration;

use petmail_net::{CancellationToken, clock, ws::WsSettings};
use petmail_proto::time::UnixMillis;
use tokio::task::JoinSet;

use crate::agent::Agent;

/// Runs all tasks until `shutdown`; returns when the last one has ended.
///
/// # Errors
/// If a task ended before it was told to: without one of its tasks a node would lose messages silently. If the database
/// failed: nothing can be stored then until it is opened again.
pub(crate) async fn run(
    agent: Agent,
    rendezvous: WsSettings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(outbox::run(agent.clone(), shutdown.clone()));
    tasks.spawn(upkeep::run(agent.clone(), shutdown.clone()));
    tasks.spawn(mailboxes::run(agent.clone(), shutdown.clone()));
    tasks.spawn(transfers::run(agent.clone(), shutdown.clone()));
    tasks.spawn(invitations::run(agent.clone(), rendezvous, shutdown.clone()));
    let first = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        error = agent.failed() => Err(error.into()),
        Some(ended) = tasks.join_next() => match ended.err() {
            _ if shutdown.is_cancelled() => Ok(()),
            error => Err(anyhow::anyhow!("a task of the node ended unexpectedly: {error:?}")),
        },
    };
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
    first
}

/// Sleeps until the wall clock shows `time`; for ever without one.
async fn sleep_until(time: Option<UnixMillis>) {
    match time {
        Some(time) => {
            tokio::time::sleep(Duration::from_millis(time.0.saturating_sub(clock::unix_ms()))).await
        }
        None => std::future::pending().await,
    }
}
