//! A server from binding to draining.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use axum::{Extension, Router, extract::ws::WebSocketUpgrade, routing::get};
use futures::{SinkExt, StreamExt};
use petmail_net::{
    CancellationToken,
    address::ClientAddr,
    server::{BindError, Limits, Server, UnixServer},
    tls::{TlsError, TlsMode, ensure_self_signed},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{SOON, World, patient, reaches, serve, start, status, within};

fn impatient() -> Limits {
    Limits { drain_timeout: SOON, ..patient() }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_server_lives_on() {
    let server = start(patient()).await;
    let answer = reqwest::get(server.url("/panic")).await.unwrap();
    assert_eq!(status(&answer), 500);
    assert!(!answer.text().await.unwrap().contains("secret"));
    assert_eq!(status(&reqwest::get(server.url("/")).await.unwrap()), 200);
}

#[tokio::test]
async fn handlers_learn_the_address_of_the_socket() {
    let router = Router::new()
        .route("/", get(|Extension(client): Extension<ClientAddr>| async move { format!("{client:?}") }));
    let server = serve(TlsMode::PlainHttp, Limits::default(), router, Arc::new(World::default())).await;
    let mut raw = server.connect().await;
    raw.send("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n").await;
    let own = ClientAddr::Network(raw.0.local_addr().unwrap());
    raw.read_until(&format!("{own:?}")).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_event_streams_and_lets_requests_finish() {
    let server = start(patient()).await;
    let events = reqwest::get(server.url("/events")).await.unwrap();
    let waiting = tokio::spawn(reqwest::get(server.url("/wait")));
    reaches(&server.world.waiting, 1).await;
    server.shutdown.cancel();
    // The stream ends in good order, not by a broken connection.
    assert_eq!(within(events.text()).await.unwrap(), "");
    assert!(!server.task.is_finished());
    server.world.go.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap().text().await.unwrap(), "done");
    within(server.task).await.unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let server = start(impatient()).await;
    let http1 = tokio::spawn(reqwest::get(server.url("/wait")));
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let http2 = tokio::spawn(client.get(server.url("/wait")).send());
    let world = Arc::clone(&server.world);
    reaches(&world.waiting, 2).await;
    server.stop().await;
    assert_eq!(*world.given_up.borrow(), 2, "a handler outlived the server");
    assert!(http1.await.unwrap().is_err());
    assert!(http2.await.unwrap().is_err());
}

fn websockets() -> Router {
    Router::new().route(
        "/ws",
        get(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                // Echoes for ever, deaf to shutdown.
                while let Some(Ok(message)) = socket.recv().await {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        }),
    )
}

#[tokio::test]
async fn websockets_work_stay_counted_and_are_cut() {
    let limits = Limits { max_connections_per_address: crate::support::count(1), ..impatient() };
    let server = serve(TlsMode::PlainHttp, limits, websockets(), Arc::new(World::default())).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", server.addr)).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(within(socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(server.connect().await.read_to_end().await, "", "an upgraded connection counts");
    server.stop().await;
    assert!(!matches!(within(socket.next()).await, Some(Ok(Message::Text(_)))));
}

#[tokio::test]
async fn a_unix_socket_is_private_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let router = || {
        Router::new()
            .route("/", get(|Extension(client): Extension<ClientAddr>| async move { format!("{client:?}") }))
    };
    drop(UnixServer::bind(&path, Limits::default()).unwrap());
    let server = UnixServer::bind(&path, Limits::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.serve(router(), shutdown.clone()));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("Local"), "{answer}");
    shutdown.cancel();
    within(task).await.unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(UnixServer::bind(&path, Limits::default()), Err(BindError::Listen { .. })));
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let server = start(patient()).await;
    let refused = Server::bind(server.addr, &TlsMode::PlainHttp, Limits::default()).await.unwrap_err();
    assert!(refused.to_string().contains(&server.addr.to_string()), "{refused}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_made_once_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pin = ensure_self_signed(dir.path(), &names).unwrap();
    assert_eq!(ensure_self_signed(dir.path(), &["other.example".into()]).unwrap(), pin);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), &mode, Limits::default()).await.unwrap();
    assert_eq!((server.pin(), server.base_scheme()), (Some(pin), "https"));
    let files =
        TlsMode::CertFiles { cert: dir.path().join("tls-cert.pem"), key: dir.path().join("tls-key.pem") };
    let again = Server::bind("127.0.0.1:0".parse().unwrap(), &files, Limits::default()).await.unwrap();
    assert_eq!(again.pin(), Some(pin));
}

#[tokio::test]
async fn a_missing_certificate_is_named() {
    let mode = TlsMode::CertFiles { cert: "no-such-cert.pem".into(), key: "no-such-key.pem".into() };
    let refused = Server::bind("127.0.0.1:0".parse().unwrap(), &mode, Limits::default()).await.unwrap_err();
    assert!(matches!(refused, BindError::Tls(TlsError::Read { .. })));
    assert!(refused.to_string().contains("no-such-cert.pem"), "{refused}");
}

#[tokio::test]
async fn health_and_a_page_are_there_for_anybody() {
    let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&well);
    let router = petmail_net::health::routes("A <server>", "for mail", move || {
        asked.load(std::sync::atomic::Ordering::Relaxed)
    });
    let server = serve(TlsMode::PlainHttp, patient(), router, Arc::new(World::default())).await;
    let health = || async { status(&reqwest::get(server.url("/healthz")).await.unwrap()) };
    assert_eq!(health().await, 200);
    well.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(health().await, 503);
    let page = reqwest::get(server.url("/")).await.unwrap().text().await.unwrap();
    assert!(page.contains("<h1>A &lt;server&gt;</h1>"), "{page}");
}

#[tokio::test]
async fn tls_prefers_post_quantum_key_exchange_and_http2() {
    let dir = tempfile::tempdir().unwrap();
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names: vec!["localhost".into()] };
    let server = serve(mode, patient(), Router::new(), Arc::new(World::default())).await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.path().join("tls-cert.pem")).unwrap()).unwrap();
    for (version, group) in [(&TLS13, "X25519MLKEM768"), (&TLS12, "X25519")] {
        let mut config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let stream = TcpStream::connect(server.addr).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(format!("{:?}", session.negotiated_key_exchange_group().unwrap().name()), group);
    }
}
