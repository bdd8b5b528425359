//! Other people's programs from the Python package registry, each set in an environment of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs::target_dir;

/// The magic-wormhole client, its transit relay and its mailbox server, every package with its version.
pub const WORMHOLE: &str = include_str!("../python/wormhole.txt");

/// SeaweedFS, which speaks S3.
pub const SEAWEEDFS: &str = include_str!("../python/seaweedfs.txt");

/// Returns the `bin` folder of a Python environment with exactly these packages (the text of a requirements file).
///
/// It is made once, below cargo's target folder; whoever comes second waits. Needs `python3` with `venv`, and the
/// package registry the first time.
///
/// # Errors
/// What is missing, or what the installer said.
pub fn venv(name: &str, requirements: &str) -> Result<PathBuf> {
    let dir = target_dir().join("python").join(name);
    fs::create_dir_all(&dir)?;
    let lock = File::create(dir.join("lock"))?;
    lock.lock()?;
    let done = dir.join("installed.txt");
    // A list that is not this one belongs to an environment of yesterday.
    if fs::read_to_string(&done).is_ok_and(|installed| installed == requirements) {
        return Ok(dir.join("venv").join("bin"));
    }
    let listed = dir.join("requirements.txt");
    fs::write(&listed, requirements)?;
    install(&dir.join("venv"), &listed)?;
    fs::rename(listed, done)?;
    Ok(dir.join("venv").join("bin"))
}

fn install(venv: &Path, requirements: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
    run(Command::new(venv.join("bin/python")).args(pip).arg(requirements))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
