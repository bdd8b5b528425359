//! The administration's routes, on a listener that only the operator reaches.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State, rejection::JsonRejection},
    http::{header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use super::{Problem, answering_all, now, route};
use crate::{
    admin::{
        AccountRequest, AccountSummary, ChangeRequest, MoveRequest, Moved, OfferRequest, Offers, RotatedKeys,
        Status,
    },
    measures,
    queue::QueueStore,
    server::Services,
};

/// A body in JSON; what is wrong with another is told.
type Asked<T> = Result<Json<T>, JsonRejection>;

/// Every path with what answers there. `docs/api/mailbox-admin.openapi.json` describes the same ones.
fn routes<Q: QueueStore>() -> [(&'static str, MethodRouter<Arc<Services<Q>>>); 9] {
    [
        ("/offers", post(offers::<Q>)),
        ("/accounts", get(accounts::<Q>)),
        ("/account", post(account::<Q>)),
        ("/account/change", post(change::<Q>)),
        ("/account/remove", post(remove::<Q>)),
        ("/move", post(move_to::<Q>)),
        ("/move/cancel", post(stay::<Q>)),
        ("/rotate-keys", post(rotate_keys::<Q>)),
        ("/status", get(status::<Q>)),
    ]
}

/// Makes the routes.
pub fn router<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    let metrics = measures::routes(Arc::clone(&services));
    answering_all(route(routes()).with_state(services).merge(metrics))
        .layer(middleware::from_fn(keep_pages_out))
}

/// On a loopback port a browser is a way in: it can be led there by another name (DNS rebinding), or by a page of somebody
/// else. Such requests name that host, or their page in `Origin`.
async fn keep_pages_out(request: Request, next: Next) -> Response {
    let from_page = request.headers().contains_key(header::ORIGIN);
    if from_page || !is_for_loopback(&request) {
        return Problem::ForeignHost.into_response();
    }
    next.run(request).await
}

fn is_for_loopback(request: &Request) -> bool {
    let named =
        || request.headers().get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = request.uri().authority().cloned().or_else(named) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
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
    services.remove_account(request).await?;
    services.retrieval().end_stream(&request.account);
    Ok(Json(request))
}

async fn move_to<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
    request: Asked<MoveRequest>,
) -> Result<Json<Moved>, Problem> {
    let Json(request) = request?;
    Ok(Json(services.move_to(&request, now()).await?))
}

async fn stay<Q: QueueStore>(State(services): State<Arc<Services<Q>>>) -> Result<Json<Moved>, Problem> {
    Ok(Json(services.stay(now()).await?))
}

async fn rotate_keys<Q: QueueStore>(
    State(services): State<Arc<Services<Q>>>,
) -> Result<Json<RotatedKeys>, Problem> {
    Ok(Json(services.rotate_keys(now()).await?))
}

async fn status<Q: QueueStore>(State(services): State<Arc<Services<Q>>>) -> Result<Json<Status>, Problem> {
    let status = services.status().await?;
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
        let mut routed = description::routed(&routes::<EmbeddedQueue>());
        routed.insert("/metrics".to_owned());
        assert_eq!(description::paths(file), routed);
    }
    #[test]
    fn only_loopback_is_asked() {
        let request = |uri: &str, host: &str| {
            let request = axum::http::Request::builder().uri(uri);
            let request = if host.is_empty() { request } else { request.header(header::HOST, host) };
            is_for_loopback(&request.body(axum::body::Body::empty()).unwrap())
        };
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:9", "127.9.9.9", "[::1]:9"] {
            assert!(request("/status", host), "{host}");
        }
        for host in
            ["", "mail.example.org", "localhost.example.org:9", "192.0.2.1", "[::2]", "127.0.0.1.nip.io"]
        {
            assert!(!request("/status", host), "{host}");
        }
        assert!(request("http://localhost:9/status", "mail.example.org"));
        assert!(!request("http://mail.example.org/status", "localhost"));
    }
}
