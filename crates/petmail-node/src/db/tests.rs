use std::fs;

use petmail_store::rewrite_offline;

use super::*;
use crate::agent::records::{AGENT, CONTACTS, MESSAGES};

const TEXT: &[u8] = b"a text that nobody else may read";

fn put(keyspace: Keyspace, key: &[u8], value: Vec<u8>) -> Write {
    Write { keyspace, key: key.to_vec(), value: Some(value) }
}

fn large() -> Vec<u8> {
    TEXT.repeat(2_000)
}

/// What the tests write, by the keyspaces where large values are expected and where not.
fn writes() -> Vec<Write> {
    vec![
        put(CONTACTS, b"1", TEXT.to_vec()),
        put(CONTACTS, b"2", large()),
        put(BODIES, b"1", large()),
        put(MESSAGES, b"1", Vec::new()),
        // As large as a row may be without a seal, in the form of programs that knew none.
        put(BODIES, b"2", vec![7; petmail_store::MAX_VALUE_BYTES - 1]),
    ]
}

async fn holds_all(db: &Db) {
    for Write { keyspace, key, value } in writes() {
        assert_eq!(db.get(keyspace, &key).await.unwrap(), value, "{keyspace:?}");
    }
}

async fn filled(basedir: &Path) {
    let db = Db::open(basedir, None).await.unwrap();
    db.commit(writes()).await.unwrap();
    db.close().await;
}

/// Whether any file below `dir` holds `TEXT`.
fn shows_text(dir: &Path) -> bool {
    dir.read_dir().unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return shows_text(&path);
        }
        fs::read(path).unwrap().windows(TEXT.len()).any(|window| window == TEXT)
    })
}

fn file_count(basedir: &Path) -> usize {
    basedir.join("files").read_dir().unwrap().count()
}

#[tokio::test]
async fn everything_is_encrypted_and_decrypted_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    assert!(shows_text(dir.path()));
    let vault = Vault::of_bytes(1, 2);
    rewrite(dir.path(), None, Some(vault.clone())).await.unwrap();
    assert!(!shows_text(dir.path()));
    let db = Db::open(dir.path(), Some(vault.clone())).await.unwrap();
    holds_all(&db).await;
    db.commit(vec![put(CONTACTS, b"3", TEXT.to_vec()), put(BODIES, b"3", large())]).await.unwrap();
    assert_eq!(db.scan(BODIES, b"").await.unwrap().len(), 3);
    db.close().await;
    assert!(!shows_text(dir.path()));
    assert_eq!(file_count(dir.path()), 4);
    rewrite(dir.path(), Some(vault), None).await.unwrap();
    let db = Db::open(dir.path(), None).await.unwrap();
    holds_all(&db).await;
    assert_eq!(db.get(BODIES, b"3").await.unwrap(), Some(large()));
    assert_eq!(file_count(dir.path()), 4);
}

/// Values of keyspaces that seldom have large ones were once taken for orphans.
#[tokio::test]
async fn large_values_of_any_keyspace_survive_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let db = Db::open(dir.path(), None).await.unwrap();
    holds_all(&db).await;
    db.commit(vec![put(CONTACTS, b"2", Vec::new())]).await.unwrap();
    db.close().await;
    let before = file_count(dir.path());
    Db::open(dir.path(), None).await.unwrap().close().await;
    assert_eq!(file_count(dir.path()), before - 1, "its file is gone at the next start");
    let db = Db::open(dir.path(), None).await.unwrap();
    assert!(db.commit(vec![put(MESSAGES, b"1", large())]).await.is_err(), "short records have no files");
}

#[tokio::test]
async fn only_the_vault_that_encrypted_it_opens_a_database() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    rewrite(dir.path(), None, Some(Vault::of_bytes(1, 2))).await.unwrap();
    let error = Db::open(dir.path(), None).await.unwrap_err().to_string();
    assert!(error.contains("needs its passphrase"), "{error}");
    assert!(Db::open(dir.path(), Some(Vault::of_bytes(3, 2))).await.is_err());
    assert!(Db::open(dir.path(), Some(Vault::of_bytes(1, 3))).await.is_err());
    assert!(Db::open(dir.path(), Some(Vault::of_bytes(1, 2))).await.is_ok());
}

