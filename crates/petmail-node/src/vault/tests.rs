use std::os::unix::fs::PermissionsExt;

use zeroize::Zeroizing;

use super::*;
use crate::{
    agent::records::AGENT,
    db::{Db, Write},
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn unlock(basedir: &Basedir, text: &str) -> Result<Vault, VaultError> {
    LockedVault::find(basedir)?.unwrap().unlock(&passphrase(text))
}

async fn value(basedir: &Basedir, vault: Option<Vault>) -> anyhow::Result<Option<Vec<u8>>> {
    let db = Db::open(basedir.path(), vault).await?;
    let value = db.get(AGENT, b"key").await;
    db.close().await;
    value
}

/// A basedir with one row.
async fn with_a_row() -> (tempfile::TempDir, Basedir) {
    let dir = tempfile::tempdir().unwrap();
    let basedir = Basedir::new(dir.path()).unwrap();
    let db = Db::open(basedir.path(), None).await.unwrap();
    let write = Write { keyspace: AGENT, key: b"key".to_vec(), value: Some(b"value".to_vec()) };
    db.commit(vec![write]).await.unwrap();
    db.close().await;
    (dir, basedir)
}

#[tokio::test]
async fn a_passphrase_is_set_changed_and_removed() {
    let (_dir, basedir) = with_a_row().await;
    assert!(LockedVault::find(&basedir).unwrap().is_none());
    encrypt(&basedir, &passphrase("one")).await.unwrap();
    let mode = fs::metadata(vault_file(basedir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(value(&basedir, None).await.is_err());
    assert!(matches!(unlock(&basedir, "two"), Err(VaultError::WrongPassphrase)));
    let vault = unlock(&basedir, "one").unwrap();
    assert_eq!(value(&basedir, Some(vault.clone())).await.unwrap().unwrap(), b"value");
    change(&basedir, &vault, &passphrase("two")).unwrap();
    assert!(matches!(unlock(&basedir, "one"), Err(VaultError::WrongPassphrase)));
    let vault = unlock(&basedir, "two").unwrap();
    assert_eq!(value(&basedir, Some(vault.clone())).await.unwrap().unwrap(), b"value");
    decrypt(&basedir, vault).await.unwrap();
    assert!(LockedVault::find(&basedir).unwrap().is_none());
    assert!(!vault_file(basedir.path()).exists());
    assert_eq!(value(&basedir, None).await.unwrap().unwrap(), b"value");
}

/// As a node that is killed between the steps leaves it.
#[tokio::test]
async fn a_vault_without_an_encrypted_database_is_a_leftover() {
    let (_dir, basedir) = with_a_row().await;
    Vault::generate().store(basedir.path(), &passphrase("one")).unwrap();
    assert!(LockedVault::find(&basedir).unwrap().is_none());
    assert_eq!(value(&basedir, None).await.unwrap().unwrap(), b"value");
    // The next attempt replaces it.
    encrypt(&basedir, &passphrase("two")).await.unwrap();
    let vault = unlock(&basedir, "two").unwrap();
    assert_eq!(value(&basedir, Some(vault)).await.unwrap().unwrap(), b"value");
}

#[tokio::test]
async fn a_lost_foreign_or_damaged_vault_is_named() {
    let (_dir, basedir) = with_a_row().await;
    encrypt(&basedir, &passphrase("one")).await.unwrap();
    let path = vault_file(basedir.path());
    let good = fs::read(&path).unwrap();
    let damaged = [&good[..40], &[good[40] ^ 1], &good[41..]].concat();
    let newer = [&good[..16], &[0, 9], &good[18..]].concat();
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        LockedVault::find(&basedir).unwrap_err()
    };
    assert!(matches!(error(&damaged), VaultError::Unusable { source: HeaderError::Damaged, .. }));
    assert!(matches!(error(&good[..50]), VaultError::Unusable { source: HeaderError::Damaged, .. }));
    assert!(matches!(error(b"something"), VaultError::Unusable { source: HeaderError::Foreign, .. }));
    assert!(matches!(error(&newer), VaultError::Unusable { source: HeaderError::Newer { found: 9 }, .. }));
    Vault::generate().store(basedir.path(), &passphrase("one")).unwrap();
    assert!(matches!(LockedVault::find(&basedir), Err(VaultError::Foreign { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(LockedVault::find(&basedir), Err(VaultError::Missing { .. })));
    fs::write(&path, good).unwrap();
    assert!(unlock(&basedir, "one").is_ok());
}

#[tokio::test]
async fn an_encryption_that_fails_leaves_no_vault() {
    let (_dir, basedir) = with_a_row().await;
    let damage = |_: &str, _: &[u8], _| Ok(b"damaged".to_vec());
    let engine = petmail_store::EngineKind::Sled;
    petmail_store::rewrite_offline(&db::store_dir(basedir.path()), engine, None, damage).unwrap();
    assert!(encrypt(&basedir, &passphrase("one")).await.is_err());
    assert!(!vault_file(basedir.path()).exists());
    assert!(LockedVault::find(&basedir).unwrap().is_none());
}

#[tokio::test]
async fn a_node_that_was_never_started_is_encrypted_too() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = Basedir::new(dir.path()).unwrap();
    encrypt(&basedir, &passphrase("one")).await.unwrap();
    assert!(value(&basedir, None).await.is_err());
    let vault = unlock(&basedir, "one").unwrap();
    assert_eq!(value(&basedir, Some(vault)).await.unwrap(), None);
}
