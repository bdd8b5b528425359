//! A backup of the running node: everything that is committed, and nothing that is half committed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Seek},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use petmail_proto::at_rest::Passphrase;
use tokio::{runtime::Handle, task::spawn_blocking};

use super::{Agent, error::CommandError, internal};
use crate::{
    backup::{self, BackupWriter},
    basedir::Basedir,
};

impl Agent {
    /// Writes a backup and returns it, open at its beginning; it has no name and goes with its last reader.
    ///
    /// # Errors
    /// If the database cannot be read, or there is no room for the backup in the basedir.
    pub async fn back_up(&self, basedir: &Basedir, passphrase: Passphrase) -> Result<File, CommandError> {
        self.write_backup(basedir, passphrase).await.map_err(|error| internal(&error))
    }

    async fn write_backup(&self, basedir: &Basedir, passphrase: Passphrase) -> anyhow::Result<File> {
        let config = fs::read(basedir.config_file()).context("cannot read the configuration")?;
        let path = basedir.path().join("backup.tmp");
        let writer = spawn_blocking(move || -> anyhow::Result<_> {
            let file = nameless_file(&path).context("cannot write a backup")?;
            Ok(BackupWriter::create(BufWriter::new(file), &passphrase)?)
        });
        let writer = writer.await.context("the backup was interrupted")??;
        // Whoever commits holds it: a slow reader of the backup holds up nobody, since it reads a file.
        let core = self.0.core.lock().await;
        let (db, runtime) = (self.0.db.clone(), Handle::current());
        let written = spawn_blocking(move || backup::write(&db, &config, writer, &runtime)).await;
        drop(core);
        let file = written.context("the backup was interrupted")??;
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Makes a private file and takes its name away, so that nothing is left of it however the process ends.
fn nameless_file(path: &Path) -> io::Result<File> {
    // A crash may have left one; another backup may be at the same point, and both get a file of their own.
    remove_if_present(path)?;
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    remove_if_present(path)?;
    Ok(file)
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
