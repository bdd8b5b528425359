//! Bytes that are no HTTP, no TLS, or abuse of HTTP/2: the connection ends, nothing panics, others are served.

use petmail_net::tls::TlsMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Raw, Running, patient, start, start_with, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends bytes and the end, and returns what the server answers until it hangs up.
async fn answer_to(server: &Running, bytes: &[u8]) -> Vec<u8> {
    let Raw(mut stream) = server.connect().await;
    // The server may hang up half-way.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    drop(within(stream.read_to_end(&mut answer)).await);
    answer
}

fn noise(length: usize) -> Vec<u8> {
    // Whatever bytes, the same each time.
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn what_is_no_http_gets_a_400_or_nothing() {
    let server = start(patient()).await;
    let huge = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(200_000));
    let chunks = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n";
    let both = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd";
    let mut http2 = PREFACE.to_vec();
    http2.extend(noise(500));
    for bad in
        [&noise(1_000)[..], huge.as_bytes(), chunks.as_bytes(), both.as_bytes(), &http2, b"\x16\x03\x01"]
    {
        let answer = answer_to(&server, bad).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(reqwest::get(server.url("/")).await.unwrap().status(), 200);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let mode = TlsMode::SelfSigned { dir: dir.path().to_owned(), names: vec!["localhost".to_owned()] };
    let server = start_with(mode, patient()).await;
    let mut hello = vec![0x16, 3, 1, 2, 0];
    hello.extend(noise(512));
    for bad in
        [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &noise(1_000), &hello, &[0x16, 3, 1, 0xff, 0xff], b""]
    {
        let answer = answer_to(&server, bad).await;
        assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));
    }
    let certificate = std::fs::read(dir.path().join("tls-cert.pem")).unwrap();
    let trusted = reqwest::Certificate::from_pem(&certificate).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let url = format!("https://localhost:{}/", server.addr.port());
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    server.stop().await;
}

/// Opening streams only to reset them (CVE-2023-44487) ends the connection.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = start(patient()).await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // GET http://x/wait, in HPACK.
    let head = [&[0x82, 0x86, 0x04, 5][..], b"/wait", &[0x01, 1, b'x']].concat();
    for stream in (1..4_000).step_by(2) {
        bytes.extend(frame(1, 5, stream, &head));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let Raw(stream) = server.connect().await;
    let (mut from, mut to) = stream.into_split();
    let sending = tokio::spawn(async move {
        // The server hangs up in between.
        drop(to.write_all(&bytes).await);
        to
    });
    let mut answer = Vec::new();
    drop(within(from.read_to_end(&mut answer)).await);
    // GOAWAY with ENHANCE_YOUR_CALM, after some last stream.
    let is_goaway = |it: &[u8]| it.get(3) == Some(&7) && it.ends_with(&[0, 0, 0, 11]);
    assert!(answer.windows(17).any(is_goaway), "{answer:?}");
    drop(within(sending).await);
    assert_eq!(reqwest::get(server.url("/")).await.unwrap().status(), 200);
    server.stop().await;
}
