use proptest::prelude::*;

use super::*;
use crate::{base_url::BaseUrl, time::UnixMillis};

fn secret(byte: u8) -> ContentSecret {
    ContentSecret::from_bytes([byte; 32])
}

/// Bytes that look random, the same for each seed (SplitMix64).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    });
    words.flat_map(u64::to_be_bytes).take(length).collect()
}

fn cut(content: &[u8], secret: &ContentSecret) -> Vec<Vec<u8>> {
    chunks(content, secret).map(Result::unwrap).collect()
}

/// Stores contents as one upload: the packs, and the manifest.
fn upload(files: &[(&str, Vec<u8>)], secret: &ContentSecret) -> (Vec<Pack>, Manifest) {
    let (mut writer, mut packs, mut entries) = (PackWriter::new(), Vec::new(), Vec::new());
    for (path, content) in files {
        let mut written = Vec::new();
        for chunk in cut(content, secret) {
            let sealed = secret.seal(&chunk);
            let (place, full) = writer.add(&sealed);
            packs.extend(full);
            let (pack, offset) = (u32::try_from(packs.len()).unwrap(), place.offset);
            let SealedChunk { hash, key, length, .. } = sealed;
            written.push(ChunkEntry { pack, offset, length, hash, key });
        }
        let size = content.len() as u64;
        let kind = EntryKind::File { size, modified: UnixMillis(7), chunks: written };
        entries.push(Entry { path: (*path).to_owned(), kind });
    }
    packs.extend(writer.take());
    let list =
        packs.iter().map(|pack| PackEntry { id: pack.id, bytes: pack.bytes.len().try_into().unwrap() });
    let manifest = Manifest::new(list.collect(), entries).unwrap();
    (packs, manifest)
}

fn download(packs: &[Pack], manifest: &Manifest, path: &str) -> Result<Vec<u8>, Damaged> {
    let entry = manifest.entries().iter().find(|entry| entry.path == path).unwrap();
    let EntryKind::File { chunks, .. } = &entry.kind else { panic!("a folder") };
    let mut content = Vec::new();
    for chunk in chunks {
        let pack = &packs[usize::try_from(chunk.pack).unwrap()];
        let sealed = pack.sealed(chunk.place())?;
        content.extend(chunk.key.open(sealed, chunk.length, &chunk.hash)?);
    }
    Ok(content)
}

fn file(path: &str) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: EntryKind::File { size: 0, modified: UnixMillis(0), chunks: Vec::new() },
    }
}

fn folder(path: &str) -> Entry {
    Entry { path: path.to_owned(), kind: EntryKind::Folder }
}

#[test]
fn files_of_any_length_come_back() {
    let lengths = [
        0,
        1,
        2,
        MIN_CHUNK_BYTES - 1,
        MIN_CHUNK_BYTES,
        MIN_CHUNK_BYTES + 1,
        AVERAGE_CHUNK_BYTES,
        MAX_CHUNK_BYTES,
        MAX_CHUNK_BYTES + 1,
        20 << 20,
    ];
    let names: Vec<_> = lengths.iter().map(|length| format!("{length} bytes")).collect();
    let files: Vec<_> = names
        .iter()
        .zip(lengths)
        .map(|(name, length)| (name.as_str(), noise(length as u64, length)))
        .collect();
    let (packs, manifest) = upload(&files, &secret(1));
    assert!(packs.iter().all(|pack| pack.bytes.len() <= usize::try_from(MAX_PACK_BYTES).unwrap()));
    let manifest = Manifest::decode(&manifest.encode().unwrap()).unwrap();
    for (name, content) in &files {
        assert_eq!(&download(&packs, &manifest, name).unwrap(), content, "{name}");
    }
}

#[test]
fn many_small_files_need_few_packs() {
    let names: Vec<_> = (0..5_000).map(|index| format!("folder/{index:04}")).collect();
    let files: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), noise(index as u64, 1_024 + index * 3)))
        .collect();
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    let (packs, _) = upload(&files, &secret(1));
    assert!(packs.len() <= 8, "{} packs for {bytes} bytes", packs.len());
}

#[test]
fn a_change_in_the_middle_changes_few_chunks() {
    let content = noise(3, 32 << 20);
    let mut changed = content.clone();
    changed[16 << 20..17 << 20].fill(9);
    changed.insert(16 << 20, 1);
    let known: std::collections::BTreeSet<_> =
        cut(&content, &secret(1)).iter().map(|chunk| ChunkHash::of(chunk)).collect();
    let chunks = cut(&changed, &secret(1));
    let new: usize = chunks.iter().filter(|chunk| !known.contains(&ChunkHash::of(chunk))).map(Vec::len).sum();
    assert!(new <= 5 << 20, "{new} of {} bytes are new", changed.len());
    assert_eq!(chunks.concat(), changed);
}

