//! What callers write: keyspace names, batches, and the limits that hold for every engine.
//!
//! Knows no engine. The limits are the ones under which sled was found to be safe
//! (`docs/architecture.md`, petmail-store).

use crate::committer::CommitError;

/// Longest key, in bytes: room for two 32-byte identifiers, a counter and a prefix.
pub const MAX_KEY_BYTES: usize = 512;

/// Longest value, in bytes. sled writes what grows past a quarter of its segment to files that it
/// never syncs; larger values belong into a [`BlobDir`](crate::BlobDir).
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// Most operations in one batch, and in one group of batches.
pub const MAX_BATCH_OPS: usize = 1024;

/// Most bytes of keys and values in one batch, and in one group of batches.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The name of one sorted map within a store.
///
/// Programs declare their few keyspaces as constants and pass them to
/// [`Store::open`](crate::Store::open); thousands of them would cost the engines dearly, so queues
/// share one keyspace under prefixed keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyspace(&'static str);

impl Keyspace {
    /// Makes a keyspace of a name of 1 to 32 characters out of `a-z`, `0-9` and `-`.
    ///
    /// # Panics
    ///
    /// With any other name; in a constant this is an error of the build.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let mut rest = name.as_bytes();
        assert!(!rest.is_empty() && rest.len() <= 32, "keyspace names have 1 to 32 characters");
        while let [first, tail @ ..] = rest {
            assert!(
                matches!(first, b'a'..=b'z' | b'0'..=b'9' | b'-'),
                "keyspace names consist of a-z, 0-9 and -"
            );
            rest = tail;
        }
        Self(name)
    }

    /// The name, as it stands on disk.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.0
    }
}

/// Writes that take effect together or not at all.
///
/// Of two operations on the same key the later one wins. An empty batch is a barrier: its commit
/// resolves once everything queued before it is durable.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    ops: Vec<(Keyspace, Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: `key` shall hold `value`.
    #[must_use]
    pub fn put(mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.push(keyspace, key.into(), Some(value.into()));
        self
    }

    /// Adds: `key` shall be absent. Deleting what is not there is no error.
    #[must_use]
    pub fn delete(mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>) -> Self {
        self.push(keyspace, key.into(), None);
        self
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Total size of keys and values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, keyspace: Keyspace, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes = self.bytes.saturating_add(key.len() + value.as_ref().map_or(0, Vec::len));
        self.ops.push((keyspace, key, value));
    }

    /// Checks the limits of keys and values and replaces keyspaces by their position in `keyspaces`.
    pub(crate) fn resolve(self, keyspaces: &[Keyspace]) -> Result<Vec<Op>, CommitError> {
        self.ops
            .into_iter()
            .map(|(keyspace, key, value)| {
                check_sizes(&key, value.as_deref())?;
                let keyspace =
                    position(keyspaces, keyspace).ok_or(CommitError::UnknownKeyspace(keyspace.name()))?;
                Ok(Op { keyspace, key, value })
            })
            .collect()
    }
}

/// One checked write; without a value it deletes.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) keyspace: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Finds a keyspace among the opened ones.
pub(crate) fn position(keyspaces: &[Keyspace], wanted: Keyspace) -> Option<usize> {
    keyspaces.iter().position(|known| *known == wanted)
}

/// Checks the limits of a key and its value.
pub(crate) fn check_sizes(key: &[u8], value: Option<&[u8]>) -> Result<(), CommitError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(CommitError::BadKeyLength(key.len()));
    }
    match value {
        Some(value) if value.len() > MAX_VALUE_BYTES => Err(CommitError::ValueTooLarge(value.len())),
        _ => Ok(()),
    }
}
