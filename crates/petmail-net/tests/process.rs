//! What a program does as a process: this test runs itself once more as such a program.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use petmail_net::{
    CancellationToken,
    client::{ClientSettings, Owner, RetrievalClient, Target, TargetUrl, UrlPolicy},
    health,
    program::{LogFormat, LoggingError, announce_ready, init_logging, prepare_process, shutdown_on_signals},
    server::{Limits, Server},
    tls::{TlsMode, ensure_self_signed},
};
use rustix::process::{Pid, Signal, kill_process};

/// Set for the inner run: a directory to write to.
const DIR: &str = "PETMAIL_NET_TEST_DIR";

#[test]
fn a_program_announces_itself_logs_discreetly_and_stops_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inner_program", "--nocapture"])
            .env(DIR, dir.path())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().ends_with("ready http://127.0.0.1:7")).unwrap().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert!(child.wait().unwrap().success());
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let about_panic: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
        assert_eq!(about_panic.len(), 1, "{log}");
        assert!(log.contains("process.rs") && !log.contains("a secret"), "{log}");
        assert!(log.contains("\"message\":\"stopping\""), "{log}");
        let mode = std::fs::metadata(dir.path().join("file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn inner_program() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    prepare_process();
    init_logging(LogFormat::Json).unwrap();
    assert_eq!(init_logging(LogFormat::Text), Err(LoggingError));
    std::fs::write(dir.join("file"), "x").unwrap();
    std::thread::spawn(|| panic!("a secret")).join().unwrap_err();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let shutdown = shutdown_on_signals().unwrap();
        announce_ready("http://127.0.0.1:7").unwrap();
        shutdown.cancelled().await;
    });
}

#[test]
fn certificates_are_believed_if_the_system_does() {
    let dir = tempfile::tempdir().unwrap();
    ensure_self_signed(dir.path(), &["localhost".to_owned()]).unwrap();
    for (roots, expected) in [("tls-cert.pem", true), ("no-such-file.pem", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "inner_client"])
            .env(DIR, dir.path())
            .env("SSL_CERT_FILE", dir.path().join(roots))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        assert_eq!(output.status.success(), expected, "{roots}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn inner_client() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let mode = TlsMode::CertFiles { cert: dir.join("tls-cert.pem"), key: dir.join("tls-key.pem") };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), &mode, Limits::default()).await.unwrap();
        let url = format!("https://localhost:{}", server.local_addr().port());
        let router = health::routes("title", "text", || true);
        tokio::spawn(server.serve(router, CancellationToken::new()));
        let target = Target::new(TargetUrl::parse(&url, UrlPolicy::AllowPrivate).unwrap(), vec![]);
        let client = RetrievalClient::new(ClientSettings::default());
        assert_eq!(client.get(Owner(1), &target, "healthz", 10).await.unwrap(), "ok\n");
    });
}
