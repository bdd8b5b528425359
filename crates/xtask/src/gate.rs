//! `cargo xtask test`: every check that a change has to pass, one after the other, until one fails.
//!
//! Nothing is skipped: what a check needs is installed first, or the gate ends there and says what is missing.

mod deny;
pub(crate) mod panel;
mod room;
mod tally;
mod tools;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::shell::{cargo, root, run as run_command};
use crate::{arrows, fuzz, simulate};
use tally::Tally;

/// A step's name, and what it does.
type Step = (&'static str, fn(&mut Tally) -> Result<()>);

const STEPS: [Step; 11] = [
    ("tools", |_| room::check().and_then(|()| tools::install())),
    ("format", |_| format()),
    ("architecture", |_| arrows::check()),
    ("licences and sources", |_| deny::check()),
    ("panel", |_| panel::check()),
    ("lints", |_| lints()),
    ("documentation", |_| documentation()),
    ("programs", |_| programs()),
    ("tests", tests),
    ("simulation", |_| simulate::gate()),
    ("fuzz smoke", |_| fuzz::smoke()),
];

/// Runs the gate.
///
/// # Errors
/// The first step that failed.
pub(crate) fn run() -> Result<()> {
    let mut tally = Tally::default();
    let start = now();
    let mut durations = Vec::new();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        println!("\n==> {} of {}: {name}", index + 1, STEPS.len());
        let start = now();
        let result = step(&mut tally);
        let seconds = start.elapsed().as_secs_f64();
        durations.push((name, seconds));
        result.with_context(|| format!("the gate failed at step \"{name}\" after {seconds:.1} s"))?;
        println!("<== {name}: {seconds:.1} s");
    }
    report(&durations, start.elapsed());
    println!("{tally}");
    Ok(())
}

fn report(durations: &[(&&str, f64)], total: Duration) {
    println!("\nEvery step passed:");
    for (name, seconds) in durations {
        println!("{seconds:>8.1} s  {name}");
    }
    println!("{:>8.1} s  together", total.as_secs_f64());
}

fn format() -> Result<()> {
    run_command(&mut cargo(["fmt", "--all", "--check"]))?;
    run_command(cargo(["fmt", "--all", "--check"]).current_dir(root().join("fuzz")))
}

fn lints() -> Result<()> {
    run_command(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    fuzz::lints()
}

fn documentation() -> Result<()> {
    let mut rustdoc = cargo(["doc", "--workspace", "--no-deps", "--locked"]);
    run_command(rustdoc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The end-to-end tests run the real programs; building them first shows a broken one before minutes of tests.
fn programs() -> Result<()> {
    run_command(&mut cargo(["build", "--workspace", "--bins", "--locked"]))
}

fn tests(tally: &mut Tally) -> Result<()> {
    tally.count(&mut cargo(["test", "--workspace", "--locked", "--no-fail-fast"]))
}

#[expect(clippy::disallowed_methods, reason = "this program's only clock: it measures how long steps take")]
fn now() -> Instant {
    Instant::now()
}
