//! `cargo xtask soak`: the store's crash tests, for longer than the gate has time.

use anyhow::Result;
use clap::Args;

use crate::shell::{cargo, run};

/// Crash the store many times over, in release mode
///
/// The power cuts mount disk images, which takes root. The seed of every test is printed; PETMAIL_STORE_SEED repeats it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask soak\n  cargo xtask soak --kills 5000 --power-cuts 0")]
pub(crate) struct Soak {
    /// How often each engine's writer is killed
    #[arg(long, default_value_t = 300)]
    kills: u32,
    /// How often the power is cut under each engine
    #[arg(long, default_value_t = 60)]
    power_cuts: u32,
}

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        let mut tests =
            cargo(["test", "--release", "--locked", "--package", "petmail-store", "--test", "crash"]);
        tests.env("PETMAIL_STORE_KILLS", self.kills.to_string());
        tests.env("PETMAIL_STORE_POWER_CUTS", self.power_cuts.to_string());
        // In CI a test that cannot be done is a failure: who asks for power cuts shall not be told that all is well.
        if self.power_cuts > 0 {
            tests.env("CI", "true");
        }
        run(&mut tests)
    }
}
