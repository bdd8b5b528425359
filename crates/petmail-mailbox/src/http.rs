//! HTTP: maps requests to services and their results to answers. Decides nothing itself.
//!
//! Under the base URL's path: `GET server`, `POST redeem`, `rekey`, `mint`, `deliver`, `list`, `fetch`, `delete`, `storage`,
//! `packs`; at the root the
//! status page and `/healthz`. The administration's routes are in [`admin`], on a listener of their own.

pub mod admin;
#[cfg(test)]
mod description;
mod packs;
mod problem;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State, rejection::BytesRejection},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event as SseEvent, KeepAlive, Sse},
    },
    routing::{MethodRouter, get, post},
};
use data_encoding::BASE64;
use futures::{Stream, stream};
use petmail_proto::{
    base_url::BaseUrl,
    delivery::MAX_MSG_A_BYTES,
    retrieval::{DeleteRequest, FetchRequest, LIST_REQUEST_BYTES},
    server::{
        account::{REDEEM_REQUEST_BYTES, REKEY_REQUEST_BYTES},
        mint::MINT_REQUEST_BYTES,
    },
};

pub use self::problem::Problem;
pub(crate) use crate::clock::now;
use crate::{
    measures,
    queue::{QueueStats, QueueStore},
    retrieve::{EventStream, StreamItem},
    server::Services,
};

/// How often an idle stream shows that it lives: more often than proxies lose patience.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// The name of the last event of a stream that gave way to another. Its data repeats it: an event without data is none.
const SUPERSEDED: &str = "superseded";

/// The name of the event that tells an owner to ask how its account is now.
const ACCOUNT: &str = "account";

const OCTETS: [(header::HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];

type Shared<Q> = State<Arc<Services<Q>>>;
type Body = Result<Bytes, BytesRejection>;

/// Every path below the base URL's with what answers there. `docs/api/mailbox.openapi.json` describes the same ones.
fn endpoints<Q: QueueStore>() -> [(&'static str, MethodRouter<Arc<Services<Q>>>); 11] {
    let limited = |limit: usize| DefaultBodyLimit::max(limit);
    [
        ("/server", get(server::<Q>)),
        ("/redeem", post(redeem::<Q>).layer(limited(REDEEM_REQUEST_BYTES))),
        ("/rekey", post(rekey::<Q>).layer(limited(REKEY_REQUEST_BYTES))),
        ("/mint", post(mint::<Q>).layer(limited(MINT_REQUEST_BYTES))),
        ("/deliver", post(deliver::<Q>).layer(limited(MAX_MSG_A_BYTES))),
        ("/list", post(list::<Q>).layer(limited(LIST_REQUEST_BYTES))),
        ("/fetch", post(fetch::<Q>).layer(limited(FetchRequest::MAX_BYTES))),
        ("/delete", post(delete::<Q>).layer(limited(DeleteRequest::MAX_BYTES))),
        ("/storage", post(packs::grant::<Q>).layer(limited(LIST_REQUEST_BYTES))),
        ("/packs", post(packs::look_up::<Q>).layer(limited(packs::MAX_LOOK_UP_BYTES))),
        (
            "/packs/{id}",
            get(packs::read::<Q>)
                .put(packs::put::<Q>)
                .delete(packs::delete::<Q>)
                .layer(limited(packs::MAX_PART_BYTES)),
        ),
    ]
}

/// What is at the root, whatever the base URL.
fn root_pages<Q: QueueStore>() -> [(&'static str, MethodRouter<Arc<Services<Q>>>); 2] {
    [("/", get(status_page)), ("/healthz", get(healthz::<Q>))]
}

/// Makes the public routes.
pub fn router<Q: QueueStore>(services: Arc<Services<Q>>) -> Router {
    let prefix = base_path(&services.url());
    let endpoints = route(endpoints())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&services), refuse_if_moved::<Q>));
    let routes = if prefix.is_empty() { endpoints } else { Router::new().nest(&prefix, endpoints) };
    answering_all(routes.merge(route(root_pages()))).with_state(services)
}

fn route<S: Clone + Send + Sync + 'static, const N: usize>(
    routes: [(&'static str, MethodRouter<S>); N],
) -> Router<S> {
    routes.into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method))
}

/// Adds the refusals of other paths and methods.
fn answering_all<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
}

