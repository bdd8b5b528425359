//! Storage: what owners of accounts store, look up and delete, and anybody who knows a pack's name reads. Knows tickets and
//! the packs on disk, not HTTP, and nothing of what a pack holds. Specification: Storage.

mod check;
mod disk;
mod folder;
mod memory;
mod rows;
mod service;

use std::{path::PathBuf, time::Duration};

use petmail_objects::{ObjectError, Objects};
use petmail_proto::{content::PackId, server::account::AccountId, time::UnixMillis};
use petmail_store::DiskFull;

pub use self::disk::{MAX_OPEN_UPLOADS, Packs, UPLOAD_LIFE};
pub(crate) use self::{check::check_packs, service::claims_service};

/// For how long a pack that was stored or looked up outlives its deletion: another computer of its owner may count on it.
pub const LEASE: Duration = Duration::from_secs(48 * 3_600);

/// A part of a pack, as it comes in.
#[derive(Clone, Debug)]
pub struct Part {
    /// The pack.
    pub id: PackId,
    /// Where the part begins, in bytes.
    pub offset: u32,
    /// How long the whole pack is, in bytes.
    pub total: u32,
    /// The part.
    pub bytes: bytes::Bytes,
}

/// Why nothing is stored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The lengths make no sense.
    #[error("the part is not within a pack")]
    BadPart,
    /// Another part is to come next.
    #[error("the next part begins at {0}")]
    Offset(u32),
    /// The whole is not what its name says; all of it has to be sent again.
    #[error("the bytes are not those that the name stands for")]
    WrongBytes,
    /// The account stores as much as it may, or nothing.
    #[error("the account may store no more")]
    Full,
    /// A part of this pack is being written at this moment, or too many packs have begun.
    #[error("too busy")]
    Busy,
    /// There is too little room on the disk.
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    /// The service that keeps the packs does not.
    #[error("the storage service: {0}")]
    Service(#[from] ObjectError),
    /// The disk or the store failed.
    #[error("cannot store packs: {0}")]
    Failed(String),
}

impl PackError {
    fn new(reason: impl std::fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }
}

/// What an account stores with which right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depositor {
    /// The account.
    pub account: AccountId,
    /// How many bytes it may store.
    pub quota_bytes: u64,
}

/// Where a pack is.
#[derive(Clone, Debug)]
pub enum Stored {
    /// In this file.
    File(PathBuf),
    /// An object of this many bytes at a service.
    Object(Objects, u64),
}

/// What packs take, for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackTotals {
    /// How many packs there are.
    pub packs: u64,
    /// How many bytes accounts are charged for.
    pub charged_bytes: u64,
}

/// When a lease that begins now ends.
fn lease_end(now: UnixMillis) -> UnixMillis {
    now.plus(LEASE)
}
