//! The servers as static programs, and what a container image of each is built from.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::profile_dir;
use crate::shell::{cargo, output, program, root, run, target_dir};

const SERVERS: [&str; 2] = ["petmail-mailbox", "petmail-rendezvous"];

/// With a named target, cargo builds its own build scripts without the flag below, which they do not like.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The user in the images.
const USER: u32 = 65_532;

/// Builds, tries and gathers, in the folder `package`.
///
/// # Errors
/// A program does not build, is not static, or does not work without any other file.
pub(super) fn package(profile: &str, package: &Path) -> Result<()> {
    let static_dir = target_dir()?.join("static");
    let packages = SERVERS.iter().flat_map(|server| ["--package", server]);
    let mut build = cargo(["build", "--locked", "--target", TARGET, "--profile", profile]);
    run(build
        .args(packages)
        .arg("--target-dir")
        .arg(&static_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static"))?;

    let built = static_dir.join(TARGET).join(profile_dir(profile));
    fs::create_dir_all(package.join("data"))?;
    for server in SERVERS {
        fs::copy(built.join(server), package.join(server))?;
        check_static(&package.join(server))?;
        let recipe = server.replace("petmail-", "Containerfile.");
        fs::copy(root().join("deploy/container").join(&recipe), package.join(recipe))?;
    }
    try_alone(package)?;
    println!("static programs and Containerfiles are in {}", package.display());
    Ok(())
}

fn check_static(server: &Path) -> Result<()> {
    let said = output(program("ldd", []).arg(server))?;
    ensure!(said.contains("statically linked"), "{} is not static: {said}", server.display());
    Ok(())
}

/// Makes a mailbox server, asks how it is and makes an offer, as in a container: with the program as the only file.
fn try_alone(package: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not tried without other files: only root can");
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    fs::create_dir(&data)?;
    std::os::unix::fs::chown(root.path(), Some(USER), Some(USER))?;
    std::os::unix::fs::chown(&data, Some(USER), Some(USER))?;
    for server in SERVERS {
        fs::copy(package.join(server), root.path().join(server))?;
    }
    let alone = |arguments: &[&str]| {
        let mut alone = program("chroot", []);
        alone
            .arg(format!("--userspec={USER}:{USER}"))
            .arg(root.path())
            .args(arguments)
            .env("RUST_LOG", "warn");
        alone
    };
    let basedir = ["-d", "/data/mailbox"];
    run(&mut alone(&[
        "/petmail-mailbox",
        "init",
        "--url",
        "https://mail.example.org:8443",
        "/data/mailbox",
    ]))?;
    run(alone(&["/petmail-mailbox", "status"]).args(basedir))?;
    run(alone(&["/petmail-mailbox", "offer"]).args(basedir))?;
    run(&mut alone(&["/petmail-rendezvous", "--version"]))
}
