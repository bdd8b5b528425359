//! A Debian package of the node, by Debian's own tools: this lays out what they take, `deploy/debian/` says what goes where.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::profile_dir;
use crate::shell::{cargo, output, program, root, run, succeeds, target_dir};

const NODE: &str = "petmail-node";

/// A file of the workspace, and its name in the folder that the package is made from.
const FILES: [(&str, &str); 6] = [
    ("deploy/debian/petmail.desktop", "petmail.desktop"),
    ("crates/petmail-node/panel/icon.svg", "petmail.svg"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("docs/guide/README.md", "guide/README.md"),
    // Debian's tools enable it for everybody who logs in, and the one who removes the package disables it.
    ("deploy/systemd/user/petmail-node.service", "debian/petmail-node.user.service"),
];

/// A shell, and the name of its script in the folder.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "petmail-node"), ("zsh", "_petmail-node"), ("fish", "petmail-node.fish")];

/// Builds the node and makes the package, in the folder `package`.
///
/// # Errors
/// The node does not build, or Debian's tools are missing or refuse.
pub(super) fn package(profile: &str, package: &Path) -> Result<()> {
    ensure!(
        succeeds(&mut program("dh", ["--list"])),
        "the node's package is made by Debian's tools; on Debian: apt-get install debhelper"
    );
    run(&mut cargo(["build", "--locked", "--package", NODE, "--profile", profile]))?;
    let node = target_dir()?.join(profile_dir(profile)).join(NODE);
    let stage = package.join("desktop");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot empty {}", stage.display()))?;
    }
    lay_out(&node, &stage)?;
    run(program("debian/rules", ["binary"]).current_dir(&stage))?;

    let said = output(program("dpkg-parsechangelog", ["-SVersion"]).current_dir(&stage))?;
    let architecture = output(&mut program("dpkg", ["--print-architecture"]))?;
    let name = format!("{NODE}_{}_{}.deb", said.trim(), architecture.trim());
    ensure!(package.join(&name).is_file(), "Debian's tools made no {name}");
    println!("the node's Debian package is {}", package.join(name).display());
    Ok(())
}

/// Copies what the package has, and has the node describe itself.
fn lay_out(node: &Path, stage: &Path) -> Result<()> {
    let debian = stage.join("debian");
    for dir in ["debian", "completions", "guide/images", "panel", "man"] {
        fs::create_dir_all(stage.join(dir))?;
    }
    copy_folder(&root().join("deploy/debian"), &debian)?;
    copy_folder(&root().join("docs/guide/images"), &stage.join("guide/images"))?;
    for (from, to) in FILES {
        fs::copy(root().join(from), stage.join(to)).with_context(|| format!("cannot copy {from}"))?;
    }
    for license in ["LICENSE-preact", "LICENSE-signals", "LICENSE-htm"] {
        let vendor = root().join("crates/petmail-node/panel/vendor");
        fs::copy(vendor.join(license), stage.join("panel").join(license))?;
    }
    let packaged = stage.join(NODE);
    fs::copy(node, &packaged).context("cannot copy the node")?;
    for (shell, name) in COMPLETIONS {
        let script = output(Command::new(&packaged).args(["completions", shell]))?;
        fs::write(stage.join("completions").join(name), script)?;
    }
    run(Command::new(&packaged).arg("manpages").arg(stage.join("man")))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
