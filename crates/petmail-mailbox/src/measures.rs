//! What monitoring is told of a mailbox server, under documented names. Sums only: no account, no address.
//!
//! Source: `docs/operating.md`, "Monitoring".

use std::sync::Arc;

use axum::Router;
use petmail_net::metrics::{self, counter};

use crate::{
    accounts::AccountsError,
    deliver::DeliveryError,
    packs::PackTotals,
    queue::{DeliverError, Delivered, QueueError, QueueStats, QueueStore, RedeemError, Totals},
    server::Services,
};

const DELIVERIES: &str = "petmail_mailbox_deliveries_total";
const REDEEMS: &str = "petmail_mailbox_redeems_total";
const SWEPT: &str = "petmail_mailbox_swept_total";

/// What can become of a delivery.
const DELIVERY_RESULTS: [&str; 7] = ["stored", "repeated", "malformed", "unknown", "full", "busy", "failed"];

/// What can become of an offer that somebody wants to redeem.
const REDEEM_RESULTS: [&str; 4] = ["done", "malformed", "refused", "failed"];

/// Shows at once what will be counted.
pub fn begin() {
    for result in DELIVERY_RESULTS {
        counter!(DELIVERIES, "result" => result).increment(0);
    }
    for result in REDEEM_RESULTS {
        counter!(REDEEMS, "result" => result).increment(0);
    }
    counter!(SWEPT).increment(0);
}

/// Counts a delivery by what became of it.
pub(crate) fn count_delivery(delivered: &Result<Delivered, DeliveryError>) {
    let [stored, repeated, malformed, unknown, full, busy, failed] = DELIVERY_RESULTS;
    let result = match delivered {
        Ok(Delivered::Stored(_)) => stored,
        Ok(Delivered::Repeated) => repeated,
        Err(DeliveryError::Open(_) | DeliveryError::Token(_)) => malformed,
        Err(DeliveryError::Queue(DeliverError::UnknownSlot)) => unknown,
        Err(DeliveryError::Queue(DeliverError::Full)) => full,
        Err(DeliveryError::Queue(DeliverError::Busy)) => busy,
        Err(DeliveryError::Queue(DeliverError::Queue(_)) | DeliveryError::Interrupted(_)) => failed,
    };
    counter!(DELIVERIES, "result" => result).increment(1);
}

/// Counts an offer that somebody wants to redeem, by what became of it.
pub(crate) fn count_redeem<T>(redeemed: &Result<T, AccountsError>) {
    let [done, malformed, refused, failed] = REDEEM_RESULTS;
    let result = match redeemed {
        Ok(_) => done,
        Err(AccountsError::Request(_)) => malformed,
        Err(AccountsError::Redeem(RedeemError::Queue(_))) => failed,
        Err(AccountsError::Redeem(_)) => refused,
        Err(_) => failed,
    };
    counter!(REDEEMS, "result" => result).increment(1);
}

/// Counts messages whose time was over.
pub(crate) fn count_swept(messages: usize) {
    counter!(SWEPT).increment(u64::try_from(messages).unwrap_or(u64::MAX));
}

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
    let PackTotals { packs, charged_bytes } =
        services.packs().map(|packs| packs.totals()).unwrap_or_default();
    metrics::set("petmail_mailbox_packs", packs);
    metrics::set("petmail_mailbox_pack_bytes", charged_bytes);
    let is_away = services.packs().is_some_and(|packs| packs.status().problem.is_some());
    metrics::set("petmail_mailbox_blobs_away", u8::from(is_away));
    let QueueStats { commits, flushes, disk_bytes, healthy, disk_full } = services.store().await?;
    counter!("petmail_mailbox_store_commits_total").absolute(commits);
    counter!("petmail_mailbox_store_flushes_total").absolute(flushes);
    metrics::set("petmail_mailbox_store_disk_bytes", disk_bytes);
    metrics::set("petmail_mailbox_store_healthy", u8::from(healthy));
    metrics::set("petmail_mailbox_disk_full", u8::from(disk_full));
    Ok(())
}
