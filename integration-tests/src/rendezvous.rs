//! A `petmail-rendezvous` under test.

use std::path::{Path, PathBuf};

use crate::process::Process;
use crate::programs::command;
use crate::wait::eventually;

/// A rendezvous server with a basedir and an address of its own.
#[derive(Debug)]
pub struct Rendezvous {
    basedir: PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
    url: String,
}

impl Rendezvous {
    /// Starts a server on loopback, without TLS unless the arguments say otherwise.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn start(basedir: &Path, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (process, url) = serve(basedir, &arguments, "127.0.0.1:0")
            .unwrap_or_else(|lines| panic!("no rendezvous server: {lines:#?}"));
        Self { basedir: basedir.to_owned(), arguments, process: Some(process), url }
    }

    /// Starts a server with a configuration file.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn configured(basedir: &Path, configuration: &str) -> Self {
        std::fs::create_dir_all(basedir).expect("a folder can be made");
        std::fs::write(basedir.join("config.toml"), configuration).expect("a file can be written");
        Self::start(basedir, &[])
    }

    /// Where nodes meet.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address in the URL.
    ///
    /// # Panics
    /// If the server announced something else than a URL.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.split('/').nth(2).expect("a URL has an address")
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn restart(&mut self) {
        self.kill();
        let address = self.address();
        let (process, url) =
            eventually("the server's port is free", || serve(&self.basedir, &self.arguments, address).ok());
        assert_eq!(url, self.url);
        self.process = Some(process);
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
}

fn serve(basedir: &Path, arguments: &[String], listen: &str) -> Result<(Process, String), Vec<String>> {
    let mut serve = command("petmail-rendezvous");
    serve.args(["serve", "--listen", listen, "-d"]).arg(basedir);
    Process::try_ready(serve.args(arguments))
}