/// Returns the path of a base URL: empty, or with a leading slash and none at its end.
pub(crate) fn base_path(url: &BaseUrl) -> String {
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    rest.split_once('/').map(|(_, path)| format!("/{path}")).unwrap_or_default()
}

/// A server that has moved answers with its descriptor and nothing else.
async fn refuse_if_moved<Q: QueueStore>(
    State(services): Shared<Q>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) && services.has_moved() {
        Err(Problem::Moved)
    } else {
        Ok(next.run(request).await)
    }
}

async fn status_page() -> &'static str {
    "This is a Petmail mailbox server. It keeps encrypted messages for its users until they fetch them.\n"
}

async fn healthz<Q: QueueStore>(State(services): Shared<Q>) -> Result<&'static str, Problem> {
    let store = services.store().await.map_err(|_| Problem::Store)?;
    match store {
        QueueStats { healthy: false, .. } => Err(Problem::Store),
        QueueStats { disk_full: true, .. } => Err(Problem::DiskFull),
        _ => Ok("ok\n"),
    }
}

async fn server<Q: QueueStore>(State(services): Shared<Q>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, services.descriptor()).into_response()
}

async fn redeem<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<Response, Problem> {
    let answer = services.accounts().redeem(body?.to_vec(), now()).await;
    measures::count_redeem(&answer);
    let answer = answer?;
    Ok((OCTETS, answer).into_response())
}

async fn rekey<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<Response, Problem> {
    let (answer, rekeyed) = services.accounts().rekey(body?.to_vec(), now()).await?;
    if let Some(account) = rekeyed {
        services.retrieval().end_stream(&account);
    }
    Ok((OCTETS, answer).into_response())
}

async fn mint<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<StatusCode, Problem> {
    services.accounts().mint(&body?, now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn deliver<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<StatusCode, Problem> {
    let delivered = services.deliveries().deliver(body?, now()).await;
    measures::count_delivery(&delivered);
    delivered?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list<Q: QueueStore>(
    State(services): Shared<Q>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body?;
    if wants_stream(&headers) {
        let stream = services.retrieval().stream(&body, now()).await?;
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
        return Ok(Sse::new(events(stream)).keep_alive(keep_alive).into_response());
    }
    Ok((OCTETS, services.retrieval().poll(&body, now()).await?).into_response())
}

async fn fetch<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<Response, Problem> {
    Ok((OCTETS, services.retrieval().fetch(&body?, now()).await?).into_response())
}

async fn delete<Q: QueueStore>(State(services): Shared<Q>, body: Body) -> Result<StatusCode, Problem> {
    services.retrieval().delete(&body?, now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|value| value.split(',').any(|kind| kind.trim().starts_with("text/event-stream")))
}

/// Turns a stream of the service into server-sent events; it ends after the first that says so.
fn events<Q: QueueStore>(stream: EventStream<Q>) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    stream::unfold(Some(stream), async |stream| {
        let mut stream = stream?;
        match stream.next(now).await {
            Ok(StreamItem::Event(bytes)) => {
                Some((Ok(SseEvent::default().data(BASE64.encode(&bytes))), Some(stream)))
            }
            Ok(StreamItem::AccountChanged) => {
                Some((Ok(SseEvent::default().event(ACCOUNT).data(ACCOUNT)), Some(stream)))
            }
            Ok(StreamItem::Superseded) => {
                Some((Ok(SseEvent::default().event(SUPERSEDED).data(SUPERSEDED)), None))
            }
            Err(error) => {
                tracing::warn!(%error, "an event stream ends early");
                None
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths() {
        for (url, path) in [("https://a.b", ""), ("https://a.b/p", "/p"), ("http://[::1]:80/p/q", "/p/q")] {
            assert_eq!(base_path(&url.parse().unwrap()), path);
        }
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        use crate::queue::embedded::EmbeddedQueue;
        let file = include_str!("../../../docs/api/mailbox.openapi.json");
        let mut routed = description::routed(&endpoints::<EmbeddedQueue>());
        routed.append(&mut description::routed(&root_pages::<EmbeddedQueue>()));
        assert_eq!(description::paths(file), routed);
    }

    #[test]
    fn streams_are_asked_for_by_accept() {
        let with = |value: &'static str| {
            HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(value))])
        };
        assert!(wants_stream(&with("text/event-stream")));
        assert!(wants_stream(&with("application/json, text/event-stream;q=0.9")));
        assert!(!wants_stream(&with("*/*")));
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
