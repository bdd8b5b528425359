//! `start`, `stop`, `restart`: the life of the node's process.

use clap::Args;
use petmail_net::program::{Failure, LogFormat, init_logging, shutdown_on_signals};
use serde_json::Value;

use super::{
    block_on,
    client::{Client, not_running, require_node},
    passphrase::{self, Unlocked},
    terminal,
};
use crate::{
    agent::error::CommandError,
    basedir::Basedir,
    daemon::{self, Key},
    life::Entry,
};

/// Start the node, in the background unless told otherwise
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the base URL of the control API once the node is ready; with --foreground, `ready URL`.\n\n\
    A node with a passphrase asks for it before it goes to the background.\n\n\
    Examples:\n  petmail-node -d n1 start\n  petmail-node -d n1 start --foreground\n  \
    petmail-node -d n1 start --passphrase-file /run/secrets/petmail\n  \
    petmail-node -d n1 start --locked"
)]
pub(super) struct Start {
    /// Stay in the foreground, log to standard error, stop on Ctrl-C or SIGTERM
    #[arg(long)]
    foreground: bool,
    /// Accepted for scripts; `start` never opens a browser
    #[arg(long)]
    no_open: bool,
    /// If the node has a passphrase, start without it, and wait for `unlock`
    #[arg(long, conflicts_with_all = ["passphrase_file", "passphrase_fd"])]
    locked: bool,
    #[command(flatten)]
    passphrase: passphrase::Source,
}

/// Stop the node
#[derive(Debug, Args)]
#[command(after_help = "Returns once the node has stopped.\n\nExamples:\n  petmail-node -d n1 stop")]
pub(super) struct Stop {}

/// Stop the node if it runs, and start it in the background
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 restart")]
pub(super) struct Restart {
    #[command(flatten)]
    passphrase: passphrase::Source,
}

impl Start {
    pub(super) fn run(self, basedir: &Basedir, log_format: LogFormat) -> Result<(), Failure> {
        require_node(basedir)?;
        if let Some(pid) = basedir.running().map_err(Failure::failed)? {
            let dir = basedir.path().display();
            return Err(Failure::failed(format!("the node in {dir} is running already (process {pid})"))
                .hint("use `status` to see it, or `restart`"));
        }
        if self.locked
            && let Some(vault) = passphrase::locked(basedir)?
        {
            return match self.foreground {
                true => run_in_foreground(basedir, Entry::Locked(vault), log_format),
                false => start_in_background(basedir, Key::Later, log_format),
            };
        }
        let unlocked = passphrase::unlock(basedir, &self.passphrase)?;
        passphrase::note_unused(unlocked.as_ref(), &self.passphrase);
        match self.foreground {
            true => run_in_foreground(basedir, entry(unlocked), log_format),
            false => start_in_background(basedir, key(unlocked), log_format),
        }
    }
}

impl Stop {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        require_node(basedir)?;
        if basedir.running().map_err(Failure::failed)?.is_none() {
            return Err(not_running(basedir));
        }
        stop(basedir)
    }
}

impl Restart {
    pub(super) fn run(self, basedir: &Basedir, log_format: LogFormat) -> Result<(), Failure> {
        require_node(basedir)?;
        // Asked first: a node that could not be started again is not stopped.
        let unlocked = passphrase::unlock(basedir, &self.passphrase)?;
        passphrase::note_unused(unlocked.as_ref(), &self.passphrase);
        if basedir.running().map_err(Failure::failed)?.is_some() {
            stop(basedir)?;
        }
        start_in_background(basedir, key(unlocked), log_format)
    }
}

fn entry(unlocked: Option<Unlocked>) -> Entry {
    Entry::Open(unlocked.map(|unlocked| unlocked.vault))
}

fn key(unlocked: Option<Unlocked>) -> Key {
    unlocked.map_or(Key::NotNeeded, |unlocked| Key::Passphrase(unlocked.passphrase))
}

/// Starts the node in the background unless it runs; locked, if its passphrase is needed and nobody can be asked.
pub(super) fn ensure_running(
    basedir: &Basedir,
    source: &passphrase::Source,
    log_format: LogFormat,
) -> Result<(), Failure> {
    require_node(basedir)?;
    let runs = || basedir.running().map(|holder| holder.is_some()).map_err(Failure::failed);
    if runs()? {
        return Ok(());
    }
    let key = if source.is_terminal() && !passphrase::can_ask() && passphrase::locked(basedir)?.is_some() {
        Key::Later
    } else {
        let unlocked = passphrase::unlock(basedir, source)?;
        passphrase::note_unused(unlocked.as_ref(), source);
        key(unlocked)
    };
    match block_on(daemon::start_in_background(basedir, key, log_format)) {
        // Somebody else was faster.
        Err(_) if runs()? => Ok(()),
        started => started.map(drop),
    }
}

fn run_in_foreground(basedir: &Basedir, entry: Entry, log_format: LogFormat) -> Result<(), Failure> {
    init_logging(log_format).map_err(Failure::failed)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)?;
    runtime.block_on(async {
        let shutdown = shutdown_on_signals().map_err(Failure::failed)?;
        daemon::run(basedir, entry, shutdown).await.map_err(|error| explain(&error))
    })
}

/// Adds what to do.
fn explain(error: &anyhow::Error) -> Failure {
    let hint = match error.downcast_ref::<CommandError>() {
        Some(CommandError { hint, .. }) => hint,
        None => "mend what is named, or see the log lines above it",
    };
    Failure::failed(format!("{error:#}")).hint(hint)
}

fn start_in_background(basedir: &Basedir, key: Key, log_format: LogFormat) -> Result<(), Failure> {
    let url = block_on(daemon::start_in_background(basedir, key, log_format))?;
    terminal::print(&format!("{url}\n"))
}

/// Asks the node to stop, or, if it does not answer, has the system ask, and waits until it has.
fn stop(basedir: &Basedir) -> Result<(), Failure> {
    block_on(async {
        let asked = match Client::find(basedir) {
            Ok(client) => client.ask::<Value>("stop").await,
            Err(failure) => Err(failure),
        };
        if asked.is_err() {
            daemon::terminate(basedir)?;
        }
        daemon::wait_until_stopped(basedir).await
    })
}
