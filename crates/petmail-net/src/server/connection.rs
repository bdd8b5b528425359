//! One connection: HTTP/1 or HTTP/2 on a byte stream, until the peer leaves, stays idle too long, or the server stops.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, Response, body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{Limits, body::Held};
use crate::address::ClientAddr;

/// What all connections of a server share.
pub(super) struct Host {
    pub(super) router: Router,
    pub(super) limits: Limits,
    /// Ends the connections in good order.
    pub(super) shutdown: CancellationToken,
    /// Ends them at once.
    pub(super) cut: CancellationToken,
    /// Every task and open stream of the server.
    pub(super) tasks: TaskTracker,
}

impl Host {
    /// Serves `io` until it ends.
    pub(super) async fn converse<I>(self: Arc<Self>, io: I, client: ClientAddr)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::default();
        let mut quiet = pin!(activity.quiet(self.limits.header_timeout, self.limits.idle_timeout));
        let service = service_fn(|request| self.answer(request, client, activity.begin()));
        let builder = self.protocol();
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        let idle = tokio::select! {
            ended = connection.as_mut() => return note_end(ended),
            () = self.shutdown.cancelled() => false,
            () = quiet.as_mut() => true,
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => note_end(ended),
            () = self.cut.cancelled() => {}
            // The peer said nothing for long; it gets a moment to take the farewell.
            () = tokio::time::sleep(FAREWELL), if idle => {}
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        client: ClientAddr,
        working: Working,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        let answer = self.router.clone().oneshot(request);
        async move { Ok(answer.await?.map(|body| Held::wrap(body, working))) }
    }

    fn protocol(&self) -> auto::Builder<Tracked> {
        let executor = Tracked { tasks: self.tasks.clone(), cut: self.cut.clone() };
        let mut builder = auto::Builder::new(executor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(self.limits.max_headers)
            .max_buf_size(self.limits.max_header_bytes.max(MIN_HEADER_BYTES) as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.max_http2_streams)
            .max_header_list_size(self.limits.max_header_bytes)
            .keep_alive_interval(self.limits.http2_ping_interval)
            .keep_alive_timeout(self.limits.http2_ping_timeout);
        builder
    }
}

/// hyper refuses smaller buffers for HTTP/1.
const MIN_HEADER_BYTES: u32 = 8_192;

/// How long an idle peer may take to close after having been told.
const FAREWELL: Duration = Duration::from_secs(1);

fn note_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Runs hyper's HTTP/2 tasks as the server's own: counted, and ended with it.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F> Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.tasks.spawn(self.cut.clone().run_until_cancelled_owned(task));
    }
}

/// How many requests a connection has open, and when that last changed.
///
/// hyper times only the heads of HTTP/1 requests: neither the choice between the two protocols nor an idle HTTP/2
/// connection has a time-out of its own.
struct Activity(watch::Sender<usize>);

impl Default for Activity {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Activity {
    /// Marks a request as open until the result is dropped.
    fn begin(&self) -> Working {
        self.0.send_modify(|open| *open += 1);
        Working(self.0.clone())
    }

    /// Resolves when no first request came within `first`, or later none for `idle`.
    fn quiet(&self, first: Duration, idle: Duration) -> impl Future<Output = ()> + use<> {
        let mut open = self.0.subscribe();
        async move {
            let mut patience = first;
            loop {
                match tokio::time::timeout(patience, open.changed()).await {
                    Ok(_) => patience = idle,
                    Err(_) if *open.borrow() == 0 => return,
                    Err(_) => {}
                }
            }
        }
    }
}

struct Working(watch::Sender<usize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}
