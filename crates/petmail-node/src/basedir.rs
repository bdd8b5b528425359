//! The basedir: the one folder that holds all state of a node, and the names of the files that the program itself keeps
//! there. The store's files are `db`'s. Source: `docs/operating.md`, "The node's folder".

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use petmail_net::program::DirLock;

/// A node's folder, as an absolute path. It need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basedir {
    path: PathBuf,
}

impl Basedir {
    /// Names the folder at `path`; a relative path is resolved against the current directory.
    ///
    /// # Errors
    /// The path is empty, or the current directory is gone.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(path)? })
    }

    /// Returns the folder's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the configuration file; where it exists, a node exists.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// Returns the file with the access token of the control API.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.path.join("api-token")
    }

    /// Returns the file with the base URL of the control API, written at every start.
    #[must_use]
    pub fn baseurl_file(&self) -> PathBuf {
        self.path.join("baseurl")
    }

    /// Returns the file that a node in the background writes its log to.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.path.join("node.log")
    }

    /// Returns the executable that knows its basedir.
    #[must_use]
    pub fn petmail_file(&self) -> PathBuf {
        self.path.join("petmail")
    }

    /// Returns the folder beside this one in which `restore` builds a node; none if this is no place for one.
    #[must_use]
    pub fn restore_site(&self) -> Option<PathBuf> {
        let mut name = OsString::from(".");
        name.push(self.path.file_name()?);
        name.push(".restoring");
        Some(self.path.parent()?.join(name))
    }

    /// Returns what a killed `restore` to this place has left: everything that was in the backup so far, not encrypted.
    #[must_use]
    pub fn interrupted_restore(&self) -> Option<PathBuf> {
        let is_at_work = |site: &Path| DirLock::holder(site).is_ok_and(|holder| holder.is_some());
        self.restore_site().filter(|site| site.is_dir() && !is_at_work(site))
    }

    /// Returns the file that says where the folder was at the last start.
    #[must_use]
    pub fn place_file(&self) -> PathBuf {
        self.path.join("place")
    }

    /// Returns the file that stands here while a backup takes the place of the database; a process that finds it undoes that.
    #[must_use]
    pub fn restoring_file(&self) -> PathBuf {
        self.path.join("restoring")
    }

    /// Makes a private file and takes its name away, so that nothing is left of it however the process ends.
    ///
    /// # Errors
    /// Those of the system.
    pub fn nameless_file(&self) -> io::Result<File> {
        let path = self.path.join("unnamed.tmp");
        // A crash may have left one; another caller may be at the same point, and both get a file of their own.
        remove_if_present(&path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        remove_if_present(&path)?;
        Ok(file)
    }

    /// Tells whether a node has been created here.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.config_file().exists()
    }

    /// Returns the process id of the node that runs here, if one does; 0 if it has not told its id.
    ///
    /// # Errors
    /// The lock file cannot be examined.
    pub fn running(&self) -> io::Result<Option<u32>> {
        DirLock::holder(&self.path)
    }
}

/// Removes a file that need not be there.
///
/// # Errors
/// Those of the system.
pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
