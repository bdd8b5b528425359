//! The control API over a real socket: who may ask, and how it refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use petmail_net::CancellationToken;
use petmail_node::{
    api::{ApiServer, MAX_BODY_BYTES, Problem, last_base_url, token::ApiToken},
    basedir::Basedir,
    config::Config,
    daemon,
    life::Entry,
};
use rand_core::OsRng;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

/// A node with its control API, and a client that holds the token.
struct Running {
    _dir: TempDir,
    basedir: Basedir,
    token: String,
    url: String,
    http: Client,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path()).unwrap();
        let token = ApiToken::generate(&mut OsRng);
        token.store(&basedir.token_file()).unwrap();
        let config = Config { rendezvous: "ws://127.0.0.1:9/v1".to_owned(), ..Config::default() };
        std::fs::write(basedir.config_file(), config.to_commented_toml()).unwrap();
        let shutdown = CancellationToken::new();
        let (at, stop) = (basedir.clone(), shutdown.clone());
        let running = tokio::spawn(async move { daemon::run(&at, Entry::Open(None), stop).await.unwrap() });
        let url = loop {
            match last_base_url(&basedir) {
                Ok(url) => break url,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let http = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let token = token.expose_text().to_owned();
        let node = Self { _dir: dir, basedir, token, url, http, shutdown, running };
        while node.command("rooms").send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    fn port(&self) -> &str {
        self.address().rsplit_once(':').unwrap().1
    }

    /// A request without the token.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A command with the token.
    fn command(&self, name: &str) -> RequestBuilder {
        self.bare(Method::POST, &format!("/api/v1/{name}")).bearer_auth(&self.token)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

async fn code(request: RequestBuilder) -> (StatusCode, String) {
    problem(request.send().await.unwrap()).await
}

async fn problem(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let Problem { problem, code, .. } = response.json().await.unwrap();
    assert!(!problem.is_empty());
    (status, code)
}

fn refusal(status: StatusCode, code: &str) -> (StatusCode, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn without_the_token_every_path_of_the_api_says_401() {
    let node = Running::start().await;
    let unauthorized = refusal(StatusCode::UNAUTHORIZED, "unauthorized");
    for path in ["status", "events", "stop", "no-such-command", "", "contact/rename", "%73tatus"] {
        for method in [Method::POST, Method::GET, Method::DELETE, Method::OPTIONS] {
            let request = node.bare(method.clone(), &format!("/api/v1/{path}"));
            assert_eq!(code(request).await, unauthorized, "{method} {path}");
        }
    }
    assert_eq!(code(node.bare(Method::POST, "/api/v1")).await, unauthorized);
    let wrong = node.bare(Method::POST, "/api/v1/status").bearer_auth("A".repeat(43));
    assert_eq!(code(wrong).await, unauthorized);
    let in_url = node.bare(Method::POST, &format!("/api/v1/status?token={}", node.token));
    assert_eq!(code(in_url).await, unauthorized);
    let other_scheme = node.bare(Method::POST, "/api/v1/status").basic_auth("petmail", Some(&node.token));
    assert_eq!(code(other_scheme).await, unauthorized);
    let large = node.bare(Method::POST, "/api/v1/send-basic").body(vec![b' '; 4 * MAX_BODY_BYTES]);
    assert_eq!(
        large.send().await.map(|response| response.status()).unwrap_or(StatusCode::UNAUTHORIZED),
        unauthorized.0
    );
    node.stop().await;
}

#[tokio::test]
async fn with_the_token_the_node_answers() {
    let node = Running::start().await;
    let response = node.command("status").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-store");
    assert!(!headers.contains_key("set-cookie"));
    let status: Value = response.json().await.unwrap();
    assert_eq!(status["running"], true);
    assert_eq!(status["baseurl"], node.url);
    let contacts: Value =
        node.command("addressbook").json(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!(contacts, json!({ "contacts": [] }));
    node.stop().await;
}

#[tokio::test]
async fn requests_for_other_hosts_are_refused() {
    let node = Running::start().await;
    let forbidden = refusal(StatusCode::FORBIDDEN, "foreign-host");
    let port = node.port();
    for host in [
        "petmail.example",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        &format!("petmail.example:{port}"),
        &format!("127.0.0.1.petmail.example:{port}"),
        &format!("localhost.:{port}"),
        &format!("192.0.2.1:{port}"),
        &format!("user@127.0.0.1:{port}"),
    ] {
        assert_eq!(code(node.command("status").header("Host", host)).await, forbidden, "{host}");
    }
    let described = node.bare(Method::GET, "/api/openapi.json").header("Host", "petmail.example");
    assert_eq!(code(described).await, forbidden);
    for host in [format!("localhost:{port}"), format!("LOCALHOST:{port}"), format!("[::1]:{port}")] {
        let response = node.command("status").header("Host", &host).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
    }
    node.stop().await;
}

#[tokio::test]
async fn requests_without_a_host_or_with_two_are_refused() {
    let node = Running::start().await;
    for hosts in [String::new(), format!("Host: {0}\r\nHost: petmail.example\r\n", node.address())] {
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        let request = format!(
            "POST /api/v1/status HTTP/1.1\r\n{hosts}Authorization: Bearer {}\r\nConnection: close\r\n\r\n",
            node.token
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    node.stop().await;
}

#[tokio::test]
async fn pages_of_others_are_refused() {
    let node = Running::start().await;
    let forbidden = refusal(StatusCode::FORBIDDEN, "foreign-origin");
    for origin in
        ["https://petmail.example", "null", "http://127.0.0.1:1", "http://localhost", "file://", "x y"]
    {
        assert_eq!(code(node.command("status").header("Origin", origin)).await, forbidden, "{origin}");
    }
    let tls = format!("https://{}", node.address());
    assert_eq!(code(node.command("status").header("Origin", tls)).await, forbidden);
    let both = node.command("status").header("Origin", &node.url).header("Origin", "https://petmail.example");
    assert_eq!(code(both).await, forbidden);
    let own = node.command("status").header("Origin", &node.url).send().await.unwrap();
    assert_eq!(own.status(), StatusCode::OK);
    node.stop().await;
}

#[tokio::test]
async fn senseless_requests_are_refused_with_their_reason() {
    let node = Running::start().await;
    let bad = refusal(StatusCode::BAD_REQUEST, "bad-arguments");
    for body in [json!({"colour": 1}), json!([]), json!([null, null]), json!("x"), json!({"petname": 5})] {
        assert_eq!(code(node.command("invite").json(&body)).await, bad, "{body}");
    }
    assert_eq!(code(node.command("status").json(&json!({"x": 1}))).await, bad);
    assert_eq!(code(node.command("cancel-invitation")).await, bad);
    let broken = node.command("invite").header("Content-Type", "application/json").body("{\"petname\": \"\\");
    assert_eq!(code(broken).await, bad);
    let form = node.command("invite").header("Content-Type", "text/plain").body("{}");
    assert_eq!(code(form).await, refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json"));
    let large = json!({"cid": 1, "text": "x".repeat(MAX_BODY_BYTES)});
    let too_large = refusal(StatusCode::PAYLOAD_TOO_LARGE, "too-large");
    assert_eq!(code(node.command("send-basic").json(&large)).await, too_large);
    let get = node.bare(Method::GET, "/api/v1/status").bearer_auth(&node.token);
    assert_eq!(code(get).await, refusal(StatusCode::METHOD_NOT_ALLOWED, "wrong-method"));
    let unknown = refusal(StatusCode::NOT_FOUND, "no-such-endpoint");
    assert_eq!(code(node.command("no-such-command")).await, unknown);
    assert_eq!(code(node.bare(Method::GET, "/none")).await, unknown);
    node.stop().await;
}

#[tokio::test]
async fn texts_and_petnames_are_checked() {
    let node = Running::start().await;
    for text in [String::new(), "x".repeat(65_537)] {
        let response =
            node.command("send-basic").json(&json!({"cid": 1, "text": text})).send().await.unwrap();
        assert_eq!(problem(response).await, refusal(StatusCode::BAD_REQUEST, "bad-request"));
    }
    for petname in [String::new(), "a\nb".to_owned(), "x".repeat(257)] {
        for (command, arguments) in [
            ("invite", json!({"petname": petname})),
            ("contact/rename", json!({"cid": 1, "petname": petname})),
        ] {
            let request = node.command(command).json(&arguments);
            assert_eq!(code(request).await, refusal(StatusCode::BAD_REQUEST, "bad-request"), "{arguments}");
        }
    }
    let nobody = node.command("contact/rename").json(&json!({"cid": 99, "petname": "bob"}));
    assert_eq!(code(nobody).await, refusal(StatusCode::NOT_FOUND, "not-found"));
    node.stop().await;
}

#[tokio::test]
async fn a_backup_is_a_file_of_a_declared_length() {
    let node = Running::start().await;
    std::fs::write(node.basedir.config_file(), "name = \"Alice\"\n").unwrap();
    let ask = |arguments| node.command("backup").json(&arguments);
    let bad_request = refusal(StatusCode::BAD_REQUEST, "bad-request");
    assert_eq!(code(ask(json!({"passphrase": ""}))).await, bad_request);
    assert_eq!(code(ask(json!({"passphrase": "two\nlines"}))).await, bad_request);
    assert_eq!(code(ask(json!({}))).await, refusal(StatusCode::BAD_REQUEST, "bad-arguments"));
    let answer = ask(json!({"passphrase": "correct horse"})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    let length = answer.content_length();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(length, Some(bytes.len() as u64));
    assert!(bytes.starts_with(b"petmail backup "));
    assert!(!bytes.windows(5).any(|window| window == b"Alice"));
    assert!(!node.basedir.path().join("backup.tmp").exists());
    node.stop().await;
}

#[tokio::test]
async fn the_event_stream_opens_and_ends_with_the_node() {
    let node = Running::start().await;
    for method in [Method::GET, Method::POST] {
        let request = node.bare(method, "/api/v1/events").bearer_auth(&node.token);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
    }
    let stream = node.command("events").send().await.unwrap();
    let stopped: Value = node.command("stop").send().await.unwrap().json().await.unwrap();
    assert_eq!(stopped, json!({ "stopping": true }));
    stream.bytes().await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn the_port_is_kept_and_replaced_only_if_taken() {
    let node = Running::start().await;
    let (url, basedir, config) = (node.url.clone(), node.basedir.clone(), Config::default());
    let other = ApiServer::bind(&basedir, &config).await.unwrap();
    assert_ne!(other.base_url(), url, "the first is still bound");
    let kept = other.base_url().to_owned();
    drop(other);
    assert_eq!(ApiServer::bind(&basedir, &config).await.unwrap().base_url(), kept);
    node.stop().await;
}

#[tokio::test]
async fn the_description_needs_no_token() {
    let node = Running::start().await;
    let described: Value =
        node.bare(Method::GET, "/api/openapi.json").send().await.unwrap().json().await.unwrap();
    assert_eq!(described["openapi"], "3.1.0");
    node.stop().await;
}

/// Asks for an address of the control panel and returns its opener token.
async fn opener(node: &Running) -> String {
    let view: Value = node.command("open").send().await.unwrap().json().await.unwrap();
    let start = format!("{}/#open=", node.url);
    view.get("url").and_then(Value::as_str).unwrap().strip_prefix(&start).unwrap().to_owned()
}

/// Trades an opener token as the page at `origin` does.
fn trade(node: &Running, opener: &str, origin: &str) -> RequestBuilder {
    node.bare(Method::POST, "/api/open").header("origin", origin).json(&json!({ "opener": opener }))
}

#[tokio::test]
async fn an_opener_token_is_traded_once_for_the_access_token_and_for_no_other_page() {
    let node = Running::start().await;
    let refused = refusal(StatusCode::FORBIDDEN, "opener-refused");
    let first = opener(&node).await;
    let without_origin = node.bare(Method::POST, "/api/open").json(&json!({ "opener": first }));
    assert_eq!(code(without_origin).await, refused);
    let foreign = trade(&node, &first, "http://petmail.example");
    assert_eq!(code(foreign).await, refusal(StatusCode::FORBIDDEN, "foreign-origin"));
    let rebound = trade(&node, &first, &node.url).header("host", "petmail.example");
    assert_eq!(code(rebound).await, refusal(StatusCode::FORBIDDEN, "foreign-host"));
    assert_eq!(code(trade(&node, "A", &node.url)).await, refused);
    let traded: Value = trade(&node, &first, &node.url).send().await.unwrap().json().await.unwrap();
    assert_eq!(traded, json!({ "token": node.token }));
    assert_eq!(code(trade(&node, &first, &node.url)).await, refused);
    // A page of this machine under its other name is the same page.
    let second = opener(&node).await;
    let by_name = trade(&node, &second, &format!("http://localhost:{}", node.port()));
    assert_eq!(by_name.send().await.unwrap().status(), StatusCode::OK);
    node.stop().await;
}

#[tokio::test]
async fn the_page_is_served_without_a_token_and_may_do_little() {
    let node = Running::start().await;
    for (path, media_type) in
        [("/", "text/html; charset=utf-8"), ("/panel/main.mjs", "text/javascript; charset=utf-8")]
    {
        let response = node.bare(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), media_type);
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff", "DENY"));
        let policy: Vec<_> = header("content-security-policy").split("; ").collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "trusted-types 'none'",
        ] {
            assert!(policy.contains(&directive), "{directive} in {policy:?}");
        }
        assert!(!policy.concat().contains("unsafe"), "{policy:?}");
    }
    let rebound = node.bare(Method::GET, "/").header("host", "petmail.example");
    assert_eq!(code(rebound).await, refusal(StatusCode::FORBIDDEN, "foreign-host"));
    assert_eq!(node.bare(Method::GET, "/panel/none").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    node.stop().await;
}

#[tokio::test]
async fn parts_searches_and_drafts_that_make_no_sense_are_refused() {
    let node = Running::start().await;
    let bad = refusal(StatusCode::BAD_REQUEST, "bad-request");
    let unknown = refusal(StatusCode::NOT_FOUND, "not-found");
    for (command, arguments, expected) in [
        ("messages", json!({ "limit": 1 }), &bad),
        ("messages", json!({ "cid": 7, "limit": 1 }), &unknown),
        ("search", json!({ "text": "" }), &bad),
        ("search", json!({ "text": "x".repeat(1_025) }), &bad),
        ("search", json!({ "text": "x", "limit": 201 }), &bad),
        ("search", json!({ "text": "x", "cid": 7 }), &unknown),
        ("find-message", json!({ "cid": 7, "direction": "in", "epoch": 1, "seqnum": 1 }), &unknown),
        ("draft", json!({ "cid": 7, "text": "x" }), &unknown),
        ("draft", json!({ "cid": 7, "text": "x".repeat(65_537) }), &bad),
        ("send-basic", json!({ "cid": 7, "text": "x", "reply_to": 1 }), &unknown),
    ] {
        assert_eq!(&code(node.command(command).json(&arguments)).await, expected, "{command} {arguments}");
    }
    let rooms: Value = node.command("rooms").send().await.unwrap().json().await.unwrap();
    assert_eq!(rooms, json!({ "rooms": [] }));
    node.stop().await;
}

#[tokio::test]
async fn what_the_owner_chooses_counts_at_once_and_is_kept() {
    let node = Running::start().await;
    std::fs::write(node.basedir.config_file(), "# mine\nname = \"Al\"\n").unwrap();
    let change = json!({ "display_name": "Alice", "privacy": "high", "read_receipts": true });
    let changed: Value =
        node.command("settings/set").json(&change).send().await.unwrap().json().await.unwrap();
    assert_eq!(changed.get("display_name"), Some(&json!("Alice")));
    let shown: Value = node.command("settings").send().await.unwrap().json().await.unwrap();
    assert_eq!(shown, changed);
    let status: Value = node.command("status").send().await.unwrap().json().await.unwrap();
    assert_eq!(status.get("display_name"), Some(&json!("Alice")));
    let kept = std::fs::read_to_string(node.basedir.config_file()).unwrap();
    assert!(kept.starts_with("# mine\n"), "{kept}");
    let config = Config::parse(&kept).unwrap();
    assert!(config.name == "Alice" && config.read_receipts && !config.copies_everywhere);
    let bad = refusal(StatusCode::BAD_REQUEST, "bad-request");
    for wrong in [json!({ "display_name": "a\nb" }), json!({ "display_name": "x".repeat(257) })] {
        assert_eq!(code(node.command("settings/set").json(&wrong)).await, bad, "{wrong}");
    }
    assert_eq!(std::fs::read_to_string(node.basedir.config_file()).unwrap(), kept);
    node.stop().await;
}

#[tokio::test]
async fn codes_and_pictures_that_are_none_are_refused() {
    let node = Running::start().await;
    let bad = refusal(StatusCode::BAD_REQUEST, "bad-request");
    for (command, arguments) in [
        ("check-code", json!({ "code": "hello" })),
        ("qr", json!({ "text": "" })),
        ("qr", json!({ "text": "x".repeat(1_001) })),
        ("qr/read", json!({ "width": 2, "height": 2, "luma": "AAA=" })),
        ("qr/read", json!({ "width": 0, "height": 0, "luma": "" })),
        ("qr/read", json!({ "width": 1_025, "height": 1, "luma": "AA==" })),
        ("qr/read", json!({ "width": 1, "height": 1, "luma": "no base64" })),
    ] {
        assert_eq!(code(node.command(command).json(&arguments)).await, bad, "{command} {arguments}");
    }
    let words: Value = node.command("words").send().await.unwrap().json().await.unwrap();
    for list in ["odd", "even"] {
        assert_eq!(words.get(list).and_then(Value::as_array).map(Vec::len), Some(256));
    }
    node.stop().await;
}
