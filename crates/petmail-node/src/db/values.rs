//! How values lie on the disk: in their row, or, if they are too large for one, in a file that the row names.
//!
//! A row begins with a tag: 0, the value follows; 1, the name of a file follows; 2, such a row follows, sealed by the
//! vault for its keyspace and key. A file is sealed for its name if the row that names it is sealed.

use anyhow::{Context, ensure};
use petmail_proto::at_rest::SEALED_OVERHEAD_BYTES;
use petmail_store::{BlobDir, BlobName, MAX_VALUE_BYTES};
use rand_core::{OsRng, RngCore};

use crate::{
    agent::records::{MESSAGE_IDS, MESSAGES},
    vault::Vault,
};

/// The largest value that a row holds itself, in bytes: two tags and the seal take the rest.
const MAX_INLINE_BYTES: usize = MAX_VALUE_BYTES - SEALED_OVERHEAD_BYTES - 2;

/// The largest value at all, in bytes: the payload of a message in the largest bucket, escaped and framed.
pub(super) const MAX_LARGE_BYTES: usize = 1 << 20;

const INLINE: u8 = 0;
const FILE: u8 = 1;
const SEALED: u8 = 2;

/// The keyspaces of short records, which the search for the names of files passes by.
pub(super) const SHORT: [&str; 2] = [MESSAGES.name(), MESSAGE_IDS.name()];

/// Reads and writes the values of one database.
#[derive(Clone, Debug)]
pub(super) struct Values {
    pub(super) files: BlobDir,
    pub(super) vault: Option<Vault>,
}

/// Where a value lies.
enum Content {
    Inline(Vec<u8>),
    File(BlobName),
}

impl Values {
    /// Makes the row for a value. A large one is on disk when this returns, in a file that the row names.
    pub(super) async fn write(&self, keyspace: &str, key: &[u8], value: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let row = if value.len() <= MAX_INLINE_BYTES {
            [&[INLINE], value.as_slice()].concat()
        } else {
            ensure!(!SHORT.contains(&keyspace), "a record of {keyspace} is too large");
            [&[FILE], self.write_file(value).await?.as_bytes().as_slice()].concat()
        };
        Ok(match &self.vault {
            None => row,
            Some(vault) => [vec![SEALED], vault.seal(&row_place(keyspace, key), &row)].concat(),
        })
    }

    /// Reads the value of a row.
    pub(super) async fn read(&self, keyspace: &str, key: &[u8], row: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        match self.content(keyspace, key, row)? {
            Content::Inline(value) => Ok(value),
            Content::File(name) => self.read_file(name).await,
        }
    }

    /// Returns the file that a row names.
    pub(super) fn file_of(
        &self,
        keyspace: &str,
        key: &[u8],
        row: Vec<u8>,
    ) -> anyhow::Result<Option<BlobName>> {
        match self.content(keyspace, key, row)? {
            Content::Inline(_) => Ok(None),
            Content::File(name) => Ok(Some(name)),
        }
    }

    fn content(&self, keyspace: &str, key: &[u8], row: Vec<u8>) -> anyhow::Result<Content> {
        let mut row = match &self.vault {
            None => row,
            Some(vault) => {
                let sealed = row.strip_prefix(&[SEALED]).context(DAMAGED)?;
                vault.open(&row_place(keyspace, key), sealed)?
            }
        };
        if let Some(name) = row.strip_prefix(&[FILE]) {
            return Ok(Content::File(BlobName::from_bytes(name.try_into().context(DAMAGED)?)));
        }
        ensure!(row.first() == Some(&INLINE), DAMAGED);
        row.remove(0);
        Ok(Content::Inline(row))
    }

    async fn write_file(&self, value: Vec<u8>) -> anyhow::Result<BlobName> {
        let mut name = [0; 16];
        OsRng.fill_bytes(&mut name);
        let name = BlobName::from_bytes(name);
        let bytes = match &self.vault {
            None => value,
            Some(vault) => vault.seal(&file_place(name), &value),
        };
        self.files.put(name, bytes).await.context("cannot write a large value")?;
        Ok(name)
    }

    async fn read_file(&self, name: BlobName) -> anyhow::Result<Vec<u8>> {
        let max_bytes = (MAX_LARGE_BYTES + SEALED_OVERHEAD_BYTES) as u64;
        let bytes = self.files.get(name, max_bytes).await.context("cannot read a large value")?;
        let bytes = bytes.context("a file that belongs to the database is missing; restore a backup")?;
        match &self.vault {
            None => Ok(bytes),
            Some(vault) => vault.open(&file_place(name), &bytes),
        }
    }
}

const DAMAGED: &str = "a row of the database is damaged; restore a backup";

/// What a sealed row is bound to: no name of a keyspace has a zero byte.
fn row_place(keyspace: &str, key: &[u8]) -> Vec<u8> {
    [keyspace.as_bytes(), &[0], key].concat()
}

/// What a sealed file is bound to: no keyspace has such a name.
fn file_place(name: BlobName) -> Vec<u8> {
    row_place("/file", name.as_bytes())
}
