//! What `doctor` finds: the checks of the folder and its disk, and how findings look. Checks of servers are `agent/doctor`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use petmail_net::program::write_private_file;
use petmail_store::{RESERVE_BYTES, free_bytes};

use crate::{
    api::types::{CheckState, CheckView},
    basedir::Basedir,
    config::Config,
};

/// Below this much free space the disk will be full soon.
const LITTLE_SPACE_BYTES: u64 = 1 << 30;

/// Below this much free space nothing is taken in.
const NO_SPACE_BYTES: u64 = RESERVE_BYTES;

impl CheckView {
    /// All is well.
    pub(crate) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), state: CheckState::Ok, detail: detail.into(), hint: None }
    }

    /// Something will go wrong, or goes slowly.
    pub(crate) fn warning(
        check: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let hint = Some(hint.into());
        Self { check: check.into(), state: CheckState::Warning, detail: detail.into(), hint }
    }

    /// Something does not work.
    pub(crate) fn problem(
        check: impl Into<String>,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { state: CheckState::Problem, ..Self::warning(check, detail, hint) }
    }
}

/// Looks at a node's folder: who can read it, whether there is room, whether its configuration can be read.
pub(crate) fn check_folder(basedir: &Basedir) -> Vec<CheckView> {
    let mut checks = vec![
        check_permissions(basedir),
        check_space(basedir.path()),
        check_writing(basedir.path()),
        check_config(basedir),
    ];
    checks.extend(check_leftovers(basedir));
    checks
}

fn check_leftovers(basedir: &Basedir) -> Option<CheckView> {
    let site = basedir.interrupted_restore()?;
    let detail = "an interrupted restore left the contents of a backup, not encrypted";
    Some(CheckView::warning("restore", detail, format!("delete {}", site.display())))
}

fn check_permissions(basedir: &Basedir) -> CheckView {
    let is_open = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    };
    // The program that knows its folder holds no secret, and is for everybody who may enter the folder: nobody.
    let private = ["", "db", "files", "lock", "vault"].map(|name| basedir.path().join(name));
    let mut paths =
        private.into_iter().chain([basedir.token_file(), basedir.config_file(), basedir.log_file()]);
    match paths.find(|path| is_open(path)) {
        None => CheckView::ok("folder", format!("{} is for its owner only", basedir.path().display())),
        Some(path) => CheckView::problem(
            "folder",
            format!("others can look into {}", path.display()),
            format!("chmod -R go= {}", basedir.path().display()),
        ),
    }
}

fn check_space(path: &Path) -> CheckView {
    match free_bytes(path) {
        Ok(free_bytes) => space(free_bytes),
        Err(error) => {
            CheckView::problem("disk space", format!("it is not known: {error}"), "look at the disk")
        }
    }
}

fn space(free_bytes: u64) -> CheckView {
    let detail = format!("{} MiB are free", free_bytes >> 20);
    match free_bytes {
        0..NO_SPACE_BYTES => CheckView::problem(
            "disk space",
            detail,
            "the disk is full: make room now; without it nothing comes in or is queued",
        ),
        NO_SPACE_BYTES..LITTLE_SPACE_BYTES => CheckView::warning("disk space", detail, "make room soon"),
        _ => CheckView::ok("disk space", detail),
    }
}

/// Writes a file and waits for the disk.
fn check_writing(path: &Path) -> CheckView {
    let file = path.join(".doctor");
    let written = write_private_file(&file, &[0; 4096]).and_then(|()| fs::remove_file(&file));
    match written {
        Ok(()) => CheckView::ok("disk", "a file was written"),
        Err(error) => CheckView::problem(
            "disk",
            format!("no file can be written: {error}"),
            format!("is the disk full, failing, or mounted read-only? see {}", path.display()),
        ),
    }
}

fn check_config(basedir: &Basedir) -> CheckView {
    let path = basedir.config_file();
    match Config::load(&path) {
        Ok(_) => CheckView::ok("configuration", format!("{} can be read", path.display())),
        Err(error) => {
            CheckView::problem("configuration", format!("{error:#}"), format!("edit {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_a_problem_and_a_fuller_one_a_warning() {
        for (free, state) in [
            (0, CheckState::Problem),
            (NO_SPACE_BYTES - 1, CheckState::Problem),
            (NO_SPACE_BYTES, CheckState::Warning),
            (LITTLE_SPACE_BYTES, CheckState::Ok),
        ] {
            let check = space(free);
            assert_eq!(check.state, state, "{free}");
            assert_eq!(check.hint.is_some(), state != CheckState::Ok);
        }
    }

    #[test]
    fn an_open_folder_and_a_bad_configuration_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path()).unwrap();
        let states = |basedir: &Basedir| -> Vec<_> {
            check_folder(basedir).into_iter().map(|check| (check.check, check.state)).collect()
        };
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(basedir.config_file(), "listen = 7").unwrap();
        let found = states(&basedir);
        assert_eq!(found[0], ("folder".to_owned(), CheckState::Problem));
        assert_eq!(found[2], ("disk".to_owned(), CheckState::Ok));
        assert_eq!(found[3], ("configuration".to_owned(), CheckState::Problem));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(basedir.config_file(), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(states(&basedir)[0].1, CheckState::Ok);
    }

    #[test]
    fn what_an_interrupted_restore_left_is_found_and_one_at_work_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(&dir.path().join("n1")).unwrap();
        assert_eq!(check_leftovers(&basedir), None);
        let site = dir.path().join(".n1.restoring");
        fs::create_dir(&site).unwrap();
        let check = check_leftovers(&basedir).unwrap();
        assert_eq!(check.state, CheckState::Warning);
        assert!(check.hint.unwrap().ends_with("/.n1.restoring"));
        let lock = petmail_net::program::DirLock::acquire(&site).unwrap();
        assert_eq!(check_leftovers(&basedir), None);
        drop(lock);
        assert!(check_leftovers(&basedir).is_some());
    }
}
