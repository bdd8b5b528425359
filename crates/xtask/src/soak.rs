//! `cargo xtask soak`: the crash tests, for longer than the gate has time.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::shell::{cargo, run};

/// Crash the store and the programs many times over, in release mode
///
/// The power cuts mount disk images, which takes root. Every test prints its seed; PETMAIL_STORE_SEED or PETMAIL_KILL_SEED repeats it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask soak\n  cargo xtask soak messages --rounds 2000\n  cargo xtask soak store --kills 5000 --power-cuts 0"
)]
pub(crate) struct Soak {
    /// What to crash [default: everything]
    parts: Vec<Part>,
    /// How often each engine's writer is killed
    #[arg(long, default_value_t = 300)]
    kills: u32,
    /// How often the power is cut under each engine
    #[arg(long, default_value_t = 60)]
    power_cuts: u32,
    /// How often programs are killed, with one mailbox server and with two
    #[arg(long, default_value_t = 300)]
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The store of both engines: killed writers, and the power cut under them
    Store,
    /// Two nodes that write to each other, and their mailbox servers, killed at random moments
    Messages,
}

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        if self.has(Part::Store) {
            self.crash_store()?;
        }
        if self.has(Part::Messages) {
            self.kill_programs()?;
        }
        Ok(())
    }

    fn crash_store(&self) -> Result<()> {
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

    /// The test says what it did: who was killed when, and how many messages arrived.
    fn kill_programs(&self) -> Result<()> {
        let tests = ["test", "--release", "--locked", "--package", "petmail-integration-tests"];
        let mut tests = cargo(tests);
        tests.args(["--test", "end_to_end", "--"]);
        tests.args(["message_kills::", "storage_kills::", "file_kills::", "--nocapture"]);
        tests.env("PETMAIL_KILL_ROUNDS", self.rounds.to_string());
        run(&mut tests)
    }

    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}
