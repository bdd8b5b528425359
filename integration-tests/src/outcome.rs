//! What a command said: its exit status, its results, its remarks.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A command that has run to its end.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    command: String,
    output: Output,
}

impl Outcome {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // A long argument would bury the rest of a failed test's message.
        let command =
            command.get_args().map(|argument| argument.to_string_lossy().chars().take(100).collect());
        Self { command: command.collect::<Vec<String>>().join(" "), output }
    }

    /// Returns what stands on standard output.
    ///
    /// # Panics
    /// If the command failed.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> String {
        assert!(self.output.status.success(), "{}: {}", self.command, self.remarks());
        self.printed()
    }

    /// Returns the objects of a `--json` listing.
    ///
    /// # Panics
    /// If the command failed, or a line is no JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let text = self.text();
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.command))
        };
        text.lines().map(parse).collect()
    }

    /// Returns what a failed command said on standard error.
    ///
    /// # Panics
    /// If it did not fail with status 1, or printed a result nevertheless.
    #[must_use]
    #[track_caller]
    pub fn refusal(&self) -> String {
        assert_eq!(self.output.status.code(), Some(1), "{}: {}", self.command, self.remarks());
        assert_eq!(self.printed(), "", "{}", self.command);
        self.remarks()
    }

    /// Whether the command did what it was asked.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    /// Returns what stands on standard error, whether the command failed or not.
    #[must_use]
    pub fn remarks(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Returns what stands on standard output, whether the command failed or not.
    #[must_use]
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }
}
