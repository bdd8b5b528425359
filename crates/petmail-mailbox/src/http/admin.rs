//! The administration's routes, on a listener that only the operator reaches.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};

use super::{Problem, now};
use crate::{
    admin::{AccountSummary, OfferRequest, Offers, Status},
    queue::QueueStore,
    server::Services,
};

/// Makes the routes.
pub fn router<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    Router::new()
        .route("/offers", post(offers::<Q>))
        .route("/accounts", get(accounts::<Q>))
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

async fn status<Q: QueueStore>(State(services): State<Arc<Services<Q>>>) -> Result<Json<Status>, Problem> {
    let status = services.admin().status().await?;
    let streams = u64::try_from(services.retrieval().open_streams()).unwrap_or(u64::MAX);
    Ok(Json(Status { running: true, streams, ..status }))
}
