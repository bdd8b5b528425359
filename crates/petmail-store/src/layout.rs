//! The store's folder: lock, format marker, generations of engine files, and their permissions.
//!
//! ```text
//! PATH/lock            held while the store is open
//! PATH/data-N/marker   format version, engine, and the label if there is one
//! PATH/data-N/…        the engine's files
//! PATH/new/            a generation being built; removed at the next opening
//! ```
//! The highest `data-N` is the store. A new generation (creation, compaction, change of engine) is
//! built in `new/`, synced, and becomes the store by one rename. Knows no engine's file names.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::engine::{EngineError, EngineKind};

/// The version of the folder's layout and of the marker.
const FORMAT: u32 = 1;
/// The version of a marker with a label: programs that do not know labels must not open such a store.
const FORMAT_WITH_LABEL: u32 = 2;
const MARKER: &str = "marker";
const MARKER_TITLE: &str = "petmail-store";
const LOCK: &str = "lock";
const NEW: &str = "new";
const GENERATION: &str = "data-";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody else has it open.
    #[error("the store at {} is in use by another process: stop that one first", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is not empty and not a Petmail store: choose another folder", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
    },
    /// It was created with another engine.
    #[error("the store at {} was made with the engine {found}, not {wanted}: open it with --store {found}, or migrate it", path.display())]
    WrongEngine {
        /// The store's folder.
        path: PathBuf,
        /// The engine that the store has.
        found: EngineKind,
        /// The engine asked for.
        wanted: EngineKind,
    },
    /// It was written by a later version of this program.
    #[error("the store at {} has format {found}, but this program knows only {FORMAT_WITH_LABEL}: use a newer Petmail", path.display())]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The version of its format.
        found: u32,
    },
    /// The engine cannot read its files.
    #[error("the store at {} is damaged: {source}. Keep a copy of it, and restore a backup", path.display())]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// The file system refused.
    #[error("cannot open the store at {}: {source}", path.display())]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
}

/// What the owner of a store says of all its rows, fixed for a generation: 1 to 64 characters `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// The text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label has 1 to 64 characters a-z, 0-9 and -")]
pub struct ParseLabelError;

