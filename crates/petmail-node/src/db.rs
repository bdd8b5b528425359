//! The node's database: rows of the store, and files for the values that are too large for a row. Both are encrypted if
//! the node has a vault. Callers see values only.

mod values;

use std::{
    collections::BTreeSet,
    ops::Bound,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use petmail_store::{
    Batch, BlobDir, BlobName, Direction, DiskFull, EngineKind, Keyspace, Row, Store, prefix_range,
    rewrite_offline,
};

use self::values::{SHORT, Values};
use crate::{
    agent::records::{BODIES, DRAFTS, KEYSPACES, QUARANTINE, transfers::PACKS},
    vault::Vault,
};

/// The largest value, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = values::MAX_LARGE_BYTES;

/// How many rows are read at a time.
const PAGE: usize = 512;

/// The keyspaces whose values often are files: those are removed with their rows, others at the next start.
const LARGE: [Keyspace; 4] = [BODIES, DRAFTS, PACKS, QUARANTINE];

/// One change of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) keyspace: Keyspace,
    pub(crate) key: Vec<u8>,
    /// The new value; none deletes the row.
    pub(crate) value: Option<Vec<u8>>,
}

/// The open database.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    store: Store,
    values: Values,
}

impl Db {
    /// Opens the database in `basedir`, creating it if absent, and removes what a crash may have left. An encrypted one
    /// needs its vault.
    pub(crate) async fn open(basedir: &Path, vault: Option<Vault>) -> anyhow::Result<Self> {
        let path = store_dir(basedir);
        let store = tokio::task::spawn_blocking(move || Store::open(&path, EngineKind::Sled, KEYSPACES))
            .await
            .context("opening the database was interrupted")??;
        let vault = match (store.label(), vault) {
            (None, _) => None,
            (Some(_), None) => bail!("the database is encrypted and needs its passphrase"),
            (Some(label), Some(vault)) if *label == vault.label() => Some(vault),
            (Some(_), Some(_)) => bail!("the database has been encrypted anew meanwhile; try again"),
        };
        let files = open_files(basedir)?;
        let db = Self { store, values: Values { files, vault } };
        db.sweep().await?;
        Ok(db)
    }

