//! `cargo xtask fuzz`: the fuzz targets, of which the gate runs each for a moment.
//!
//! The targets are a workspace of their own, whose `.cargo/config.toml` has the compiler flags; they build on stable Rust.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::shell::{cargo, output, root, run};

/// What the gate gives each target: as many runs as take some seconds, and a bound for slow machines.
const SMOKE: [&str; 2] = ["-runs=20000", "-max_total_time=10"];

/// Inputs are lists of edits or moves: long ones from the start, but none longer than a target reads.
const LENGTH: [&str; 2] = ["-len_control=0", "-max_len=512"];

/// Feed mutated bytes to a decoder until it breaks
///
/// A find is written to fuzz/artifacts, what was learnt to fuzz/corpus. Paths count from fuzz/.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask fuzz\n  cargo xtask fuzz channel -- -max_total_time=600 -workers=2\n  \
    cargo xtask fuzz channel -- artifacts/channel/crash-…"
)]
pub(crate) struct Fuzz {
    /// Which target; without it, they are listed
    target: Option<String>,
    /// What to tell libFuzzer
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(&self) -> Result<()> {
        let targets = targets()?;
        let Some(target) = &self.target else {
            println!("{}", targets.join("\n"));
            return Ok(());
        };
        ensure!(targets.contains(target), "there is no target {target}, but: {}", targets.join(", "));
        let corpus = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut command = fuzz(target)?;
        command.args(&self.arguments);
        // libFuzzer runs the files it is given, and fuzzes from folders.
        if self.arguments.iter().all(|argument| argument.starts_with('-')) {
            command.arg(corpus);
        }
        run(&mut command)
    }
}

/// Lints the targets.
///
/// # Errors
/// They have a warning.
pub(crate) fn lints() -> Result<()> {
    run(&mut in_fuzz(["clippy", "--locked", "--lib", "--bins", "--", "-D", "warnings"]))
}

/// Runs every target for a moment. Each prints its seed.
///
/// # Errors
/// A target found something, or does not build.
pub(crate) fn smoke() -> Result<()> {
    run(&mut in_fuzz(["build", "--locked", "--bins"]))?;
    for target in targets()? {
        run(fuzz(&target)?.args(SMOKE))?;
    }
    Ok(())
}

/// Returns the command that runs a target.
fn fuzz(target: &str) -> Result<Command> {
    let artifacts = root().join("fuzz/artifacts").join(target);
    std::fs::create_dir_all(&artifacts)?;
    let mut command = in_fuzz(["run", "--quiet", "--locked", "--bin", target, "--"]);
    command.arg(format!("-artifact_prefix={}/", artifacts.display())).args(LENGTH);
    Ok(command)
}

/// Returns the names of the targets.
fn targets() -> Result<Vec<String>> {
    let metadata = output(&mut in_fuzz(["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let targets = metadata.pointer("/packages/0/targets").and_then(|targets| targets.as_array());
    let is_program =
        |target: &&serde_json::Value| target.pointer("/kind/0").is_some_and(|kind| kind == "bin");
    let programs = targets.context("fuzz/ has no package")?.iter().filter(is_program);
    Ok(programs.filter_map(|target| target.get("name")?.as_str().map(str::to_owned)).collect())
}

/// Returns cargo in the workspace of the targets, whose own flags have to be the ones that count.
fn in_fuzz<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = cargo(arguments);
    command.current_dir(root().join("fuzz")).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}
