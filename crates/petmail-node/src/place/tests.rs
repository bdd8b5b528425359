use std::{
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use super::*;

/// A folder with a node in it.
fn node_in(dir: &Path) -> Basedir {
    let basedir = Basedir::new(dir).unwrap();
    fs::create_dir_all(dir).unwrap();
    fs::write(basedir.config_file(), "").unwrap();
    basedir
}

fn copy(from: &Basedir, to: &Path) -> Basedir {
    let copy = node_in(to);
    fs::copy(from.place_file(), copy.place_file()).unwrap();
    copy
}

fn place(basedir: &Basedir) -> Place {
    Place::decode_record(&fs::read(basedir.place_file()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_copy_is_one_until_the_other_folder_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let original = node_in(&dir.path().join("original"));
    assert_eq!(settle(&original).await, None);
    let noted = place(&original);
    assert_eq!(settle(&original).await, None);
    let copied = copy(&original, &dir.path().join("copy"));
    for _ in 0..2 {
        let problem = settle(&copied).await.unwrap();
        assert!(problem.contains("is a copy of the node in") && problem.contains("/original,"), "{problem}");
    }
    assert_eq!(settle(&original).await, None);
    assert_eq!((place(&original), place(&copied)), (noted.clone(), noted.clone()));
    fs::remove_dir_all(original.path()).unwrap();
    assert_eq!(settle(&copied).await, None);
    let moved = place(&copied);
    assert_eq!(moved.node, noted.node);
    assert_eq!(moved.site, site(copied.path()).unwrap());
    let mode = fs::metadata(copied.place_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_folder_that_is_moved_linked_or_replaced_is_no_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let basedir = node_in(&old);
    assert_eq!(settle(&basedir).await, None);
    fs::rename(&old, &new).unwrap();
    symlink(&new, &old).unwrap();
    for path in [&new, &old] {
        assert_eq!(settle(&Basedir::new(path).unwrap()).await, None);
    }
    // Another node is where this one was.
    fs::remove_file(&old).unwrap();
    assert_eq!(settle(&node_in(&old)).await, None);
    let third = dir.path().join("third");
    fs::rename(&old, &third).unwrap();
    fs::rename(&new, &old).unwrap();
    for path in [&third, &old] {
        assert_eq!(settle(&Basedir::new(path).unwrap()).await, None);
    }
}

#[tokio::test]
async fn what_another_machine_or_program_wrote_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = node_in(&dir.path().join("node"));
    assert_eq!(settle(&basedir).await, None);
    let mut written = place(&basedir);
    written.site.machine = MachineDigest::of(&"0".repeat(32));
    let here = Site { machine: MachineDigest::of(&"1".repeat(32)), ..written.site.clone() };
    let newer = [&[9, 9], written.encode_record().unwrap().get(2..).unwrap()].concat();
    for (bytes, said) in [
        (written.encode_record().unwrap(), "on another computer"),
        (Vec::new(), "was damaged"),
        (b"\0\x01place".to_vec(), "was damaged"),
        (vec![0; 100_000], "was damaged"),
        (newer, "a newer Petmail"),
    ] {
        fs::write(basedir.place_file(), bytes).unwrap();
        let problem = settle_at(&basedir, here.clone()).await.unwrap().unwrap();
        assert!(problem.contains(said), "{problem}");
        assert_eq!(settle_at(&basedir, here.clone()).await.unwrap(), None);
        assert_eq!(place(&basedir).site, here);
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_told_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = node_in(&dir.path().join("node"));
    fs::create_dir(basedir.place_file()).unwrap();
    let problem = settle(&basedir).await.unwrap();
    assert!(problem.contains("cannot be told") && problem.contains("/place"), "{problem}");
}

#[test]
fn what_shows_at_both_paths_is_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let [here, there, link] = ["here", "there", "link"].map(|name| dir.path().join(name));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    symlink(&here, &link).unwrap();
    assert!(is_one_folder(&here, &link).unwrap());
    assert!(!is_one_folder(&here, &there).unwrap());
    assert!(is_one_folder(&dir.path().join("none"), &there).is_err());
    for path in [&here, &there] {
        assert_eq!(fs::read_dir(path).unwrap().count(), 0, "nothing is left");
    }
}

#[tokio::test]
async fn what_never_answers_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let original = node_in(&dir.path().join("original"));
    assert_eq!(settle(&original).await, None);
    // Like a network share that is away: nobody ever writes into it.
    fs::remove_file(original.place_file()).unwrap();
    assert!(Command::new("mkfifo").arg(original.place_file()).status().unwrap().success());
    assert_eq!(
        look(original.path().to_owned(), dir.path().to_owned(), Duration::from_millis(20)).await,
        Found::Hidden
    );
}
