//! Why the agent refuses a command, in words for people.

use petmail_store::DiskFull;
use thiserror::Error;

/// Whose fault a refused command is; decides the status of the API's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The command makes no sense, whatever the state (400).
    BadRequest,
    /// What it names does not exist (404).
    NotFound,
    /// It does not fit the present state (409).
    Conflict,
    /// A server that it needs is away or refuses (503).
    Unavailable,
    /// There is no room on the node's disk (507).
    DiskFull,
    /// The node itself failed, for instance the disk (500).
    Internal,
}

/// A refused command: one line that says what is wrong, one that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct CommandError {
    /// Whose fault it is.
    pub fault: Fault,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl CommandError {
    /// Makes a refusal.
    pub fn new(fault: Fault, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { fault, problem: problem.into(), hint: hint.into() }
    }
}

impl From<DiskFull> for CommandError {
    fn from(full: DiskFull) -> Self {
        Self::new(
            Fault::DiskFull,
            full.to_string(),
            "make room on it, then try again; nothing that was confirmed is lost, and messages for you wait at your mailboxes",
        )
    }
}

impl From<petmail_proto::wire::WireError> for CommandError {
    fn from(error: petmail_proto::wire::WireError) -> Self {
        Self::new(
            Fault::Internal,
            format!("a record cannot be stored: {error}"),
            "please report this as a bug",
        )
    }
}