    /// Makes all `writes` at once; they are on disk when this returns.
    ///
    /// Files are written before the rows that name them, and removed after.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> anyhow::Result<()> {
        let (mut batch, mut unused) = (Batch::new(), Vec::new());
        for Write { keyspace, key, value } in writes {
            if LARGE.contains(&keyspace) {
                unused.extend(self.file_of(keyspace, &key).await?);
            }
            batch = match value {
                None => batch.delete(keyspace, key),
                Some(value) => {
                    let row = self.values.write(keyspace.name(), &key, value).await?;
                    batch.put(keyspace, key, row)
                }
            };
        }
        self.store.commit(batch).await.context("cannot write to the database")?;
        for name in unused {
            if let Err(error) = self.values.files.remove(name).await {
                tracing::warn!(%error, "a file that is no longer needed stays until the next start");
            }
        }
        Ok(())
    }

    /// Reads one value.
    pub(crate) async fn get(&self, keyspace: Keyspace, key: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        match self.store.get(keyspace, key).await.context("cannot read the database")? {
            Some(row) => self.values.read(keyspace.name(), key, row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads all rows whose keys begin with `prefix`, in order.
    pub(crate) async fn scan(&self, keyspace: Keyspace, prefix: &[u8]) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut cursor = Cursor::new(keyspace, prefix);
        while let Some((key, row)) = self.next(&mut cursor).await? {
            let value = self.values.read(keyspace.name(), &key, row).await?;
            rows.push((key, value));
        }
        Ok(rows)
    }

    /// Reads the last row of a keyspace.
    pub(crate) async fn last_key(&self, keyspace: Keyspace) -> anyhow::Result<Option<Vec<u8>>> {
        let rows = self.store.range(keyspace, .., Direction::Descending, 1).await;
        Ok(rows.context("cannot read the database")?.pop().map(|(key, _)| key))
    }

    /// Reads the last rows whose keys begin with each of the prefixes, at most `count` for each, in order.
    pub(crate) async fn last_of_each(
        &self,
        keyspace: Keyspace,
        prefixes: &[Vec<u8>],
        count: usize,
    ) -> anyhow::Result<Vec<Vec<Row>>> {
        let ranges = prefixes.iter().map(|prefix| prefix_range(prefix)).collect();
        let read = self.store.ranges(keyspace, ranges, Direction::Descending, count).await;
        let mut all = Vec::new();
        for rows in read.context("cannot read the database")? {
            let mut last = Vec::new();
            for (key, row) in rows.into_iter().rev() {
                let value = self.values.read(keyspace.name(), &key, row).await?;
                last.push((key, value));
            }
            all.push(last);
        }
        Ok(all)
    }

    /// Reads the values of several keys; none for those that are not there.
    pub(crate) async fn get_each(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> anyhow::Result<Vec<Option<Vec<u8>>>> {
        let exactly = |key: &Vec<u8>| (Bound::Included(key.clone()), Bound::Included(key.clone()));
        let ranges = keys.iter().map(exactly).collect();
        let read = self.store.ranges(keyspace, ranges, Direction::Ascending, 1).await;
        let mut values = Vec::new();
        for rows in read.context("cannot read the database")? {
            values.push(match rows.into_iter().next() {
                Some((key, row)) => Some(self.values.read(keyspace.name(), &key, row).await?),
                None => None,
            });
        }
        Ok(values)
    }

    /// Counts the rows whose keys begin with `prefix` and come after `key`, without reading their values.
    pub(crate) async fn count_after(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
        key: &[u8],
    ) -> anyhow::Result<u64> {
        let mut cursor = Cursor::new(keyspace, prefix);
        cursor.start = Bound::Excluded(key.to_owned());
        let mut count = 0;
        while self.next(&mut cursor).await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Reads the row after the last one that this returned for `cursor`, with its value.
    pub(crate) async fn next_value(&self, cursor: &mut Cursor) -> anyhow::Result<Option<Row>> {
        let Some((key, row)) = self.next(cursor).await? else { return Ok(None) };
        let value = self.values.read(cursor.keyspace.name(), &key, row).await?;
        Ok(Some((key, value)))
    }

    /// Returns what encrypts it, if a passphrase protects it.
    pub(crate) fn vault(&self) -> Option<Vault> {
        self.values.vault.clone()
    }

    /// Tells whether a passphrase protects it.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.values.vault.is_some()
    }

    /// Checks that there is room for more.
    pub(crate) fn check_room(&self) -> Result<(), DiskFull> {
        self.store.check_room()
    }

    /// Waits until a write has failed, after which the database has to be opened again. Says why.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        anyhow::Error::new(self.store.failed().await).context("a write to the database failed")
    }

    /// Says how the store is.
    pub(crate) async fn stats(&self) -> anyhow::Result<petmail_store::Stats> {
        self.store.stats().await.context("cannot look at the database")
    }

    /// Finishes what is under way and closes the store.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }

    /// Reads the next row as it lies on the disk.
    async fn next(&self, cursor: &mut Cursor) -> anyhow::Result<Option<Row>> {
        if cursor.page.len() == 0 && !cursor.is_last {
            let range = (cursor.start.clone(), cursor.end.clone());
            let page = self.store.range(cursor.keyspace, range, Direction::Ascending, PAGE).await;
            let page = page.context("cannot read the database")?;
            cursor.is_last = page.len() < PAGE;
            if let Some((key, _)) = page.last() {
                cursor.start = Bound::Excluded(key.clone());
            }
            cursor.page = page.into_iter();
        }
        Ok(cursor.page.next())
    }

    async fn file_of(&self, keyspace: Keyspace, key: &[u8]) -> anyhow::Result<Option<BlobName>> {
        match self.store.get(keyspace, key).await.context("cannot read the database")? {
            Some(row) => self.values.file_of(keyspace.name(), key, row),
            None => Ok(None),
        }
    }

    async fn sweep(&self) -> anyhow::Result<()> {
        let mut known = BTreeSet::new();
        for keyspace in KEYSPACES.iter().filter(|keyspace| !SHORT.contains(&keyspace.name())) {
            let mut cursor = Cursor::new(*keyspace, &[]);
            while let Some((key, row)) = self.next(&mut cursor).await? {
                known.extend(self.values.file_of(keyspace.name(), &key, row)?);
            }
        }
        let is_known = move |name: &BlobName| known.contains(name);
        self.values.files.sweep(is_known).await.context("cannot tidy the folder of large values")?;
        Ok(())
    }
}

/// A place in the rows of a keyspace; it moves on by being read at.
#[derive(Debug)]
pub(crate) struct Cursor {
    keyspace: Keyspace,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    page: std::vec::IntoIter<Row>,
    is_last: bool,
}

impl Cursor {
    /// Stands before the first row whose key begins with `prefix`.
    pub(crate) fn new(keyspace: Keyspace, prefix: &[u8]) -> Self {
        let (start, end) = prefix_range(prefix);
        Self { keyspace, start, end, page: Vec::new().into_iter(), is_last: false }
    }
}

/// Writes the database in `basedir` anew, from one vault or none to another or none.
///
/// Whenever this is interrupted, the database is whole, in the old form or the new; the next opening removes the rest.
pub(crate) async fn rewrite(basedir: &Path, from: Option<Vault>, to: Option<Vault>) -> anyhow::Result<()> {
    // A node that was never started has no database yet.
    Db::open(basedir, from.clone()).await?.close().await;
    let old = Values { files: open_files(basedir)?, vault: from.clone() };
    let new = Values { files: old.files.clone(), vault: to.clone() };
    let path = store_dir(basedir);
    let label = to.as_ref().map(Vault::label);
    let runtime = tokio::runtime::Handle::current();
    let rewritten = tokio::task::spawn_blocking(move || {
        rewrite_offline(&path, EngineKind::Sled, label.as_ref(), |keyspace, key, row| {
            let rewritten = runtime.block_on(async {
                let value = old.read(keyspace, key, row).await?;
                new.write(keyspace, key, value).await
            });
            rewritten.map_err(anyhow::Error::into_boxed_dyn_error)
        })
    });
    let rewritten = rewritten.await.context("writing the database anew was interrupted")?;
    // Opening it removes the files of the form that does not hold.
    match rewritten {
        Ok(_) => Db::open(basedir, to).await?.close().await,
        Err(error) => {
            if let Ok(db) = Db::open(basedir, from).await {
                db.close().await;
            }
            return Err(error).context("cannot write the database anew");
        }
    }
    Ok(())
}

/// Removes the database in `basedir`, which nobody has open.
pub(crate) fn remove(basedir: &Path) -> std::io::Result<()> {
    for folder in [store_dir(basedir), files_dir(basedir)] {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The folder of the store.
pub(crate) fn store_dir(basedir: &Path) -> PathBuf {
    basedir.join("db")
}

fn files_dir(basedir: &Path) -> PathBuf {
    basedir.join("files")
}

fn open_files(basedir: &Path) -> anyhow::Result<BlobDir> {
    BlobDir::open(&files_dir(basedir)).context("cannot open the folder of large values")
}

#[cfg(test)]
mod tests;
