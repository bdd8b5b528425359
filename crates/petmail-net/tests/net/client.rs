//! What the clients accept, refuse and report.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::header,
    response::{
        Redirect,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use bytes::Bytes;
use futures::StreamExt;
use petmail_net::{
    client::{
        ClientError, ClientSettings, DeliveryClient, Opened, Owner, RetrievalClient, SocksProxy, Target,
        TargetUrl, UrlError, UrlPolicy,
    },
    server::Limits,
    tls::{Pin, TlsMode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::support::{Running, SOON, World, patient, serve, within};

const ME: Owner = Owner(1);

fn target(url: &str, pins: Vec<Pin>) -> Target {
    Target::new(TargetUrl::parse(url, UrlPolicy::AllowPrivate).unwrap(), pins)
}

fn delivery() -> DeliveryClient {
    DeliveryClient::new(ClientSettings::default())
}

fn retrieval() -> RetrievalClient {
    RetrievalClient::new(ClientSettings::default())
}

async fn deliver(client: &DeliveryClient, target: &Target, path: &str) -> Result<u16, ClientError> {
    let answer = client.deliver(ME, target, path, Bytes::from_static(b"hello")).await?;
    Ok(answer.status)
}

/// Routes for clients: some honest, some hostile.
fn routes() -> Router {
    let busy = || async { (reqwest::StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")]) };
    let greedy =
        || async { (reqwest::StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "99999999999")]) };
    let three = || async {
        let texts = futures::stream::iter(["one", "two", "three"]);
        Sse::new(texts.map(|text| Ok::<_, std::convert::Infallible>(Event::default().event("e").data(text))))
    };
    let alive = || async {
        let ticks = Duration::from_millis(20);
        Sse::new(futures::stream::pending::<Result<Event, std::convert::Infallible>>())
            .keep_alive(KeepAlive::new().interval(ticks))
    };
    let silent = || async { Sse::new(futures::stream::pending::<Result<Event, std::convert::Infallible>>()) };
    let long = || async {
        Sse::new(futures::stream::iter([Ok::<_, std::convert::Infallible>(
            Event::default().data("x".repeat(2000)),
        )]))
    };
    let endless = || async {
        axum::body::Body::from_stream(futures::stream::repeat_with(|| {
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[0; 1000]))
        }))
    };
    Router::new()
        .route("/base/echo", post(|body: Bytes| async move { body }))
        .route("/base/server", get(|| async { "descriptor" }))
        .route("/base/away", post(|| async { Redirect::temporary("/base/echo") }))
        .route("/base/busy", post(busy))
        .route("/base/greedy", post(greedy))
        .route("/base/three", post(three))
        .route("/base/alive", post(alive))
        .route("/base/silent", post(silent))
        .route("/base/long", post(long))
        .route("/base/endless", post(endless).get(endless))
        .route("/base/never", post(std::future::pending::<()>).get(std::future::pending::<()>))
}

async fn plain() -> (Running, Target) {
    let server = serve(TlsMode::PlainHttp, patient(), routes(), Arc::new(World::default())).await;
    let target = target(&server.url("/base"), vec![]);
    (server, target)
}

/// A server with a self-signed certificate, and the directory that keeps it.
async fn pinned() -> (Running, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names: vec!["mail.example".into()] };
    (serve(mode, patient(), routes(), Arc::new(World::default())).await, dir)
}

#[tokio::test]
async fn the_pinned_certificate_is_enough_and_no_other_is() {
    let (server, _dir) = pinned().await;
    let (pin, url) = (server.pin.unwrap(), server.url("/base"));
    let other = Pin::from_bytes([7; 32]);
    assert_eq!(deliver(&delivery(), &target(&url, vec![pin]), "echo").await, Ok(200));
    assert_eq!(deliver(&delivery(), &target(&url, vec![other, pin]), "echo").await, Ok(200));
    let host = "127.0.0.1".to_owned();
    let refused = deliver(&delivery(), &target(&url, vec![other]), "echo").await;
    assert_eq!(refused, Err(ClientError::PinMismatch { host }));
    let unknown = deliver(&delivery(), &target(&url, vec![]), "echo").await;
    assert!(matches!(unknown, Err(ClientError::Tls { .. })), "{unknown:?}");
}

