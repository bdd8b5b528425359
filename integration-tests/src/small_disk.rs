//! A small disk that can be filled and relieved: a file system in memory, which root can mount.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// How large it is: programs start with room to spare beside what they keep free.
const MIB: u64 = 160;

/// What is written at once.
const CHUNK: &[u8] = &[7; 1 << 20];

/// A mounted disk. It goes with its test, also with one that fails.
#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts a disk; none without root, which is not accepted in CI.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub fn mount() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "full disks must not be skipped in CI");
            eprintln!("SKIPPED full-disk: needs root");
            return None;
        }
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let size = format!("size={MIB}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        assert!(mounted.expect("mount runs").success(), "no disk could be mounted");
        Some(Self { dir })
    }

    /// Returns the path of something on the disk.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Fills the disk until so many MiB, or none at all, are left.
    ///
    /// # Panics
    /// If something else than the full disk hinders it.
    pub fn fill(&self, left_mib: u64) {
        let mut ballast = File::options().append(true).create(true).open(self.ballast()).expect("a file");
        while left_mib == 0 || free_bytes(self.dir.path()) > left_mib << 20 {
            match ballast.write(CHUNK) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Makes room again.
    ///
    /// # Panics
    /// If it was not full.
    pub fn relieve(&self) {
        fs::remove_file(self.ballast()).expect("there is ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.path("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmount = |how: &[&str]| {
            let status = Command::new("umount").args(how).arg(self.dir.path()).status();
            status.is_ok_and(|status| status.success())
        };
        // No panic here: it would abort a test that is failing already. Programs may still be ending.
        let _is_gone = unmount(&[]) || unmount(&["--lazy"]);
    }
}

fn free_bytes(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path).expect("a disk says how full it is");
    disk.f_bavail * disk.f_frsize
}
