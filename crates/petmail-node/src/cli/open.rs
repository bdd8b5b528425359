//! `open`: shows the control panel in the browser, and starts the node if need be.

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
