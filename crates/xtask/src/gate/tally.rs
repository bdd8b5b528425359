//! Counts tests by the result lines of their own runners.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::shell::announce;

/// How many tests passed, failed, and were not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Runs `cargo test`, shows what it writes, and counts.
    ///
    /// # Errors
    /// A test failed, or its runner did; or tests would have been left out.
    pub(super) fn count(&mut self, command: &mut Command) -> Result<()> {
        announce(command);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.read(&line);
        }
        let status = child.wait()?;
        ensure!(status.success(), "{self} ({status})");
        ensure!(self.ignored == 0, "{} tests are ignored; the gate leaves nothing out", self.ignored);
        ensure!(self.passed > 0, "no test was run");
        Ok(())
    }

    /// Adds what a result line says; other lines say nothing.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up_and_others_are_not() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test result: FAILED. 40 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.10s",
            "    test result: ok. 7 passed; 7 failed",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 43, failed: 2, ignored: 1 });
        assert_eq!(tally.to_string(), "43 passed, 2 failed");
    }

    #[test]
    fn a_run_without_tests_or_with_ignored_ones_is_no_success() {
        let run = |script: &str| Tally::default().count(Command::new("sh").args(["-c", script]));
        assert!(run("echo 'test result: ok. 1 passed; 0 failed; 0 ignored'").is_ok());
        assert!(run("echo 'test result: ok. 1 passed; 0 failed; 1 ignored'").is_err());
        assert!(run("echo 'test result: ok. 0 passed; 0 failed; 0 ignored'").is_err());
        assert!(run("echo 'test result: ok. 1 passed; 0 failed; 0 ignored'; exit 1").is_err());
    }
}
