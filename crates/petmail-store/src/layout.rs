//! The store's folder: lock, format marker, generations of engine files, and their permissions.
//!
//! ```text
//! PATH/lock            held while the store is open
//! PATH/data-N/marker   format version and engine
//! PATH/data-N/…        the engine's files
//! PATH/new/            a generation being built; removed at the next opening
//! ```
//! The highest `data-N` is the store. A new generation (creation, compaction, change of engine) is
//! built in `new/`, synced, and becomes the store by one rename. Knows no engine's file names.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::engine::{EngineError, EngineKind};

/// The version of the folder's layout and of the marker.
const FORMAT: u32 = 1;
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
    #[error("the store at {} has format {found}, but this program knows only {FORMAT}: use a newer Petmail", path.display())]
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
        let newest = self.generations().map_err(|source| self.io(source))?.pop();
        Ok(newest.map(|number| self.generation(number)))
    }

    /// Checks that the current generation is of this format and engine.
    pub(crate) fn check(&self, dir: &Path, wanted: EngineKind) -> Result<(), OpenError> {
        let text = match fs::read_to_string(dir.join(MARKER)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.no_marker()),
            Err(source) => return Err(self.io(source)),
        };
        let (found, engine) = parse_marker(&text).ok_or_else(|| self.no_marker())?;
        if found > FORMAT {
            return Err(OpenError::NewerFormat { path: self.path.clone(), found });
        }
        let found: EngineKind = engine.parse().map_err(|_unknown| self.no_marker())?;
        if found != wanted {
            return Err(OpenError::WrongEngine { path: self.path.clone(), found, wanted });
        }
        Ok(())
    }

    /// Starts a new generation: an empty private folder with a marker in it.
    pub(crate) fn begin(&self, engine: EngineKind) -> io::Result<PathBuf> {
        let dir = self.path.join(NEW);
        DirBuilder::new().mode(0o700).create(&dir)?;
        let mut marker = private_file(&dir.join(MARKER))?;
        writeln!(marker, "{MARKER_TITLE} {FORMAT} {engine}")?;
        Ok(dir)
    }

    /// Makes what [`begin`](Self::begin) started the current generation. The engine must be closed.
    pub(crate) fn finish(&self) -> io::Result<PathBuf> {
        let new = self.path.join(NEW);
        make_private(&new)?;
        sync_tree(&new)?;
        let next = self.generations()?.pop().unwrap_or(0) + 1;
        let dir = self.generation(next);
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
        let mut old = self.generations()?;
        old.pop();
        for number in old {
            remove_dir_if_present(&self.generation(number))?;
        }
        Ok(())
    }

    fn generation(&self, number: u64) -> PathBuf {
        self.path.join(format!("{GENERATION}{number}"))
    }

    /// Numbers of the generations present, ascending.
    fn generations(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in self.path.read_dir()? {
            numbers.extend(generation_number(&entry?.file_name()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), source }
    }

    fn no_marker(&self) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            source: EngineError::new("its format marker is missing or unreadable"),
        }
    }
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

fn parse_marker(text: &str) -> Option<(u32, &str)> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    if words.next()? != MARKER_TITLE {
        return None;
    }
    Some((words.next()?.parse().ok()?, words.next()?))
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