#[tokio::test]
async fn learnt_private_addresses_are_refused() {
    let (server, _dir) = pinned().await;
    // `localhost` is a name, so only its resolution tells where it leads.
    let url = format!("https://localhost:{}/base", server.addr.port());
    let learnt =
        Target::new(TargetUrl::parse(&url, UrlPolicy::PublicOnly).unwrap(), vec![server.pin.unwrap()]);
    let refused = deliver(&delivery(), &learnt, "echo").await;
    assert_eq!(refused, Err(UrlError::PrivateAddress("localhost".into()).into()));
    assert_eq!(deliver(&delivery(), &target(&url, vec![server.pin.unwrap()]), "echo").await, Ok(200));
}

#[tokio::test]
async fn a_learnt_private_address_is_not_even_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let learnt = Target::new(TargetUrl::parse(&url, UrlPolicy::PublicOnly).unwrap(), vec![]);
    let settings = ClientSettings { connect_timeout: SOON, ..ClientSettings::default() };
    // Nobody answers there: a client that connected would wait for the handshake in vain.
    let refused = deliver(&DeliveryClient::new(settings), &learnt, "echo").await;
    assert_eq!(refused, Err(UrlError::PrivateAddress("localhost".into()).into()));
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let (_server, target) = plain().await;
    assert_eq!(deliver(&delivery(), &target, "away").await, Ok(307));
}

#[tokio::test]
async fn a_server_that_is_away_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = target(&format!("http://{}", listener.local_addr().unwrap()), vec![]);
    drop(listener);
    let error = deliver(&delivery(), &gone, "echo").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn retry_after_is_read_and_bounded() {
    let (_server, target) = plain().await;
    let answer = delivery().deliver(ME, &target, "busy", Bytes::new()).await.unwrap();
    assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
    let answer = delivery().deliver(ME, &target, "greedy", Bytes::new()).await.unwrap();
    assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(24 * 3600))));
}

#[tokio::test]
async fn answers_are_bounded() {
    let (_server, target) = plain().await;
    let client = retrieval();
    let post = |path, max| client.post(ME, &target, path, Bytes::from_static(b"hello"), max);
    assert_eq!(post("echo", 5).await.unwrap().body, "hello");
    let too_large = |max_bytes| ClientError::TooLarge { host: "127.0.0.1".into(), max_bytes };
    assert_eq!(post("echo", 4).await.unwrap_err(), too_large(4));
    assert_eq!(post("endless", 5000).await.unwrap_err(), too_large(5000));
    assert_eq!(client.get(ME, &target, "endless", 5000).await.unwrap_err(), too_large(5000));
    // A delivery takes no interest in the body at all.
    assert_eq!(within(deliver(&delivery(), &target, "endless")).await, Ok(200));
    assert_eq!(within(deliver(&delivery(), &target, "silent")).await, Ok(200));
}

#[tokio::test]
async fn documents_are_fetched_with_either_client() {
    let (_server, target) = plain().await;
    assert_eq!(retrieval().get(ME, &target, "server", 100).await.unwrap(), "descriptor");
    assert_eq!(delivery().get(ME, &target, "server", 100).await.unwrap(), "descriptor");
    let missing = delivery().get(ME, &target, "nothing", 100).await;
    assert!(matches!(missing, Err(ClientError::Status { status: 404, .. })), "{missing:?}");
}

