//! `completions` and `manpages`: made from the same description as the help texts.

use std::{fs, path::PathBuf};

use clap::Args;
use clap_complete::Shell;
use petmail_net::program::Failure;

use super::terminal;

/// Print a script that completes commands in a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  petmail-node completions bash > ~/.local/share/bash-completion/completions/petmail-node"
)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "petmail-node", &mut script);
        terminal::print(&String::from_utf8_lossy(&script))
    }
}

/// Write the man pages into a folder (for packagers)
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node manpages target/man")]
pub(super) struct Manpages {
    /// The folder; it is made if it is missing
    dir: PathBuf,
}

impl Manpages {
    pub(super) fn run(self) -> Result<(), Failure> {
        fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(super::command(), &self.dir))
            .map_err(|error| Failure::failed(format!("cannot write to {}: {error}", self.dir.display())))
    }
}
