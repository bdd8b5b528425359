use std::path::Path;

use petmail_proto::at_rest::{CHUNK_BYTES, DataKey, Passphrase, WrappedKey};
use petmail_store::Row;
use proptest::prelude::*;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::*;
use crate::agent::records::{BODIES, CONTACTS, INVITATIONS, SETTINGS_KEY};

const CONFIG: &[u8] = b"name = \"Alice\"\n";
const NOW: UnixMillis = UnixMillis(0x0102_0304_0506_0708);

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn rows() -> Vec<(Keyspace, Row)> {
    let mut rows = vec![
        (AGENT, (SETTINGS_KEY.to_vec(), b"settings".to_vec())),
        (AGENT, (RESTORED_KEY.to_vec(), b"of an older restore".to_vec())),
        (INVITATIONS, (b"1".to_vec(), b"used once".to_vec())),
        (BODIES, (b"large".to_vec(), vec![7; 100_000])),
    ];
    rows.extend(
        (0..1_000_u32).map(|n| (CONTACTS, (n.to_be_bytes().to_vec(), n.to_string().repeat(500).into()))),
    );
    rows
}

async fn open(dir: &Path) -> Db {
    Db::open(dir, None).await.unwrap()
}

async fn fill(db: &Db) {
    for chunk in rows().chunks(100) {
        let write = |(keyspace, (key, value)): &(Keyspace, Row)| Write {
            keyspace: *keyspace,
            key: key.clone(),
            value: Some(value.clone()),
        };
        db.commit(chunk.iter().map(write).collect()).await.unwrap();
    }
}

async fn backup_of(db: Db) -> Vec<u8> {
    let runtime = Handle::current();
    let written = tokio::task::spawn_blocking(move || {
        let writer = BackupWriter::create(Vec::new(), &passphrase("correct horse")).unwrap();
        write(&db, CONFIG, writer, &runtime).unwrap()
    });
    written.await.unwrap()
}

/// Restores into a database that goes with the test.
async fn restore(bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
    let dir = tempfile::tempdir().unwrap();
    read(BackupReader::open(bytes, &passphrase("correct horse"))?, &open(dir.path()).await, NOW).await
}

/// A backup with this content.
fn sealed(write: impl FnOnce(&mut BackupWriter<Vec<u8>>) -> Result<(), BackupError>) -> Vec<u8> {
    let mut backup = BackupWriter::create(Vec::new(), &passphrase("correct horse")).unwrap();
    write(&mut backup).unwrap();
    backup.finish().unwrap()
}

#[tokio::test]
async fn what_is_in_a_backup_is_restored_and_the_rest_is_not() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let db = open(old.path()).await;
    fill(&db).await;
    let bytes = backup_of(db).await;
    assert!(!bytes.windows(4).any(|window| window == b"name" || window == b"sett"));
    let db = open(new.path()).await;
    let backup = BackupReader::open(bytes.as_slice(), &passphrase("correct horse")).unwrap();
    assert_eq!(read(backup, &db, NOW).await.unwrap(), CONFIG);
    for (keyspace, (key, value)) in rows() {
        let restored = db.get(keyspace, &key).await.unwrap();
        match (keyspace, key.as_slice()) {
            (INVITATIONS, _) => assert_eq!(restored, None),
            (AGENT, RESTORED_KEY) => assert_eq!(restored.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]),
            _ => assert_eq!(restored, Some(value), "{keyspace:?} {key:?}"),
        }
    }
    for keyspace in KEYSPACES {
        let expected = rows().iter().filter(|(row, _)| row == keyspace && row != &INVITATIONS).count();
        assert_eq!(db.scan(*keyspace, b"").await.unwrap().len(), expected, "{keyspace:?}");
    }
}

#[tokio::test]
async fn the_key_exchanges_of_invitations_are_left_out() {
    assert!(NOT_IN_BACKUP.contains(&INVITATIONS));
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    fill(&db).await;
    let bytes = backup_of(db).await;
    let backup = BackupReader::open(bytes.as_slice(), &passphrase("correct horse")).unwrap();
    let mut content = ContentReader::new(backup).unwrap();
    loop {
        match content.next().unwrap() {
            Entry::Row { keyspace, .. } => assert_ne!(keyspace, INVITATIONS.name()),
            Entry::Config(_) => {}
            Entry::End { .. } => break,
        }
    }
}

