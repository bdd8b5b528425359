//! `cargo xtask`: how people develop Petmail. One file for each command; `docs/build.md` describes them.
//!
//! Runs programs, cargo above all, and shows what they say. Knows nothing of Petmail's code.

#![expect(clippy::print_stdout, reason = "a program that talks to the developer who started it")]

mod arrows;
mod bench;
mod demo;
mod fuzz;
mod gate;
mod package;
mod screenshots;
mod shell;
mod simulate;
mod soak;

use clap::{Parser, Subcommand};

/// How people develop Petmail
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every check that a change has to pass, and say which one it does not
    Test,
    Demo(demo::Demo),
    Bench(bench::Bench),
    Fuzz(fuzz::Fuzz),
    Simulate(simulate::Simulate),
    Soak(soak::Soak),
    Package(package::Package),
    /// Check the control panel's page: its types, its tests, what a browser loads
    Panel,
    /// Take the pictures in the guide anew, from the real program
    Screenshots,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Test => gate::run(),
        Command::Demo(demo) => demo.run(),
        Command::Bench(bench) => bench.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Soak(soak) => soak.run(),
        Command::Package(package) => package.run(),
        Command::Panel => gate::panel::check(),
        Command::Screenshots => screenshots::take(),
    }
}