#[tokio::test]
async fn servers_that_do_not_answer_time_out() {
    let (_server, target) = plain().await;
    let settings = ClientSettings { request_timeout: SOON, ..ClientSettings::default() };
    let timed_out = ClientError::TimedOut { host: "127.0.0.1".into() };
    let delivery = DeliveryClient::new(settings.clone());
    assert_eq!(deliver(&delivery, &target, "never").await, Err(timed_out.clone()));
    let retrieval = RetrievalClient::new(settings);
    assert_eq!(retrieval.get(ME, &target, "never", 10).await, Err(timed_out.clone()));
    let events = retrieval.open_events(ME, &target, "never", Bytes::new(), 10).await;
    assert_eq!(events.unwrap_err(), timed_out);
}

#[tokio::test]
async fn servers_that_do_not_shake_hands_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        target(&format!("https://{}", listener.local_addr().unwrap()), vec![Pin::from_bytes([0; 32])]);
    let settings = ClientSettings { connect_timeout: SOON, ..ClientSettings::default() };
    let error = within(deliver(&DeliveryClient::new(settings), &target, "echo")).await.unwrap_err();
    assert_eq!(error, ClientError::TimedOut { host: "127.0.0.1".into() });
}

async fn open(client: &RetrievalClient, target: &Target, path: &str) -> Opened {
    client.open_events(ME, target, path, Bytes::new(), 1000).await.unwrap()
}

#[tokio::test]
async fn event_streams_are_read_to_their_end() {
    for (server, target) in [plain().await, {
        let (server, _dir) = pinned().await;
        let target = target(&server.url("/base"), vec![server.pin.unwrap()]);
        (server, target)
    }] {
        let Opened::Stream(events) = open(&retrieval(), &target, "three").await else {
            panic!("no stream");
        };
        let events: Vec<_> = within(events.map(Result::unwrap).collect()).await;
        let texts: Vec<_> = events.iter().map(|event| (event.name.as_str(), &event.data[..])).collect();
        assert_eq!(texts, [("e", &b"one"[..]), ("e", b"two"), ("e", b"three")]);
        server.stop().await;
    }
}

#[tokio::test]
async fn an_ordinary_answer_instead_of_a_stream_is_handed_over() {
    let (_server, target) = plain().await;
    let Opened::Answer(answer) = open(&retrieval(), &target, "busy").await else {
        panic!("a stream");
    };
    assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn an_event_that_is_too_long_ends_the_stream() {
    let (_server, target) = plain().await;
    let Opened::Stream(mut events) = open(&retrieval(), &target, "long").await else {
        panic!("no stream");
    };
    let error = within(events.next()).await.unwrap().unwrap_err();
    assert_eq!(error, ClientError::TooLarge { host: "127.0.0.1".into(), max_bytes: 1000 });
    assert!(within(events.next()).await.is_none());
}

#[tokio::test]
async fn a_silent_stream_ends_but_not_one_that_is_kept_alive() {
    let (_server, target) = plain().await;
    let settings = ClientSettings { stream_idle_timeout: SOON * 4, ..ClientSettings::default() };
    let client = RetrievalClient::new(settings);
    let Opened::Stream(mut alive) = open(&client, &target, "alive").await else {
        panic!("no stream");
    };
    let Opened::Stream(mut silent) = open(&client, &target, "silent").await else {
        panic!("no stream");
    };
    tokio::select! {
        event = silent.next() => assert_eq!(event, Some(Err(ClientError::TimedOut { host: "127.0.0.1".into() }))),
        event = alive.next() => panic!("the living stream ended first: {event:?}"),
    }
}

/// Tells the ports that requests come from.
async fn ports() -> (Running, Target) {
    let router =
        Router::new().route(
            "/port",
            post(|client: axum::Extension<petmail_net::address::ClientAddr>| async move {
                format!("{:?}", *client)
            }),
        );
    let server = serve(TlsMode::PlainHttp, Limits::default(), router, Arc::new(World::default())).await;
    let target = target(&server.url(""), vec![]);
    (server, target)
}

#[tokio::test]
async fn connections_are_kept_for_one_owner_and_shared_with_no_other() {
    let (_server, target) = ports().await;
    let client = retrieval();
    let port_of = |owner| {
        let (client, target) = (&client, &target);
        async move { client.post(Owner(owner), target, "port", Bytes::new(), 100).await.unwrap().body }
    };
    let first = port_of(1).await;
    assert_eq!(port_of(1).await, first);
    assert_ne!(port_of(2).await, first);
    assert_eq!(port_of(1).await, first);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = target(&format!("http://{}", listener.local_addr().unwrap()), vec![]);
    let settings = ClientSettings { pool_idle_timeout: SOON, ..ClientSettings::default() };
    let client = DeliveryClient::new(settings);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        stream
    };
    let (answer, mut stream) = tokio::join!(deliver(&client, &target, "x"), server);
    assert_eq!(answer, Ok(204));
    let mut rest = Vec::new();
    within(stream.read_to_end(&mut rest)).await.unwrap();
    drop(client);
}

