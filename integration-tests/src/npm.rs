//! Other people's programs from the JavaScript package registry: what checks the control panel.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs::target_dir;

/// What is wanted, each package with its version.
const MANIFEST: &str = include_str!("../npm/package.json");

/// The same with all that they need, and the checksum of each.
const LOCK: &str = include_str!("../npm/package-lock.json");

/// Returns the folder `node_modules` with exactly the packages that the lock file names.
///
/// It is made once, below cargo's target folder; whoever comes second waits. Needs `npm`, and the package registry the first
/// time.
///
/// # Errors
/// What is missing, or what the installer said.
pub fn node_modules() -> Result<PathBuf> {
    let dir = target_dir().join("npm");
    fs::create_dir_all(&dir)?;
    let lock = File::create(dir.join("lock"))?;
    lock.lock()?;
    let modules = dir.join("node_modules");
    let done = dir.join("installed.json");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == LOCK) {
        return Ok(modules);
    }
    fs::write(dir.join("package.json"), MANIFEST)?;
    fs::write(dir.join("package-lock.json"), LOCK)?;
    let mut install = Command::new("npm");
    let output = install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&dir)
        .output()
        .context("cannot run npm")?;
    ensure!(output.status.success(), "{install:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(done, LOCK)?;
    Ok(modules)
}