/// Somebody who can write to the disk, but does not know the key, exchanges two rows or two files.
#[tokio::test]
async fn rows_and_files_cannot_be_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::of_bytes(1, 2);
    filled(dir.path()).await;
    rewrite(dir.path(), None, Some(vault.clone())).await.unwrap();
    let db = Db::open(dir.path(), Some(vault.clone())).await.unwrap();
    let row = db.store.get(CONTACTS, b"1".to_vec()).await.unwrap().unwrap();
    for (keyspace, key) in [("contacts", "2"), ("contacts", ""), ("contact", "s\x001"), ("agent", "1")] {
        assert!(db.values.read(keyspace, key.as_bytes(), row.clone()).await.is_err(), "{keyspace} {key}");
    }
    assert_eq!(db.values.read("contacts", b"1", row).await.unwrap(), TEXT);
    db.close().await;
    let files: Vec<_> =
        fs::read_dir(dir.path().join("files")).unwrap().map(|file| file.unwrap().path()).collect();
    let [first, second, ..] = files.as_slice() else { panic!("there are files") };
    let contents = fs::read(first).unwrap();
    fs::copy(second, first).unwrap();
    fs::write(second, contents).unwrap();
    let db = Db::open(dir.path(), Some(vault)).await.unwrap();
    let mut damaged = 0;
    for Write { keyspace, key, .. } in writes() {
        damaged += usize::from(db.get(keyspace, &key).await.is_err());
    }
    assert_eq!(damaged, 2);
}

/// The bytes of the forms that rows have had; a database that has them must open.
#[tokio::test]
async fn rows_of_every_form_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let files = open_files(dir.path()).unwrap();
    let plain = Values { files: files.clone(), vault: None };
    assert_eq!(plain.read("agent", b"k", b"\x00value".to_vec()).await.unwrap(), b"value");
    let named = [[1].as_slice(), &[0xab; 16]].concat();
    assert_eq!(plain.file_of("agent", b"k", named).unwrap(), Some(BlobName::from_bytes([0xab; 16])));
    let sealed =
        "02545239fb3d559b27751c79e5b70b47ceeadb5115199315d48841b3ced8de718b21a483add8c4625b2b84d434d4a8";
    let row = data_encoding::HEXLOWER.decode(sealed.as_bytes()).unwrap();
    let values = Values { files, vault: Some(Vault::of_bytes(1, 2)) };
    assert_eq!(values.read("agent", b"k", row.clone()).await.unwrap(), b"value");
    for bad in [b"".as_slice(), b"\x03value", b"\x01short"] {
        assert!(plain.read("agent", b"k", bad.to_vec()).await.is_err());
        assert!(values.read("agent", b"k", bad.to_vec()).await.is_err());
    }
    assert!(plain.read("agent", b"k", row).await.is_err());
    assert!(
        values.read("agent", b"k", b"\x00value".to_vec()).await.is_err(),
        "a plain row is none of this vault"
    );
}

#[tokio::test]
async fn a_rewriting_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let before = file_count(dir.path());
    // A damaged row in the last keyspace, when all large values are written anew already.
    let damage =
        |keyspace: &str, _: &[u8], row: Vec<u8>| Ok(if keyspace == "messages" { vec![9] } else { row });
    rewrite_offline(&store_dir(dir.path()), EngineKind::Sled, None, damage).unwrap();
    let vault = Vault::of_bytes(1, 2);
    let error = rewrite(dir.path(), None, Some(vault)).await.unwrap_err();
    assert!(format!("{error:#}").contains("damaged"), "{error:#}");
    assert_eq!(file_count(dir.path()), before, "what was written for the new form is gone");
    let db = Db::open(dir.path(), None).await.unwrap();
    assert_eq!(db.get(BODIES, b"1").await.unwrap(), Some(large()));
    assert_eq!(db.get(AGENT, b"none").await.unwrap(), None);
}