impl Label {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, ParseLabelError> {
        let is_allowed = |c| matches!(c, 'a'..='z' | '0'..='9' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_allowed) {
            return Err(ParseLabelError);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Reads the label of the store in the folder `path`, whether it is open or not; none if there is no label, or no store.
///
/// # Errors
///
/// If there is a store that cannot be understood, or the file system refuses.
pub fn label(path: &Path) -> Result<Option<Label>, OpenError> {
    match newest_generation(path) {
        Ok(Some(dir)) => Ok(read_marker(path, &dir)?.label),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

/// A locked store folder. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Layout {
    path: PathBuf,
    _lock: File,
}

impl Layout {
    /// Locks the folder, creating it if absent, and clears what a crash may have left.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let io_error = |source| OpenError::Io { path: path.to_owned(), source };
        if is_foreign(path).map_err(io_error)? {
            return Err(OpenError::NotAStore { path: path.to_owned() });
        }
        create_private_dir(path).map_err(io_error)?;
        let lock = private_file(&path.join(LOCK)).map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let layout = Self { path: path.to_owned(), _lock: lock };
        layout.sweep().map_err(io_error)?;
        Ok(layout)
    }

    /// The folder of the current generation; none before the first.
    pub(crate) fn current(&self) -> Result<Option<PathBuf>, OpenError> {
        newest_generation(&self.path).map_err(|source| OpenError::Io { path: self.path.clone(), source })
    }

    /// Checks that a generation is of this format and engine, and returns its label.
    pub(crate) fn check(&self, dir: &Path, wanted: EngineKind) -> Result<Option<Label>, OpenError> {
        let Marker { engine: found, label } = read_marker(&self.path, dir)?;
        if found != wanted {
            return Err(OpenError::WrongEngine { path: self.path.clone(), found, wanted });
        }
        Ok(label)
    }

    /// Starts a new generation: an empty private folder with a marker in it.
    pub(crate) fn begin(&self, engine: EngineKind, label: Option<&Label>) -> io::Result<PathBuf> {
        let dir = self.path.join(NEW);
        DirBuilder::new().mode(0o700).create(&dir)?;
        let mut marker = private_file(&dir.join(MARKER))?;
        match label {
            None => writeln!(marker, "{MARKER_TITLE} {FORMAT} {engine}")?,
            Some(Label(label)) => writeln!(marker, "{MARKER_TITLE} {FORMAT_WITH_LABEL} {engine} {label}")?,
        }
        Ok(dir)
    }

    /// Makes what [`begin`](Self::begin) started the current generation. The engine must be closed.
    pub(crate) fn finish(&self) -> io::Result<PathBuf> {
        let new = self.path.join(NEW);
        make_private(&new)?;
        sync_tree(&new)?;
        let next = generations(&self.path)?.pop().unwrap_or(0) + 1;
        let dir = generation(&self.path, next);
        fs::rename(new, &dir)?;
        self.sweep()?;
        if let Some(parent) = self.path.canonicalize()?.parent() {
            sync_dir(parent)?;
        }
        Ok(dir)
    }

    /// Removes an unfinished generation and older ones, once the current one's name is durable.
    fn sweep(&self) -> io::Result<()> {
        sync_dir(&self.path)?;
        remove_dir_if_present(&self.path.join(NEW))?;
        let mut old = generations(&self.path)?;
        old.pop();
        for number in old {
            remove_dir_if_present(&generation(&self.path, number))?;
        }
        Ok(())
    }
}

/// What a generation says of itself.
struct Marker {
    engine: EngineKind,
    label: Option<Label>,
}

fn read_marker(path: &Path, dir: &Path) -> Result<Marker, OpenError> {
    let no_marker = || OpenError::Damaged {
        path: path.to_owned(),
        source: EngineError::new("its format marker is missing or unreadable"),
    };
    let text = match fs::read_to_string(dir.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_marker()),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    let (found, rest) = parse_marker(&text).ok_or_else(no_marker)?;
    if found > FORMAT_WITH_LABEL {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found });
    }
    let (engine, label) = match (found, rest.split_once(' ')) {
        (FORMAT, None) => (rest, None),
        (FORMAT_WITH_LABEL, Some((engine, label))) => {
            (engine, Some(label.parse().map_err(|_unknown| no_marker())?))
        }
        _ => return Err(no_marker()),
    };
    Ok(Marker { engine: engine.parse().map_err(|_unknown| no_marker())?, label })
}

fn newest_generation(path: &Path) -> io::Result<Option<PathBuf>> {
    Ok(generations(path)?.pop().map(|number| generation(path, number)))
}

fn generation(path: &Path, number: u64) -> PathBuf {
    path.join(format!("{GENERATION}{number}"))
}

/// Numbers of the generations present, ascending.
fn generations(path: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in path.read_dir()? {
        numbers.extend(generation_number(&entry?.file_name()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Sets a folder, and all in it, to be accessible to its owner only, whatever the umask was.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_private(&entry.path())?;
        } else {
            fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Total size of the files below `dir`, in bytes as allocated.
pub(crate) fn disk_bytes(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in dir.read_dir()? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            // The unit of `blocks` is 512 bytes on every file system.
            entry.metadata()?.blocks() * 512
        };
    }
    Ok(total)
}

/// Syncs a folder, which makes the names in it durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates a folder of mode 0700 with its parents; one already there gets that mode.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Opens a file of mode 0600 for writing, creating it if absent.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Whether the folder holds something, but no store.
fn is_foreign(path: &Path) -> io::Result<bool> {
    let entries = match path.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()?;
    let is_store = names.iter().any(|name| generation_number(name).is_some());
    Ok(!is_store && names.iter().any(|name| name != LOCK && name != NEW))
}

fn generation_number(name: &std::ffi::OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix(GENERATION)?.parse().ok()
}

/// Returns the version with what follows it.
fn parse_marker(text: &str) -> Option<(u32, &str)> {
    let text = text.strip_suffix('\n')?.strip_prefix(MARKER_TITLE)?.strip_prefix(' ')?;
    let (version, rest) = text.split_once(' ')?;
    Some((version.parse().ok()?, rest))
}

fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

fn remove_dir_if_present(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
