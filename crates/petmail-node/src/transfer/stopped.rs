//! Why a transfer does not go on.

use std::path::Path;

use petmail_mailbox::size::ByteSize;

use super::source::SourceError;
use crate::agent::records::transfers::Hitch;

/// Why a transfer cannot go on until a person has done something: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stopped {
    /// Nobody keeps files of this size.
    #[error(
        "you have no storage for files of this size: ask whoever gave you a mailbox for some (the operator of a server gives it with \
         `petmail-mailbox account set --storage-quota`), or add a service of your own with `petmail-node storage add s3`; then retry"
    )]
    NoStorage,
    /// The storage there is full.
    #[error(
        "the storage at {0} is full: revoke files that are no longer needed, or ask its operator for more; then retry"
    )]
    Full(String),
    /// The storage there refuses.
    #[error("{0}")]
    Refused(String),
    /// What arrives there is not what was sent.
    #[error(
        "what arrives at {0} is not what was sent: something in between changes it; retry over another network"
    )]
    Changed(String),
    /// The file is where nobody knows.
    #[error(
        "the file is not on its storage server any more: its sender has taken it back, or its time is over; ask them to send it again"
    )]
    Gone,
    /// What was fetched is not what was stored.
    #[error(
        "the storage server returned something else than was stored there: nothing of that was saved; retry, or ask the sender to \
         send it again"
    )]
    Damaged,
    /// What was fetched is not what was announced.
    #[error("what is stored is not what the message has announced: nothing was saved; ask the sender")]
    Unannounced,
    /// What is to be sent cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// What was fetched cannot be written.
    #[error("{0}")]
    Unwritable(String),
    /// The disk has no room for it.
    #[error("the disk of {0}: make room, then retry")]
    NoRoom(String),
    /// The name is taken.
    #[error("{0} is there already: save it elsewhere")]
    Taken(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Stopped {
    pub(super) fn because(reason: impl std::fmt::Display) -> Self {
        Self::Other(reason.to_string())
    }

    /// The system does not let something be written there.
    pub(super) fn unwritable(place: &Path, error: &std::io::Error) -> Self {
        Self::Unwritable(format!("cannot write in {}: {error}", place.display()))
    }

    /// So much is left of a disk, and so much is needed, in bytes.
    pub(super) fn no_room(place: &Path, free: u64, needed: u64) -> Self {
        let (free, needed) = (ByteSize(free), ByteSize(needed));
        Self::NoRoom(format!("{} has only {free} left, and this takes {needed}", place.display()))
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NoStorage => "no-storage",
            Self::Full(_) => "storage-full",
            Self::Refused(_) => "storage-refused",
            Self::Changed(_) => "changed-on-the-way",
            Self::Gone => "file-gone",
            Self::Damaged => "file-damaged",
            Self::Unannounced => "file-unannounced",
            Self::Unreadable(_) => "file-unreadable",
            Self::Unwritable(_) => "file-unwritable",
            Self::NoRoom(_) => "no-room",
            Self::Taken(_) => "name-taken",
            Self::Other(_) => "transfer-trouble",
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::NoStorage | Self::Gone | Self::Damaged | Self::Unannounced => None,
            Self::Full(detail)
            | Self::Refused(detail)
            | Self::Changed(detail)
            | Self::Unreadable(detail)
            | Self::Unwritable(detail)
            | Self::NoRoom(detail)
            | Self::Taken(detail)
            | Self::Other(detail) => Some(detail),
        }
    }
}

impl From<SourceError> for Stopped {
    fn from(error: SourceError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<&Stopped> for Hitch {
    fn from(stopped: &Stopped) -> Self {
        let (code, detail) = (stopped.code().to_owned(), stopped.detail().map(str::to_owned));
        Self { code, detail, text: stopped.to_string() }
    }
}
