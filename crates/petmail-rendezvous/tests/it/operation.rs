//! What an operator relies on: proxies, log lines, metrics, the service manager.

use std::{collections::BTreeSet, os::unix::net::UnixDatagram, path::PathBuf, time::Duration};

use petmail_net::tls::ensure_self_signed;

use crate::client::Client;
use crate::process::{Process, command};

/// What a service manager hears from a program.
struct Manager {
    _dir: tempfile::TempDir,
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { _dir: dir, path, socket }
    }

    fn hear(&self) -> String {
        let mut message = [0; 256];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap().trim().to_owned()
    }
}

#[test]
fn the_service_manager_hears_how_it_goes() {
    let (dir, manager) = (tempfile::tempdir().unwrap(), Manager::new());
    let socket = manager.path.to_str().unwrap();
    let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "200000")];
    let server = Process::serve_with(dir.path(), &[], &environment);
    let mut heard = [manager.hear(), manager.hear()];
    heard.sort();
    assert_eq!(heard, ["READY=1", "WATCHDOG=1"]);
    assert_eq!(manager.hear(), "WATCHDOG=1");
    let log = server.stop();
    while manager.hear() != "STOPPING=1" {}
    assert!(!log.contains("not healthy"), "{log}");
}

#[tokio::test]
async fn metrics_are_served_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &["--metrics-listen", "127.0.0.1:0"]);
    let mut client = Client::bound(&server.url, "app", "a").await;
    client.claim("31415").await;
    let socket = dir.path().join("admin.sock");
    let socket = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let from_socket = socket.get("http://localhost/metrics").send().await.unwrap().text().await.unwrap();
    assert!(from_socket.contains("petmail_rendezvous_nameplates 1\n"), "{from_socket}");
    let public = reqwest::get(format!("http://{}/metrics", server.address())).await.unwrap();
    assert_eq!(public.status(), 404);
    let listener = server.logged("metrics are served address=").await;
    let answer = reqwest::get(format!("http://{listener}/metrics")).await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(text.contains("petmail_rendezvous_mailboxes 1\n"), "{text}");
    assert!(!text.contains("31415"), "{text}");
    assert_eq!(reqwest::get(format!("http://{listener}/status")).await.unwrap().status(), 404);
}

#[tokio::test]
async fn addresses_are_logged_only_if_asked_for_and_as_a_trusted_proxy_tells_them() {
    for (options, is_logged) in
        [(&[][..], false), (&["--log-addresses", "--trusted-proxy", "127.0.0.0/8"], true)]
    {
        let dir = tempfile::tempdir().unwrap();
        let server = Process::serve(dir.path(), options);
        let request = reqwest::Client::new().get(format!("http://{}/v1", server.address()));
        let request = request
            .header("x-forwarded-for", "192.0.2.7")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let upgraded = request.send().await.unwrap().upgrade().await.unwrap();
        // The log line stands before the greeting.
        let mut greeting = [0; 1];
        let mut upgraded = upgraded;
        tokio::io::AsyncReadExt::read_exact(&mut upgraded, &mut greeting).await.unwrap();
        drop(upgraded);
        let log = server.stop();
        assert_eq!(log.contains("192.0.2.7"), is_logged, "{log}");
        assert!(!log.contains("127.0.0.1"), "{log}");
    }
}

/// The names and kinds that `docs/operating.md` lists for this server, and those that it serves.
fn documented_and_served(text: &str, own: &str) -> [BTreeSet<String>; 2] {
    let documentation = include_str!("../../../../docs/operating.md");
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `petmail_"));
    let is_ours = |name: &&str| name.starts_with("net_") || name.starts_with(own);
    let documented = rows.filter(is_ours).filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        Some(format!("petmail_{name} {}", rest.split_once(" |")?.0))
    });
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned);
    [documented.collect(), served.collect()]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_metrics_are_served_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::serve(dir.path(), &["--self-signed"]);
    let certificate = std::fs::read(dir.path().join("tls-cert.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&certificate).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap();
    let base = server.url.replace("wss:", "https:");
    for path in ["healthz", "secret-path?secret=query"] {
        http.get(format!("{}/{path}", base.trim_end_matches("/v1"))).send().await.unwrap();
    }
    let socket = reqwest::Client::builder().unix_socket(dir.path().join("admin.sock")).build().unwrap();
    let text = socket.get("http://localhost/metrics").send().await.unwrap().text().await.unwrap();
    let [documented, served] = documented_and_served(&text, "rendezvous_");
    assert!(!documented.is_empty());
    assert_eq!(documented, served);
    // Routes are shown by their template, and what nobody serves by no name.
    assert!(text.contains("route=\"none\",status=\"4xx\"} 1\n"), "{text}");
    for secret in ["secret", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// Each reason for not starting is one line, with a line that says what to do.
#[test]
fn what_keeps_the_server_from_starting_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let made = ["one", "two"].map(|name| {
        let made = dir.path().join(name);
        std::fs::create_dir(&made).unwrap();
        ensure_self_signed(&made, &["127.0.0.1".to_owned()]).unwrap();
        made
    });
    let file = |n: usize, name: &str| made[n].join(name).to_str().unwrap().to_owned();
    let (cert, key, other) = (file(0, "tls-cert.pem"), file(0, "tls-key.pem"), file(1, "tls-key.pem"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let basedir = dir.path().join("server");
    for (options, error, hint) in [
        (&["--listen", &taken][..], "cannot listen on", "another program listens there"),
        (&["--listen", "192.0.2.1:0", "--plain-http"], "cannot listen on", "does not have that address"),
        (
            &["--listen", free, "--tls-cert", &cert, "--tls-key", &other],
            "cannot be used",
            "the key that belongs to it",
        ),
        (
            &["--listen", free, "--tls-cert", "/nowhere/chain.pem", "--tls-key", &key],
            "cannot read a certificate",
            "readable",
        ),
        (
            &["--listen", free, "--tls-cert", &cert, "--tls-key", &cert],
            "cannot read a private key",
            "readable",
        ),
    ] {
        let ended = command(&basedir).arg("serve").args(options).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stdout, b"", "{ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        let lines: Vec<&str> = told.lines().filter(|line| !line.contains("INFO")).collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{told}");
        assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{told}");
    }
}

#[test]
fn a_basedir_that_cannot_be_is_told() {
    // Nobody can make a folder there, whoever runs this.
    let ended = command(std::path::Path::new("/proc/petmail/server")).arg("serve").output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(
        told.starts_with("error: cannot make ") && told.contains("\nhint: name a folder with -d"),
        "{told}"
    );
}

#[test]
fn a_restart_needs_no_pause() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Process::serve(dir.path(), &[]);
    for _ in 0..3 {
        server.ask_to_end();
        let next = Process::serve(dir.path(), &[]);
        server.stop();
        server = next;
    }
    server.stop();
}
