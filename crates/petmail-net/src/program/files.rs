//! Private files: a directory of mode 0700, files of mode 0600 written so that a crash leaves the old or the new one,
//! and the lock that keeps a directory to one process.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// The file whose lock means that a process uses the directory.
const LOCK_FILE: &str = "lock";

/// How long a process that ends may still hold the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How often the lock is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Makes `dir` and what is missing above it, with mode 0700, or sets that mode on an existing one.
///
/// # Errors
/// Those of the system; or `dir` is there and no directory.
pub fn create_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Replaces the file at `path` by `contents` with mode 0600, so that after a crash either the old or the new file is
/// there, whole. Durable on return. One writer at a time for each path is the caller's duty.
///
/// # Errors
/// Those of the system; the old file is then untouched.
pub fn write_private_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".tmp");
    let temporary = dir.join(name);
    let written = write_durably(&temporary, contents).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What is left over is replaced by the next attempt.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    File::open(dir)?.sync_all()
}

fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An old leftover keeps its mode.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Keeps a directory to this process until it is dropped or the process ends, however that happens.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the lock of `dir`, which must exist.
    ///
    /// # Errors
    /// Another process holds it, or the lock file cannot be opened.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { dir: dir.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK_FILE))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { dir: dir.to_owned(), holder: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        write_pid(&mut file).map_err(unusable)?;
        Ok(Self { _file: file })
    }

    /// As [`acquire`](Self::acquire), but gives a process that is about to end two seconds to do so: a server that is restarted
    /// does not meet its predecessor. Needs a tokio runtime.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_soon(dir: &Path) -> Result<Self, LockError> {
        let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
        loop {
            match Self::acquire(dir) {
                Err(LockError::Held { .. }) if tokio::time::Instant::now() < patience => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Returns the process that holds the lock of `dir`: `None` if nobody does, `Some(0)` if it has not told its id.
    ///
    /// # Errors
    /// The lock file cannot be examined. That it is missing is no error.
    pub fn holder(dir: &Path) -> io::Result<Option<u32>> {
        let mut file = match File::open(dir.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_pid(&mut file).unwrap_or(0))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process works there.
    #[error("{} is in use by {}", .dir.display(), describe(*.holder))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it has told its id.
        holder: Option<u32>,
    },
    /// The lock file cannot be opened or written.
    #[error("cannot lock {}: {source}", .dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

fn describe(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn private_files_are_replaced_whole_with_mode_0600() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("a/b");
        create_private_dir(&base).unwrap();
        assert_eq!(mode(&base), 0o700);
        let path = base.join("token");
        write_private_file(&path, b"old, and longer").unwrap();
        let leftover = base.join("token.tmp");
        fs::write(&leftover, "of a crash").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o644)).unwrap();
        write_private_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(&base).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_private_file(&path, b"x").is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_has_one_holder_who_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DirLock::holder(dir.path()).unwrap(), None);
        let lock = DirLock::acquire(dir.path()).unwrap();
        let refused = DirLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("in use by process {}", std::process::id())), "{refused}");
        assert_eq!(DirLock::holder(dir.path()).unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(DirLock::holder(dir.path()).unwrap(), None);
        DirLock::acquire(dir.path()).unwrap();
    }
}
