//! The command line: answers, exit statuses, and the basedir.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Process, command, run};

fn status(basedir: &Path) -> Value {
    let output = run(basedir, &["status", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn status_running_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = dir.path().join("new");
    let server = Process::serve(&basedir, &[]);
    let mut client = Client::bound(&server.url, "app", "a").await;
    client.claim("4").await;
    let mut running = status(&basedir);
    running["uptime_seconds"].take();
    running["version"].take();
    let expected = json!({
        "running": true, "url": server.url, "uptime_seconds": null, "version": null, "retention_seconds": 86_400,
        "connections": 1, "nameplates": 1, "mailboxes": 1, "messages": 0, "stored_bytes": 0,
    });
    assert_eq!(running, expected);
    assert!(run(&basedir, &["status"]).stdout.starts_with(b"running at ws://127.0.0.1:"));
    let log = server.stop();
    assert!(!log.contains("ERROR"), "{log}");
    let stopped = status(&basedir);
    assert_eq!((&stopped["running"], &stopped["nameplates"]), (&json!(false), &json!(1)));
    assert!(run(&basedir, &["status"]).stdout.starts_with(b"stopped\n"));
}

#[test]
fn the_basedir_is_private_and_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = dir.path().join("new");
    let server = Process::serve(&basedir, &[]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&basedir), 0o700);
    assert_eq!(mode(&basedir.join("admin.sock")), 0o600);
    let second = run(&basedir, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stdout.is_empty());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("in use by process"), "{error}");
    drop(server);
}

#[test]
fn wrong_usage_and_failures_have_their_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| run(dir.path(), arguments).status.code();
    assert_eq!(code(&["frobnicate"]), Some(2));
    assert_eq!(code(&["serve", "--listen", "nowhere"]), Some(2));
    assert_eq!(code(&["serve", "--listen", "0.0.0.0:0"]), Some(2), "no TLS mode chosen");
    assert_eq!(code(&["serve", "--expire", "soon"]), Some(2));
    assert_eq!(code(&["serve", "--hashcash", "99"]), Some(2));
    assert_eq!(code(&["serve", "--tls-cert", "a"]), Some(2));
    assert_eq!(code(&["serve", "--tls-cert", "a", "--tls-key", "b", "--listen", "127.0.0.1:0"]), Some(1));
    assert_eq!(run(&dir.path().join("none"), &["status"]).status.code(), Some(1));
    assert_eq!(code(&["--version"]), Some(0));
}

#[test]
fn generated_documents() {
    let dir = tempfile::tempdir().unwrap();
    let text = |arguments: &[&str]| String::from_utf8(run(dir.path(), arguments).stdout).unwrap();
    assert!(text(&["completions", "bash"]).contains("--allow-appid"));
    assert!(text(&["man"]).starts_with(".ie"));
    for command in ["serve", "status", "completions", "man"] {
        assert!(text(&[command, "--help"]).contains("Examples:"), "{command}");
    }
}

/// Options win over the environment, the environment wins over the file.
#[tokio::test]
async fn settings_have_an_order() {
    let dir = tempfile::tempdir().unwrap();
    let variable = |name: &str, value: &str| {
        command(dir.path()).env(name, value).args(["serve", "--listen", "0.0.0.0:0"]).output().unwrap()
    };
    assert_eq!(variable("PETMAIL_RENDEZVOUS_HASHCASH", "99").status.code(), Some(2));
    assert_eq!(variable("PETMAIL_RENDEZVOUS_PLAIN_HTTP", "0").status.code(), Some(2), "still no TLS mode");
    let file = "listen = '192.0.2.1:1'\nmotd = 'file'\nallow-list = true\n";
    std::fs::write(dir.path().join("config.toml"), file).unwrap();
    let server = Process::serve(dir.path(), &["--motd", "flag"]);
    assert_eq!(Client::connect(&server.url).await.welcome["motd"], "flag");
    server.kill();
    assert_eq!(status(dir.path())["running"], false);
}
