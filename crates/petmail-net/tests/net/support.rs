//! Servers on ports that the system chooses, and raw connections to them.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    response::sse::{Event, Sse},
    routing::{get, post},
};
use futures::{StreamExt, TryStreamExt};
use petmail_net::{
    CancellationToken,
    server::{Limits, Server},
    tls::TlsMode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, watch},
    task::JoinHandle,
};

/// Long enough for the slowest machine: reached only when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A time-out that is meant to pass.
pub(crate) const SOON: Duration = Duration::from_millis(80);

pub(crate) fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// The defaults with time-outs that no test outlives, so that only those set by a test can pass.
pub(crate) fn patient() -> Limits {
    let never = PATIENCE * 20;
    Limits {
        handshake_timeout: never,
        header_timeout: never,
        body_timeout: never,
        request_timeout: never,
        idle_timeout: never,
        write_timeout: never,
        http2_ping_interval: never,
        http2_ping_timeout: never,
        drain_timeout: never,
        ..Limits::default()
    }
}

/// A running server; dropping it stops it.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
    pub(crate) pin: Option<petmail_net::tls::Pin>,
    pub(crate) world: Arc<World>,
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.pin.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.addr)
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.addr).await.unwrap())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        within(self.task).await.unwrap();
    }
}

/// What the routes of [`router`] share with the test.
#[derive(Default)]
pub(crate) struct World {
    /// Lets `/wait` answer.
    pub(crate) go: Notify,
    /// How many requests have reached `/wait`.
    pub(crate) waiting: watch::Sender<usize>,
    /// What `/events` sends.
    pub(crate) events: watch::Sender<String>,
    /// How many endless bodies, and handlers of `/wait`, have ended.
    pub(crate) given_up: watch::Sender<usize>,
}

pub(crate) async fn start(limits: Limits) -> Running {
    start_with(TlsMode::PlainHttp, limits).await
}

pub(crate) async fn start_with(mode: TlsMode, limits: Limits) -> Running {
    let world = Arc::new(World::default());
    let router = router(&world);
    serve(mode, limits, router, world).await
}

pub(crate) async fn serve(mode: TlsMode, limits: Limits, router: Router, world: Arc<World>) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), &mode, limits).await.unwrap();
    let (addr, pin) = (server.local_addr(), server.pin());
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.serve(router, shutdown.clone()));
    Running { addr, shutdown, task, pin, world }
}

pub(crate) fn router(world: &Arc<World>) -> Router {
    let (waiting, events, endless) = (Arc::clone(world), Arc::clone(world), Arc::clone(world));
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/panic", get(panics))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/count", post(count_bytes))
        .route(
            "/wait",
            get(move || async move {
                let _guard = GivenUp(Arc::clone(&waiting));
                waiting.waiting.send_modify(|n| *n += 1);
                waiting.go.notified().await;
                "done"
            }),
        )
        .route(
            "/events",
            get(move || async move {
                let texts = tokio_stream::wrappers::WatchStream::from_changes(events.events.subscribe());
                Sse::new(texts.map(|text| Ok::<_, std::convert::Infallible>(Event::default().data(text))))
            }),
        )
        .route(
            "/endless",
            get(move || async move {
                let guard = GivenUp(endless);
                let chunks = futures::stream::repeat_with(move || {
                    let _held = &guard;
                    Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 16_384]))
                });
                Body::from_stream(chunks)
            }),
        )
}

struct GivenUp(Arc<World>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.given_up.send_modify(|n| *n += 1);
    }
}

/// Reads its body without axum's own bound.
async fn count_bytes(body: Body) -> String {
    let chunks: Result<Vec<Bytes>, _> = body.into_data_stream().try_collect().await;
    chunks.map_or("cut".to_owned(), |chunks| chunks.iter().map(Bytes::len).sum::<usize>().to_string())
}

async fn panics() -> StatusCode {
    panic!("a secret")
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this hangs")
}

/// Waits until `counter` has reached `n`.
pub(crate) async fn reaches(counter: &watch::Sender<usize>, n: usize) {
    within(counter.subscribe().wait_for(|now| *now >= n)).await.unwrap();
}

/// A TCP connection with bytes written by hand.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    }

    /// Reads until `end` has been seen; `None` if the connection ended before.
    pub(crate) async fn read_until(&mut self, end: &str) -> Option<String> {
        let mut seen = Vec::new();
        loop {
            if within(self.0.read_buf(&mut seen)).await.unwrap_or(0) == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&seen);
            if text.contains(end) {
                return Some(text.into_owned());
            }
        }
    }

    /// Reads what is left until the server closes.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end too: the server closed with our bytes unread.
        within(self.0.read_to_end(&mut rest)).await.unwrap_or(0);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

pub(crate) fn status(response: &reqwest::Response) -> u16 {
    response.status().as_u16()
}

pub(crate) fn retry_after(response: &reqwest::Response) -> u64 {
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}
