//! The Python `magic-wormhole`, which nobody here wrote, sends and receives through `petmail-rendezvous`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::bin;
use petmail_integration_tests::python::{WORMHOLE, venv};

/// Where two wormholes meet.
struct Setting {
    dir: tempfile::TempDir,
    python: PathBuf,
    server: Option<Process>,
    url: String,
    relay: String,
    _relay: Process,
}

impl Setting {
    fn new() -> Self {
        let python = venv("wormhole", WORMHOLE).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (server, url) = rendezvous(dir.path(), "127.0.0.1:0");
        let mut twist = Command::new(python.join("twist"));
        let relay = Process::spawn(twist.args(["transitrelay", "--port", "tcp:0:interface=127.0.0.1"]));
        let port = relay.wait_for(|line| {
            let (_, rest) = line.split_once("starting on ")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
        });
        Self { dir, python, server: Some(server), url, relay: format!("tcp:127.0.0.1:{port}"), _relay: relay }
    }

    /// A wormhole in a folder of its own. Without a listening socket, files have to pass through the relay.
    fn wormhole(&self, folder: &str, command: &str, arguments: &[&str]) -> Process {
        let folder = self.dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let mut wormhole = Command::new(self.python.join("wormhole"));
        wormhole.current_dir(&folder).env("HOME", &folder).env("LC_ALL", "C.UTF-8");
        wormhole.args(["--relay-url", &self.url, "--transit-helper", &self.relay, command]);
        Process::spawn(wormhole.args(["--hide-progress", "--no-listen"]).args(arguments))
    }

    fn text_arrives(&self, code: &str, text: &str, sender: Process) {
        let (status, lines) = self.wormhole("receiver", "receive", &[code]).finish();
        assert!(status.success(), "{lines:#?}");
        assert!(lines.iter().any(|line| line == text), "{lines:#?}");
        let (status, lines) = sender.finish();
        assert!(status.success(), "{lines:#?}");
    }
}

fn rendezvous(dir: &Path, listen: &str) -> (Process, String) {
    let mut command = Command::new(bin("petmail-rendezvous"));
    Process::ready(command.args(["serve", "--listen", listen, "-d"]).arg(dir.join("rendezvous")))
}

fn code(sender: &Process) -> String {
    sender.wait_for(|line| line.strip_prefix("Wormhole code is: ").map(str::to_owned))
}

#[test]
fn a_text() {
    let setting = Setting::new();
    let text = "Grüße aus dem Wurmloch ✓";
    let sender = setting.wormhole("sender", "send", &["--text", text]);
    let code = code(&sender);
    assert!(code.as_bytes().get(1) == Some(&b'-'), "the first nameplate has one digit: {code}");
    setting.text_arrives(&code, text, sender);
}

#[test]
fn a_file_through_the_relay() {
    let setting = Setting::new();
    let contents: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = setting.dir.path().join("file.bin");
    std::fs::write(&path, &contents).unwrap();
    let sender = setting.wormhole("sender", "send", &[path.to_str().unwrap()]);
    let code = code(&sender);
    let (status, lines) = setting.wormhole("receiver", "receive", &["--accept-file", &code]).finish();
    assert!(status.success(), "{lines:#?}");
    assert!(sender.finish().0.success());
    let received = std::fs::read(setting.dir.path().join("receiver/file.bin")).unwrap();
    assert!(received == contents);
}

/// The server dies under a waiting sender and comes back; neither side notices more than a pause.
#[test]
fn a_restart_in_between() {
    let mut setting = Setting::new();
    let sender = setting.wormhole("sender", "send", &["--text", "still here"]);
    let code = code(&sender);
    let address = setting.url.strip_prefix("ws://").unwrap().strip_suffix("/v1").unwrap().to_owned();
    setting.server.take().unwrap().kill();
    setting.server = Some(rendezvous(setting.dir.path(), &address).0);
    setting.text_arrives(&code, "still here", sender);
}

/// A wrong code is the clients' discovery; the server goes on.
#[test]
fn a_wrong_code() {
    let setting = Setting::new();
    let sender = setting.wormhole("sender", "send", &["--text", "secret"]);
    let right = code(&sender);
    let (nameplate, _) = right.split_once('-').unwrap();
    let (status, lines) =
        setting.wormhole("receiver", "receive", &[&format!("{nameplate}-wrong-words")]).finish();
    assert!(!status.success());
    assert!(!lines.iter().any(|line| line == "secret"), "{lines:#?}");
    assert!(!sender.finish().0.success());
}
