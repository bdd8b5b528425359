//! `cargo xtask demo`: two people, a rendezvous server and a mailbox server on this machine, through the real programs.
//!
//! Whatever happens, no process and no temporary folder stays behind.

mod cast;
mod story;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{select, time};

use crate::shell::{cargo, run, target_dir};
use cast::Cast;

/// Nothing in the story takes long; whatever takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much of each log is shown after a failure, in lines.
const LOG_LINES: usize = 20;

/// Show two people meet and write to each other, on this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --once --dir /tmp/demo")]
pub(crate) struct Demo {
    /// End after the conversation, with exit status 0 only if all of it worked
    #[arg(long)]
    once: bool,
    /// Keep everything in this new folder, and leave it there
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<()> {
        let programs = build()?;
        let folder = Folder::new(self.dir.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(self.play(folder.path(), &programs));
        if result.is_err() {
            show_logs(folder.path())?;
        }
        folder.close()?;
        result
    }

    async fn play(&self, folder: &Path, programs: &Path) -> Result<()> {
        let mut interrupt = Interrupt::new()?;
        let mut cast = Cast::new(folder, programs);
        let mut result = select! {
            told = time::timeout(PATIENCE, story::tell(&mut cast)) => told.context("the demo hangs").flatten(),
            () = interrupt.wait() => Err(anyhow!("interrupted")),
        };
        if result.is_ok() && !self.once {
            result = show_panels(folder);
        }
        if result.is_ok() && !self.once {
            explain(folder);
            result = select! {
                name = cast.first_to_end() => Err(anyhow!("{name} has ended by itself")),
                () = interrupt.wait() => Ok(()),
            };
        }
        cast.stop().await;
        result
    }
}

/// Builds the programs as developers do, and returns the folder that they are in.
fn build() -> Result<PathBuf> {
    let target = target_dir()?;
    println!("Building the three programs (a minute or more the first time).");
    let packages = ["petmail-rendezvous", "petmail-mailbox", "petmail-node"];
    let mut command = cargo(["build", "--locked", "--bins"]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    run(command.arg("--target-dir").arg(&target))?;
    Ok(target.join("debug"))
}

fn explain(folder: &Path) {
    let folder = folder.display();
    println!("\nEverything is running, in {folder}. In another terminal, try:\n");
    for command in [
        "alice/petmail open",
        "alice/petmail addressbook",
        "alice/petmail send-basic 1 'how are you?'",
        "alice/petmail send-file 1 A-FILE-OR-FOLDER",
        "bob/petmail files",
        "bob/petmail fetch-messages",
        "bob/petmail follow-messages",
        "alice/petmail messages",
        "bob/petmail invite",
        "alice/petmail help",
    ] {
        println!("  {folder}/{command}");
    }
    println!("\nCtrl-C ends it all.");
}

/// Opens both people's control panels, or, where there is no screen, says where they are.
fn show_panels(folder: &Path) -> Result<()> {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    println!(
        "\nThe control panels (each address works once, for a minute; PERSON/petmail open makes another):"
    );
    for person in ["alice", "bob"] {
        let mut open = Command::new(folder.join(person).join("petmail"));
        run(open.args(["open"].into_iter().chain((!has_screen).then_some("--no-open"))))?;
    }
    Ok(())
}

/// Shows the end of what each program wrote: after a failure the folder is gone.
fn show_logs(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let log = fs::read_to_string(&path)?;
            let lines: Vec<_> = log.lines().collect();
            println!("\nthe end of {}:", path.display());
            println!("{}", lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n"));
        }
    }
    Ok(())
}

/// Where the demo takes place.
#[derive(Debug)]
enum Folder {
    Temporary(TempDir),
    Named(PathBuf),
}

impl Folder {
    fn new(named: Option<&Path>) -> Result<Self> {
        let Some(dir) = named else {
            return Ok(Self::Temporary(tempfile::Builder::new().prefix("petmail-demo-").tempdir()?));
        };
        if dir.exists() {
            bail!("{} exists already; name a new folder", dir.display());
        }
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self::Named(dir.canonicalize()?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Named(dir) => dir,
        }
    }

    fn close(self) -> io::Result<()> {
        match self {
            Self::Temporary(dir) => dir.close(),
            Self::Named(_) => Ok(()),
        }
    }
}

/// The ways in which a person ends a program.
struct Interrupt([Signal; 3]);

impl Interrupt {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn wait(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
