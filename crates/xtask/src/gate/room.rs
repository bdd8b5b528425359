//! Room on the disk: a gate that runs out of it fails in the middle, in tests that say something else.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::shell::{programs_dir, root, target_dir};

/// What the gate writes from a fresh clone, in GB, with what its tests have at one time in the temporary folder.
const NEEDED: u64 = 8;

/// Looks whether there is room for what is built and tested.
///
/// # Errors
/// There is not; the error says where, and how much it takes.
pub(super) fn check() -> Result<()> {
    let free = free(root())?.min(free(&std::env::temp_dir())?);
    println!("{free} GB are free for {} and the temporary files", target_dir()?.display());
    // What was built here before is not built again.
    let needed = if programs_dir()?.join("petmail-node").is_file() { NEEDED / 2 } else { NEEDED };
    ensure!(
        free >= needed,
        "the gate takes {needed} GB, {free} GB are free: make room, for example with `cargo clean` in other checkouts"
    );
    Ok(())
}

/// Returns how much is free, in GB.
fn free(path: &Path) -> Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail * disk.f_frsize / 1_000_000_000)
}
