//! A power cut, simulated: the store lies on a file system in an image, which is copied while the
//! writer is stopped. The copy is the disk as it was at that moment, without what only memory held.
//!
//! Torn sectors and disks that lie about their caches are beyond it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::ledger::Ledger;
use crate::say;
use crate::writer::Writer;

const IMAGE_BYTES: u64 = 256 * 1024 * 1024;

/// Whether this process may mount images.
pub(crate) fn is_possible() -> bool {
    rustix::process::geteuid().is_root()
        && Command::new("losetup").arg("--find").output().is_ok_and(|output| output.status.success())
}

/// Lets a writer work on a fresh disk, cuts the power, and shows the disk to `check`.
pub(crate) fn cut(
    test: &str,
    ledger: &mut Ledger,
    acks: u64,
    delay_us: u64,
    check: impl FnOnce(&Path, &mut Ledger),
) {
    let dir = tempfile::tempdir().unwrap();
    let [disk, copy] = ["disk.img", "copy.img"].map(|name| dir.path().join(name));
    format(&disk, IMAGE_BYTES);
    {
        let mount = Mount::new(&disk, dir.path().join("before"));
        let mut writer = Writer::start(test, &mount.at.join("store"), ledger.next_id());
        writer.follow(ledger, acks, delay_us);
        stop(&writer);
        let how = ["--sparse=always", "--reflink=never"].map(OsStr::new);
        run("cp", how.into_iter().chain([disk.as_ref(), copy.as_ref()]));
        writer.kill(ledger);
    }
    let mount = Mount::new(&copy, dir.path().join("after"));
    check(&mount.at.join("store"), ledger);
}

/// Shows `work` a fresh disk of that size.
pub(crate) fn with_disk(bytes: u64, work: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk.img");
    format(&disk, bytes);
    let mount = Mount::new(&disk, dir.path().join("disk"));
    work(&mount.at);
}

fn format(image: &Path, bytes: u64) {
    let file = File::create_new(image).unwrap();
    file.set_len(bytes).unwrap();
    run("mkfs.ext4", [OsStr::new("-q"), image.as_os_str()]);
}

/// Stops the writer; returns once all its threads stand still.
fn stop(writer: &Writer) {
    let pid = Pid::from_raw(i32::try_from(writer.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::Pid(pid), stopped).unwrap();
}

/// A mounted image; unmounted when dropped, also by a failing test.
struct Mount {
    at: PathBuf,
}

impl Mount {
    fn new(image: &Path, at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let options = ["-o", "loop"].map(OsStr::new);
        let places = [image.as_os_str(), at.as_os_str()];
        run("mount", options.into_iter().chain(places));
        Self { at }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmount = |how: &[&str]| {
            let status = Command::new("umount").args(how).arg(&self.at).status();
            status.is_ok_and(|status| status.success())
        };
        // No panic here: it would abort a test that is failing already, and leave the other mounts.
        if !unmount(&[]) && !unmount(&["--lazy"]) {
            say(&format!("cannot unmount {}", self.at.display()));
        }
    }
}

fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program} (is it installed?): {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {complaint}");
}
