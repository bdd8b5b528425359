//! Each bound of the server bites.

use std::time::Duration;

use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use petmail_net::{server::Limits, tls::TlsMode};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{Raw, SOON, count, patient, reaches, retry_after, start, start_with, status, within};

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = patient();
    change(&mut limits);
    limits
}

#[test]
fn defaults_can_be_written_and_read_and_unknown_keys_are_refused() {
    let text = toml::to_string(&Limits::default()).unwrap();
    assert_eq!(toml::from_str::<Limits>(&text).unwrap(), Limits::default());
    let changed: Limits = toml::from_str("max_headers = 7\nbody_timeout_seconds = 1.5").unwrap();
    let expected = Limits { max_headers: 7, body_timeout: Duration::from_millis(1500), ..Limits::default() };
    assert_eq!(changed, expected);
    for bad in
        ["max_haeders = 7", "body_timeout_seconds = 0", "body_timeout_seconds = -1", "max_connections = 0"]
    {
        assert!(toml::from_str::<Limits>(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn further_connections_wait_for_a_free_place() {
    let server = start(limits(|l| l.max_connections = count(1))).await;
    let mut first = server.connect().await;
    first.get("/").await;
    first.read_until("hello").await.unwrap();
    let mut second = server.connect().await;
    second.get("/").await;
    let early = tokio::time::timeout(SOON, second.0.read_u8()).await;
    assert!(early.is_err(), "answered beside the first");
    drop(first);
    second.read_until("hello").await.unwrap();
}

#[tokio::test]
async fn an_address_has_only_so_many_connections() {
    let server = start(limits(|l| l.max_connections_per_address = count(1))).await;
    let mut first = server.connect().await;
    first.get("/").await;
    first.read_until("hello").await.unwrap();
    let mut second = server.connect().await;
    assert_eq!(second.read_to_end().await, "");
    first.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(first.read_to_end().await.contains("hello"));
    within(async {
        loop {
            let mut next = server.connect().await;
            next.0.writable().await.unwrap();
            if next.0.try_write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
                && next.read_until("hello").await.is_some()
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn requests_beyond_the_burst_get_429_wherever_they_go() {
    let server = start(limits(|l| {
        l.requests_per_second_per_address = count(1);
        l.request_burst_per_address = count(3);
    }))
    .await;
    let mut refused = 0;
    // Four at least within any three seconds must be refused beyond three and one a second.
    for _ in 0..40 {
        let answer = reqwest::get(server.url("/no-such-path")).await.unwrap();
        if status(&answer) == 429 {
            assert!(retry_after(&answer) >= 1);
            refused += 1;
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn requests_beyond_those_in_flight_get_503() {
    let server = start(limits(|l| l.max_requests_in_flight = count(1))).await;
    let waiting = tokio::spawn(reqwest::get(server.url("/wait")));
    reaches(&server.world.waiting, 1).await;
    let answer = reqwest::get(server.url("/")).await.unwrap();
    assert_eq!((status(&answer), retry_after(&answer)), (503, 1));
    server.world.go.notify_one();
    assert_eq!(status(&waiting.await.unwrap().unwrap()), 200);
    assert_eq!(status(&reqwest::get(server.url("/")).await.unwrap()), 200);
}

#[tokio::test]
async fn an_address_has_only_so_many_requests_in_flight() {
    let server = start(limits(|l| l.max_requests_in_flight_per_address = count(1))).await;
    let waiting = tokio::spawn(reqwest::get(server.url("/wait")));
    reaches(&server.world.waiting, 1).await;
    let answer = reqwest::get(server.url("/")).await.unwrap();
    assert_eq!((status(&answer), retry_after(&answer)), (429, 1));
    server.world.go.notify_one();
    assert_eq!(status(&waiting.await.unwrap().unwrap()), 200);
}

#[tokio::test]
async fn large_bodies_get_413_with_and_without_a_length() {
    let server = start(limits(|l| l.max_body_bytes = 1000)).await;
    let client = reqwest::Client::new();
    let post = |body: reqwest::Body| client.post(server.url("/echo")).body(body).send();
    assert_eq!(status(&post(vec![0; 1000].into()).await.unwrap()), 200);
    assert_eq!(status(&post(vec![0; 1001].into()).await.unwrap()), 413);
    let chunks = futures::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0; 100])));
    assert_eq!(status(&post(reqwest::Body::wrap_stream(chunks)).await.unwrap()), 413);
}

#[tokio::test]
async fn bodies_that_a_handler_streams_are_bounded_too() {
    let server = start(limits(|l| l.max_body_bytes = 1000)).await;
    let client = reqwest::Client::new();
    let post = |body: reqwest::Body| client.post(server.url("/count")).body(body).send();
    assert_eq!(post(vec![0; 1000].into()).await.unwrap().text().await.unwrap(), "1000");
    assert_eq!(status(&post(vec![0; 1001].into()).await.unwrap()), 413);
    let chunks = futures::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(vec![0; 100])));
    let counted = post(reqwest::Body::wrap_stream(chunks)).await.unwrap().text().await.unwrap();
    assert_eq!(counted, "cut");
}

#[tokio::test]
async fn larger_bodies_can_be_allowed() {
    let three = 3 * 1024 * 1024;
    let server = start(limits(|l| l.max_body_bytes = three)).await;
    let answer = reqwest::Client::new().post(server.url("/echo")).body(vec![0; three]).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), three);
}

#[tokio::test]
async fn heads_with_too_many_or_too_long_lines_get_431() {
    let server = start(limits(|l| (l.max_headers, l.max_header_bytes) = (4, 8192))).await;
    let mut many = server.connect().await;
    many.send("GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n").await;
    assert!(many.read_until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 431"));
    let mut long = server.connect().await;
    long.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(9000))).await;
    assert!(long.read_until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn http2_heads_are_bounded_too() {
    let server = start(limits(|l| l.max_header_bytes = 8192)).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let fits = client.get(server.url("/")).header("a", "a".repeat(4000)).send().await.unwrap();
    assert_eq!(status(&fits), 200);
    let long = client.get(server.url("/")).header("a", "a".repeat(9000)).send().await;
    assert!(long.map_or(true, |answer| status(&answer) == 431));
}

#[tokio::test]
async fn http2_streams_beyond_the_bound_wait() {
    let server = start(limits(|l| l.max_http2_streams = 1)).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let get = |path: &str| client.get(server.url(path)).send();
    // The client knows the bound once it has had an answer.
    status(&get("/").await.unwrap());
    let first = tokio::spawn(get("/wait"));
    reaches(&server.world.waiting, 1).await;
    let mut second = tokio::spawn(get("/"));
    assert!(tokio::time::timeout(SOON, &mut second).await.is_err(), "answered beside the first");
    server.world.go.notify_one();
    assert_eq!(status(&first.await.unwrap().unwrap()), 200);
    assert_eq!(status(&second.await.unwrap().unwrap()), 200);
}

#[tokio::test]
async fn a_connection_without_handshake_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names: vec!["localhost".into()] };
    let server = start_with(mode, limits(|l| l.handshake_timeout = SOON)).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.read_to_end().await, "");
}

#[tokio::test]
async fn slow_heads_are_cut() {
    let server = start(limits(|l| l.header_timeout = SOON)).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX:"] {
        let mut slow = server.connect().await;
        slow.send(beginning).await;
        let rest = slow.read_to_end().await;
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{beginning:?}: {rest:?}");
    }
}