/// A SOCKS5 proxy that leads everything to `to`, and notes `user:password@host:port`.
pub(crate) async fn socks(to: std::net::SocketAddr) -> (SocksProxy, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = SocksProxy::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                notes.lock().await.push(handshake(&mut stream).await);
                let mut server = TcpStream::connect(to).await.unwrap();
                tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok();
            });
        }
    });
    (proxy, seen)
}

async fn handshake(stream: &mut TcpStream) -> String {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await.unwrap();
    read_bytes(stream, greeting[1].into()).await;
    stream.write_all(&[5, 2]).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 1);
    let user = read_text(stream).await;
    let password = read_text(stream).await;
    stream.write_all(&[1, 0]).await.unwrap();
    assert_eq!(read_bytes(stream, 4).await, [5, 1, 0, 3], "a name, unresolved");
    let host = read_text(stream).await;
    let port = stream.read_u16().await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    format!("{user}:{password}@{host}:{port}")
}

async fn read_text(stream: &mut TcpStream) -> String {
    let length = stream.read_u8().await.unwrap();
    String::from_utf8(read_bytes(stream, length.into()).await).unwrap()
}

async fn read_bytes(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn a_proxy_gets_names_and_credentials_for_each_pair() {
    let (server, _) = plain().await;
    let (proxy, seen) = socks(server.addr).await;
    let client = DeliveryClient::new(ClientSettings { socks5: Some(proxy), ..ClientSettings::default() });
    let onion = |name: &str| {
        let url = TargetUrl::parse(&format!("http://{name}.onion/base"), UrlPolicy::PublicOnly).unwrap();
        Target::new(url, vec![])
    };
    for (owner, name) in [(1, "aaa"), (1, "bbb"), (2, "aaa"), (1, "aaa")] {
        let answer = client.deliver(Owner(owner), &onion(name), "echo", Bytes::new()).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    let seen = seen.lock().await;
    let credentials: std::collections::BTreeSet<_> =
        seen.iter().map(|note| note.split('@').next().unwrap().to_owned()).collect();
    assert_eq!((seen.len(), credentials.len()), (3, 3), "{seen:?}");
    assert!(seen[0].ends_with("@aaa.onion:80"), "{seen:?}");
}

#[tokio::test]
async fn onion_addresses_need_a_proxy() {
    let url = TargetUrl::parse("https://aaa.onion", UrlPolicy::PublicOnly).unwrap();
    let refused = deliver(&delivery(), &Target::new(url, vec![]), "echo").await;
    assert_eq!(refused, Err(UrlError::OnionWithoutProxy.into()));
}

#[test]
fn proxies_are_host_and_port() {
    for good in ["127.0.0.1:9050", "[::1]:9050", "tor.example:1080"] {
        assert_eq!(SocksProxy::parse(good).unwrap().to_string(), good);
    }
    for bad in
        ["", "127.0.0.1", "127.0.0.1:0", "me@127.0.0.1:9050", "127.0.0.1:9050/x", "socks5://a:1", "a b:1"]
    {
        assert!(SocksProxy::parse(bad).is_err(), "{bad}");
    }
}
