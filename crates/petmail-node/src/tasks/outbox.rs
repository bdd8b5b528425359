//! Delivers what waits in the outbox: to many contacts at once, to each in order.

use petmail_net::CancellationToken;
use petmail_proto::outbox::Outcome;
use tokio::task::JoinSet;

use crate::agent::{
    Agent,
    core::{Ended, Offer},
};

/// How many messages are under way at once.
const MAX_OFFERS: usize = 32;

pub(super) async fn run(agent: Agent, shutdown: CancellationToken) {
    let mut under_way = JoinSet::new();
    loop {
        if let Err(error) = agent.queue_acks().await {
            tracing::error!(%error, "acknowledgements are late");
        }
        let room = MAX_OFFERS.saturating_sub(under_way.len());
        let (offers, wake_at) = agent.next_offers(room).await;
        for offer in offers {
            under_way.spawn(deliver(agent.clone(), offer));
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = agent.outbox_changed() => {}
            () = super::sleep_until(wake_at) => {}
            Some(ended) = under_way.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a delivery failed");
                }
            }
        }
    }
    // What is under way is repeated after the next start; its receiver counts it once.
    under_way.shutdown().await;
}

async fn deliver(agent: Agent, offer: Offer) {
    let ended = attempt(&agent, &offer).await;
    if let Some(trouble) = &ended.trouble {
        tracing::debug!(contact = offer.cid, trouble, "a message was not taken");
    }
    if let Err(error) = agent.finish_offer(&offer, ended).await {
        tracing::error!(%error, "a delivery could not be noted; it will be repeated");
    }
}

async fn attempt(agent: &Agent, offer: &Offer) -> Ended {
    match agent.packets(offer).await {
        Ok(packets) => agent.network().deliver(offer, packets).await,
        Err(error) => Ended {
            outcome: Outcome::Failed { retry_after: None, is_full: false },
            trouble: Some(error.to_string()),
        },
    }
}
