//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

/// What the programs log: everything of their own, so that contents would show in any line.
const LOG: &str = "info,petmail_mailbox=debug,petmail_net=debug,petmail_node=debug,petmail_rendezvous=debug,petmail_store=debug";

/// Whether this process has built the programs.
static BUILT: Once = Once::new();

/// Returns the path of one of the workspace's programs, built from the sources as they are now, with the profile of the
/// running test.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn bin(name: &str) -> PathBuf {
    let profile_dir = profile_dir();
    BUILT.call_once(|| build(&profile_dir));
    profile_dir.join(name)
}

/// Returns a command that runs one of the workspace's programs, untouched by the developer's own settings.
///
/// # Panics
/// If the program does not build.
#[must_use]
pub fn command(name: &str) -> Command {
    command_at(&bin(name))
}

/// Returns a command that runs such a program from where it was installed.
#[must_use]
pub fn command_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    let settings = std::env::vars_os().map(|(name, _)| name);
    for name in settings.filter(|name| name.as_encoded_bytes().starts_with(b"PETMAIL_")) {
        command.env_remove(name);
    }
    command.env("RUST_LOG", LOG);
    command
}

/// Cargo's target folder, as seen from a running test.
///
/// # Panics
/// If the running program is not a test built by cargo.
#[must_use]
pub fn target_dir() -> PathBuf {
    profile_dir().parent().expect("cargo puts profiles below the target folder").to_owned()
}

fn profile_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let deps = test.parent().and_then(Path::parent);
    deps.expect("cargo builds tests into target/PROFILE/deps").to_owned()
}

/// Builds all programs, as the gate does: one by one, they would have other features, and everything would be built again.
fn build(profile_dir: &Path) {
    let profile = match profile_dir.file_name().and_then(std::ffi::OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--locked", "--workspace", "--bins", "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the programs do not build");
}
