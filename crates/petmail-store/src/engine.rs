//! The seam between the store and its engines: what an engine must do, and which ones there are.
//!
//! Engines know nothing of queues, limits, tasks or folders beyond the one given to them.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::batch::Op;
use crate::layout::OpenError;
use crate::store::{Direction, Row};

mod redb;
mod sled;

/// Which engine keeps a store. It is fixed when the store is created
/// ([`migrate_offline`](crate::migrate_offline) changes it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// sled 0.34, the default.
    #[default]
    Sled,
    /// redb 4.
    Redb,
}

impl EngineKind {
    /// Creates the engine's files in `dir`, or opens what was created.
    ///
    /// # Errors
    ///
    /// As the engine reports it. sled panics on some damaged files: that too becomes an error.
    pub(crate) fn open(
        self,
        dir: &Path,
        access: Access,
        keyspaces: &[&str],
    ) -> Result<Box<dyn Engine>, EngineError> {
        let open = || -> Result<Box<dyn Engine>, EngineError> {
            Ok(match self {
                Self::Sled => Box::new(sled::SledEngine::open(dir, access, keyspaces)?),
                Self::Redb => Box::new(redb::RedbEngine::open(dir, access, keyspaces)?),
            })
        };
        std::thread::scope(|scope| scope.spawn(open).join()).unwrap_or_else(|panic| {
            Err(EngineError::new(format_args!("the engine panicked: {}", panic_text(panic.as_ref()))))
        })
    }

    /// The names of the keyspaces that the files in `dir` hold.
    pub(crate) fn keyspace_names(self, dir: &Path) -> Result<Vec<String>, EngineError> {
        match self {
            Self::Sled => sled::keyspace_names(dir),
            Self::Redb => redb::keyspace_names(dir),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        })
    }
}

/// The name is that of no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no storage engine {0:?}: choose sled or redb")]
pub struct ParseEngineKindError(String);

impl FromStr for EngineKind {
    type Err = ParseEngineKindError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "sled" => Ok(Self::Sled),
            "redb" => Ok(Self::Redb),
            other => Err(ParseEngineKindError(other.to_owned())),
        }
    }
}

/// What an engine reported, as text: engine types stay inside.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct EngineError {
    text: Arc<str>,
    /// Set if the file system refused.
    kind: Option<io::ErrorKind>,
}

impl EngineError {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self { text: text.to_string().into(), kind: None }
    }

    /// What this means for a store that was to be opened: damage, or a hindrance outside of it such
    /// as a full disk.
    pub(crate) fn on_opening(self, path: &Path) -> OpenError {
        use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        let path = path.to_owned();
        match self.kind {
            None | Some(InvalidData | NotFound | UnexpectedEof) => OpenError::Damaged { path, source: self },
            Some(kind) => OpenError::Io { path, source: io::Error::new(kind, self) },
        }
    }
}

impl From<&io::Error> for EngineError {
    fn from(error: &io::Error) -> Self {
        Self { kind: Some(error.kind()), ..Self::new(error) }
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

/// How an engine is to open its files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// They are new.
    Create,
    /// They must be there; with so much memory for the cache, in bytes.
    Open(u64),
}

impl Access {
    /// What both engines can work with at all.
    const MIN_CACHE_BYTES: u64 = 1024 * 1024;

    fn cache_bytes(self) -> u64 {
        match self {
            Self::Create => Self::MIN_CACHE_BYTES,
            Self::Open(bytes) => bytes.max(Self::MIN_CACHE_BYTES),
        }
    }
}

/// One opened engine. Keyspaces are positions in the list given at opening.
pub(crate) trait Engine: Send + Sync {
    /// Applies all operations atomically, in order. They are on disk when this returns.
    /// After an error the engine is not used for writing again.
    fn apply(&self, ops: &[Op]) -> Result<(), EngineError>;

    /// The value of one key.
    fn get(&self, keyspace: usize, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// At most `limit` rows of a range that is not inverted. Shows a batch whole or not at all.
    fn range(
        &self,
        keyspace: usize,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, EngineError>;

    /// Whether the engine found its files in a state in which its own syncs do not suffice.
    fn alarm(&self) -> bool;
}

/// Bounds of a scan.
pub type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}

/// A missing keyspace position, which only a bug in this crate can cause.
fn no_keyspace(keyspace: usize) -> EngineError {
    EngineError::new(format_args!("no keyspace at position {keyspace}"))
}
