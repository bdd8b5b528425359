//! [`BlobDir`]: values too large for a store, as files that belong to its rows.
//!
//! The order that keeps both together through a crash is the caller's: put the file, then commit the
//! row; commit the row's deletion, then remove the file. What a crash leaves between the two steps
//! is a file without a row, which [`BlobDir::sweep`] removes at the next start.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::layout::{create_private_dir, private_file, sync_dir};

const TEMPORARY: &str = ".tmp";

/// The name of a blob: 16 bytes chosen at random by the caller, written as 32 characters `0-9a-f`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName([u8; 16]);

impl BlobName {
    /// Makes a name of random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as a row would hold them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobName({self})")
    }
}

/// The text is no name of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's name has 32 characters 0-9a-f")]
pub struct ParseBlobNameError;

impl FromStr for BlobName {
    type Err = ParseBlobNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = u128::from_str_radix(text, 16).map_err(|_digits| ParseBlobNameError)?;
        let name = Self(number.to_be_bytes());
        // One spelling only: no upper case, no sign, no other length.
        (name.to_string() == text).then_some(name).ok_or(ParseBlobNameError)
    }
}

/// Why an operation on a blob failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The blob is larger than the caller allows.
    #[error("the blob {name} has more than {max_bytes} bytes")]
    TooLarge {
        /// Its name.
        name: BlobName,
        /// The limit.
        max_bytes: u64,
    },
    /// There is a blob of this name; names are used once.
    #[error("there is a blob {0} already")]
    Exists(BlobName),
    /// The file system refused.
    #[error("cannot {action} a blob: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What the file system says.
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Closed,
}

/// What [`BlobDir::sweep`] removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs without a row, in order.
    pub orphans: Vec<BlobName>,
    /// Number of unfinished files.
    pub temporaries: usize,
}

/// What is in a [`BlobDir`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The blobs with their lengths in bytes, by name.
    pub blobs: Vec<(BlobName, u64)>,
    /// Number of unfinished files.
    pub temporaries: usize,
}

/// A private folder of immutable files.
#[derive(Clone, Debug)]
pub struct BlobDir {
    dir: PathBuf,
}

impl BlobDir {
    /// Opens the folder `dir`, creating it if absent. Blocks.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        let open = || {
            create_private_dir(dir)?;
            match dir.canonicalize()?.parent() {
                Some(parent) => sync_dir(parent),
                None => Ok(()),
            }
        };
        open().map_err(failed("open the folder of"))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Stores a blob; resolves when it is on disk. Commit the row that names it afterwards.
    ///
    /// # Errors
    ///
    /// [`BlobError::Exists`] if the name is in use, else if the file system refuses.
    pub async fn put(&self, name: BlobName, bytes: Vec<u8>) -> Result<(), BlobError> {
        let this = self.clone();
        blocking(move || this.put_now(name, &bytes)).await
    }

    /// Reads a blob of at most `max_bytes`; none if there is no such blob.
    ///
    /// # Errors
    ///
    /// [`BlobError::TooLarge`], or if the file system refuses.
    pub async fn get(&self, name: BlobName, max_bytes: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let path = self.path(name);
        blocking(move || read_bounded(&path, name, max_bytes)).await
    }

    /// Removes a blob, whose row must be gone; says whether it was there.
    ///
    /// A power cut may bring it back: as an orphan, for the next [`sweep`](Self::sweep).
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub async fn remove(&self, name: BlobName) -> Result<bool, BlobError> {
        let path = self.path(name);
        blocking(move || {
            absent_is_none(fs::remove_file(path)).map(|removed| removed.is_some()).map_err(failed("remove"))
        })
        .await
    }

    /// Removes blobs that are not `known` to any row, and unfinished files. Leaves foreign files.
    ///
    /// To be called at start, before anything is put: a file whose row is still to be committed
    /// would be taken for an orphan.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub async fn sweep(
        &self,
        known: impl Fn(&BlobName) -> bool + Send + 'static,
    ) -> Result<Swept, BlobError> {
        let this = self.clone();
        blocking(move || this.sweep_now(known).map_err(failed("sweep"))).await
    }

    /// Lists the blobs, and counts unfinished files. Foreign files are left out.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub async fn list(&self) -> Result<Listed, BlobError> {
        let this = self.clone();
        blocking(move || this.list_now().map_err(failed("list"))).await
    }

    fn put_now(&self, name: BlobName, bytes: &[u8]) -> Result<(), BlobError> {
        let path = self.path(name);
        if path.exists() {
            return Err(BlobError::Exists(name));
        }
        let temporary = self.dir.join(format!("{name}{TEMPORARY}"));
        let write = || {
            let mut file = private_file(&temporary)?;
            file.set_len(0)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_dir(&self.dir)
        };
        write().map_err(|error| {
            // What is unfinished takes up room, of which there may be none. The next sweep removes what stays.
            fs::remove_file(&temporary).unwrap_or_default();
            failed("write")(error)
        })
    }

    fn list_now(&self) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for entry in self.dir.read_dir()? {
            let entry = entry?;
            match own_file(&entry) {
                Some((name, true)) => listed.blobs.push((name, entry.metadata()?.len())),
                Some((_, false)) => listed.temporaries += 1,
                None => {}
            }
        }
        listed.blobs.sort_unstable();
        Ok(listed)
    }

    fn sweep_now(&self, known: impl Fn(&BlobName) -> bool) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for entry in self.dir.read_dir()? {
            let entry = entry?;
            match own_file(&entry) {
                Some((_, false)) => {
                    fs::remove_file(entry.path())?;
                    swept.temporaries += 1;
                }
                Some((name, true)) if !known(&name) => {
                    fs::remove_file(entry.path())?;
                    swept.orphans.push(name);
                }
                _ => {}
            }
        }
        swept.orphans.sort_unstable();
        Ok(swept)
    }

    fn path(&self, name: BlobName) -> PathBuf {
        self.dir.join(name.to_string())
    }
}

/// The blob that a file is, and whether it is finished; none for a foreign file.
fn own_file(entry: &fs::DirEntry) -> Option<(BlobName, bool)> {
    let file_name = entry.file_name();
    let text = file_name.to_str()?;
    let stem = text.strip_suffix(TEMPORARY);
    Some((stem.unwrap_or(text).parse().ok()?, stem.is_none()))
}

fn read_bounded(path: &Path, name: BlobName, max_bytes: u64) -> Result<Option<Vec<u8>>, BlobError> {
    let Some(file) = absent_is_none(File::open(path)).map_err(failed("open"))? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read"))?;
    if bytes.len() as u64 > max_bytes {
        return Err(BlobError::TooLarge { name, max_bytes });
    }
    Ok(Some(bytes))
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> BlobError {
    move |source| BlobError::Io { action, source }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => Err(BlobError::Closed),
    }
}
