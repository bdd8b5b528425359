//! `cargo xtask bench`: how fast Petmail is, beside programs that do the like, on one machine and in one run.
//!
//! `docs/benchmarks.md` says what each figure means. Only ratios travel: the rates themselves are this machine's.

mod api;
mod crowd;
mod deliver;
mod disk;
mod figures;
mod files;
mod invitation;
mod machine;
mod messages;
mod panel;
mod people;
mod postgres;
mod redis;
mod scale;
mod service;
mod wormhole;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tempfile::TempDir;

use self::people::People;
use crate::shell::{cargo, run, target_dir};

/// Measure deliveries, invitations, messages, idleness, and what grows with the years, beside programs that do the like
///
/// PostgreSQL and Redis are started for it, if they are installed, and removed again; the Python magic-wormhole is
/// installed below the target folder. Whatever is missing is named and left out. The machine should have nothing else to do.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench deliver --rounds 5 --dir /var/tmp"
)]
pub(crate) struct Bench {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    /// On which disk all data lies meanwhile [default: the folder for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// How often each program takes its turn; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many messages are delivered in a round
    #[arg(long, default_value_t = 20_000)]
    deliveries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Durable deliveries of 64 senders, beside the disk, the cryptography, PostgreSQL and Redis
    Deliver,
    /// Two people meeting by a code, beside magic-wormhole
    Invite,
    /// One message after the other from one node to the other
    Message,
    /// A thousand messages at once
    Queue,
    /// A large file, many small ones, and a changed one, beside magic-wormhole, restic and rclone
    Files,
    /// What programs take that have nothing to do
    Idle,
    /// One message with 10, 1,000 and 10,000 contacts
    Contacts,
    /// A node with 100,000 messages
    Stored,
    /// The control panel in a browser, with 10 and 1,000 contacts
    Panel,
    /// 10,000 messages that waited for the mailbox server
    Drain,
    /// Deliveries with 1, 1,000 and 100,000 accounts, beside PostgreSQL and Redis
    Accounts,
    /// Start and memory of a mailbox server with 200,000 messages or accounts
    Start,
    /// Deliveries while 100,000 messages are swept
    Sweep,
    /// 20,000 idle event streams
    Streams,
}

/// Where the measurements take place.
#[derive(Clone, Debug)]
struct Stage {
    /// The programs of this workspace, in release mode.
    programs: PathBuf,
    /// All data lies below it.
    dir: PathBuf,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        let programs = build(self.needs_nodes())?;
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = temporary(&parent)?;
        let stage = Stage { programs, dir: dir.path().to_owned() };
        println!("\n{}\n", machine::describe());
        if self.has(Part::Deliver) {
            deliver::run(&stage, self.deliveries, self.rounds)?;
        }
        if [Part::Invite, Part::Message, Part::Queue, Part::Files, Part::Idle]
            .iter()
            .any(|part| self.has(*part))
        {
            self.measure_people(&stage)?;
        }
        if self.has(Part::Contacts) {
            scale::contacts(&stage)?;
        }
        if self.has(Part::Stored) {
            scale::stored(&stage)?;
        }
        if self.has(Part::Panel) {
            panel::run(&stage)?;
        }
        if self.has(Part::Drain) {
            scale::drain(&stage)?;
        }
        if self.has(Part::Accounts) {
            crowd::accounts(&stage, self.deliveries, self.rounds)?;
        }
        if self.has(Part::Start) {
            crowd::start(&stage)?;
        }
        if self.has(Part::Sweep) {
            crowd::sweep(&stage, self.deliveries, self.rounds)?;
        }
        if self.has(Part::Streams) {
            crowd::streams(&stage)?;
        }
        dir.close().context("cannot remove the data")
    }

    /// Everything that needs two nodes; in this order, since messages need a contact.
    fn measure_people(&self, stage: &Stage) -> Result<()> {
        let people = People::start(stage)?;
        people.meet()?;
        if self.has(Part::Invite) {
            invitation::run(&people, self.rounds)?;
        }
        if self.has(Part::Message) {
            messages::one_by_one(&people, &stage.dir)?;
        }
        if self.has(Part::Queue) {
            messages::all_at_once(&people)?;
        }
        if self.has(Part::Files) {
            files::run(&people, stage, self.rounds)?;
        }
        if self.has(Part::Idle) {
            people.idle()?;
        }
        Ok(())
    }

    fn needs_nodes(&self) -> bool {
        let without = [Part::Deliver, Part::Accounts, Part::Start, Part::Sweep, Part::Streams];
        self.parts.is_empty() || self.parts.iter().any(|part| !without.contains(part))
    }

    fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Builds the programs as they are shipped, with the load programs, and returns the folder that they are in.
fn build(with_nodes: bool) -> Result<PathBuf> {
    println!("Building in release mode (many minutes the first time).");
    let target = target_dir()?;
    let mut command = cargo(["build", "--release", "--locked", "--bins", "--package", "petmail-mailbox"]);
    command.args(["--example", "deliveries", "--example", "crowd"]);
    if with_nodes {
        command.args(["--package", "petmail-rendezvous", "--package", "petmail-node", "--example", "seed"]);
    }
    run(command.arg("--target-dir").arg(&target))?;
    Ok(target.join("release"))
}

impl Stage {
    /// Returns a stage of its own below this one.
    fn sub(&self, name: &str) -> Result<Self> {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir)?;
        Ok(Self { dir, ..self.clone() })
    }
}

fn temporary(parent: &Path) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("petmail-bench-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))
}
