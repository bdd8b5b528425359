//! `cargo xtask simulate`: agents on a virtual clock, with every kind of fault, for as many seeds as are asked for.

use anyhow::Result;
use clap::Args;

use crate::shell::{cargo, run};

/// How many seeds the gate has time for.
const GATE_SEEDS: u64 = 500;

/// Let agents meet and write on a virtual clock while everything goes wrong
///
/// A failing seed is named; PETMAIL_SIM_SEED=N replays it exactly.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask simulate --seeds 50000\n  cargo xtask simulate --seeds 1000 --first 70000"
)]
pub(crate) struct Simulate {
    /// How many seeds are tried
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<()> {
        simulate(self.first, self.seeds)
    }
}

/// What the gate tries.
pub(crate) fn gate() -> Result<()> {
    simulate(0, GATE_SEEDS)
}

fn simulate(first: u64, seeds: u64) -> Result<()> {
    println!("{seeds} seeds from {first} on");
    // As the other tests are built: alone, the node would have other features, and be built again.
    let mut tests = cargo(["test", "--locked", "--workspace", "--lib", "--", "--exact"]);
    tests.arg("agent::core::simulation::whatever_goes_wrong_everything_arrives_once_and_in_order");
    run(tests.env("PETMAIL_SIM_FIRST", first.to_string()).env("PETMAIL_SIM_SEEDS", seeds.to_string()))
}
