//! The real program: making a node, its life as a process, and what it says.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A node that never finds its rendezvous server; stopped when it is dropped.
struct Node {
    dir: TempDir,
}

impl Node {
    fn create() -> Self {
        let node = Self { dir: tempfile::tempdir().unwrap() };
        succeed(&node.run(&["create-node", "--rendezvous", "ws://127.0.0.1:9/v1"]));
        node
    }

    fn basedir(&self) -> PathBuf {
        self.dir.path().join("n1")
    }

    fn command(&self) -> Command {
        program(&self.basedir())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.run(&["stop"]));
    }
}

fn program(basedir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_petmail-node"));
    command.arg("-d").arg(basedir).env_remove("PETMAIL_BASEDIR").env_remove("RUST_LOG");
    command
}

#[track_caller]
fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fail(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Starts the node in the foreground and returns it with its base URL once it is ready.
fn start_in_foreground(node: &Node) -> (Child, String) {
    let mut child = node
        .command()
        .args(["start", "--foreground"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.strip_prefix("ready ").unwrap().trim_end().to_owned();
    (child, url)
}

#[test]
fn a_new_node_is_private_and_complete() {
    let node = Node::create();
    let basedir = node.basedir();
    assert_eq!(mode(&basedir), 0o700);
    assert_eq!(mode(&basedir.join("config.toml")), 0o600);
    assert_eq!(mode(&basedir.join("api-token")), 0o600);
    assert_eq!(mode(&basedir.join("petmail")), 0o700);
    let again = fail(&node.run(&["create-node"]), 1);
    assert!(again.contains("already") && again.contains("hint: "), "{again}");
}

#[test]
fn create_node_refuses_what_would_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = dir.path().join("n1");
    for arguments in [
        ["--rendezvous", "https://rendezvous.example"],
        ["--listen", "0.0.0.0:0"],
        ["--socks5", "nowhere"],
        ["--name", "a\u{1b}b"],
    ] {
        fail(&program(&basedir).arg("create-node").args(arguments).output().unwrap(), 2);
        assert!(!basedir.exists());
    }
    fs::create_dir(&basedir).unwrap();
    fs::write(basedir.join("letter.txt"), "dear").unwrap();
    let used = fail(&program(&basedir).arg("create-node").output().unwrap(), 1);
    assert!(used.contains("not empty"), "{used}");
}

#[test]
fn the_folder_is_named_by_position_flag_or_environment() {
    let dir = tempfile::tempdir().unwrap();
    let plain = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_petmail-node"));
        command.current_dir(dir.path()).env_remove("PETMAIL_BASEDIR").env("HOME", dir.path());
        command
    };
    succeed(&plain().args(["create-node", "n1"]).output().unwrap());
    succeed(&plain().args(["create-node", "-d", "n2"]).output().unwrap());
    succeed(&plain().arg("create-node").env("PETMAIL_BASEDIR", "n3").output().unwrap());
    succeed(&plain().arg("create-node").output().unwrap());
    for name in ["n1", "n2", "n3", ".petmail"] {
        assert!(dir.path().join(name).join("config.toml").exists(), "{name}");
    }
    fail(&plain().args(["create-node", "n4", "-d", "n5"]).output().unwrap(), 2);
    let missing = fail(&plain().args(["status", "-d", "n6"]).output().unwrap(), 1);
    assert!(missing.contains("there is no node in"), "{missing}");
}

#[test]
fn petmail_knows_its_folder_wherever_it_is_moved() {
    let node = Node::create();
    let moved = node.dir.path().join("it's moved");
    fs::rename(node.basedir(), &moved).unwrap();
    let petmail = moved.join("petmail");
    let output = Command::new(&petmail).args(["status", "--json"]).output().unwrap();
    fail(&output, 1);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["running"], false);
    let link = node.dir.path().join("pm");
    std::os::unix::fs::symlink(&petmail, &link).unwrap();
    let stopped = fail(&Command::new(&link).arg("status").output().unwrap(), 1);
    assert!(stopped.contains("it's moved is not running"), "{stopped}");
    let script = fs::read_to_string(&petmail).unwrap();
    fs::write(&petmail, script.replace("/petmail-node'", "/gone'")).unwrap();
    let gone = fail(&Command::new(&petmail).arg("status").output().unwrap(), 1);
    assert!(gone.starts_with("error: the program") && gone.contains("\nhint: "), "{gone}");
}

