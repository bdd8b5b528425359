//! The programs of a demo: starting them, waiting until they are ready, asking them, stopping them.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time;

/// How long a program may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether a program has ended by itself.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// All programs of a demo.
#[derive(Debug)]
pub(super) struct Cast<'a> {
    folder: &'a Path,
    programs: &'a Path,
    running: Vec<Running>,
}

/// A program that runs until the demo ends.
#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    /// Held open: a program that cannot write may end.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// A program that writes lines while the story goes on. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Speaker {
    name: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl<'a> Cast<'a> {
    pub(super) const fn new(folder: &'a Path, programs: &'a Path) -> Self {
        Self { folder, programs, running: Vec::new() }
    }

    /// Returns the path of something in the demo's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns one of the programs that were built.
    pub(super) fn program(&self, name: &str) -> Command {
        quiet(&self.programs.join(name))
    }

    /// Returns the `petmail` that knows its node.
    pub(super) fn petmail(&self, node: &str) -> Command {
        quiet(&self.path(node).join("petmail"))
    }

    /// Starts a program that stays, and returns the URL that it says when it is ready.
    pub(super) async fn start(&mut self, name: &str, command: &mut Command) -> Result<String> {
        let log = File::create(self.path(name).with_extension("log"))?;
        // In a process group of its own: Ctrl-C is for the demo, which then stops its programs in order.
        let mut child =
            command.process_group(0).stderr(log).spawn().with_context(|| format!("cannot start {name}"))?;
        let mut stdout = lines(&mut child)?;
        let line = stdout.next_line().await?;
        let url = line.as_deref().and_then(|line| line.strip_prefix("ready ")).map(str::to_owned);
        self.running.push(Running { name: name.to_owned(), child, _stdout: stdout });
        let url = url.with_context(|| format!("{name} did not get ready, but said {line:?}"))?;
        println!("{name} is ready at {url}");
        Ok(url)
    }

    /// Waits until a program ends that should not, and returns its name.
    pub(super) async fn first_to_end(&mut self) -> String {
        loop {
            for program in &mut self.running {
                if !matches!(program.child.try_wait(), Ok(None)) {
                    return program.name.clone();
                }
            }
            time::sleep(WATCH_INTERVAL).await;
        }
    }

    /// Stops every program, the last one first, and waits until it has ended.
    pub(super) async fn stop(mut self) {
        while let Some(mut program) = self.running.pop() {
            terminate(&program.child);
            if time::timeout(STOP_TIMEOUT, program.child.wait()).await.is_err() {
                println!("{} does not stop, and is killed", program.name);
                // It may end in just this moment.
                drop(program.child.kill().await);
            }
        }
    }
}

/// Runs a command to its end, shows what it writes, and returns its standard output.
pub(super) async fn ask(name: &str, command: &mut Command) -> Result<String> {
    show(name, command);
    let output =
        command.stderr(Stdio::piped()).output().await.with_context(|| format!("cannot run {command:?}"))?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    print!("{stdout}");
    ensure!(output.status.success(), "{name}: {}: {stderr}", output.status);
    Ok(stdout)
}

impl Speaker {
    /// Starts a command whose lines the story waits for.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        show(name, command);
        let mut child =
            command.stderr(Stdio::null()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        let stdout = lines(&mut child)?;
        Ok(Self { name: name.to_owned(), child, stdout })
    }

    /// Returns the next line.
    pub(super) async fn line(&mut self) -> Result<String> {
        match self.stdout.next_line().await? {
            Some(line) => Ok(line),
            None => bail!("{} ended: {}", self.name, self.child.wait().await?),
        }
    }

    /// Waits until the command has ended well.
    pub(super) async fn finish(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        ensure!(status.success(), "{}: {status}", self.name);
        Ok(())
    }
}

/// Returns a command that is untouched by the developer's own settings, and never outlives the demo.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    let settings = std::env::vars_os().map(|(name, _)| name);
    for name in settings.filter(|name| name.as_encoded_bytes().starts_with(b"PETMAIL_")) {
        command.env_remove::<OsString>(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("standard output is piped")?).lines())
}

/// Shows a command as its user would type it.
fn show(name: &str, command: &Command) {
    let command = command.as_std();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().display();
    print!("\n{name}$ {program}");
    for argument in command.get_args().map(|argument| argument.to_string_lossy()) {
        let is_plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "-_/.:".contains(c));
        if is_plain { print!(" {argument}") } else { print!(" '{argument}'") }
    }
    println!();
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended already.
        kill_process(pid, Signal::TERM).ok();
    }
}
