//! Backups: everything that a node needs to live on elsewhere, in one encrypted file.
//!
//! A backup is made of a database in which nothing is committed meanwhile. What must not come back to life is left out:
//! `NOT_IN_BACKUP`. Rows are stored decrypted inside the encrypted file, so that it does not depend on the node's own
//! passphrase. Specification: `docs/protocol/at-rest.md`.

mod content;
mod file;
pub(crate) mod in_place;

use anyhow::Context;
use petmail_proto::{
    at_rest::{HeaderError, WrongPassphrase},
    time::UnixMillis,
};
use petmail_store::Keyspace;

use self::content::{ContentReader, Entry, write_config, write_end, write_row, write_version};
pub(crate) use self::file::{BackupReader, BackupWriter};
use crate::{
    agent::records::{AGENT, KEYSPACES, NOT_IN_BACKUP, RESTORED_KEY},
    db::{Cursor, Db, Write},
};

/// How many rows are restored in one commit, and how many bytes of values, but for one row more: both far below what the
/// store allows.
const ROWS_PER_COMMIT: usize = 256;
const BYTES_PER_COMMIT: usize = 1024 * 1024;

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file is no backup, damaged at its beginning, or newer than this program.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The passphrase is another one.
    #[error(transparent)]
    Passphrase(#[from] WrongPassphrase),
    /// A chunk does not open, or the end is missing.
    #[error("the backup is damaged or incomplete")]
    Damaged,
    /// It was made by a later version of this program.
    #[error("the backup was made by a newer Petmail: use that one")]
    Newer,
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The database refuses.
    #[error("{0:#}")]
    Database(anyhow::Error),
}

/// Writes everything into a backup. The caller sees to it that nothing is committed meanwhile, and syncs the file.
///
/// Blocks: to be called where that holds up no task.
///
/// # Errors
/// The database cannot be read, or the backup not be written.
pub(crate) fn write<W: std::io::Write>(
    db: &Db,
    config: &[u8],
    mut backup: BackupWriter<W>,
    runtime: &tokio::runtime::Handle,
) -> Result<W, BackupError> {
    write_version(&mut backup)?;
    write_config(&mut backup, config)?;
    let mut rows = 0;
    for keyspace in kept() {
        let mut cursor = Cursor::new(*keyspace, &[]);
        while let Some(row) = runtime.block_on(db.next_value(&mut cursor)).map_err(BackupError::Database)? {
            write_row(&mut backup, keyspace.name(), &row)?;
            rows += 1;
        }
    }
    write_end(&mut backup, rows)?;
    backup.finish()
}

/// Fills an empty database from a backup, marks it as restored at `now`, and returns the configuration.
///
/// # Errors
/// The backup is damaged or newer than this program, or the database cannot be written.
pub(crate) async fn read(
    backup: BackupReader<impl std::io::BufRead>,
    db: &Db,
    now: UnixMillis,
) -> Result<Vec<u8>, BackupError> {
    let mut content = ContentReader::new(backup)?;
    let (mut config, mut rows, mut writes, mut bytes) = (None, 0_u64, Vec::new(), 0);
    loop {
        match content.next()? {
            Entry::Config(text) if config.is_none() => config = Some(text),
            Entry::Config(_) => return Err(BackupError::Damaged),
            Entry::Row { keyspace, key, value } => {
                rows += 1;
                bytes += key.len() + value.len();
                writes.extend(restored(&keyspace, key, value)?);
            }
            Entry::End { rows: expected } if expected == rows => break,
            Entry::End { .. } => return Err(BackupError::Damaged),
        }
        if writes.len() >= ROWS_PER_COMMIT || bytes >= BYTES_PER_COMMIT {
            db.commit(std::mem::take(&mut writes)).await.map_err(BackupError::Database)?;
            bytes = 0;
        }
    }
    content.finish()?;
    let marker = now.0.to_be_bytes().to_vec();
    writes.push(Write { keyspace: AGENT, key: RESTORED_KEY.to_vec(), value: Some(marker) });
    db.commit(writes).await.map_err(BackupError::Database)?;
    config.context("the backup has no configuration").map_err(BackupError::Database)
}

/// The keyspaces that a backup has.
fn kept() -> impl Iterator<Item = &'static Keyspace> {
    KEYSPACES.iter().filter(|keyspace| !NOT_IN_BACKUP.contains(keyspace))
}

/// What is written for a row of a backup: nothing, if backups no longer have such rows.
fn restored(keyspace: &str, key: Vec<u8>, value: Vec<u8>) -> Result<Option<Write>, BackupError> {
    let keyspace = KEYSPACES.iter().find(|known| known.name() == keyspace).ok_or(BackupError::Newer)?;
    let is_kept = !NOT_IN_BACKUP.contains(keyspace);
    Ok(is_kept.then_some(Write { keyspace: *keyspace, key, value: Some(value) }))
}

#[cfg(test)]
mod tests;
