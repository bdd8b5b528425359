//! The node's database: rows of the store, and files for the values that are too large for a row.
//!
//! A row begins with a tag: 0, the value follows; 1, the name of a file follows. Callers see values only.

use std::path::Path;

use anyhow::Context;
use petmail_store::{Batch, BlobDir, BlobName, Direction, EngineKind, Keyspace, Store, prefix_range};
use rand_core::{OsRng, RngCore};

use crate::agent::records::{BODIES, KEYSPACES, QUARANTINE};

/// The largest value that a row holds itself, in bytes; the tag takes the last one that the store allows.
const MAX_INLINE_BYTES: usize = petmail_store::MAX_VALUE_BYTES - 1;

/// The largest value at all, in bytes: the payload of a message in the largest bucket, escaped and framed.
const MAX_VALUE_BYTES: u64 = 1 << 20;

/// How many rows are read at a time.
const PAGE: usize = 512;

const INLINE: u8 = 0;
const FILE: u8 = 1;

/// The keyspaces whose values may be files.
const LARGE: [Keyspace; 2] = [BODIES, QUARANTINE];

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
    files: BlobDir,
}

impl Db {
    /// Opens the database in `basedir`, creating it if absent, and removes files that no row names.
    pub(crate) async fn open(basedir: &Path) -> anyhow::Result<Self> {
        let path = basedir.join("db");
        let store = tokio::task::spawn_blocking(move || Store::open(&path, EngineKind::Sled, KEYSPACES))
            .await
            .context("opening the database was interrupted")??;
        let files =
            BlobDir::open(&basedir.join("files")).context("cannot open the folder of large values")?;
        let db = Self { store, files };
        db.sweep().await?;
        Ok(db)
    }

    /// Makes all `writes` at once; they are on disk when this returns.
    ///
    /// Files are written before the rows that name them, and removed after.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> anyhow::Result<()> {
        let (mut batch, mut unused) = (Batch::new(), Vec::new());
        for write in writes {
            if LARGE.contains(&write.keyspace) {
                unused.extend(self.file_of(write.keyspace, &write.key).await?);
            }
            batch = match write.value {
                None => batch.delete(write.keyspace, write.key),
                Some(value) => batch.put(write.keyspace, write.key, self.row(value).await?),
            };
        }
        self.store.commit(batch).await.context("cannot write to the database")?;
        for name in unused {
            if let Err(error) = self.files.remove(name).await {
                tracing::warn!(%error, "a file that is no longer needed stays until the next start");
            }
        }
        Ok(())
    }

    /// Reads one value.
    pub(crate) async fn get(&self, keyspace: Keyspace, key: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        match self.store.get(keyspace, key).await.context("cannot read the database")? {
            Some(row) => self.value(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads all rows whose keys begin with `prefix`, in order.
    pub(crate) async fn scan(
        &self,
        keyspace: Keyspace,
        prefix: &[u8],
    ) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut rows = Vec::new();
        for (key, row) in self.rows(keyspace, prefix).await? {
            rows.push((key, self.value(row).await?));
        }
        Ok(rows)
    }

    /// Reads the last row of a keyspace.
    pub(crate) async fn last_key(&self, keyspace: Keyspace) -> anyhow::Result<Option<Vec<u8>>> {
        let rows = self.store.range(keyspace, .., Direction::Descending, 1).await;
        Ok(rows.context("cannot read the database")?.pop().map(|(key, _)| key))
    }

    /// Finishes what is under way and closes the store.
    pub(crate) async fn close(self) {
        self.store.close().await;
    }

    async fn rows(&self, keyspace: Keyspace, prefix: &[u8]) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (mut start, end) = prefix_range(prefix);
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let page = self.store.range(keyspace, (start, end.clone()), Direction::Ascending, PAGE).await;
            let page = page.context("cannot read the database")?;
            let is_last = page.len() < PAGE;
            rows.extend(page);
            match rows.last() {
                Some((key, _)) if !is_last => start = std::ops::Bound::Excluded(key.clone()),
                _ => return Ok(rows),
            }
        }
    }

    async fn row(&self, value: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        if value.len() <= MAX_INLINE_BYTES {
            return Ok([vec![INLINE], value].concat());
        }
        let mut name = [0; 16];
        OsRng.fill_bytes(&mut name);
        self.files.put(BlobName::from_bytes(name), value).await.context("cannot write a large value")?;
        Ok([vec![FILE], name.to_vec()].concat())
    }

    async fn value(&self, mut row: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        if let Some(name) = file_name(&row) {
            let value = self.files.get(name, MAX_VALUE_BYTES).await.context("cannot read a large value")?;
            return value.context("a file that belongs to the database is missing; restore a backup");
        }
        anyhow::ensure!(row.first() == Some(&INLINE), "a row of the database is damaged; restore a backup");
        row.remove(0);
        Ok(row)
    }

    async fn file_of(&self, keyspace: Keyspace, key: &[u8]) -> anyhow::Result<Option<BlobName>> {
        let row = self.store.get(keyspace, key).await.context("cannot read the database")?;
        Ok(row.as_deref().and_then(file_name))
    }

    async fn sweep(&self) -> anyhow::Result<()> {
        let mut known = std::collections::BTreeSet::new();
        for keyspace in LARGE {
            let rows = self.rows(keyspace, &[]).await?;
            known.extend(rows.iter().filter_map(|(_, row)| file_name(row)).map(|name| *name.as_bytes()));
        }
        let is_known = move |name: &BlobName| known.contains(name.as_bytes());
        self.files.sweep(is_known).await.context("cannot tidy the folder of large values")?;
        Ok(())
    }
}

fn file_name(row: &[u8]) -> Option<BlobName> {
    let name = row.strip_prefix(&[FILE])?;
    Some(BlobName::from_bytes(name.try_into().ok()?))
}