#[tokio::test]
async fn every_kind_of_damage_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = open(dir.path()).await;
    fill(&db).await;
    let good = backup_of(db).await;
    let (head, chunk) = (WrappedKey::BYTES, CHUNK_BYTES + 16);
    assert!(good.len() > head + 3 * chunk);
    let swapped = [
        &good[..head],
        &good[head + chunk..head + 2 * chunk],
        &good[head..head + chunk],
        &good[head + 2 * chunk..],
    ]
    .concat();
    let missing = [&good[..head], &good[head + chunk..]].concat();
    let longer = [good.as_slice(), &[0]].concat();
    let mut wrong = vec![swapped, missing, longer];
    for cut in [head, head + 5, head + chunk, head + chunk + 1, good.len() - chunk, good.len() - 1] {
        wrong.push(good[..cut].to_vec());
    }
    for at in [head, head + 1_000, head + chunk, good.len() - 17, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 0x80;
        wrong.push(flipped);
    }
    for (case, bytes) in wrong.iter().enumerate() {
        assert!(matches!(restore(bytes).await, Err(BackupError::Damaged)), "case {case}");
    }
    for at in 16..head {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert!(matches!(restore(&flipped).await, Err(BackupError::Header(_))), "byte {at}");
    }
    for bytes in [b"".as_slice(), b"hello", &good[..15]] {
        assert!(matches!(restore(bytes).await, Err(BackupError::Header(HeaderError::Foreign))));
    }
    assert!(matches!(restore(&good[..40]).await, Err(BackupError::Header(HeaderError::Damaged))));
    let wrong = BackupReader::open(good.as_slice(), &passphrase("another"));
    assert!(matches!(wrong, Err(BackupError::Passphrase(_))));
    restore(&good).await.unwrap();
}

#[tokio::test]
async fn contents_that_make_no_sense_are_refused() {
    let row = |keyspace: &'static str| {
        move |backup: &mut BackupWriter<Vec<u8>>| {
            write_row(backup, keyspace, &(b"key".to_vec(), b"value".to_vec()))
        }
    };
    let whole = |backup: &mut BackupWriter<Vec<u8>>, rows| {
        write_version(backup)
            .and_then(|()| write_config(backup, CONFIG))
            .and_then(|()| write_end(backup, rows))
    };
    let bytes = sealed(|backup| whole(backup, 0));
    assert_eq!(restore(&bytes).await.unwrap(), CONFIG);
    let bytes = sealed(|backup| backup.append(&[0, 2]));
    assert!(matches!(restore(&bytes).await, Err(BackupError::Newer)), "a later version of the content");
    let bytes = sealed(|backup| write_version(backup).and_then(|()| row("of-later-times")(backup)));
    assert!(matches!(restore(&bytes).await, Err(BackupError::Newer)), "a keyspace of later times");
    for (case, bytes) in [
        sealed(|_| Ok(())),
        sealed(|backup| backup.append(&[0, 0])),
        sealed(|backup| whole(backup, 1)),
        sealed(|backup| whole(backup, 0).and_then(|()| backup.append(&[0]))),
        sealed(|backup| write_version(backup).and_then(|()| write_config(backup, CONFIG))),
        sealed(|backup| write_version(backup).and_then(|()| backup.append(&[9]))),
        sealed(|backup| write_version(backup).and_then(|()| backup.append(&[1, 255, 255, 255, 255]))),
        sealed(|backup| {
            write_version(backup)
                .and_then(|()| write_config(backup, CONFIG))
                .and_then(|()| write_config(backup, CONFIG))
        }),
    ]
    .iter()
    .enumerate()
    {
        assert!(matches!(restore(bytes).await, Err(BackupError::Damaged)), "case {case}");
    }
    // An older program may have had in its backups what is left out now.
    let bytes = sealed(|backup| {
        write_version(backup)?;
        row(INVITATIONS.name())(backup)?;
        write_config(backup, CONFIG)?;
        write_end(backup, 1)
    });
    restore(&bytes).await.unwrap();
}

#[tokio::test]
async fn a_backup_may_end_at_any_place_of_a_chunk() {
    let empty = sealed(|backup| {
        write_version(backup)?;
        write_config(backup, b"")?;
        write_end(backup, 0)
    });
    let overhead = empty.len() - WrappedKey::BYTES - 16;
    for length in [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
        let config = vec![b'#'; length - overhead];
        let bytes = sealed(|backup| {
            write_version(backup)?;
            write_config(backup, &config)?;
            write_end(backup, 0)
        });
        assert_eq!(restore(&bytes).await.unwrap(), config);
    }
}

/// Reads entries until the end or the first fault.
fn entries(content: &[u8]) -> Result<Vec<Entry>, BackupError> {
    let key = DataKey::from_bytes([1; 32]);
    let mut backup = BackupWriter::after_head(Vec::new(), &key);
    backup.append(content)?;
    let sealed = backup.finish()?;
    let mut reader = ContentReader::new(BackupReader::after_head(sealed.as_slice(), &key))?;
    let mut entries = Vec::new();
    loop {
        entries.push(reader.next()?);
        if let Some(Entry::End { .. }) = entries.last() {
            reader.finish()?;
            return Ok(entries);
        }
    }
}

proptest! {
    /// Authentic, but made by a program gone wrong.
    #[test]
    fn no_content_makes_the_reader_panic(
        rest in proptest::collection::vec(any::<u8>(), 0..300),
        rows in 0..4_usize,
    ) {
        let mut content = vec![0, 1];
        for _ in 0..rows {
            content.extend([2, 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'k', 0, 0, 0, 1, b'v']);
        }
        content.extend(rest);
        if let Ok(entries) = entries(&content) {
            prop_assert!(entries.len() > rows);
        }
    }
}
