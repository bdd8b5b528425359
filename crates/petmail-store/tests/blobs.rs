//! Blobs through the public interface: what is on disk, and what a crash leaves.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use petmail_store::{BlobDir, BlobError, BlobName, Swept};
use tempfile::TempDir;
use tokio::task::JoinSet;

fn fresh() -> (TempDir, BlobDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobDir::open(&dir.path().join("blobs")).unwrap();
    (dir, blobs)
}

fn name(number: u8) -> BlobName {
    BlobName::from_bytes([number; 16])
}

#[tokio::test]
async fn blobs_are_put_read_and_removed() {
    let (dir, blobs) = fresh();
    blobs.put(name(1), vec![7; 100_000]).await.unwrap();
    blobs.put(name(2), Vec::new()).await.unwrap();
    let bytes = blobs.get(name(1), 100_000).await.unwrap().unwrap();
    assert_eq!(bytes, vec![7; 100_000]);
    assert_eq!(blobs.get(name(2), 0).await.unwrap().unwrap(), b"");
    assert_eq!(blobs.get(name(3), 9).await.unwrap(), None);

    let blobs = BlobDir::open(&dir.path().join("blobs")).unwrap();
    assert!(blobs.remove(name(1)).await.unwrap());
    assert!(!blobs.remove(name(1)).await.unwrap());
    assert_eq!(blobs.get(name(1), 100_000).await.unwrap(), None);
}

#[tokio::test]
async fn reads_are_bounded() {
    let (_dir, blobs) = fresh();
    blobs.put(name(1), vec![7; 1000]).await.unwrap();
    let error = blobs.get(name(1), 999).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { max_bytes: 999, .. }));
    assert!(blobs.get(name(1), u64::MAX).await.unwrap().is_some());
}

#[tokio::test]
async fn names_are_used_once() {
    let (_dir, blobs) = fresh();
    blobs.put(name(1), vec![1]).await.unwrap();
    let error = blobs.put(name(1), vec![2]).await.unwrap_err();
    assert!(matches!(error, BlobError::Exists(taken) if taken == name(1)));
    assert_eq!(blobs.get(name(1), 9).await.unwrap().unwrap(), [1]);
}

#[tokio::test]
async fn the_sweep_removes_orphans_and_unfinished_files_only() {
    let (dir, blobs) = fresh();
    for number in [1, 2, 3] {
        blobs.put(name(number), vec![number]).await.unwrap();
    }
    let folder = dir.path().join("blobs");
    fs::write(folder.join(format!("{}.tmp", name(4))), "half").unwrap();
    fs::write(folder.join("README"), "not ours").unwrap();
    let swept = blobs.sweep(|blob| *blob == name(2)).await.unwrap();
    let expected = Swept { orphans: vec![name(1), name(3)], temporaries: 1 };
    assert_eq!(swept, expected);
    assert_eq!(blobs.get(name(2), 9).await.unwrap().unwrap(), [2]);
    assert_eq!(folder.read_dir().unwrap().count(), 2);
    let again = blobs.sweep(|blob| *blob == name(2)).await.unwrap();
    assert_eq!(again, Swept::default());
}

#[tokio::test]
async fn an_unfinished_file_does_not_hinder_a_put() {
    let (dir, blobs) = fresh();
    let unfinished = dir.path().join(format!("blobs/{}.tmp", name(1)));
    fs::write(&unfinished, "a longer remainder").unwrap();
    blobs.put(name(1), b"short".to_vec()).await.unwrap();
    assert_eq!(blobs.get(name(1), 99).await.unwrap().unwrap(), b"short");
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn blobs_are_private() {
    let (dir, blobs) = fresh();
    blobs.put(name(1), vec![1]).await.unwrap();
    let mode = |path: &str| {
        let metadata = dir.path().join(path).metadata().unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("blobs"), 0o700);
    assert_eq!(mode(&format!("blobs/{}", name(1))), 0o600);
}

#[tokio::test]
async fn blobs_are_put_concurrently() {
    let (_dir, blobs) = fresh();
    let mut tasks = JoinSet::new();
    for number in 0..32 {
        let blobs = blobs.clone();
        tasks.spawn(async move { blobs.put(name(number), vec![number; 40_000]).await });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    for number in 0..32 {
        let bytes = blobs.get(name(number), 40_000).await.unwrap();
        assert_eq!(bytes.unwrap(), vec![number; 40_000]);
    }
}

#[test]
fn names_have_one_spelling() {
    let text = "000102030405060708090a0b0c0d0e0f";
    let parsed: BlobName = text.parse().unwrap();
    assert_eq!(parsed.to_string(), text);
    assert_eq!(parsed.as_bytes().last(), Some(&15));
    let upper = text.to_uppercase();
    let signed = text.replacen('0', "+", 1);
    for bad in ["", "00", &upper, &signed, "../../../../../../../etc/passwd.", &format!("{text}0")] {
        assert!(bad.parse::<BlobName>().is_err(), "{bad}");
    }
}
