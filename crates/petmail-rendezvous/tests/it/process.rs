//! The program under test as a child process, killed when dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_petmail-rendezvous");

/// A running server.
pub(crate) struct Process {
    child: Child,
    /// Where clients connect.
    pub(crate) url: String,
    lines: Arc<Mutex<String>>,
    log: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a server on any free port and waits until it is ready.
    pub(crate) fn serve(basedir: &Path, arguments: &[&str]) -> Self {
        Self::serve_with(basedir, arguments, &[])
    }

    /// As [`serve`](Self::serve), with an environment.
    pub(crate) fn serve_with(basedir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = command(basedir)
            .envs(environment.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&lines);
        let log = std::thread::spawn(move || {
            for line in stderr.lines() {
                kept.lock().unwrap().push_str(&(line.unwrap() + "\n"));
            }
        });
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let url = first.strip_prefix("ready ").unwrap_or_else(|| panic!("{first:?}")).trim().to_owned();
        Self { child, url, lines, log: Some(log) }
    }

    /// Waits until the log has a line with `mark`, and returns what stands behind it.
    pub(crate) async fn logged(&self, mark: &str) -> String {
        loop {
            let found = self.lines.lock().unwrap().split_once(mark).map(|(_, rest)| rest.to_owned());
            match found {
                Some(rest) => return rest.lines().next().unwrap_or_default().to_owned(),
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Starts a server with a configuration file.
    pub(crate) fn configured(basedir: &Path, toml: &str) -> Self {
        std::fs::write(basedir.join("config.toml"), toml).unwrap();
        Self::serve(basedir, &[])
    }

    /// Ends it the hard way (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and does not wait.
    pub(crate) fn ask_to_end(&self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
    }

    /// Asks it to end, and returns its log once it has.
    pub(crate) fn stop(mut self) -> String {
        self.ask_to_end();
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap();
        self.lines.lock().unwrap().clone()
    }

    /// The address in front of `/v1`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("ws://").unwrap().strip_suffix("/v1").unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The program, with a basedir and nothing from this process's environment.
pub(crate) fn command(basedir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("-d").arg(basedir).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(basedir: &Path, arguments: &[&str]) -> Output {
    command(basedir).args(arguments).output().unwrap()
}
