//! The administration's routes, on a listener that only the operator reaches.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    routing::{MethodRouter, get, post},
};

use super::{Problem, answering_all, now, route};
use crate::{
    admin::{AccountRequest, AccountSummary, ChangeRequest, OfferRequest, Offers, RotatedKeys, Status},
    measures,
    queue::QueueStore,
    server::Services,
};

/// A body in JSON; what is wrong with another is told.
type Asked<T> = Result<Json<T>, JsonRejection>;

/// Every path with what answers there. `docs/api/mailbox-admin.openapi.json` describes the same ones.
fn routes<Q: QueueStore>() -> [(&'static str, MethodRouter<Arc<Services<Q>>>); 7] {
    [
        ("/offers", post(offers::<Q>)),
        ("/accounts", get(accounts::<Q>)),
        ("/account", post(account::<Q>)),
        ("/account/change", post(change::<Q>)),
        ("/account/remove", post(remove::<Q>)),
        ("/rotate-keys", post(rotate_keys::<Q>)),
        ("/status", get(status::<Q>)),
    ]
}

/// Makes the routes.
pub fn router<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    let metrics = measures::routes(Arc::clone(&services));
    answering_all(route(routes()).with_state(services).merge(metrics))
}

async fn offers<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    request: Asked<OfferRequest>,
) -> Result<Json<Offers>, Problem> {
    let Json(request) = request?;
    Ok(Json(services.admin().mint_offers(&request, now()).await?))
}

async fn accounts<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
) -> Result<Json<Vec<AccountSummary>>, Problem> {
    Ok(Json(services.admin().accounts().await?))
}

async fn account<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    request: Asked<AccountRequest>,
) -> Result<Json<AccountSummary>, Problem> {
    let Json(request) = request?;
    Ok(Json(services.admin().account(request).await?))
}

async fn change<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    request: Asked<ChangeRequest>,
) -> Result<Json<AccountSummary>, Problem> {
    let Json(request) = request?;
    let changed = services.admin().change(&request).await?;
    services.retrieval().tell_changed(&request.account);
    Ok(Json(changed))
}

async fn remove<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    request: Asked<AccountRequest>,
) -> Result<Json<AccountRequest>, Problem> {
    let Json(request) = request?;
    services.admin().remove(request).await?;
    services.retrieval().end_stream(&request.account);
    Ok(Json(request))
}

async fn rotate_keys<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
) -> Result<Json<RotatedKeys>, Problem> {
    Ok(Json(services.rotate_keys(now()).await?))
}

async fn status<Q: QueueStore>(State(services): State<Arc<Services<Q>>>) -> Result<Json<Status>, Problem> {
    let status = services.admin().status().await?;
    let streams = u64::try_from(services.retrieval().open_streams()).unwrap_or(u64::MAX);
    Ok(Json(Status { running: true, streams, ..status }))
}

#[cfg(test)]
mod tests {
    use super::{super::description, *};
    use crate::queue::embedded::EmbeddedQueue;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let file = include_str!("../../../../docs/api/mailbox-admin.openapi.json");
        assert_eq!(description::paths(file), description::routed(&routes::<EmbeddedQueue>()));
    }
}
