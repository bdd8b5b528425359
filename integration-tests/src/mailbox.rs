//! A `petmail-mailbox` under test.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use petmail_proto::server::offer::Offer;
use serde_json::Value;

use crate::outcome::Outcome;
use crate::process::Process;
use crate::programs::command;
use crate::wait::eventually;

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTPS with a certificate of its own making, whose pin is in the offers.
    PinnedHttps,
    /// Plain HTTP, as behind a proxy.
    PlainHttp,
}

/// A mailbox server with a basedir and an address of its own.
#[derive(Debug)]
pub struct MailboxServer {
    basedir: PathBuf,
    scheme: Scheme,
    roles: &'static str,
    address: String,
    process: Option<Process>,
}

/// What servers do unless it is said.
const ROLES: &str = "mailbox,storage";

impl MailboxServer {
    /// Makes a server in a new folder, and starts it.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start(basedir: &Path, scheme: Scheme) -> Self {
        Self::start_with(basedir, scheme, "")
    }

    /// Makes a server with a configuration file, and starts it.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start_with(basedir: &Path, scheme: Scheme, configuration: &str) -> Self {
        Self::start_as(ROLES, basedir, scheme, configuration)
    }

    /// Makes a server that keeps files and no messages, and starts it.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start_for_files(basedir: &Path, scheme: Scheme) -> Self {
        Self::start_as("storage", basedir, scheme, "")
    }

    fn start_as(roles: &'static str, basedir: &Path, scheme: Scheme, configuration: &str) -> Self {
        // The URL names the port before it is bound, so another program can be quicker: then again with another port.
        eventually("a free port for a mailbox server", || {
            let address = format!("127.0.0.1:{}", free_port());
            let mut server = Self { basedir: basedir.to_owned(), scheme, roles, address, process: None };
            server.init();
            fs::write(basedir.join("config.toml"), configuration).expect("the folder is there");
            server.process = Some(server.serve().ok()?);
            Some(server)
        })
    }

    fn init(&self) {
        match fs::remove_dir_all(&self.basedir) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
        let mut init = command("petmail-mailbox");
        let made =
            Outcome::of(init.args(["init", "--roles", self.roles, "--url", &self.url()]).arg(&self.basedir))
                .text();
        drop(made);
    }

    fn serve(&self) -> Result<Process, Vec<String>> {
        let mut serve = command("petmail-mailbox");
        serve.args(["serve", "--listen", &self.address, "-d"]).arg(&self.basedir);
        serve.arg(match self.scheme {
            Scheme::PinnedHttps => "--self-signed",
            Scheme::PlainHttp => "--plain-http",
        });
        Process::try_ready(&mut serve).map(|(process, _)| process)
    }

    /// Where nodes reach it.
    #[must_use]
    pub fn url(&self) -> String {
        match self.scheme {
            Scheme::PinnedHttps => format!("https://{}", self.address),
            Scheme::PlainHttp => format!("http://{}", self.address),
        }
    }

    /// The address in the URL.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's folder.
    #[must_use]
    pub fn basedir(&self) -> &Path {
        &self.basedir
    }

    /// The server is in another folder from now on; it does not run.
    pub fn moved_to(&mut self, basedir: &Path) {
        self.kill();
        basedir.clone_into(&mut self.basedir);
    }

    /// A server to be, in another folder and at another address: nothing of it is made yet.
    #[must_use]
    pub fn elsewhere(&self, basedir: &Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        Self { basedir: basedir.to_owned(), scheme: self.scheme, roles: self.roles, address, process: None }
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Waits until it has ended by itself, and returns whether in good order, with its log.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    #[must_use]
    pub fn ended(&mut self) -> (bool, String) {
        let (status, log) = self.process.take().expect("the server runs").finish();
        (status.success(), log.join("\n"))
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn restart(&mut self) {
        self.kill();
        self.process = Some(eventually("the server's port is free", || self.serve().ok()));
    }

    /// Stops it, and returns its log.
    ///
    /// # Panics
    /// If it does not run, or does not end in good order.
    #[must_use]
    pub fn stop(mut self) -> String {
        let (status, log) = self.process.take().expect("the server runs").terminate();
        assert!(status.success(), "{log:#?}");
        log.join("\n")
    }

    /// Runs one of the operator's commands.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(command("petmail-mailbox").args(arguments).arg("-d").arg(&self.basedir))
    }

    /// Makes an offer.
    ///
    /// # Panics
    /// If none is made.
    #[must_use]
    pub fn offer(&self) -> String {
        let text = self.run(&["offer"]).text();
        text.lines().last().expect("the offer is the last line").to_owned()
    }

    /// Makes an offer that leads to another address, where somebody passes on to this server.
    ///
    /// # Panics
    /// If none is made.
    #[must_use]
    pub fn offer_by(&self, address: &str) -> String {
        let mut offer: Offer = self.offer().parse().expect("an offer");
        offer.url = self.url().replace(&self.address, address).parse().expect("a URL");
        offer.expose_text().to_string()
    }

    /// Lets all accounts store so much beside their mailboxes.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn give_storage(&self, quota: &str) {
        for account in self.accounts() {
            let id = account.get("id").and_then(Value::as_str).expect("an account has an id");
            assert!(self.run(&["account", "set", id, "--storage-quota", quota]).succeeded());
        }
    }

    /// Lists the accounts.
    ///
    /// # Panics
    /// If they cannot be listed.
    #[must_use]
    pub fn accounts(&self) -> Vec<Value> {
        self.run(&["accounts", "--json"]).json()
    }
}

/// Returns a port that was free a moment ago.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
