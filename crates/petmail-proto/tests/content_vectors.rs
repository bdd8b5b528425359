//! Stored files, against vectors that `vectors/make_content.py` made without this crate: the same bytes, and a refusal for each
//! fault. Where the chunker cuts has no second implementation with a secret table; its cuts are pinned here.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "vectors/reader.rs"]
#[expect(dead_code, reason = "other formats need randomness and digests")]
mod reader;

use data_encoding::HEXLOWER;
use petmail_proto::content::{
    ContentSecret, EntryKind, Manifest, Pack, PackId, PackWriter, chunks, padded_bytes,
};
use reader::Vectors;
use sha2::{Digest, Sha512};

fn vectors() -> Vectors {
    Vectors::new(include_str!("vectors/content.json"))
}

fn secret(vectors: &Vectors) -> ContentSecret {
    ContentSecret::from_bytes(vectors.array("secret"))
}

#[test]
fn chunks_and_packs_are_sealed_byte_by_byte_as_specified() {
    let vectors = vectors();
    let mut writer = PackWriter::new();
    for expected in vectors.0["chunks"].as_array().unwrap() {
        let hex = |name: &str| expected[name].as_str().unwrap();
        let content = HEXLOWER.decode(hex("content").as_bytes()).unwrap();
        let chunk = secret(&vectors).seal(&content);
        assert_eq!(HEXLOWER.encode(chunk.hash.as_bytes()), hex("hash"));
        assert_eq!(HEXLOWER.encode(chunk.key.expose_bytes()), hex("key"));
        assert_eq!(HEXLOWER.encode(&chunk.sealed), hex("sealed"));
        assert_eq!(chunk.key.open(&chunk.sealed, chunk.length, &chunk.hash).unwrap(), content);
        writer.add(&chunk);
    }
    let pack = writer.take().unwrap();
    assert_eq!(HEXLOWER.encode(&pack.bytes), vectors.text("pack"));
    assert_eq!(HEXLOWER.encode(pack.id.as_bytes()), vectors.text("pack_id"));
    let id = PackId::from_bytes(vectors.array("pack_id"));
    assert_eq!(Pack::check(id, vectors.bytes("pack")).unwrap(), pack);
    vectors.check_refused("pack_refused", |bytes| Pack::check(id, bytes.to_vec()));
}

#[test]
fn lengths_are_padded_as_specified() {
    for pair in vectors().0["padded"].as_array().unwrap() {
        assert_eq!(padded_bytes(pair[0].as_u64().unwrap()), pair[1].as_u64().unwrap(), "{pair}");
    }
}

#[test]
fn manifests_are_read_byte_by_byte_as_specified() {
    let vectors = vectors();
    let bytes = vectors.bytes("manifest");
    let manifest = Manifest::decode(&bytes).unwrap();
    assert_eq!(manifest.encode().unwrap(), bytes);
    let paths: Vec<_> = manifest.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a", "a/ü.txt", "b"]);
    let EntryKind::File { chunks, modified, .. } = &manifest.entries()[1].kind else { panic!("a folder") };
    assert_eq!((modified.0, manifest.total_bytes()), (1_700_000_000_000, 1_077));
    let pack = Pack::check(manifest.packs()[0].id, vectors.bytes("pack")).unwrap();
    let contents = chunks
        .iter()
        .map(|chunk| chunk.key.open(pack.sealed(chunk.place()).unwrap(), chunk.length, &chunk.hash).unwrap());
    let expected =
        vectors.0["chunks"].as_array().unwrap().iter().map(|chunk| chunk["content"].as_str().unwrap());
    assert!(contents.map(|content| HEXLOWER.encode(&content)).eq(expected));
    vectors.check_refused("manifest_refused", Manifest::decode);
}

/// Other cuts would not be wrong, but everything would be stored a second time.
#[test]
fn the_chunker_cuts_where_it_always_did() {
    let blocks = (0..).flat_map(|counter| Sha512::digest(format!("petmail vector cuts {counter}")).to_vec());
    let content: Vec<u8> = blocks.take(12 << 20).collect();
    let lengths: Vec<_> =
        chunks(&content[..], &secret(&vectors())).map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(lengths.iter().sum::<usize>(), content.len());
    assert_eq!(lengths, CUTS);
}

const CUTS: [usize; 11] = [
    1_057_299, 891_195, 1_206_896, 1_626_570, 626_199, 1_190_048, 1_152_332, 491_038, 1_830_461, 786_812,
    1_724_062,
];