#[tokio::test]
async fn a_slow_second_head_is_cut_too() {
    let server = start(limits(|l| l.header_timeout = SOON)).await;
    let mut slow = server.connect().await;
    slow.get("/").await;
    slow.read_until("hello").await.unwrap();
    slow.send("GET / HTTP/1.1\r\nHost: x\r\nX:").await;
    assert!(!slow.read_to_end().await.contains("200 OK"));
}

#[tokio::test]
async fn an_http2_connection_without_request_is_closed() {
    let server = start(limits(|l| l.header_timeout = SOON)).await;
    let mut silent = server.connect().await;
    silent.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    silent.read_to_end().await;
}

#[tokio::test]
async fn a_quiet_http2_connection_is_closed_but_not_one_with_a_stream() {
    let server = start(limits(|l| l.idle_timeout = SOON)).await;
    let io = TokioIo::new(TcpStream::connect(server.addr).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| hyper::Request::get(server.url(path)).body(axum::body::Body::empty()).unwrap();
    let stream = sender.send_request(request("/events")).await.unwrap();
    let beside = limits(|l| l.request_timeout = SOON * 3);
    let clock = start(beside).await;
    assert_eq!(status(&reqwest::get(clock.url("/wait")).await.unwrap()), 503);
    assert!(!connection.is_finished());
    drop(stream);
    within(connection).await.unwrap().ok();
}

#[tokio::test]
async fn an_http2_peer_that_answers_no_ping_is_dropped() {
    let server = start(limits(|l| {
        (l.http2_ping_interval, l.http2_ping_timeout) = (SOON, SOON);
    }))
    .await;
    let mut deaf = server.connect().await;
    deaf.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0").await;
    deaf.read_to_end().await;
}

#[tokio::test]
async fn slow_bodies_get_408() {
    let server = start(limits(|l| l.body_timeout = SOON)).await;
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut slow = server.connect().await;
        slow.send(&format!("POST /echo HTTP/1.1\r\nHost: x\r\n{head}")).await;
        assert!(slow.read_until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 408"), "{head:?}");
    }
}

#[tokio::test]
async fn a_body_that_never_pauses_long_is_cut_too() {
    let server = start(limits(|l| l.body_timeout = SOON)).await;
    let (mut read, mut write) = server.connect().await.0.into_split();
    let drip = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        let mut sent = write.write_all(head.as_bytes()).await;
        while sent.is_ok() {
            tokio::time::sleep(SOON / 20).await;
            sent = write.write_all(b"a").await;
        }
    });
    let mut start_of_answer = [0; 12];
    within(read.read_exact(&mut start_of_answer)).await.unwrap();
    assert_eq!(&start_of_answer, b"HTTP/1.1 408");
    drip.abort();
}

#[tokio::test]
async fn slow_answers_get_503_but_event_streams_live_on() {
    let server = start(limits(|l| l.request_timeout = SOON)).await;
    let mut events = reqwest::get(server.url("/events")).await.unwrap().bytes_stream();
    let slow = reqwest::get(server.url("/wait")).await.unwrap();
    assert_eq!((status(&slow), retry_after(&slow)), (503, 1));
    server.world.events.send_replace("after the time-out".into());
    let event = within(events.next()).await.unwrap().unwrap();
    assert_eq!(event, "data: after the time-out\n\n");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_takes_nothing_is_dropped() {
    let server = start(limits(|l| l.write_timeout = SOON)).await;
    let mut stuck: Raw = server.connect().await;
    stuck.get("/endless").await;
    reaches(&server.world.given_up, 1).await;
}
