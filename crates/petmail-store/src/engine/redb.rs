//! redb 4: one table for each keyspace, one write transaction for each group, synced at its commit.

use std::ops::Bound;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableHandle};

use super::{Access, Engine, EngineError, KeyRange, no_keyspace};
use crate::batch::Op;
use crate::store::{Direction, Row};

/// The database file within the engine's folder.
const FILE: &str = "store.redb";

/// An opened redb database.
pub(super) struct RedbEngine {
    db: Database,
    names: Vec<String>,
}

impl RedbEngine {
    pub(super) fn open(dir: &Path, access: Access, keyspaces: &[&str]) -> Result<Self, EngineError> {
        let cache_bytes = usize::try_from(access.cache_bytes()).map_err(EngineError::new)?;
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let db = match access {
            Access::Create => builder.create(dir.join(FILE)),
            Access::Open(_) => builder.open(dir.join(FILE)),
        }
        .map_err(redb_error)?;
        let engine = Self { db, names: keyspaces.iter().map(|name| (*name).to_owned()).collect() };
        engine.create_tables().map_err(redb_error)?;
        Ok(engine)
    }

    /// Creates the missing tables, so that reads need not distinguish absent from empty ones.
    fn create_tables(&self) -> Result<(), redb::Error> {
        let known: Vec<String> =
            self.db.begin_read()?.list_tables()?.map(|table| table.name().to_owned()).collect();
        if self.names.iter().all(|name| known.contains(name)) {
            return Ok(());
        }
        let mut write = self.db.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        for name in &self.names {
            write.open_table(definition(name))?;
        }
        Ok(write.commit()?)
    }

    fn name(&self, keyspace: usize) -> Result<&str, EngineError> {
        self.names.get(keyspace).map(String::as_str).ok_or_else(|| no_keyspace(keyspace))
    }

    /// Applies the operations keyspace by keyspace, as redb opens a table once at a time; the
    /// order within a keyspace is kept, and only that can be observed.
    fn write(&self, ops: &[Op]) -> Result<(), redb::Error> {
        let mut write = self.db.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        for (position, name) in self.names.iter().enumerate() {
            let mut table = write.open_table(definition(name))?;
            for op in ops.iter().filter(|op| op.keyspace == position) {
                match &op.value {
                    Some(value) => table.insert(op.key.as_slice(), value.as_slice())?,
                    None => table.remove(op.key.as_slice())?,
                };
            }
        }
        Ok(write.commit()?)
    }

    fn read(&self, name: &str, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.db.begin_read()?.open_table(definition(name))?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    fn scan(
        &self,
        name: &str,
        (from, to): &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, redb::Error> {
        let table = self.db.begin_read()?.open_table(definition(name))?;
        let mut rows = table.range::<&[u8]>((as_slice(from), as_slice(to)))?;
        std::iter::from_fn(|| match direction {
            Direction::Ascending => rows.next(),
            Direction::Descending => rows.next_back(),
        })
        .take(limit)
        .map(|row| {
            let (key, value) = row?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })
        .collect()
    }
}

impl Engine for RedbEngine {
    fn apply(&self, ops: &[Op]) -> Result<(), EngineError> {
        self.write(ops).map_err(redb_error)
    }

    fn get(&self, keyspace: usize, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.read(self.name(keyspace)?, key).map_err(redb_error)
    }

    fn range(
        &self,
        keyspace: usize,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, EngineError> {
        self.scan(self.name(keyspace)?, &range, direction, limit).map_err(redb_error)
    }

    fn alarm(&self) -> bool {
        false
    }
}

/// The names of the keyspaces in `dir`.
pub(super) fn keyspace_names(dir: &Path) -> Result<Vec<String>, EngineError> {
    let list = || -> Result<Vec<String>, redb::Error> {
        let db = Database::open(dir.join(FILE))?;
        let read = db.begin_read()?;
        let tables = read.list_tables()?;
        Ok(tables.map(|table| table.name().to_owned()).collect())
    };
    list().map_err(redb_error)
}

fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

fn redb_error(error: impl Into<redb::Error>) -> EngineError {
    match error.into() {
        redb::Error::Io(error) => error.into(),
        other => EngineError::new(other),
    }
}
