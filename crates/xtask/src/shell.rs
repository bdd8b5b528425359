//! Running programs and reading what they say.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Returns the folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies in crates/ of the workspace")
}

/// Returns the folder that cargo built this program into: the other programs are built beside it.
pub(crate) fn programs_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find out where this program is")?;
    Ok(own.parent().context("a program lies in a folder")?.to_owned())
}

/// Returns the folder that cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let programs = programs_dir()?;
    Ok(programs.parent().context("cargo puts profiles below the target folder")?.to_owned())
}

/// Returns the cargo that started this program, to be run in the workspace.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(arguments);
    cargo
}

/// Returns any other program, to be run in the workspace.
pub(crate) fn program<'a>(name: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut program = Command::new(name);
    program.current_dir(root()).args(arguments);
    program
}

/// Runs a command to its end; fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{}: {status}", line(command));
    Ok(())
}

/// Runs a command to its end, and returns what it wrote to standard output; fails if it does.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{}: {}", line(command), output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{}: not UTF-8", line(command)))
}

/// Tells whether a command can be run and ends well; what it writes is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Shows a command before it runs.
pub(crate) fn announce(command: &Command) {
    println!("$ {}", line(command));
}

/// Returns a command as a person would type it.
fn line(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let settings = settings.map(|(name, value)| format!("{}={}", name.display(), value.display()));
    let name = Path::new(command.get_program()).file_stem().unwrap_or(command.get_program());
    let arguments = command.get_args().map(|argument| argument.display().to_string());
    settings.chain([name.display().to_string()]).chain(arguments).collect::<Vec<_>>().join(" ")
}
