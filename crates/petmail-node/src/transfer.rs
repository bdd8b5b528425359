//! Files on their way to and from storage servers: reading and sealing what is sent, fetching and opening what came.
//!
//! Knows nothing of who may send what to whom: [`crate::agent`] decides that, keeps the records, and is told how things go.
//! Specification: `docs/protocol/content.md`, `docs/protocol/storage.md`.

mod account;
mod depot;
mod download;
mod links;
mod locate;
mod pack_table;
mod part;
mod plan;
pub(crate) mod service;
pub(crate) mod source;
pub(crate) mod spool;
mod stopped;
mod upload;

use std::time::Duration;

use petmail_proto::outbox::backoff;
use rand_core::OsRng;

pub(crate) use self::{
    account::AccountDepot,
    depot::Depot,
    download::{discard_download, fetch},
    locate::locate,
    part::part_path,
    stopped::Stopped,
    upload::store,
};
use crate::{
    agent::{Agent, records::transfers::Hitch},
    network::storage::StorageError,
};

/// The longest pause between attempts: people watch.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Waits for what waiting may mend, a while longer each time. What is wrong meanwhile is shown.
struct Patience<'a> {
    agent: &'a Agent,
    id: u64,
    failures: u32,
}

impl<'a> Patience<'a> {
    fn of(agent: &'a Agent, id: u64) -> Self {
        Self { agent, id, failures: 0 }
    }

    /// Waits, or returns the error if that would not help.
    async fn wait(&mut self, error: StorageError) -> Result<(), StorageError> {
        let StorageError::Unavailable { reason, retry_after } = error else { return Err(error) };
        tracing::debug!(id = self.id, reason, "a transfer has to wait");
        self.agent.transfer_waits(self.id, Hitch::waiting(reason));
        let pause = backoff(self.failures, &mut OsRng).min(MAX_PAUSE);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(retry_after.map_or(pause, |asked| asked.max(pause))).await;
        Ok(())
    }
}
