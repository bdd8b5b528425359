//! A disk that says it has room, and fails when something is written: a file system in an image that finds no room itself.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::small_disk::SmallDisk;
use crate::wait::eventually;

/// How much room it says it has: more than the disk below it.
const BYTES: u64 = 512 << 20;

/// A disk that works until it is broken. It goes with its test.
#[derive(Debug)]
pub struct FailingDisk {
    dir: TempDir,
    below: SmallDisk,
}

impl FailingDisk {
    /// Makes a disk that works; none without root, which is not accepted in CI.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn mount() -> Option<Self> {
        let below = SmallDisk::mount()?;
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let disk = Self { dir, below };
        let image = File::create_new(disk.image()).expect("there is room for the image");
        image.set_len(BYTES).expect("it takes no room yet");
        run("mkfs.ext4", &["-q".as_ref(), disk.image().as_ref()]);
        disk.mount_image();
        Some(disk)
    }

    /// Returns the path of something on the disk.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lets what is written from now on fail.
    pub fn fail(&self) {
        self.below.fill(0);
    }

    /// Mends the disk, as an operator does while no program uses it: what is on it is what was written.
    ///
    /// # Panics
    /// If it is in use.
    pub fn mend(&self) {
        self.below.relieve();
        eventually("nobody uses the disk", || self.unmount(&[]).then_some(()));
        // Its exit status 1 says that something was mended.
        let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(self.image()).output();
        let code = checked.expect("e2fsck runs").status.code();
        assert!(matches!(code, Some(0 | 1)), "e2fsck: {code:?}");
        self.mount_image();
    }

    fn image(&self) -> PathBuf {
        self.below.path("image")
    }

    fn mount_image(&self) {
        run("mount", &["-o".as_ref(), "loop".as_ref(), self.image().as_ref(), self.dir.path().as_ref()]);
    }

    fn unmount(&self, how: &[&str]) -> bool {
        let unmounted = Command::new("umount").args(how).arg(self.dir.path()).output();
        unmounted.is_ok_and(|output| output.status.success())
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // No panic here: it would abort a test that is failing already. Programs may still be ending.
        let _is_gone = self.unmount(&[]) || self.unmount(&["--lazy"]);
    }
}

fn run(program: &str, arguments: &[&OsStr]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program} (is it installed?): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
