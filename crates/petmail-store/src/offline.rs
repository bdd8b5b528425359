//! Rewriting a store that is not open: compaction, the way from one engine to the other, and other values in its rows.
//!
//! sled never gives disk space back, so copying all rows into fresh files is the only compaction.
//! The copy replaces the original by one rename; a crash before it leaves the original.

use std::io;
use std::ops::Bound;
use std::path::Path;

use crate::batch::{MAX_BATCH_BYTES, MAX_VALUE_BYTES, Op, check_sizes};
use crate::engine::{Access, Engine, EngineError, EngineKind};
use crate::layout::{self, Label, Layout, OpenError};
use crate::store::{Direction, Options, Row};

/// Rows copied in one commit: as many of the largest as one commit may hold.
const ROWS_PER_COMMIT: usize = MAX_BATCH_BYTES / (2 * MAX_VALUE_BYTES);

/// Why a store could not be rewritten. It is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no store in the folder.
    #[error("there is no store in the folder")]
    Absent,
    /// A row cannot be rewritten.
    #[error(transparent)]
    Row(RowError),
    /// Reading the old or writing the new files failed.
    #[error("cannot copy the store: {0}")]
    Copy(#[from] EngineError),
    /// The file system refused.
    #[error("cannot replace the store's files: {0}")]
    Io(#[from] io::Error),
}

/// What rewriting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Number of rows copied.
    pub rows: u64,
    /// Size on disk before, in bytes.
    pub before_bytes: u64,
    /// Size on disk after, in bytes.
    pub after_bytes: u64,
}

/// Copies all rows of a closed store to fresh files, which takes as little space as the engine can.
///
/// Needs free space for the copy. Blocks.
///
/// # Errors
///
/// See [`OfflineError`].
pub fn compact_offline(path: &Path, engine: EngineKind) -> Result<Rewritten, OfflineError> {
    migrate_offline(path, engine, engine)
}

/// Copies all rows of a closed store to fresh files of the engine `to`, which replace the old ones.
///
/// Needs free space for the copy. Blocks.
///
/// # Errors
///
/// See [`OfflineError`].
pub fn migrate_offline(path: &Path, from: EngineKind, to: EngineKind) -> Result<Rewritten, OfflineError> {
    rewrite(path, (from, to), &NewLabel::Same, &mut |_, _, value| Ok(value))
}

/// Gives every row of a closed store the value that `rewrite` makes of its keyspace's name, its key and its value, and
/// the store the given label. All rows and the label change by one rename; before it nothing has changed.
///
/// Needs free space for the copy. Blocks.
///
/// # Errors
///
/// See [`OfflineError`].
pub fn rewrite_offline(
    path: &Path,
    engine: EngineKind,
    label: Option<&Label>,
    mut rewrite_row: impl FnMut(&str, &[u8], Vec<u8>) -> Result<Vec<u8>, RowError>,
) -> Result<Rewritten, OfflineError> {
    rewrite(path, (engine, engine), &NewLabel::Given(label), &mut rewrite_row)
}

/// Why a row cannot be rewritten, as the caller says it.
pub type RowError = Box<dyn std::error::Error + Send + Sync>;

type RewriteRow<'a> = dyn FnMut(&str, &[u8], Vec<u8>) -> Result<Vec<u8>, RowError> + 'a;

/// What label the new generation gets.
enum NewLabel<'a> {
    Same,
    Given(Option<&'a Label>),
}

fn rewrite(
    path: &Path,
    (from, to): (EngineKind, EngineKind),
    new_label: &NewLabel<'_>,
    rewrite_row: &mut RewriteRow<'_>,
) -> Result<Rewritten, OfflineError> {
    if !path.exists() {
        return Err(OfflineError::Absent);
    }
    let layout = Layout::lock(path)?;
    let old = layout.current()?.ok_or(OfflineError::Absent)?;
    let label = layout.check(&old, from)?;
    let label = match new_label {
        NewLabel::Same => label.as_ref(),
        NewLabel::Given(label) => *label,
    };
    let before_bytes = layout::disk_bytes(&old)?;
    let new = layout.begin(to, label)?;
    let rows = copy(path, (from, &old), (to, &new), rewrite_row)?;
    let new = layout.finish()?;
    Ok(Rewritten { rows, before_bytes, after_bytes: layout::disk_bytes(&new)? })
}

fn copy(
    path: &Path,
    (from, old): (EngineKind, &Path),
    (to, new): (EngineKind, &Path),
    rewrite_row: &mut RewriteRow<'_>,
) -> Result<u64, OfflineError> {
    let names = from.keyspace_names(old).map_err(|error| error.on_opening(path))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let access = Access::Open(Options::default().cache_bytes);
    let source = from.open(old, access, &names).map_err(|error| error.on_opening(path))?;
    let target = to.open(new, Access::Create, &names)?;
    let mut rows = 0;
    for (keyspace, name) in names.iter().enumerate() {
        let mut put = |(key, value): Row| {
            let value = rewrite_row(name, &key, value).map_err(OfflineError::Row)?;
            check_sizes(&key, Some(&value)).map_err(|error| OfflineError::Row(error.into()))?;
            Ok(Op { keyspace, key, value: Some(value) })
        };
        rows += copy_keyspace(source.as_ref(), target.as_ref(), keyspace, &mut put)?;
    }
    Ok(rows)
}

fn copy_keyspace(
    source: &dyn Engine,
    target: &dyn Engine,
    keyspace: usize,
    put: &mut dyn FnMut(Row) -> Result<Op, OfflineError>,
) -> Result<u64, OfflineError> {
    let mut copied = 0;
    let mut after = Bound::Unbounded;
    loop {
        let range = (after, Bound::Unbounded);
        let rows = source.range(keyspace, range, Direction::Ascending, ROWS_PER_COMMIT)?;
        let Some((last, _)) = rows.last() else {
            return Ok(copied);
        };
        after = Bound::Excluded(last.clone());
        copied += rows.len() as u64;
        let ops: Vec<Op> = rows.into_iter().map(&mut *put).collect::<Result<_, _>>()?;
        target.apply(&ops)?;
    }
}
