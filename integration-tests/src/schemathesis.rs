//! Schemathesis: requests made up from an OpenAPI file, good and bad ones, and answers compared with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::python::venv;

/// The program and what it needs, every package with its version.
const PACKAGES: &str = include_str!("../python/schemathesis.txt");

/// Every run makes up the same requests.
const SEED: &str = "20120527";

/// How much of a line of its report is shown: requests can be long.
const SHOWN_CHARACTERS: usize = 400;

/// Sends made-up requests to a server and checks each answer.
#[derive(Debug)]
pub struct Schemathesis {
    program: PathBuf,
    base: String,
    max_examples: u32,
    more: Vec<String>,
}

impl Schemathesis {
    /// Will ask the server at `base`, at most `max_examples` made-up requests for each operation.
    ///
    /// # Panics
    /// If the program cannot be installed.
    #[must_use]
    pub fn new(base: &str, max_examples: u32) -> Self {
        let bin = venv("schemathesis", PACKAGES).unwrap_or_else(|error| panic!("{error:#}"));
        let base = base.trim_end_matches('/').to_owned();
        Self { program: bin.join("schemathesis"), base, max_examples, more: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.more.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Runs with the OpenAPI file `description`; its folder is written to.
    ///
    /// # Panics
    /// If an answer is not as described, with the program's report.
    pub fn run(&self, description: &Path) {
        let folder = description.parent().expect("a file is in a folder");
        let mut command = Command::new(&self.program);
        command.arg("run").arg(description).args(["--url", &self.base, "--seed", SEED]);
        command.args(["--max-examples", &self.max_examples.to_string(), "--phases", "coverage,fuzzing"]);
        // What a schema cannot say, such as that a body is a sealed box, makes a good-looking request a bad one.
        command.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
        command.args(["--generation-database", "none", "--no-shrink", "--no-color", "--warnings", "off"]);
        let output = command.args(&self.more).current_dir(folder).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let shorten = |line: &str| line.chars().take(SHOWN_CHARACTERS).collect::<String>();
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let report: Vec<_> = said.iter().flat_map(|text| text.lines()).map(shorten).collect();
        assert!(output.status.success(), "{}:\n{}", description.display(), report.join("\n"));
    }
}
