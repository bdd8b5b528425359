//! What every request passes before and after its handler: a number for the logs, the rate and concurrency bounds, the
//! time-outs, the size bound, and an answer when the handler panics.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use governor::{DefaultKeyedRateLimiter, Quota, clock::Clock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer};
use tracing::{Instrument, field::Empty};

use super::{
    Limits, Peers,
    body::{TimedBody, UntilShutdown},
    meter::{Meter, NoAnswer},
    shares::Shares,
};
use crate::address::{AddressGroup, ClientAddr};

/// How long a client is asked to wait when the bound that it hit has no time of its own.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bounds on requests, shared by all connections of a server.
pub(super) struct Gate {
    limits: Limits,
    peers: Peers,
    meter: Meter,
    rate: DefaultKeyedRateLimiter<AddressGroup>,
    in_flight: Semaphore,
    in_flight_per_address: Shares,
    shutdown: CancellationToken,
    next_id: AtomicU64,
}

impl Gate {
    pub(super) fn new(limits: &Limits, peers: Peers, meter: Meter, shutdown: CancellationToken) -> Arc<Self> {
        let quota = Quota::per_second(limits.requests_per_second_per_address)
            .allow_burst(limits.request_burst_per_address);
        Arc::new(Self {
            limits: limits.clone(),
            peers,
            meter,
            rate: DefaultKeyedRateLimiter::dashmap(quota),
            in_flight: Semaphore::new(limits.max_requests_in_flight.get() as usize),
            in_flight_per_address: Shares::new(limits.max_requests_in_flight_per_address),
            shutdown,
            next_id: AtomicU64::new(1),
        })
    }

    /// Returns who speaks for others.
    pub(super) const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Returns what counts for monitoring.
    pub(super) const fn meter(&self) -> Meter {
        self.meter
    }

    /// Puts this gate before every route of `router`, its fallback included.
    pub(super) fn guard(self: &Arc<Self>, router: Router) -> Router {
        router
            .layer(CatchPanicLayer::custom(after_panic))
            .layer(DefaultBodyLimit::max(self.limits.max_body_bytes))
            .layer(RequestBodyLimitLayer::new(self.limits.max_body_bytes))
            .layer(middleware::from_fn_with_state(Arc::clone(self), pass))
    }

    /// Forgets the rates of addresses that have been quiet, so that their number stays bounded.
    pub(super) fn forget_quiet_addresses(&self) {
        self.rate.retain_recent();
        self.rate.shrink_to_fit();
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let group = request.extensions().get::<ClientAddr>().and_then(ClientAddr::group);
        let share = match group {
            None => None,
            Some(group) => {
                if let Err(early) = self.rate.check_key(&group) {
                    self.meter.not_answered(NoAnswer::Rate);
                    return refuse_rate(early.wait_time_from(self.rate.clock().now()));
                }
                let Some(share) = self.in_flight_per_address.take(group) else {
                    self.meter.not_answered(NoAnswer::Address);
                    return refuse_rate(RETRY_AFTER);
                };
                Some(share)
            }
        };
        let Ok(_permit) = self.in_flight.try_acquire() else {
            self.meter.not_answered(NoAnswer::Busy);
            return busy("the server is busy");
        };
        let response = self.within_time(request, next).await;
        drop(share);
        self.end_at_shutdown(response)
    }

    async fn within_time(&self, request: Request, next: Next) -> Response {
        let late = Arc::new(AtomicBool::new(false));
        let request = request.map(|body| TimedBody::wrap(body, self.limits.body_timeout, &late));
        let answer = tokio::time::timeout(self.limits.request_timeout, next.run(request)).await;
        match answer {
            // However the handler reported the broken body, the reason was its slowness.
            _ if late.load(Ordering::Relaxed) => {
                self.meter.not_answered(NoAnswer::BodyTimeout);
                (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in time\n").into_response()
            }
            Ok(response) => response,
            Err(_) => {
                self.meter.not_answered(NoAnswer::Timeout);
                busy("the server took too long")
            }
        }
    }

    fn end_at_shutdown(&self, response: Response) -> Response {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        if content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream")) {
            return response.map(|body| UntilShutdown::wrap(body, self.shutdown.clone()));
        }
        response
    }
}

async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<ClientAddr>().copied();
    let client = client.map(|peer| gate.peers.client(peer, request.headers()));
    let id = gate.next_id.fetch_add(1, Ordering::Relaxed);
    // A span is not a line: it only marks the lines that a handler writes about bad input. It carries no path, because
    // a path is the client's choice of words.
    let span = tracing::error_span!("request", id, client = Empty);
    if let Some(client) = client {
        request.extensions_mut().insert(client);
        if let (ClientAddr::Network(address), true) = (client, gate.peers.log_addresses) {
            span.record("client", tracing::field::display(address.ip()));
        }
    }
    let asked = gate.meter.asked(request.extensions().get());
    async {
        let response = gate.answer(request, next).await;
        if let Some(asked) = asked {
            asked.answered(response.status());
        }
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// The panic itself was reported, without its message, by the hook that `program` installs.
fn after_panic(_message: Box<dyn Any + Send + 'static>) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
}

fn refuse_rate(wait: Duration) -> Response {
    (StatusCode::TOO_MANY_REQUESTS, retry_after(wait), "too many requests from this address\n")
        .into_response()
}

fn busy(text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, retry_after(RETRY_AFTER), text).into_response()
}

fn retry_after(wait: Duration) -> [(header::HeaderName, HeaderValue); 1] {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    [(header::RETRY_AFTER, HeaderValue::from(seconds))]
}
