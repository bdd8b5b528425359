//! Bad input to every endpoint: a clear status, and no change of state.

use petmail_mailbox::config::Settings;
use petmail_net::server::Limits;
use petmail_proto::delivery::{Bucket, MAX_MSG_A_BYTES};
use rand_core::{OsRng, RngCore};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{TestServer, now, post};

const ENDPOINTS: [&str; 6] = ["redeem", "rekey", "deliver", "list", "fetch", "delete"];

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

#[tokio::test]
async fn random_truncated_and_oversized_bodies_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    owner.deliver(Bucket::Kib4, 1).await;
    let before = server.services.admin().status().await.unwrap();
    for endpoint in ENDPOINTS {
        for length in [0, 1, 48, 90, 4_096] {
            let status = post(server.url(endpoint), random(length)).await.status();
            let expected = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
            assert!(expected.contains(&status), "{endpoint} {length}: {status}");
        }
        let status = post(server.url(endpoint), random(MAX_MSG_A_BYTES + 1)).await.status();
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{endpoint}");
    }
    let message = owner.seal(Bucket::Kib4, 2);
    let (list, _) = owner.list_request(now());
    for (endpoint, body) in [("deliver", message), ("list", list)] {
        let truncated = body[..body.len() - 1].to_vec();
        let status = post(server.url(endpoint), truncated).await.status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{endpoint}");
    }
    assert_eq!(server.services.admin().status().await.unwrap(), before);
    server.stop().await;
}

#[tokio::test]
async fn wrong_methods_and_paths_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let client = reqwest::Client::new();
    let mut wrong: Vec<_> = ENDPOINTS.iter().map(|endpoint| (Method::GET, server.url(endpoint))).collect();
    wrong.push((Method::POST, server.url("server")));
    for (method, url) in wrong {
        let response = client.request(method, &url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{url}");
        assert!(response.text().await.unwrap().starts_with("wrong-method:"));
    }
    let root = server.base.strip_suffix("/post/box").unwrap();
    for path in ["/deliver", "/post/deliver", "/post/box/offers", "/post/box/nothing"] {
        let status = post(format!("{root}{path}"), Vec::new()).await.status();
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/", "/healthz"] {
        let status = reqwest::get(format!("{root}{path}")).await.unwrap().status();
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let network = Limits { body_timeout: std::time::Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::start_with(dir.path(), Settings { network, ..Settings::default() }).await;
    let authority = server.base.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let mut connection = TcpStream::connect(authority).await.unwrap();
    let head = "POST /post/box/deliver HTTP/1.1\r\nhost: x\r\ncontent-length: 4096\r\n\r\na1";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    server.stop().await;
}
