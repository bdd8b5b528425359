//! What monitoring is told of a mailbox server, under documented names. Sums only: no account, no address.
//!
//! Source: `docs/operating.md`, "Monitoring".

use std::sync::Arc;

use axum::Router;
use petmail_net::metrics::{self, counter};

use crate::{
    queue::{QueueError, QueueStats, QueueStore, Totals},
    server::Services,
};

/// Makes the route that shows the numbers.
pub fn routes<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    metrics::routes(move || {
        let services = Arc::clone(&services);
        async move {
            if let Err(error) = refresh(&services).await {
                tracing::warn!(%error, "the store does not tell its numbers");
            }
        }
    })
}

async fn refresh<Q: QueueStore>(services: &Services<Q>) -> Result<(), QueueError> {
    let Totals { accounts, usage } = services.admin().totals().await?;
    metrics::set("petmail_mailbox_accounts", accounts);
    metrics::set("petmail_mailbox_messages", usage.messages);
    metrics::set("petmail_mailbox_message_bytes", usage.bytes);
    metrics::set("petmail_mailbox_streams", services.retrieval().open_streams());
    let QueueStats { commits, flushes, disk_bytes, healthy, disk_full } = services.store().await?;
    counter!("petmail_mailbox_store_commits_total").absolute(commits);
    counter!("petmail_mailbox_store_flushes_total").absolute(flushes);
    metrics::set("petmail_mailbox_store_disk_bytes", disk_bytes);
    metrics::set("petmail_mailbox_store_healthy", u8::from(healthy));
    metrics::set("petmail_mailbox_disk_full", u8::from(disk_full));
    Ok(())
}
