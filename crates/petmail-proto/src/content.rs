//! Files as a storage server keeps them: cut into chunks, encrypted, and gathered in packs that say nothing.
//!
//! A sender cuts what it reads with [`chunks`], seals each chunk with its [`ContentSecret`], fills packs with a [`PackWriter`],
//! and writes down in a [`Manifest`] where everything is. The manifest is content itself; a [`Reference`] to it travels in a
//! message. A receiver knows the keys of the chunks that it was given, and never the secret: it cannot tell, with the storage
//! server's help, what else the sender keeps there. Specification: `docs/protocol/content.md`.

mod chunk;
mod chunker;
mod links;
mod manifest;
mod pack;
mod padding;
mod reference;

pub use chunk::{ChunkHash, ChunkKey, ContentSecret, Damaged, SealedChunk, sealed_bytes};
pub use chunker::{AVERAGE_CHUNK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, chunks};
pub use links::{Link, LinkedPlace, MAX_LINK_BYTES, PackLinks, TooManyLinks};
pub use manifest::{
    ChunkEntry, Entry, EntryKind, MAX_COMPONENT_BYTES, MAX_ENTRIES, MAX_MANIFEST_BYTES, MAX_PACKS,
    MAX_PATH_BYTES, Manifest, ManifestError, PackEntry, is_path,
};
pub use pack::{ChunkPlace, MAX_PACK_BYTES, Pack, PackId, PackWriter};
pub use padding::padded_bytes;
pub use reference::{Location, MAX_MANIFEST_CHUNKS, ManifestChunk, Reference, StoragePlace};

#[cfg(test)]
mod tests;
