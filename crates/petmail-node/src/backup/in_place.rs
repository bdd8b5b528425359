//! Restoring into a node that has nothing yet: the backup takes the place of its database.
//!
//! A file marks the time in which the database is neither the old one nor the whole backup. Whoever finds the mark empties
//! the database: what was there before was empty too, and the backup can be restored once more.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, bail};
use petmail_net::{clock, program::write_private_file};
use petmail_proto::time::UnixMillis;

use super::{BackupError, BackupReader, read};
use crate::{
    basedir::{Basedir, remove_if_present},
    config::Config,
    db::{self, Db},
};

/// Puts a backup in place of the database, which nobody has open and which holds nothing of worth. Where the control API
/// listens stays; everything else that the owner has chosen is the backup's.
///
/// # Errors
/// The backup is damaged or does not fit, or the disk refuses; the database then is empty.
pub(crate) async fn restore(basedir: &Basedir, backup: BackupReader<BufReader<File>>) -> anyhow::Result<()> {
    write_private_file(&basedir.restoring_file(), b"").context("cannot begin")?;
    let restored = fill(basedir, backup).await;
    match &restored {
        Ok(()) => end(basedir)?,
        Err(_) => undo_interrupted(basedir)?,
    }
    restored
}

/// Empties the database if a restore was interrupted.
///
/// # Errors
/// Those of the system.
pub(crate) fn undo_interrupted(basedir: &Basedir) -> anyhow::Result<()> {
    if !basedir.restoring_file().exists() {
        return Ok(());
    }
    tracing::warn!("a restore was not finished; it is undone and can be repeated");
    db::remove(basedir.path()).context("cannot remove what an interrupted restore has left")?;
    end(basedir)
}

async fn fill(basedir: &Basedir, backup: BackupReader<BufReader<File>>) -> anyhow::Result<()> {
    db::remove(basedir.path()).context("cannot remove the empty database")?;
    let db = Db::open(basedir.path(), None).await?;
    let read = read(backup, &db, UnixMillis(clock::unix_ms())).await;
    db.close().await;
    let config = String::from_utf8(read?).map_err(|_| BackupError::Damaged)?;
    let theirs = Config::parse(&config).context("the configuration in the backup")?;
    if theirs.local_mailbox.is_some() {
        bail!(
            "the backup is of a node with a mailbox inside, whose folder has to come along: use the command `restore`"
        );
    }
    let ours = Config::load(&basedir.config_file())?;
    let config = Config { listen: ours.listen, ..theirs };
    write_private_file(&basedir.config_file(), config.to_commented_toml().as_bytes())
        .context("cannot write the configuration")
}

/// Takes the mark away; that has to outlast a power cut.
fn end(basedir: &Basedir) -> anyhow::Result<()> {
    let synced = |path: &Path| File::open(path)?.sync_all();
    remove_if_present(&basedir.restoring_file())
        .and_then(|()| synced(basedir.path()))
        .context("cannot remove the mark of an unfinished restore")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{agent::records::AGENT, db::Write};

    async fn rows(basedir: &Basedir) -> usize {
        let db = Db::open(basedir.path(), None).await.unwrap();
        let rows = db.scan(AGENT, &[]).await.unwrap().len();
        db.close().await;
        rows
    }

    #[tokio::test]
    async fn what_an_interrupted_restore_has_left_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path()).unwrap();
        fs::write(basedir.config_file(), "").unwrap();
        let db = Db::open(basedir.path(), None).await.unwrap();
        db.commit(vec![Write { keyspace: AGENT, key: b"half".to_vec(), value: Some(vec![1]) }])
            .await
            .unwrap();
        db.close().await;
        undo_interrupted(&basedir).unwrap();
        assert_eq!(rows(&basedir).await, 1, "without the mark everything stays");
        fs::write(basedir.restoring_file(), "").unwrap();
        undo_interrupted(&basedir).unwrap();
        assert_eq!(rows(&basedir).await, 0);
        assert!(basedir.has_node() && !basedir.restoring_file().exists());
    }
}
