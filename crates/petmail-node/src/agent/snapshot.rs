//! A backup of the running node: everything that is committed, and nothing that is half committed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek},
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
        let basedir = basedir.clone();
        let writer = spawn_blocking(move || -> anyhow::Result<_> {
            let file = basedir.nameless_file().context("cannot write a backup")?;
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