#[test]
fn the_secret_decides_cuts_keys_and_names() {
    let content = noise(4, 8 << 20);
    assert_eq!(upload(&[("a", content.clone())], &secret(1)), upload(&[("a", content.clone())], &secret(1)));
    let lengths = |byte| cut(&content, &secret(byte)).iter().map(Vec::len).collect::<Vec<_>>();
    assert_ne!(lengths(1), lengths(2));
    let (one, other) = (secret(1).seal(b"content"), secret(2).seal(b"content"));
    assert_eq!(one.hash, other.hash);
    assert_ne!((one.sealed, one.key), (other.sealed, other.key));
}

#[test]
fn lengths_are_hidden_within_padding() {
    let lengths: std::collections::BTreeSet<_> = (1_000_000..1_005_000).map(sealed_bytes).collect();
    assert!(lengths.len() <= 2, "{lengths:?}");
}

#[test]
fn paths_that_lead_elsewhere_are_refused() {
    for path in [
        "",
        "/",
        "/etc/passwd",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a\0b",
        &"x".repeat(256),
        &"a/".repeat(3_000),
    ] {
        assert_eq!(Manifest::new(Vec::new(), vec![file(path)]), Err(ManifestError::BadPath), "{path:?}");
    }
    for path in ["a", "…", "a b", "a\nb", "..a", "a\\b", "C:x", "\u{202e}txt.exe", &"x".repeat(255)] {
        assert!(Manifest::new(Vec::new(), vec![file(path)]).is_ok(), "{path:?}");
    }
}

#[test]
fn a_path_stands_once_and_in_order() {
    let manifest =
        Manifest::new(Vec::new(), vec![file("a.b"), file("a/b"), folder("a"), folder("a/a")]).unwrap();
    let paths: Vec<_> = manifest.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a", "a/a", "a/b", "a.b"]);
    for entries in [vec![file("a"), file("a")], vec![file("a"), folder("a")], vec![file("a"), file("a/b")]] {
        assert_eq!(Manifest::new(Vec::new(), entries), Err(ManifestError::BadOrder));
    }
    // The same in another order.
    let swapped = Manifest::new(Vec::new(), vec![file("a"), file("b")]).unwrap().encode().unwrap();
    let swapped: Vec<_> = swapped.iter().map(|byte| if *byte == b'a' { b'z' } else { *byte }).collect();
    assert_eq!(Manifest::decode(&swapped), Err(ManifestError::BadOrder));
}

#[test]
fn lying_manifests_are_refused() {
    let (packs, manifest) = upload(&[("a", noise(1, 300_000))], &secret(1));
    let pack = PackEntry { id: packs[0].id, bytes: packs[0].bytes.len().try_into().unwrap() };
    let entry = manifest.entries()[0].clone();
    let refused = |pack: PackEntry, change: &dyn Fn(&mut u64, &mut ChunkEntry)| {
        let mut entry = entry.clone();
        let EntryKind::File { size, chunks, .. } = &mut entry.kind else { unreachable!() };
        change(size, &mut chunks[0]);
        Manifest::new(vec![pack], vec![entry])
    };
    assert!(refused(pack, &|_, _| {}).is_ok());
    type Change = dyn Fn(&mut u64, &mut ChunkEntry);
    let changes: [&Change; 7] = [
        &|size, _| *size += 1,
        &|size, _| *size = u64::MAX,
        &|_, chunk| chunk.pack = 1,
        &|_, chunk| chunk.offset += 1,
        &|_, chunk| chunk.offset = u32::MAX,
        &|size, chunk| (*size, chunk.length) = (0, 0),
        &|size, chunk| (*size, chunk.length) = (u32::MAX.into(), u32::MAX),
    ];
    for (index, change) in changes.iter().enumerate() {
        assert_eq!(refused(pack, change), Err(ManifestError::BadChunk), "change {index}");
    }
    for bytes in [pack.bytes - 1, MAX_PACK_BYTES + 1] {
        assert_eq!(refused(PackEntry { bytes, ..pack }, &|_, _| {}), Err(ManifestError::BadChunk));
    }
}

#[test]
fn a_count_that_lies_takes_no_memory() {
    for bytes in
        [&b"n1\xff\xff\xff\xff"[..], b"n1\0\0\0\0\xff\xff\xff\xff", b"n1\0\0\0\0\0\0\0\x01\x01\0\0\0\x01a\0"]
    {
        assert_eq!(Manifest::decode(bytes), Err(crate::wire::WireError::Truncated.into()));
    }
}

