//! The Python magic-wormhole, in the versions that the interoperability tests use.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::machine::now;
use super::service::ask;
use crate::shell::{root, target_dir};

#[derive(Debug)]
pub(super) struct Wormhole(PathBuf);

/// A wormhole that has said its code.
#[derive(Debug)]
pub(super) struct Sending {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Sending {
    /// Waits for its end.
    pub(super) fn finish(mut self) -> Result<()> {
        // Read to the end: a program that cannot write may fail.
        self.said.for_each(drop);
        ensure!(self.child.wait()?.success(), "wormhole could not send");
        Ok(())
    }
}

impl Wormhole {
    /// Installs it below the target folder, unless it is there.
    pub(super) fn install() -> Result<Self> {
        let venv = target_dir()?.join("bench-wormhole");
        let program = venv.join("bin/wormhole");
        if !program.exists() {
            ask(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            let mut pip = Command::new(venv.join("bin/pip"));
            pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"]);
            ask(pip.arg(root().join("integration-tests/python/wormhole.txt")))?;
        }
        Ok(Self(program))
    }

    /// Passes a text from one to the other, and returns how long it took from the typed code until both ended.
    pub(super) fn pass_a_text(&self, rendezvous: &str) -> Result<Duration> {
        let mut send = self.command(rendezvous);
        send.args(["send", "--text", "hello"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let (code, sending) = Self::begin(send.spawn()?)?;
        let typed = now();
        let received = ask(self.command(rendezvous).args(["receive", &code]))?;
        ensure!(received.trim_end() == "hello", "wormhole received {received:?}");
        sending.finish()?;
        Ok(typed.elapsed())
    }

    /// Waits for the code of a sending wormhole.
    pub(super) fn begin(mut send: Child) -> Result<(String, Sending)> {
        let mut said = BufReader::new(send.stderr.take().context("standard error is piped")?).lines();
        let code = said.find_map(|line| Some(line.ok()?.strip_prefix("Wormhole code is: ")?.to_owned()));
        Ok((code.context("wormhole gave no code")?, Sending { child: send, said }))
    }

    pub(super) fn command(&self, rendezvous: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.env("LC_ALL", "C.UTF-8").args(["--relay-url", rendezvous]);
        command
    }
}
