//! What an operator relies on: proxies, log lines, metrics, the service manager.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use petmail_net::tls::ensure_self_signed;

fn program(basedir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_petmail-mailbox"));
    command.env_clear().arg("-d").arg(basedir).stdin(Stdio::null());
    command
}

fn made(dir: &Path) -> PathBuf {
    let basedir = dir.join("mailbox");
    let init = program(&basedir).args(["init", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert!(init.status.success(), "{init:?}");
    basedir
}

/// A running server; killed when dropped.
struct Serving {
    child: Child,
    base: String,
    log: PathBuf,
}

impl Serving {
    fn start(basedir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = basedir.with_extension("log");
        let mut command = program(basedir);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ").unwrap();
        Self { base: url.trim_end_matches('/').to_owned(), child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it, and returns its log.
    fn stop(mut self) -> String {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success() && self.child.wait().unwrap().success());
        self.log()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

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
    let basedir = made(dir.path());
    let socket = manager.path.to_str().unwrap();
    let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", "200000")];
    let serving = Serving::start(&basedir, &[], &environment);
    let mut heard = [manager.hear(), manager.hear()];
    heard.sort();
    assert_eq!(heard, ["READY=1", "WATCHDOG=1"]);
    assert_eq!(manager.hear(), "WATCHDOG=1");
    let log = serving.stop();
    while manager.hear() != "STOPPING=1" {}
    assert!(!log.contains("not healthy"), "{log}");
}

#[tokio::test]
async fn metrics_are_served_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path());
    let serving = Serving::start(&basedir, &["--metrics-listen", "127.0.0.1:0"], &[]);
    let socket = reqwest::Client::builder().unix_socket(basedir.join("admin.sock")).build().unwrap();
    let from_socket = socket.get("http://localhost/metrics").send().await.unwrap().text().await.unwrap();
    for page in [
        socket.get("http://mail.example.org/status"),
        socket.get("http://localhost/status").header("Origin", "http://localhost"),
    ] {
        assert_eq!(page.send().await.unwrap().status(), 403);
    }
    assert!(from_socket.contains("petmail_mailbox_store_healthy 1\n"), "{from_socket}");
    let log = serving.log();
    let (_, listener) = log.split_once("metrics are served address=").unwrap();
    let listener = listener.lines().next().unwrap();
    let text = reqwest::get(format!("http://{listener}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.contains("petmail_mailbox_accounts 0\n"), "{text}");
    for elsewhere in [format!("{}/metrics", serving.base), format!("http://{listener}/status")] {
        assert_eq!(reqwest::get(elsewhere).await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn addresses_are_logged_only_if_asked_for_and_as_a_trusted_proxy_tells_them() {
    for (options, is_logged) in
        [(&[][..], false), (&["--log-addresses", "--trusted-proxy", "127.0.0.0/8"], true)]
    {
        let dir = tempfile::tempdir().unwrap();
        let serving = Serving::start(&made(dir.path()), options, &[]);
        let request = reqwest::Client::new().post(format!("{}/deliver", serving.base));
        let refused = request.header("x-forwarded-for", "192.0.2.7").body("nonsense").send().await.unwrap();
        assert_eq!(refused.status(), 400);
        let log = serving.stop();
        assert_eq!(log.contains("192.0.2.7"), is_logged, "{log}");
        assert!(!log.contains("127.0.0.1"), "{log}");
    }
}

/// The names and kinds that `docs/operating.md` lists for this server, and those that it serves.
fn documented_and_served(text: &str, own: &str) -> [BTreeSet<String>; 2] {
    let documentation = include_str!("../../../docs/operating.md");
    let rows = documentation.lines().filter_map(|line| line.strip_prefix("| `petmail_"));
    let is_ours = |name: &&str| name.starts_with("net_") || name.starts_with(own);
    let documented = rows.filter(is_ours).filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        Some(format!("petmail_{name} {}", rest.split_once(" |")?.0))
    });
    let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned);
    [documented.collect(), served.collect()]
}

#[tokio::test]
async fn the_documented_metrics_are_served_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path());
    let serving = Serving::start(&basedir, &["--self-signed"], &[]);
    let http = trusting(&basedir);
    for path in ["server", "secret-path?secret=query"] {
        http.get(format!("{}/{path}", serving.base)).send().await.unwrap();
    }
    let socket = reqwest::Client::builder().unix_socket(basedir.join("admin.sock")).build().unwrap();
    let text = socket.get("http://localhost/metrics").send().await.unwrap().text().await.unwrap();
    let [documented, served] = documented_and_served(&text, "mailbox_");
    assert!(!documented.is_empty());
    assert_eq!(documented, served);
    // Routes are shown by their template, and what nobody serves by no name.
    assert!(text.contains("route=\"none\",status=\"4xx\"} 1\n"), "{text}");
    for secret in ["secret", "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

async fn wait_for(serving: &Serving, mark: &str, times: usize) {
    while serving.log().matches(mark).count() < times {
        tokio::task::yield_now().await;
    }
}

/// A client that trusts one certificate only.
fn trusting(dir: &Path) -> reqwest::Client {
    let certificate = std::fs::read(dir.join("tls-cert.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&certificate).unwrap();
    reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_served_and_open_connections_stay() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path());
    let made = ["old", "new"].map(|name| {
        let made = dir.path().join(name);
        std::fs::create_dir(&made).unwrap();
        ensure_self_signed(&made, &["127.0.0.1".to_owned()]).unwrap();
        made
    });
    let [old, new] = &made;
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    let install = |from: &Path| {
        std::fs::copy(from.join("tls-cert.pem"), &cert).unwrap();
        std::fs::copy(from.join("tls-key.pem"), &key).unwrap();
    };
    install(old);
    let options = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let serving = Serving::start(&basedir, &options, &[]);
    let url = format!("{}/healthz", serving.base);
    let early = trusting(old);
    assert_eq!(early.get(&url).send().await.unwrap().status(), 200);
    let hang_up = || {
        let id = serving.child.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };

    std::fs::write(&cert, "nonsense").unwrap();
    // Nobody asks: the files are looked at now and then.
    wait_for(&serving, "the former one stays", 1).await;
    assert_eq!(trusting(old).get(&url).send().await.unwrap().status(), 200);

    install(new);
    hang_up();
    wait_for(&serving, "read again", 1).await;
    while trusting(new).get(&url).send().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(trusting(old).get(&url).send().await.is_err(), "new connections have the new certificate");
    assert_eq!(early.get(&url).send().await.unwrap().status(), 200, "the open connection goes on");
    let log = serving.stop();
    assert!(log.matches("the former one stays").count() <= 2, "{log}");
}

#[tokio::test]
async fn a_hangup_ends_no_server_without_tls() {
    let dir = tempfile::tempdir().unwrap();
    let serving = Serving::start(&made(dir.path()), &[], &[]);
    let id = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    assert_eq!(reqwest::get(format!("{}/healthz", serving.base)).await.unwrap().status(), 200);
    serving.stop();
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
    let basedir = self::made(dir.path());
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
        let ended = program(&basedir).arg("serve").args(options).output().unwrap();
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stdout, b"", "{ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        let lines: Vec<&str> = told.lines().filter(|line| !line.contains("INFO")).collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(lines[0].starts_with("error: ") && lines[0].contains(error), "{told}");
        assert!(lines[1].starts_with("hint: ") && lines[1].contains(hint), "{told}");
    }
}

/// A restart ends every stream in good order, and the new server does not stumble over the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_needs_no_pause() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path());
    let mut serving = Serving::start(&basedir, &[], &[]);
    for _ in 0..3 {
        let asked = Command::new("kill").arg(serving.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        let next = Serving::start(&basedir, &[], &[]);
        assert_eq!(reqwest::get(format!("{}/healthz", next.base)).await.unwrap().status(), 200);
        assert!(serving.child.wait().unwrap().success());
        serving = next;
    }
    serving.stop();
}
