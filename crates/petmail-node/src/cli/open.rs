//! `open`: shows the control panel in the browser, and starts the node if need be.

use std::{
    fs,
    io::{self, IsTerminal, Write},
};

use clap::Args;
use petmail_net::program::{Failure, LogFormat};

use super::{block_on, client::Client, create_node, node, passphrase, terminal};
use crate::{api::types::OpenView, basedir::Basedir, config::Config};

/// Show the control panel in the browser; starts the node if it does not run
#[derive(Debug, Args)]
#[command(
    after_help = "The address works once, for a minute, and only for you. Without a browser, open it by hand.\n\n\
    Examples:\n  petmail-node open\n  petmail-node -d n1 open --no-open"
)]
pub(super) struct Open {
    /// Print the address instead of opening the browser
    #[arg(long)]
    no_open: bool,
    /// Make the node first if there is none
    #[arg(long)]
    create: bool,
    #[command(flatten)]
    passphrase: passphrase::Source,
}

impl Open {
    pub(super) fn run(self, basedir: &Basedir, log_format: LogFormat) -> Result<(), Failure> {
        let is_seen = self.no_open || io::stderr().is_terminal();
        let opened = self.open(basedir, log_format);
        if let Err(failure) = &opened
            && !is_seen
        {
            show(failure);
        }
        opened
    }

    fn open(self, basedir: &Basedir, log_format: LogFormat) -> Result<(), Failure> {
        if self.create && !basedir.has_node() {
            create_node::create(basedir, &Config::default())?;
        }
        node::ensure_running(basedir, &self.passphrase, log_format)?;
        let view: OpenView = block_on(async { Client::find(basedir)?.ask("open").await })?;
        if !self.no_open {
            match open::that_detached(&view.url) {
                Ok(()) => return Ok(()),
                Err(error) => terminal::note(&format!(
                    "note: no browser could be started ({error}); open this address by hand, within a minute:"
                )),
            }
        }
        terminal::print(&format!("{}\n", view.url))
    }
}

/// Shows why nothing opens to somebody who chose it in a menu: as a text file, which every desktop can show.
fn show(failure: &Failure) {
    let file = std::env::temp_dir().join(format!("petmail-does-not-open-{}.txt", std::process::id()));
    let written = fs::OpenOptions::new().write(true).create_new(true).open(&file);
    let written = written.and_then(|mut file| writeln!(file, "Petmail does not open.\n\n{failure}"));
    // Standard error has it as well.
    if written.is_ok() {
        open::that_detached(&file).unwrap_or_default();
    }
}
