//! What every Petmail program does at its start and its end: umask, logs, signals, the `ready` line, exit statuses; and
//! in [`files`] how it keeps private files. Knows nothing of what a program is for.
//!
//! Source: `docs/operating.md`, "Programs".

pub mod files;
pub mod service;

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
    process::ExitCode,
    str::FromStr,
};

use rustix::{
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

pub use self::files::{DirLock, LockError, create_private_dir, write_private_file};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(text: &str) -> Result<Self, LogFormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LogFormatError),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The text names no log format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log format is text or json")]
pub struct LogFormatError;

/// Prepares the process, first thing in `main`, before any thread: umask 077, and as many open files as the system
/// allows, since a server's connections are files. Returns the mode, such as 0644, that the caller's own umask gives to a
/// file that is saved for the caller.
pub fn prepare_process() -> u32 {
    let callers = umask(Mode::RWXG | Mode::RWXO);
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Failing leaves the old limit: connections beyond it wait, as the server loop arranges.
    setrlimit(Resource::Nofile, wanted).unwrap_or_default();
    0o666 & !callers.bits()
}

/// Sends log lines to standard error, by the directives in `RUST_LOG`, else from level `info` up, and makes panics one
/// line with their place but without their message, which could hold contents.
///
/// # Errors
/// Logging is installed already.
pub fn init_logging(format: LogFormat) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    // A line that cannot be written, as on a full disk, is lost: to complain about it there would end the task that logs.
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    installed.map_err(|_| LoggingError)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logging can be installed once in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("logging is installed already")]
pub struct LoggingError;

fn log_panic(info: &PanicHookInfo<'_>) {
    match info.location() {
        Some(place) => tracing::error!(%place, "a task panicked"),
        None => tracing::error!("a task panicked"),
    }
}

/// Returns a token that is cancelled on SIGTERM or SIGINT. Needs a tokio runtime.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn shutdown_on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        service::tell_stopping();
        shutdown.cancel();
    });
    Ok(token)
}

/// Keeps SIGHUP from ending the process: it asks a server to read its certificate's files again, which one without TLS has
/// not. Needs a tokio runtime.
///
/// # Errors
/// The signal handler cannot be installed.
pub fn survive_hangups() -> io::Result<()> {
    // From the first handler on, the signal is the process's own matter.
    signal(SignalKind::hangup()).map(drop)
}

/// Prints `ready URL` on standard output: the program accepts connections at `url`. Tells the service manager, too.
///
/// # Errors
/// Standard output is closed.
pub fn announce_ready(url: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "ready {url}")?;
    out.flush()?;
    service::tell_ready();
    Ok(())
}

/// What an exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// 1: the thing failed.
    Failed,
    /// 2: the command was used wrongly.
    Usage,
}

impl From<ExitKind> for ExitCode {
    fn from(kind: ExitKind) -> Self {
        Self::from(match kind {
            ExitKind::Failed => 1,
            ExitKind::Usage => 2,
        })
    }
}

/// The end of a program that did not succeed: what went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: ExitKind,
    error: String,
    hint: Option<String>,
}

impl Failure {
    /// The thing failed; the error is shown on one line, with its causes if its `{:#}` form has them.
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::new(ExitKind::Failed, error)
    }

    /// The command was used wrongly.
    pub fn usage(error: impl fmt::Display) -> Self {
        Self::new(ExitKind::Usage, error)
    }

    fn new(kind: ExitKind, error: impl fmt::Display) -> Self {
        Self { kind, error: one_line(error), hint: None }
    }

    /// Adds what the person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(one_line(hint));
        self
    }

    /// Prints `error: …` and, if there is one, `hint: …` on standard error, and returns the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // Nobody is left to tell when standard error is closed.
        drop(writeln!(io::stderr().lock(), "{self}"));
        self.kind.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

fn one_line(text: impl fmt::Display) -> String {
    let text = format!("{text:#}");
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_and_a_hint() {
        let failure = Failure::failed("no such\ncontact").hint("see `addressbook`");
        assert_eq!(failure.to_string(), "error: no such; contact\nhint: see `addressbook`");
        assert_eq!(Failure::usage("x").to_string(), "error: x");
        assert_eq!(format!("{:?}", ExitCode::from(ExitKind::Usage)), format!("{:?}", ExitCode::from(2)));
        assert_eq!(format!("{:?}", failure.report()), format!("{:?}", ExitCode::from(1)));
    }

    #[test]
    fn log_formats_parse() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!(LogFormat::default().to_string().parse(), Ok(LogFormat::Text));
        assert_eq!("xml".parse::<LogFormat>(), Err(LogFormatError));
    }
}
