//! References: how a message names an upload.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    ChunkHash, ChunkKey, ChunkPlace, Damaged, LinkedPlace, MAX_CHUNK_BYTES, MAX_MANIFEST_BYTES,
    MAX_PACK_BYTES, Manifest, ManifestError, Pack, PackId, sealed_bytes,
};
use crate::{
    base_url::BaseUrl,
    keys::{CertificatePin, stored_secret},
};

/// The most chunks that a manifest is cut into.
pub const MAX_MANIFEST_CHUNKS: usize = 256;

/// The most storage servers that a reference names.
const MAX_PLACES: usize = 8;

/// A storage server that has the packs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePlace {
    /// Its base URL: packs are at `/packs/{id}` below it.
    pub url: BaseUrl,
    /// The certificate of a server that no public authority vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<CertificatePin>,
}

/// A chunk that a reference names: of the manifest, or with a list of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestChunk {
    /// The pack that holds it.
    pub pack: PackId,
    /// Where it begins there, in bytes.
    pub offset: u32,
    /// The length of its content, in bytes.
    pub length: u32,
    /// The hash of its content.
    pub hash: ChunkHash,
    /// What opens it.
    #[serde(with = "stored_secret")]
    pub key: ChunkKey,
}

impl ManifestChunk {
    /// Where it is in its pack.
    #[must_use]
    pub fn place(&self) -> ChunkPlace {
        ChunkPlace { offset: self.offset, sealed_length: sealed_bytes(self.length) }
    }

    /// Opens it from its pack.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn open(&self, pack: &Pack) -> Result<Vec<u8>, Damaged> {
        if pack.id != self.pack {
            return Err(Damaged);
        }
        self.key.open(pack.sealed(self.place())?, self.length, &self.hash)
    }

    fn is_bounded(&self) -> bool {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let end = self.offset.checked_add(sealed_bytes(self.length));
        (1..=MAX_CHUNK_BYTES).contains(&length) && end.is_some_and(|end| end <= MAX_PACK_BYTES)
    }
}

/// Names an upload: who keeps it, and what opens its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// The storage servers that have it: at most 8; at least one, unless it is linked.
    pub places: Vec<StoragePlace>,
    /// A service that has it, and that is read by links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<LinkedPlace>,
    /// The manifest's chunks in order: 1 to [`MAX_MANIFEST_CHUNKS`], together at most [`MAX_MANIFEST_BYTES`].
    pub manifest: Vec<ManifestChunk>,
}

impl Reference {
    /// Reads the manifest from its opened chunks.
    ///
    /// # Errors
    /// See [`Manifest::decode`].
    pub fn read_manifest(&self, chunks: &[Vec<u8>]) -> Result<Manifest, ManifestError> {
        Manifest::decode(&chunks.concat())
    }

    /// Names the same upload, elsewhere.
    #[must_use]
    pub fn at(self, Location { places, linked }: Location) -> Self {
        Self { places, linked, ..self }
    }

    fn is_bounded(&self) -> bool {
        let lengths = self.manifest.iter().map(|chunk| usize::try_from(chunk.length).unwrap_or(usize::MAX));
        are_bounded(&self.places, self.linked.as_ref())
            && (1..=MAX_MANIFEST_CHUNKS).contains(&self.manifest.len())
            && self.manifest.iter().all(ManifestChunk::is_bounded)
            && lengths.fold(0_usize, usize::saturating_add) <= MAX_MANIFEST_BYTES
    }
}

/// Where an upload is: the part of a [`Reference`] that may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// See [`Reference::places`].
    pub places: Vec<StoragePlace>,
    /// See [`Reference::linked`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<LinkedPlace>,
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Unchecked {
            #[serde(default)]
            places: Vec<StoragePlace>,
            #[serde(default)]
            linked: Option<LinkedPlace>,
        }
        let Unchecked { places, linked } = Unchecked::deserialize(deserializer)?;
        if are_bounded(&places, linked.as_ref()) {
            Ok(Self { places, linked })
        } else {
            Err(D::Error::custom("the location is out of bounds"))
        }
    }
}

fn are_bounded(places: &[StoragePlace], linked: Option<&LinkedPlace>) -> bool {
    let fewest = usize::from(linked.is_none());
    (fewest..=MAX_PLACES).contains(&places.len()) && linked.is_none_or(|linked| linked.list.is_bounded())
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Unchecked {
            #[serde(default)]
            places: Vec<StoragePlace>,
            #[serde(default)]
            linked: Option<LinkedPlace>,
            manifest: Vec<ManifestChunk>,
        }
        let Unchecked { places, linked, manifest } = Unchecked::deserialize(deserializer)?;
        let reference = Self { places, linked, manifest };
        if reference.is_bounded() {
            Ok(reference)
        } else {
            Err(D::Error::custom("the reference is out of bounds"))
        }
    }
}
