//! Content-defined chunking: FastCDC (Xia et al. 2020) with a table that a secret changes.

use std::io::Read;

use fastcdc::v2020::{Normalization, StreamCDC};

use super::ContentSecret;

/// The shortest chunk that is not the last, in bytes.
pub const MIN_CHUNK_BYTES: usize = 256 << 10;
/// The length that chunks tend to, in bytes.
pub const AVERAGE_CHUNK_BYTES: usize = 1 << 20;
/// The longest chunk, in bytes.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// Cuts what `source` yields, so that a change moves only the cuts near it.
///
/// Holds one longest chunk and the one that it returns. Where it cuts depends on the secret, but an observer of the lengths of
/// many known files could learn the table: packs therefore show no lengths of chunks.
///
/// # Errors
/// Each item is an error if `source` fails; nothing useful follows it.
pub fn chunks(source: impl Read, secret: &ContentSecret) -> impl Iterator<Item = std::io::Result<Vec<u8>>> {
    let cut = StreamCDC::with_level_and_seed(
        source,
        MIN_CHUNK_BYTES,
        AVERAGE_CHUNK_BYTES,
        MAX_CHUNK_BYTES,
        Normalization::Level1,
        secret.chunker_seed(),
    );
    cut.map(|chunk| chunk.map(|chunk| chunk.data).map_err(std::io::Error::from))
}
