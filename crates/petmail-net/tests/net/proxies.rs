//! Servers behind a reverse proxy: the limits count who the proxy speaks for.

use axum::{Extension, Router, routing::get};
use petmail_net::{
    CancellationToken,
    address::ClientAddr,
    server::{Limits, Peers, Server},
    tls::TlsMode,
};
use tokio::net::TcpSocket;

use crate::support::{Raw, count, patient, within};

/// A server that trusts `proxy`, and tells each client its address.
async fn start(limits: Limits, proxy: &str) -> std::net::SocketAddr {
    let peers = Peers { trusted_proxies: vec![proxy.parse().unwrap()], ..Peers::default() };
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), &TlsMode::PlainHttp, limits).await.unwrap();
    let (address, pulse) = (server.local_addr(), server.pulse());
    let router = Router::new()
        .route("/", get(|Extension(client): Extension<ClientAddr>| async move { format!("{client:?}") }));
    tokio::spawn(server.with_peers(peers).serve(router, CancellationToken::new()));
    assert!(within(pulse.beats()).await);
    address
}

async fn ask(server: std::net::SocketAddr, from: &str, forwarded: &str) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from.parse().unwrap()).unwrap();
    let mut raw = Raw(socket.connect(server).await.unwrap());
    let request =
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
    raw.send(&request).await;
    raw.read_to_end().await
}

#[tokio::test]
async fn a_trusted_proxys_clients_are_counted_one_by_one() {
    let limits = Limits {
        request_burst_per_address: count(2),
        requests_per_second_per_address: count(1),
        ..patient()
    };
    let server = start(limits, "127.0.0.1").await;
    for _ in 0..2 {
        let answer = ask(server, "127.0.0.1:0", "203.0.113.1, 192.0.2.1").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Network(192.0.2.1:0)"), "{answer}");
    }
    // Whatever the client itself writes in front changes nothing.
    let answer = ask(server, "127.0.0.1:0", "203.0.113.2, 192.0.2.1").await;
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after"), "{answer}");
    assert!(ask(server, "127.0.0.1:0", "192.0.2.2").await.starts_with("HTTP/1.1 200"));
    // Nobody else is believed: this one has used up its own share.
    for n in 0..2 {
        let answer = ask(server, "127.0.0.2:0", &format!("192.0.2.10{n}")).await;
        assert!(answer.contains("Network(127.0.0.2:"), "{answer}");
    }
    assert!(ask(server, "127.0.0.2:0", "192.0.2.109").await.starts_with("HTTP/1.1 429"));
}

#[tokio::test]
async fn a_trusted_proxys_connections_are_not_counted_by_address() {
    let limits = Limits { max_connections_per_address: count(1), ..patient() };
    let server = start(limits, "127.0.0.1").await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut raw = Raw(tokio::net::TcpStream::connect(server).await.unwrap());
        raw.get("/").await;
        assert!(raw.read_until("Network").await.is_some());
        open.push(raw);
    }
}

#[tokio::test]
async fn a_server_that_has_ended_has_no_pulse() {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), &TlsMode::PlainHttp, patient()).await.unwrap();
    let (pulse, shutdown) = (server.pulse(), CancellationToken::new());
    let serving = tokio::spawn(server.serve(Router::new(), shutdown.clone()));
    assert!(within(pulse.beats()).await);
    shutdown.cancel();
    within(serving).await.unwrap();
    assert!(!within(pulse.beats()).await);
}
