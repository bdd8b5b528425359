//! Manifests, packs and references: what a hostile sender or storage server makes must end in an error value, or in what can be
//! written again as it was read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::edited;
use petmail_proto::{
    channel::file::{FileContent, FilePacket, LocationPacket, StoredFile, StoredKind},
    content::{
        ChunkEntry, ContentSecret, Entry, EntryKind, Link, LinkedPlace, Location, Manifest, ManifestChunk,
        Pack, PackEntry, PackId, PackLinks, PackWriter, Reference, SealedChunk, StoragePlace, is_path,
    },
    keys::MessageId,
    time::UnixMillis,
};

static GOOD: LazyLock<(Pack, Vec<u8>)> = LazyLock::new(good);
static LINKS: LazyLock<Vec<u8>> = LazyLock::new(links);
static PACKET: LazyLock<Vec<u8>> = LazyLock::new(packet);
static TOLD: LazyLock<Vec<u8>> = LazyLock::new(told);

fuzz_target!(|data: &[u8]| {
    let (pack, manifest) = &*GOOD;
    for bytes in [data, &edited(manifest, data)] {
        let Ok(manifest) = Manifest::decode(bytes) else { continue };
        assert_eq!(manifest.encode().expect("it was as long before"), bytes);
        for entry in manifest.entries() {
            assert!(is_path(&entry.path));
            let EntryKind::File { chunks, .. } = &entry.kind else { continue };
            for chunk in chunks {
                if let Ok(sealed) = pack.sealed(chunk.place()) {
                    let opened = chunk.key.open(sealed, chunk.length, &chunk.hash);
                    assert!(opened.is_err() || opened.is_ok_and(|content| content == b"a chunk"));
                }
            }
        }
    }
    let changed = edited(&pack.bytes, data);
    assert_eq!(Pack::check(pack.id, changed.clone()).is_ok(), changed == pack.bytes);
    assert!(Pack::check(PackId::of(&changed), changed.clone()).is_ok() == changed.starts_with(b"s1"));
    if let Ok(reference) = serde_json::from_slice::<Reference>(data) {
        let written = serde_json::to_vec(&reference).expect("a reference has a JSON form");
        assert_eq!(serde_json::from_slice::<Reference>(&written).expect("it was bounded before"), reference);
    }
    for bytes in [data, &edited(&LINKS, data)] {
        let Ok(links) = PackLinks::decode(bytes) else { continue };
        assert_eq!(links.encode().expect("it was as long before"), bytes);
    }
    for json in [data, &edited(&TOLD, data)] {
        let Ok(told) = serde_json::from_slice::<LocationPacket>(json) else { continue };
        let written = serde_json::to_vec(&told).expect("a packet has a JSON form");
        assert_eq!(serde_json::from_slice::<LocationPacket>(&written).expect("it was bounded before"), told);
    }
    for json in [data, &edited(&PACKET, data)] {
        let Ok(packet) = serde_json::from_slice::<FilePacket>(json) else { continue };
        let written = serde_json::to_vec(&packet).expect("a packet has a JSON form");
        assert_eq!(serde_json::from_slice::<FilePacket>(&written).expect("it was bounded before"), packet);
        if let FileContent::Stored(stored) = packet.content
            && let Ok(listed) = Manifest::decode(manifest)
        {
            assert!(!stored.is_listed_in(&listed) || stored.size == listed.total_bytes());
        }
    }
});

/// A message brings the folder of [`GOOD`].
fn packet() -> Vec<u8> {
    let stored = stored();
    let packet = FilePacket { name: "folder".to_owned(), content: FileContent::Stored(stored) };
    serde_json::to_vec(&packet).expect("a packet has a JSON form")
}

/// It is somewhere else now.
fn told() -> Vec<u8> {
    let Reference { places, linked, .. } = stored().reference;
    let (mid, location) = (MessageId::from_bytes([1; 16]), Some(Location { places, linked }));
    serde_json::to_vec(&LocationPacket { mid, location }).expect("a packet has a JSON form")
}

fn stored() -> StoredFile {
    let chunk = ContentSecret::from_bytes([1; 32]).seal(b"a chunk");
    let pack = PackId::of(b"a pack");
    let SealedChunk { hash, key, length, .. } = chunk;
    let place = StoragePlace { url: "https://store.example".parse().expect("a URL"), pin: None };
    let manifest = vec![ManifestChunk { pack, offset: 2, length, hash, key }];
    let linked = Some(LinkedPlace { link: link(), list: manifest[0].clone() });
    let reference = Reference { places: vec![place], linked, manifest };
    let (kind, until) = (StoredKind::Folder, UnixMillis(1));
    StoredFile { kind, size: length.into(), count: 1, until, reference }
}

fn link() -> Link {
    Link::new("https://store.example/a-pack?signature=1").expect("a link")
}

/// The links of two packs.
fn links() -> Vec<u8> {
    let packs = [b"one", b"two"].map(|bytes| (PackId::of(bytes), link()));
    PackLinks::from_iter(packs).encode().expect("a short list")
}

fn good() -> (Pack, Vec<u8>) {
    let mut writer = PackWriter::new();
    let sealed = ContentSecret::from_bytes([1; 32]).seal(b"a chunk");
    let (place, _) = writer.add(&sealed);
    let SealedChunk { hash, key, length, .. } = sealed;
    let pack = writer.take().expect("a chunk is in it");
    let chunks = vec![ChunkEntry { pack: 0, offset: place.offset, length, hash, key }];
    let file = EntryKind::File { size: length.into(), modified: UnixMillis(1), chunks };
    let entries = vec![
        Entry { path: "folder".to_owned(), kind: EntryKind::Folder },
        Entry { path: "folder/file".to_owned(), kind: file },
    ];
    let bytes = u32::try_from(pack.bytes.len()).expect("a short pack");
    let manifest = Manifest::new(vec![PackEntry { id: pack.id, bytes }], entries).expect("a good manifest");
    (pack, manifest.encode().expect("a short manifest"))
}
