//! What lies on a node's disk and in its backups, against vectors that `vectors/make_at_rest.py` made without this crate: the
//! same bytes from the same randomness, and a refusal for each fault.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "vectors/reader.rs"]
mod reader;

use data_encoding::HEXLOWER;
use petmail_proto::at_rest::{
    CHUNK_BYTES, DataKey, DataKeyId, Passphrase, Purpose, StreamOpener, StreamSealer, WrappedKey,
};
use reader::{Recorded, Vectors, sha256};
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

fn vectors() -> Vectors {
    Vectors::new(include_str!("vectors/at_rest.json"))
}

fn key(vectors: &Vectors) -> DataKey {
    DataKey::from_bytes(vectors.array("key"))
}

fn content(vectors: &Vectors) -> Vec<u8> {
    let label = vectors.text("content_label");
    let blocks =
        (0..).flat_map(|counter| Sha512::digest(format!("petmail vector {label} {counter}")).to_vec());
    blocks.take(vectors.number("content_bytes").try_into().unwrap()).collect()
}

#[test]
fn values_are_sealed_byte_by_byte_as_specified() {
    let vectors = vectors();
    let mut nonce = Recorded::new(&[&vectors.bytes("nonce")]);
    let sealed = key(&vectors).seal(&vectors.bytes("place"), &vectors.bytes("value"), &mut nonce);
    assert_eq!(HEXLOWER.encode(&sealed), vectors.text("sealed"));
    assert_eq!(key(&vectors).open(&vectors.bytes("place"), &sealed).unwrap(), vectors.bytes("value"));
    vectors.check_refused("sealed_refused", |bytes| key(&vectors).open(&vectors.bytes("place"), bytes));
}

#[test]
fn keys_are_wrapped_byte_by_byte_as_specified() {
    let vectors = vectors();
    let passphrase = Passphrase::new(Zeroizing::new(vectors.text("passphrase").to_owned())).unwrap();
    for (purpose, name) in [(Purpose::Vault, "vault"), (Purpose::Backup, "backup")] {
        let mut random = Recorded::new(&[&vectors.bytes("salt"), &vectors.bytes("nonce")]);
        let id = DataKeyId::from_bytes(vectors.array("key_id"));
        let wrapped = WrappedKey::wrap(purpose, id, &key(&vectors), &passphrase, &mut random);
        assert_eq!(HEXLOWER.encode(&wrapped.encode()), vectors.text(name));
        let read = WrappedKey::decode(purpose, &vectors.bytes(name)).unwrap();
        assert_eq!(read.unwrap(&passphrase).unwrap().expose_bytes(), key(&vectors).expose_bytes());
    }
    vectors.check_refused("vault_refused", |bytes| WrappedKey::decode(Purpose::Vault, bytes));
}

#[test]
fn streams_are_sealed_byte_by_byte_as_specified() {
    let vectors = vectors();
    let content = content(&vectors);
    let chunks: Vec<_> = content.chunks(CHUNK_BYTES).collect();
    let (last, full) = chunks.split_last().unwrap();
    let (mut sealer, mut opener) = (StreamSealer::new(&key(&vectors)), StreamOpener::new(&key(&vectors)));
    let mut sealed: Vec<_> = full.iter().map(|chunk| sealer.next(chunk).unwrap()).collect();
    for (chunk, sealed) in full.iter().zip(&sealed) {
        assert_eq!(opener.next(sealed).unwrap().as_slice(), *chunk);
    }
    sealed.push(sealer.last(last).unwrap());
    let expected = vectors.0["chunk_sha256"].as_array().unwrap();
    assert_eq!(sealed.len(), expected.len());
    for (sealed, expected) in sealed.iter().zip(expected) {
        assert_eq!(HEXLOWER.encode(&sha256(sealed)), *expected);
    }
    assert_eq!(opener.last(&sealed[full.len()]).unwrap().as_slice(), *last);
    let empty = StreamSealer::new(&key(&vectors)).last(&[]).unwrap();
    assert_eq!(HEXLOWER.encode(&empty), vectors.text("empty_stream"));
}