#[test]
fn the_life_of_a_node_in_the_background() {
    let node = Node::create();
    let never = fail(&node.run(&["print-baseurl"]), 1);
    assert!(never.contains("never been started"), "{never}");
    let url = succeed(&node.run(&["start", "--no-open"]));
    assert!(url.starts_with("http://127.0.0.1:") && url.lines().count() == 1, "{url}");
    assert_eq!(succeed(&node.run(&["print-baseurl"])), url);
    assert_eq!(mode(&node.basedir().join("node.log")), 0o600);

    let second = fail(&node.run(&["start"]), 1);
    assert!(second.contains("is running already"), "{second}");
    fail(&node.run(&["start", "--foreground"]), 1);

    let status: Value = serde_json::from_str(&succeed(&node.run(&["status", "--json"]))).unwrap();
    assert_eq!((&status["running"], status["baseurl"].as_str()), (&Value::Bool(true), Some(url.trim_end())));

    assert_eq!(succeed(&node.run(&["restart"])), url, "the port is kept");
    succeed(&node.run(&["stop"]));
    let stopped = node.run(&["status", "--json"]);
    fail(&stopped, 1);
    let status: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!((&status["running"], status["baseurl"].as_str()), (&Value::Bool(false), Some(url.trim_end())));
    let again = fail(&node.run(&["stop"]), 1);
    assert!(again.contains("is not running"), "{again}");
    succeed(&node.run(&["restart"]));
}

#[test]
fn every_file_of_a_node_is_private() {
    fn check(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                assert_eq!(mode(&path), 0o700, "{}", path.display());
                check(&path);
            } else if !path.ends_with("petmail") {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    let node = Node::create();
    succeed(&node.run(&["start"]));
    check(&node.basedir());
}

#[test]
fn a_foreground_node_stops_on_sigterm_and_after_a_kill_starts_again() {
    let node = Node::create();
    let (mut child, url) = start_in_foreground(&node);
    let signal = |child: &Child, name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());
    let (mut child, again) = start_in_foreground(&node);
    assert_eq!(again, url);
    signal(&child, "-KILL");
    child.wait().unwrap();
    let status = fail(&node.run(&["status"]), 1);
    assert!(status.contains("is not running"), "{status}");
    succeed(&node.run(&["start"]));
}

#[test]
fn a_failed_start_says_why() {
    let node = Node::create();
    fs::write(node.basedir().join("config.toml"), "colour = \"red\"\n").unwrap();
    for arguments in [&["start"][..], &["start", "--foreground"]] {
        let why = fail(&node.run(arguments), 1);
        assert!(why.contains("error: ") && why.contains("colour") && why.contains("hint: "), "{why}");
    }
}

#[test]
fn a_node_without_a_mailbox_says_so() {
    let node = Node::create();
    succeed(&node.run(&["start"]));
    for command in ["status", "addressbook", "mailboxes"] {
        let output = node.run(&[command]);
        let said = succeed(&output) + &String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("can send but not receive") && said.contains("accept-mailbox"), "{said}");
    }
    for command in ["addressbook", "mailboxes", "invitations", "messages", "fetch-messages"] {
        let output = node.run(&[command, "--json"]);
        assert_eq!((succeed(&output).as_str(), output.stderr.as_slice()), ("", &b""[..]), "{command}");
    }
}

#[test]
fn senseless_messages_are_refused_before_they_are_sent() {
    let node = Node::create();
    succeed(&node.run(&["start"]));
    let empty = fail(&node.run(&["send-basic", "1", ""]), 1);
    assert!(empty.contains("empty"), "{empty}");
    let long = fail(&node.run(&["send", "1", &"x".repeat(65_537)]), 1);
    assert!(long.contains("65536"), "{long}");
    let mut child =
        node.command().args(["send", "1", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It reads no further than it has to: the rest of the pipe may be refused.
    drop(child.stdin.take().unwrap().write_all(&[b'x'; 100_000]));
    let long = fail(&child.wait_with_output().unwrap(), 1);
    assert!(long.contains("65536"), "{long}");
    let nobody = fail(&node.run(&["send", "99", "hello"]), 1);
    assert!(nobody.starts_with("error: "), "{nobody}");
    fail(&node.run(&["cancel-invitation", "99"]), 1);
    fail(&node.run(&["accept-mailbox", "no offer"]), 1);
    fail(&node.run(&["contact", "remove", "99"]), 1);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = program(dir.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(succeed(&output), "");
    assert_eq!(output.stderr, b"");
}

#[test]
fn completions_and_man_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        succeed(&program(dir.path()).args(["completions", "bash"]).output().unwrap())
            .contains("print-baseurl")
    );
    succeed(&program(dir.path()).arg("manpages").arg(dir.path().join("man")).output().unwrap());
    assert!(dir.path().join("man/petmail-node-send-basic.1").exists());
}
