//! Child processes that are read line by line and killed when their test ends, however it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A process that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the last lines of a killed program may take; a child of its own may have its pipes for longer.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How finely Linux tells the processor time of a process.
const TICK: Duration = Duration::from_millis(10);

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program; what it writes to standard output and standard error is read line by line.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        if let Some(pipe) = child.stdout.take() {
            read(pipe, sender.clone());
        }
        if let Some(pipe) = child.stderr.take() {
            read(pipe, sender);
        }
        Self { child, lines }
    }

    /// Starts one of our servers, waits for its `ready` line, and returns it with the URL that stands there.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn ready(command: &mut Command) -> (Self, String) {
        Self::try_ready(command).unwrap_or_else(|lines| panic!("the program ended after {lines:#?}"))
    }

    /// Starts one of our servers as [`Process::ready`] does, but may meet one that ends instead, because another program
    /// has its port.
    ///
    /// # Errors
    /// What it wrote before it ended.
    ///
    /// # Panics
    /// If it falls silent without ending.
    pub fn try_ready(command: &mut Command) -> Result<(Self, String), Vec<String>> {
        let process = Self::spawn(command);
        let url = process.search(|line| line.strip_prefix("ready ").map(str::to_owned))?;
        Ok((process, url))
    }

    /// Reads lines until one of them has what is wanted.
    ///
    /// # Panics
    /// If the program ends, or falls silent, before that; with the lines that it wrote.
    pub fn wait_for<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> T {
        self.search(wanted).unwrap_or_else(|lines| panic!("the program ended after {lines:#?}"))
    }

    /// Reads lines until one of them has what is wanted.
    ///
    /// # Errors
    /// All lines, if the program ends first.
    ///
    /// # Panics
    /// If it falls silent.
    pub fn search<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Result<T, Vec<String>> {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match wanted(&line) {
                    Some(found) => return Ok(found),
                    None => seen.push(line),
                },
                Err(RecvTimeoutError::Timeout) => panic!("the program hangs after {seen:#?}"),
                Err(RecvTimeoutError::Disconnected) => return Err(seen),
            }
        }
    }

    /// Waits for the end, and returns the status with the lines not read before.
    ///
    /// # Panics
    /// If the program falls silent without ending.
    #[must_use]
    pub fn finish(mut self) -> (ExitStatus, Vec<String>) {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("the program hangs after {rest:#?}"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        (status, rest)
    }

    /// Asks the program to end, and returns as [`Process::finish`] does.
    ///
    /// # Panics
    /// If it falls silent without ending.
    #[must_use]
    pub fn terminate(self) -> (ExitStatus, Vec<String>) {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Sends the program a signal, unless it has ended.
    ///
    /// # Panics
    /// Never: a child has a number.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a child has a number");
        // It may have ended already; then there is nothing to ask.
        kill_process(pid, signal).ok();
    }

    /// Kills the program with SIGKILL, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Shows what the program wrote and nobody read, beside the message of the failed test.
    #[expect(clippy::print_stderr, reason = "the test harness shows it if the test fails")]
    fn show_rest(&self) {
        let id = self.id();
        while let Ok(line) = self.lines.recv_timeout(LAST_LINES) {
            eprintln!("[process {id}] {line}");
        }
    }

    /// Returns how much processor time the process took so far.
    ///
    /// # Panics
    /// If it has ended, or the system does not tell.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process runs");
        // The name in parentheses may contain anything; the fields after it are numbers. Source: proc(5), fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").expect("a process has a name");
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("a number"));
        TICK * ticks.sum()
    }

    /// Returns the most memory that the process ever held, in bytes.
    ///
    /// # Panics
    /// If it has ended, or the system does not tell.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak is told");
        let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1_024
    }

    /// The operating system's number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            self.show_rest();
        }
    }
}

fn read(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if lines.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
}
