//! `cargo xtask package`: Petmail as it is given to others. Servers for machines and containers, the node for desktops.

mod desktop;
mod servers;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::shell::target_dir;

/// Make packages in target/package: a Debian package of the node; static servers, with what container images are built from
#[derive(Args, Debug)]
pub(crate) struct Package {
    /// What to package; else everything
    what: Option<What>,
    /// How the programs are built
    #[arg(long, default_value = "release")]
    profile: String,
    /// Where to put the packages; else target/package
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The node, as a Debian package with a menu entry
    Desktop,
    /// The servers, as static programs
    Servers,
}

impl Package {
    /// Builds and gathers.
    ///
    /// # Errors
    /// A program does not build, or a package cannot be made of it.
    pub(crate) fn run(self) -> Result<()> {
        let package = match self.into {
            Some(dir) => std::path::absolute(dir)?,
            None => target_dir()?.join("package"),
        };
        if self.what != Some(What::Servers) {
            desktop::package(&self.profile, &package)?;
        }
        if self.what != Some(What::Desktop) {
            servers::package(&self.profile, &package)?;
        }
        Ok(())
    }
}

/// The folder below the target folder that cargo builds a profile into.
fn profile_dir(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}
