//! The demo that developers are shown does what it says, and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::command;

/// Starts a demo whose folder lies in `dir`.
fn demo(dir: &Path, arguments: &[&str]) -> Process {
    Process::spawn(command("xtask").arg("demo").args(arguments).env("TMPDIR", dir))
}

fn is_empty(dir: &Path) -> bool {
    dir.read_dir().unwrap().next().is_none()
}

/// Counts the running programs that were told to use something below `dir`.
fn programs_in(dir: &Path) -> usize {
    let processes = Path::new("/proc").read_dir().unwrap();
    let command_lines =
        processes.filter_map(|process| fs::read(process.unwrap().path().join("cmdline")).ok());
    command_lines.filter(|line| String::from_utf8_lossy(line).contains(dir.to_str().unwrap())).count()
}

#[test]
fn the_story_is_played_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (status, lines) = demo(dir.path(), &["--once"]).finish();
    assert!(status.success(), "{lines:#?}");
    let words: Vec<_> =
        lines.iter().filter_map(|line| Some(line.split_once("sees the safety words: ")?.1)).collect();
    let [alice, bob] = words.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(alice, bob);
    assert_eq!(alice.split(' ').count(), 6);
    let received = |text: &str| lines.iter().any(|line| line.starts_with('#') && line.ends_with(text));
    assert!(received("Alice: Hello Bob, this is Alice."), "{lines:#?}");
    assert!(received("Bob: Grüß dich, Alice! Schön, dass das ohne Dritte geht ✓"), "{lines:#?}");
    assert!(is_empty(dir.path()));
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let demo = demo(dir.path(), &[]);
    demo.wait_for(|line| (line == "Ctrl-C ends it all.").then_some(()));
    assert_eq!(programs_in(dir.path()), 4, "two servers and two nodes");
    let (status, lines) = demo.terminate();
    assert!(status.success(), "{lines:#?}");
    assert_eq!(programs_in(dir.path()), 0);
    assert!(is_empty(dir.path()));
}

#[test]
fn a_folder_that_was_named_is_kept_and_none_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let named = dir.path().join("demo");
    let arguments = ["--once", "--dir", named.to_str().unwrap()];
    let (status, lines) = demo(dir.path(), &arguments).finish();
    assert!(status.success(), "{lines:#?}");
    assert!(named.join("alice/petmail").exists());
    let (status, lines) = demo(dir.path(), &arguments).finish();
    assert!(!status.success());
    assert!(lines.iter().any(|line| line.contains("exists already")), "{lines:#?}");
}
