//! Where a basedir was last used: tells a folder that was moved from one that was copied. Two copies of a node would share one
//! identity, and each would miss what the other receives.
//!
//! Owns the file `place` in the basedir. It is a help, not a lock: a mailbox server serves one copy at a time anyway.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use petmail_net::program::write_private_file;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The name of the file.
pub(crate) const FILE: &str = "place";

/// The version of the file's layout.
const VERSION: u32 = 1;

/// The longest file that is read.
const MAX_BYTES: u64 = 16 * 1024;

/// Keeps the machine's id, which others know it by, out of the file.
const MACHINE: &str = "petmail.org/v1/machine";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    version: u32,
    /// Names the node: copies have the same.
    node: String,
    path: PathBuf,
    /// The hash of the machine's id; none if the system has none.
    machine: Option<String>,
    device: u64,
    inode: u64,
}

/// How a basedir stands to where it was last used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// It was here, perhaps under another name, or never anywhere.
    Here,
    /// It was elsewhere on this machine, and is there no more.
    Moved,
    /// It is a copy of the one at this path.
    Copied(PathBuf),
    /// It was on another machine.
    Foreign,
}

/// Notes where a basedir is used; returns what a person should know if it may be a copy.
///
/// # Errors
/// The folder cannot be examined, or the file not be written.
pub(crate) fn note(basedir: &Path) -> io::Result<Option<String>> {
    let here = Place::of(basedir)?;
    let Some(last) = read(basedir) else {
        return write(basedir, here).map(|()| None);
    };
    let here = Place { node: last.node.clone(), ..here };
    let there =
        fs::metadata(&last.path).ok().filter(|_| read(&last.path).is_some_and(|it| it.node == last.node));
    let finding = judge(&last, &here, there.map(|folder| (folder.dev(), folder.ino())));
    match &finding {
        Finding::Copied(other) => {
            return Ok(Some(format!(
                "this folder is a copy of {}: two copies of one node take each other's messages; stop and delete one of them",
                other.display()
            )));
        }
        Finding::Moved => tracing::info!(from = %last.path.display(), "the node's folder was moved here"),
        Finding::Here | Finding::Foreign => {}
    }
    if here != last {
        write(basedir, here)?;
    }
    Ok((finding == Finding::Foreign).then(|| {
        "this folder was last used on another computer: if its node still runs there, stop and delete it; two copies of one \
         node take each other's messages"
            .to_owned()
    }))
}

/// Decides by what was noted last, what is here, and the device and inode of the folder with the same node at the path noted.
fn judge(last: &Place, here: &Place, there: Option<(u64, u64)>) -> Finding {
    if last.machine != here.machine {
        return Finding::Foreign;
    }
    let folder = (here.device, here.inode);
    if folder == (last.device, last.inode) || last.path == here.path {
        return Finding::Here;
    }
    match there {
        Some(other) if other != folder => Finding::Copied(last.path.clone()),
        _ => Finding::Moved,
    }
}

impl Place {
    fn of(basedir: &Path) -> io::Result<Self> {
        let (path, folder) = (fs::canonicalize(basedir)?, fs::metadata(basedir)?);
        let mut node = [0; 16];
        OsRng.fill_bytes(&mut node);
        Ok(Self {
            version: VERSION,
            node: data_encoding::HEXLOWER.encode(&node),
            path,
            machine: machine(),
            device: folder.dev(),
            inode: folder.ino(),
        })
    }
}

/// The hash of this machine's id (`machine-id(5)`).
fn machine() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let hash = Sha256::new().chain_update(MACHINE).chain_update([0]).chain_update(id.trim()).finalize();
    Some(data_encoding::HEXLOWER.encode(&hash))
}

/// Reads a basedir's file; one that is damaged, or of a later version, counts as absent.
fn read(basedir: &Path) -> Option<Place> {
    let file = basedir.join(FILE);
    let length = fs::metadata(&file).ok()?.len();
    let place: Option<Place> = fs::read(&file)
        .ok()
        .filter(|_| length <= MAX_BYTES)
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let place = place.filter(|place| place.version == VERSION);
    if place.is_none() {
        tracing::warn!(file = %file.display(), "the file that tells where this folder was used is damaged; it is made anew");
    }
    place
}

fn write(basedir: &Path, place: Place) -> io::Result<()> {
    write_private_file(&basedir.join(FILE), &serde_json::to_vec(&place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, machine: &str, inode: u64) -> Place {
        let (path, machine) = (PathBuf::from(path), Some(machine.to_owned()));
        Place { version: VERSION, node: "n".to_owned(), path, machine, device: 1, inode }
    }

    #[test]
    fn a_folder_was_moved_or_copied_by_what_is_at_the_old_place() {
        let last = place("/old", "m", 7);
        let judged = |here: &Place, there| judge(&last, here, there);
        assert_eq!(judged(&place("/old", "m", 7), Some((1, 7))), Finding::Here);
        assert_eq!(
            judged(&place("/another/name", "m", 7), Some((1, 7))),
            Finding::Here,
            "a mount, or a link"
        );
        assert_eq!(
            judged(&place("/old", "m", 8), Some((1, 8))),
            Finding::Here,
            "restored from a file system's backup"
        );
        assert_eq!(judged(&place("/new", "m", 8), None), Finding::Moved);
        assert_eq!(
            judged(&place("/new", "m", 8), Some((1, 8))),
            Finding::Moved,
            "a link to here was left there"
        );
        assert_eq!(judged(&place("/new", "m", 8), Some((1, 7))), Finding::Copied("/old".into()));
        assert_eq!(judged(&place("/old", "other", 7), Some((1, 7))), Finding::Foreign);
    }

    #[test]
    fn a_copy_is_named_until_one_of_the_two_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        fs::create_dir(&first).unwrap();
        assert_eq!((note(&first).unwrap(), note(&first).unwrap()), (None, None));
        fs::create_dir(&second).unwrap();
        fs::copy(first.join(FILE), second.join(FILE)).unwrap();
        for _ in 0..2 {
            assert!(note(&second).unwrap().unwrap().contains("is a copy of"));
            assert_eq!(note(&first).unwrap(), None);
        }
        fs::remove_dir_all(&first).unwrap();
        assert_eq!(note(&second).unwrap(), None);
        fs::rename(&second, &first).unwrap();
        assert_eq!(note(&first).unwrap(), None);
        assert_eq!(read(&first).unwrap().path, fs::canonicalize(&first).unwrap());
    }

    #[test]
    fn a_damaged_or_later_file_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"version\":2}", "\u{0}"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(note(dir.path()).unwrap(), None, "{text}");
            assert!(read(dir.path()).is_some());
        }
    }

    #[test]
    fn another_machine_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = Place { machine: Some("another".to_owned()), ..Place::of(dir.path()).unwrap() };
        write(dir.path(), foreign).unwrap();
        assert!(note(dir.path()).unwrap().unwrap().contains("another computer"));
        assert_eq!(note(dir.path()).unwrap(), None);
    }
}
