//! The content of a backup: version u16, then entries, each a kind u8 and its fields; the last says how many rows there are.
//!
//! ```text
//! 1 configuration   text
//! 2 row             name of the keyspace, key, value
//! 0 end             number of rows u64
//! ```
//! Each part of variable length stands behind its length u32.

use std::io::{BufRead, Write};

use petmail_proto::wire::Writer;
use petmail_store::{MAX_KEY_BYTES, Row};

use super::{BackupError, BackupReader, BackupWriter};
use crate::db::MAX_VALUE_BYTES;

const VERSION: u16 = 1;

const END: u8 = 0;
const CONFIG: u8 = 1;
const ROW: u8 = 2;

/// Longest configuration, in bytes: far more than a person writes.
const MAX_CONFIG_BYTES: usize = 1024 * 1024;

/// Longest name of a keyspace, in bytes: the store's bound.
const MAX_NAME_BYTES: usize = 32;

/// One entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Config(Vec<u8>),
    Row { keyspace: String, key: Vec<u8>, value: Vec<u8> },
    End { rows: u64 },
}

pub(super) fn write_version<W: Write>(backup: &mut BackupWriter<W>) -> Result<(), BackupError> {
    backup.append(&VERSION.to_be_bytes())
}

pub(super) fn write_config<W: Write>(backup: &mut BackupWriter<W>, config: &[u8]) -> Result<(), BackupError> {
    if config.len() > MAX_CONFIG_BYTES {
        return Err(std::io::Error::other("the configuration is too long").into());
    }
    backup.append(&Writer::new().u8(CONFIG).variable(config).finish())
}

pub(super) fn write_row<W: Write>(
    backup: &mut BackupWriter<W>,
    keyspace: &str,
    (key, value): &Row,
) -> Result<(), BackupError> {
    let row = Writer::new().u8(ROW).variable(keyspace.as_bytes()).variable(key).variable(value);
    backup.append(&row.finish())
}

pub(super) fn write_end<W: Write>(backup: &mut BackupWriter<W>, rows: u64) -> Result<(), BackupError> {
    backup.append(&Writer::new().u8(END).u64(rows).finish())
}

/// Takes a content apart.
#[derive(Debug)]
pub(super) struct ContentReader<R>(BackupReader<R>);

impl<R: BufRead> ContentReader<R> {
    /// Reads the version.
    pub(super) fn new(mut backup: BackupReader<R>) -> Result<Self, BackupError> {
        match u16::from_be_bytes(array(&mut backup)?) {
            VERSION => Ok(Self(backup)),
            version if version > VERSION => Err(BackupError::Newer),
            _ => Err(BackupError::Damaged),
        }
    }

    /// Reads the next entry; after [`Entry::End`] there is none.
    pub(super) fn next(&mut self) -> Result<Entry, BackupError> {
        let [kind] = array(&mut self.0)?;
        match kind {
            END => Ok(Entry::End { rows: u64::from_be_bytes(array(&mut self.0)?) }),
            CONFIG => Ok(Entry::Config(self.variable(MAX_CONFIG_BYTES)?)),
            ROW => Ok(Entry::Row {
                keyspace: String::from_utf8(self.variable(MAX_NAME_BYTES)?)
                    .map_err(|_| BackupError::Damaged)?,
                key: self.variable(MAX_KEY_BYTES)?,
                value: self.variable(MAX_VALUE_BYTES)?,
            }),
            _ => Err(BackupError::Damaged),
        }
    }

    /// Makes sure that nothing follows the end.
    pub(super) fn finish(self) -> Result<(), BackupError> {
        self.0.finish()
    }

    fn variable(&mut self, max_bytes: usize) -> Result<Vec<u8>, BackupError> {
        let length = u32::from_be_bytes(array(&mut self.0)?) as usize;
        if length > max_bytes {
            return Err(BackupError::Damaged);
        }
        self.0.take(length)
    }
}

fn array<const N: usize>(backup: &mut BackupReader<impl BufRead>) -> Result<[u8; N], BackupError> {
    backup.take(N)?.try_into().map_err(|_| BackupError::Damaged)
}
