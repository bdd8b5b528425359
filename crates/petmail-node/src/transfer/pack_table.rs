//! Which chunks are in which packs: of earlier uploads, and of the one under way.

use std::collections::HashMap;

use petmail_proto::content::{ChunkHash, PackEntry, PackId};

use crate::agent::records::transfers::{StoredChunk, StoredPack};

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// The number of its pack.
    pub(super) pack: u32,
    /// Where it begins there, in bytes.
    pub(super) offset: u32,
    /// The length of its content, in bytes.
    pub(super) length: u32,
}

/// A pack, as it is stored, will be, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// It is being filled.
    Filling,
    /// It is full.
    Full {
        pack: PackEntry,
        /// Whether an earlier run of the same upload has stored it.
        is_own: bool,
    },
}

/// The packs that an upload can refer to. Some 100 bytes a chunk.
#[derive(Debug, Default)]
pub(super) struct PackTable {
    slots: Vec<Slot>,
    chunks: HashMap<ChunkHash, Whereabouts>,
}

impl PackTable {
    /// Adds a pack that is stored; `is_own` if the same upload has stored it, before it was interrupted.
    pub(super) fn add_stored(&mut self, id: PackId, pack: &StoredPack, is_own: bool) {
        let slot = self.next_slot();
        self.slots.push(Slot::Full { pack: PackEntry { id, bytes: pack.bytes }, is_own });
        for StoredChunk { hash, offset, length } in &pack.chunks {
            let place = Whereabouts { pack: slot, offset: *offset, length: *length };
            self.chunks.entry(*hash).or_insert(place);
        }
    }

    /// Begins a pack; returns its number.
    pub(super) fn begin(&mut self) -> u32 {
        let slot = self.next_slot();
        self.slots.push(Slot::Filling);
        slot
    }

    /// Notes a chunk of the pack that is being filled.
    pub(super) fn add(&mut self, pack: u32, chunk: StoredChunk) {
        let StoredChunk { hash, offset, length } = chunk;
        self.chunks.insert(hash, Whereabouts { pack, offset, length });
    }

    /// Notes that a pack is full.
    pub(super) fn fill(&mut self, pack: u32, entry: PackEntry) {
        if let Some(slot) = usize::try_from(pack).ok().and_then(|pack| self.slots.get_mut(pack)) {
            *slot = Slot::Full { pack: entry, is_own: false };
        }
    }

    /// Finds a chunk.
    pub(super) fn find(&self, hash: &ChunkHash) -> Option<Whereabouts> {
        self.chunks.get(hash).copied()
    }

    /// Tells whether an earlier run of the same upload has stored this pack.
    pub(super) fn is_own(&self, pack: u32) -> bool {
        matches!(self.slot(pack), Some(Slot::Full { is_own: true, .. }))
    }

    /// Returns a pack that is full.
    pub(super) fn pack(&self, pack: u32) -> Option<PackEntry> {
        match self.slot(pack)? {
            Slot::Filling => None,
            Slot::Full { pack, .. } => Some(*pack),
        }
    }

    fn slot(&self, pack: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(pack).ok()?)
    }

    fn next_slot(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }
}
