//! How much room the disk below a store has. A write that fails for want of it ends the life of an open store, so none is
//! attempted when there is little left; and what makes the store larger is to stop before that, so that deletions still
//! find room.

use std::io;
use std::path::{Path, PathBuf};

/// Below this much free space, in bytes, nothing should be taken in that makes a store larger. Deletions, and notes of
/// what was done, may use it up: they are short, and an engine of ours finds room for them in its own files before long.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Below this much free space, in bytes, a commit is refused before the engine sees it: the largest group takes part of
/// three of sled's segments, with as many bytes again to be on the safe side.
pub(crate) const FLOOR_BYTES: u64 = 16 * 1024 * 1024;

/// There is less room on a disk than there has to be; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is full: {} MiB are free at {}, and it takes {} MiB", free_bytes >> 20, path.display(), wanted_bytes >> 20)]
pub struct DiskFull {
    /// A folder on the disk.
    pub path: PathBuf,
    /// How much of it is free, in bytes.
    pub free_bytes: u64,
    /// How much has to be, in bytes.
    pub wanted_bytes: u64,
}

/// Checks that so many bytes of the disk at `path` are free to this process.
///
/// # Errors
///
/// [`DiskFull`]. A disk that does not say is not full: its writes will tell.
pub fn check_free(path: &Path, wanted_bytes: u64) -> Result<(), DiskFull> {
    match free_bytes(path) {
        Ok(free_bytes) if free_bytes < wanted_bytes => {
            Err(DiskFull { path: path.to_owned(), free_bytes, wanted_bytes })
        }
        _ => Ok(()),
    }
}

/// How many bytes of the disk at `path` are free to this process.
///
/// # Errors
///
/// If the file system does not say.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check_free(dir.path(), 0), Ok(()));
        let full = check_free(dir.path(), u64::MAX).unwrap_err();
        assert!(full.free_bytes > 0 && full.to_string().starts_with("the disk is full: "), "{full}");
        assert_eq!(check_free(&dir.path().join("absent"), u64::MAX), Ok(()));
    }
}
