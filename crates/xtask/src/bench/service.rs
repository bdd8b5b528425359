//! Programs that run while something is measured, and end with it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::machine;

/// How often it is looked whether a program is ready yet, and how many times.
pub(super) const POLL: (Duration, u32) = (Duration::from_millis(50), 400);

/// A running program. Dropping it stops it and waits for its end.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    child: Child,
    /// Held open: a program that cannot write may end.
    _stdout: Option<ChildStdout>,
}

impl Service {
    /// Starts one of our programs and returns it with the URL that it says when it is ready; `log` takes its errors.
    pub(super) fn ready(name: &str, command: &mut Command, log: &Path) -> Result<(Self, String)> {
        let mut service = Self::spawn(name, command.stdout(Stdio::piped()), log)?;
        let mut stdout = BufReader::new(service.child.stdout.take().context("standard output is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        service._stdout = Some(stdout.into_inner());
        let url = line.trim_end().strip_prefix("ready ").map(str::to_owned);
        Ok((service, url.with_context(|| format!("{name} did not get ready, but said {line:?}"))?))
    }

    /// Starts another's server, and waits until it listens at a port of this machine.
    pub(super) fn listening(name: &str, command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let mut service = Self::spawn(name, command.stdout(Stdio::null()), log)?;
        for _ in 0..POLL.1 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(service);
            }
            if let Some(status) = service.child.try_wait()? {
                bail!("{name}: {status}; it said: {}", std::fs::read_to_string(log)?);
            }
            thread::sleep(POLL.0);
        }
        bail!("{name} does not listen")
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::create(log)?;
        let child = command.stdin(Stdio::null()).stderr(log).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, _stdout: None })
    }

    /// Returns the processor time that it and its children took so far.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.child.id())
    }

    pub(super) fn peak_bytes(&self) -> Result<u64> {
        machine::peak_bytes(self.child.id())
    }

    /// Lets the peak begin now.
    pub(super) fn forget_peak(&self) -> Result<()> {
        machine::forget_peak(self.child.id())
    }

    pub(super) fn resident_bytes(&self) -> Result<u64> {
        machine::resident_bytes(self.child.id())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // SIGINT is what makes PostgreSQL close its sessions. It may have ended already.
            kill_process(pid, Signal::INT).ok();
        }
        drop(self.child.wait());
    }
}

/// Runs a command to its end and returns its standard output.
pub(super) fn ask(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    Ok(stdout)
}

/// Returns a port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