#[test]
fn references_are_bounded() {
    let chunk = secret(1).seal(b"a manifest");
    let pack = PackId::of(b"a pack");
    let part = ManifestChunk { pack, offset: 2, length: chunk.length, hash: chunk.hash, key: chunk.key };
    let place = StoragePlace { url: "https://store.example/".parse::<BaseUrl>().unwrap(), pin: None };
    let good = Reference { places: vec![place.clone()], linked: None, manifest: vec![part.clone()] };
    let read =
        |reference: &Reference| serde_json::from_str::<Reference>(&serde_json::to_string(reference).unwrap());
    assert_eq!(read(&good).unwrap(), good);
    let linked = |list| LinkedPlace { link: Link::new("https://store.example/p?s=1").unwrap(), list };
    let only_linked = Reference { places: Vec::new(), linked: Some(linked(part.clone())), ..good.clone() };
    assert_eq!(read(&only_linked).unwrap(), only_linked);
    let long = ManifestChunk { length: u32::MAX, ..part.clone() };
    let empty = ManifestChunk { length: 0, ..part.clone() };
    let far = ManifestChunk { offset: MAX_PACK_BYTES, ..part.clone() };
    for bad in [
        Reference { places: Vec::new(), ..good.clone() },
        Reference { places: vec![place; 9], ..good.clone() },
        Reference { manifest: Vec::new(), ..good.clone() },
        Reference { manifest: vec![part; MAX_MANIFEST_CHUNKS + 1], ..good.clone() },
        Reference { manifest: vec![long], ..good.clone() },
        Reference { manifest: vec![empty], ..good.clone() },
        Reference { manifest: vec![far.clone()], ..good.clone() },
        Reference { linked: Some(linked(far)), ..good.clone() },
    ] {
        assert!(read(&bad).is_err(), "{bad:?}");
    }
    assert!(!format!("{good:?}").contains("key: ChunkKey(\""));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(content in proptest::collection::vec(any::<u8>(), 1..600), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (packs, manifest) = upload(&[("a", content.clone())], &secret(1));
        prop_assert_eq!(download(&packs, &manifest, "a").unwrap(), content);
        let mut bytes = packs[0].bytes.clone();
        bytes[at.index(packs[0].bytes.len())] ^= 1 << bit;
        prop_assert!(packs[0].id.names(packs[0].bytes.as_slice()).unwrap());
        prop_assert!(!packs[0].id.names(bytes.as_slice()).unwrap());
        prop_assert!(!PackId::of(b"").names(std::io::empty()).unwrap(), "it has no prefix");
        prop_assert_eq!(Pack::check(packs[0].id, bytes.clone()), Err(Damaged));
        // A server that also lies about the name is found out by the chunk, unless it changed only the prefix.
        let forged = Pack { id: packs[0].id, bytes };
        if at.index(packs[0].bytes.len()) >= 2 {
            prop_assert_eq!(download(&[forged], &manifest, "a"), Err(Damaged));
        }
    }

    #[test]
    fn swapped_chunks_are_refused(one in proptest::collection::vec(any::<u8>(), 100), other in proptest::collection::vec(any::<u8>(), 100)) {
        prop_assume!(one != other);
        let (one, other) = (secret(1).seal(&one), secret(1).seal(&other));
        prop_assert!(one.key.open(&other.sealed, one.length, &one.hash).is_err());
        prop_assert!(other.key.open(&other.sealed, other.length, &one.hash).is_err());
        prop_assert!(other.key.open(&other.sealed, 99, &other.hash).is_err());
        prop_assert!(other.key.open(&other.sealed, other.length, &other.hash).is_ok());
    }

    #[test]
    fn damaged_manifests_are_refused_or_whole(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (_, manifest) = upload(&[("a", vec![1; 9]), ("b", vec![2; 9])], &secret(1));
        let mut bytes = manifest.encode().unwrap();
        prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest));
        let at = at.index(bytes.len());
        prop_assert!(Manifest::decode(&bytes[..at]).is_err());
        bytes[at] ^= 1 << bit;
        if let Ok(read) = Manifest::decode(&bytes) {
            prop_assert_eq!(read.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn any_order_of_chunks_opens(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let contents: Vec<_> = (0..12_u64).map(|index| noise(index, 1 << 20)).collect();
        let (mut writer, mut packs, mut places) = (PackWriter::new(), Vec::new(), std::collections::BTreeMap::new());
        for index in order {
            let sealed = secret(1).seal(&contents[index]);
            let (place, full) = writer.add(&sealed);
            packs.extend(full);
            places.insert(index, (packs.len(), place, sealed));
        }
        packs.extend(writer.take());
        for (index, (pack, place, SealedChunk { key, hash, length, .. })) in places {
            let opened = key.open(packs[pack].sealed(place).unwrap(), length, &hash);
            prop_assert_eq!(opened.as_deref(), Ok(&contents[index][..]));
        }
    }
}
