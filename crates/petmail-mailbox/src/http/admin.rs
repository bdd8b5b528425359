//! The administration's routes, on a listener that only the operator reaches.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};

use super::{Problem, now};
use crate::{
    admin::{AccountRequest, AccountSummary, ChangeRequest, OfferRequest, Offers, Status},
    queue::QueueStore,
    server::Services,
};

/// Makes the routes.
pub fn router<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    Router::new()
        .route("/offers", post(offers::<Q>))
        .route("/accounts", get(accounts::<Q>))
        .route("/account", post(account::<Q>))
        .route("/account/change", post(change::<Q>))
        .route("/account/remove", post(remove::<Q>))
        .route("/status", get(status::<Q>))
        .with_state(services)
}

async fn offers<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    Json(request): Json<OfferRequest>,
) -> Result<Json<Offers>, Problem> {
    Ok(Json(services.admin().mint_offers(&request, now()).await?))
}

async fn accounts<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
) -> Result<Json<Vec<AccountSummary>>, Problem> {
    Ok(Json(services.admin().accounts().await?))
}

async fn account<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    Json(request): Json<AccountRequest>,
) -> Result<Json<AccountSummary>, Problem> {
    Ok(Json(services.admin().account(request).await?))
}

async fn change<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    Json(request): Json<ChangeRequest>,
) -> Result<Json<AccountSummary>, Problem> {
    let changed = services.admin().change(&request).await?;
    services.retrieval().tell_changed(&request.account);
    Ok(Json(changed))
}

async fn remove<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    Json(request): Json<AccountRequest>,
) -> Result<Json<AccountRequest>, Problem> {
    services.admin().remove(request).await?;
    services.retrieval().end_stream(&request.account);
    Ok(Json(request))
}

async fn status<Q: QueueStore>(State(services): State<Arc<Services<Q>>>) -> Result<Json<Status>, Problem> {
    let status = services.admin().status().await?;
    let streams = u64::try_from(services.retrieval().open_streams()).unwrap_or(u64::MAX);
    Ok(Json(Status { running: true, streams, ..status }))
}
