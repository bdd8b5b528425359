//! The examples in `deploy/`, adapted to a test: programs where they were built, ports that are free.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::outcome::Outcome;
use crate::programs::{bin, command};

/// Returns the path of something in `deploy/`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// Returns an example's text.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn example(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns an example with each text replaced by another.
///
/// # Panics
/// If the example does not have one of the texts: then it has changed, and the test must be, too.
#[must_use]
pub fn adapted(name: &str, replacements: &[(&str, &str)]) -> String {
    let adapt = |text: String, (from, to): &(&str, &str)| {
        assert!(text.contains(from), "{name} has no {from:?}");
        text.replace(from, to)
    };
    replacements.iter().fold(example(name), adapt)
}

/// Returns an example in which the installed programs are the ones under test.
///
/// # Panics
/// If the program does not build.
#[must_use]
pub fn with_built(name: &str, program: &str) -> String {
    adapted(name, &[(&format!("/usr/bin/{program}"), &bin(program).to_string_lossy())])
}

/// Asserts that a program's command knows all options that a line names, and the environment variables.
///
/// # Panics
/// If it does not know one.
pub fn check_options(program: &str, subcommand: &str, line: &str) {
    let help = Outcome::of(command(program).args([subcommand, "--help"])).text();
    let words = || help.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)));
    for word in line.split(|letter: char| letter.is_whitespace() || letter == '=') {
        if word.starts_with("--") || word.starts_with("PETMAIL_") {
            assert!(
                words().any(|known| known == word),
                "{program} {subcommand} does not know {word}: {line}"
            );
        }
    }
}

/// Makes a folder its owner's alone.
///
/// # Panics
/// If it is not ours.
pub fn make_private(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("own folders have permissions");
}

/// Asserts that the commands in an example's remarks name only options that exist.
///
/// # Panics
/// If one does not, or there is no command.
pub fn check_commands(name: &str) {
    let text = example(name);
    let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#   petmail-")).collect();
    assert!(!commands.is_empty(), "{name} tells no command");
    for line in commands {
        let mut words = line.split_whitespace();
        let server = words.next().expect("a program has a name");
        check_options(&format!("petmail-{server}"), words.next().expect("a command"), line);
    }
}
