//! Content-defined chunking: FastCDC (Xia et al. 2020) with a table that a secret changes.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};

use super::{ContentSecret, chunk::sealed_bytes};

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
pub fn chunks(source: impl Read, secret: &ContentSecret) -> impl Iterator<Item = io::Result<Vec<u8>>> {
    let seed = secret.chunker_seed();
    let mut window = Window { source, bytes: Vec::with_capacity(MAX_CHUNK_BYTES), start: 0, is_last: false };
    std::iter::from_fn(move || window.next_chunk(seed).transpose())
}

/// What was read and not cut off yet.
struct Window<R> {
    source: R,
    bytes: Vec<u8>,
    /// Where the next chunk begins.
    start: usize,
    /// Whether the source has ended.
    is_last: bool,
}

impl<R: Read> Window<R> {
    fn next_chunk(&mut self, seed: u64) -> io::Result<Option<Vec<u8>>> {
        loop {
            let rest = self.bytes.get(self.start..).unwrap_or_default();
            let end = first_cut(rest, seed);
            // What comes later changes no cut before the end of what is there.
            if end == rest.len() && rest.len() < MAX_CHUNK_BYTES && !self.is_last {
                self.refill()?;
                continue;
            }
            let Some(content) = rest.get(..end).filter(|content| !content.is_empty()) else {
                return Ok(None);
            };
            let sealed = sealed_bytes(u32::try_from(end).unwrap_or(u32::MAX));
            // Sealed where it is, it needs that much.
            let mut chunk = Vec::with_capacity(usize::try_from(sealed).unwrap_or(end));
            chunk.extend_from_slice(content);
            self.start = self.start.saturating_add(end);
            return Ok(Some(chunk));
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let room = MAX_CHUNK_BYTES.saturating_sub(self.bytes.len());
        self.source.by_ref().take(room as u64).read_to_end(&mut self.bytes)?;
        self.is_last = self.bytes.len() < MAX_CHUNK_BYTES;
        Ok(())
    }
}

/// Where the first chunk of `bytes` ends, if nothing follows them.
fn first_cut(bytes: &[u8], seed: u64) -> usize {
    let level = Normalization::Level1;
    let chunker = FastCDC::with_level_and_seed(
        bytes,
        MIN_CHUNK_BYTES,
        AVERAGE_CHUNK_BYTES,
        MAX_CHUNK_BYTES,
        level,
        seed,
    );
    chunker.cut(0, bytes.len()).1
}

#[cfg(test)]
mod tests {
    use fastcdc::v2020::StreamCDC;
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore, SeedableRng},
    };

    use super::*;

    /// Yields a few bytes at a time, however many are asked for.
    struct Slow<'a>(&'a [u8], ChaCha8Rng);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = (self.1.next_u32() as usize % 100_000).max(1).min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn cuts_are_those_of_the_library_s_stream() {
        let secret = ContentSecret::from_bytes([5; 32]);
        let mut content = vec![0; 40_000_000];
        ChaCha8Rng::seed_from_u64(3).fill_bytes(&mut content);
        // Nothing to cut at.
        content[20_000_000..33_000_000].fill(0);
        for length in [0, 1, MIN_CHUNK_BYTES, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES + 1, 30_000_000, content.len()]
        {
            let content = &content[..length];
            let expected = StreamCDC::with_level_and_seed(
                content,
                MIN_CHUNK_BYTES,
                AVERAGE_CHUNK_BYTES,
                MAX_CHUNK_BYTES,
                Normalization::Level1,
                secret.chunker_seed(),
            );
            let expected: Vec<_> = expected.map(|chunk| chunk.unwrap().data).collect();
            let slow = Slow(content, ChaCha8Rng::seed_from_u64(length as u64));
            let cut: Vec<_> = chunks(slow, &secret).map(Result::unwrap).collect();
            assert!(cut == expected, "{length}");
        }
    }
}
