//! Moved or copied? The decision, without I/O.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use petmail_proto::wire::{Record, WireError};

use super::record::{Folder, NodeId, Place, Site};

/// What the file `place` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// There is none: the node is new, restored, or of an older program.
    Absent,
    /// Where the node was.
    Place(Place),
    /// It cannot be read.
    Damaged,
    /// A newer program wrote it.
    Newer,
}

/// What is found where the node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No node.
    Nothing,
    /// A node.
    Node { node: NodeId, folder: Folder },
    /// It cannot be looked at.
    Hidden,
}

/// What has come of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has no history.
    New,
    /// It is where it was.
    Same,
    /// Another folder is where it was, such as one from a copy of the disk; there is nowhere to look for the former one.
    Replaced,
    /// It was moved, or is known by another name now.
    Moved { from: PathBuf },
    /// The other folder is still there.
    Copied { of: PathBuf },
    /// It was moved or copied: the other place cannot be looked at.
    Unknown { from: PathBuf },
    /// It was moved or copied from another machine.
    OtherMachine,
    /// The file `place` is damaged.
    Damaged,
    /// A newer program wrote the file `place`.
    Newer,
}

impl Written {
    pub(super) fn decode(bytes: &[u8]) -> Self {
        match Place::decode_record(bytes) {
            Ok(place) => Self::Place(place),
            Err(WireError::UnknownVersion { found, known }) if found > known => Self::Newer,
            Err(_) => Self::Damaged,
        }
    }

    /// Which node this is, if that is known.
    pub(super) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Place(place) => Some(place.node),
            Self::Absent | Self::Damaged | Self::Newer => None,
        }
    }

    /// Where the node was, if that is another path of this machine.
    pub(super) fn former_path(&self, here: &Site) -> Option<PathBuf> {
        match self {
            Self::Place(place) if place.site.path != here.path && !is_elsewhere(&place.site, here) => {
                Some(path_of(&place.site))
            }
            _ => None,
        }
    }

    /// Decides, by what was found at the former path.
    pub(super) fn judge(&self, here: &Site, found: Found) -> Verdict {
        let Place { node, site } = match self {
            Self::Absent => return Verdict::New,
            Self::Damaged => return Verdict::Damaged,
            Self::Newer => return Verdict::Newer,
            Self::Place(place) => place,
        };
        if is_elsewhere(site, here) {
            return Verdict::OtherMachine;
        }
        if site.path == here.path {
            return if site == here { Verdict::Same } else { Verdict::Replaced };
        }
        match found {
            // By another name, one folder may be reached that was mounted twice.
            Found::Node { node: other, folder } if other == *node && folder != here.folder => {
                Verdict::Copied { of: path_of(site) }
            }
            Found::Hidden => Verdict::Unknown { from: path_of(site) },
            Found::Node { .. } | Found::Nothing => Verdict::Moved { from: path_of(site) },
        }
    }
}

impl Verdict {
    /// Whether the new place is noted. A copy is a copy until the other folder is gone.
    pub(super) const fn is_to_be_noted(&self) -> bool {
        !matches!(self, Self::Same | Self::Copied { .. })
    }

    /// Says what is wrong and what to do.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::New | Self::Same | Self::Replaced | Self::Moved { .. } => None,
            Self::Copied { of } => Some(format!(
                "this folder is a copy of the node in {}, and two copies take each other's messages: stop one of them \
                 and delete its folder; to keep this one, delete the other and restart this one",
                of.display()
            )),
            Self::Unknown { from } => Some(format!(
                "this folder was in {}, where it cannot be looked at; if there still is a node, stop it and delete \
                 its folder: two copies take each other's messages (said until the next start)",
                from.display()
            )),
            Self::OtherMachine => Some(
                "this folder was written on another computer; if the node there still runs, stop it and delete its \
                 folder: two copies take each other's messages (said until the next start)"
                    .to_owned(),
            ),
            Self::Damaged => Some(unreadable("was damaged")),
            Self::Newer => Some(unreadable("was written by a newer Petmail")),
        }
    }
}

/// Whether two sites are known to be of two machines.
fn is_elsewhere(site: &Site, here: &Site) -> bool {
    site.machine.zip(here.machine).is_some_and(|(site, here)| site != here)
}

fn path_of(site: &Site) -> PathBuf {
    OsString::from_vec(site.path.clone()).into()
}

fn unreadable(how: &str) -> String {
    format!(
        "the file `place`, which tells a copy of this folder from the original, {how} and was written anew; if you \
         copied this folder, stop the other copy and delete it (said until the next start)"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::record::MachineDigest, *};

    const ME: NodeId = NodeId::from_bytes([1; 16]);
    const OTHER: NodeId = NodeId::from_bytes([2; 16]);

    fn site(path: &str, machine: Option<char>, inode: u64) -> Site {
        let machine = machine.map(|digit| MachineDigest::of(&digit.to_string().repeat(32)).unwrap());
        Site { path: path.into(), machine, folder: folder(inode) }
    }

    fn folder(inode: u64) -> Folder {
        Folder { device: 1, inode }
    }

    fn written(path: &str, machine: Option<char>, inode: u64) -> Written {
        Written::Place(Place { node: ME, site: site(path, machine, inode) })
    }

    /// The folder is at `/new`, inode 1, of machine `a`.
    fn judge(written: &Written, found: Found) -> Verdict {
        written.judge(&site("/new", Some('a'), 1), found)
    }

    #[test]
    fn a_folder_is_moved_or_copied() {
        let old = || PathBuf::from("/old");
        let node = |node, inode| Found::Node { node, folder: folder(inode) };
        let copied = || Verdict::Copied { of: old() };
        let moved = || Verdict::Moved { from: old() };
        for (machine, inode, found, verdict) in [
            (Some('a'), 1, Found::Nothing, moved()),
            (Some('a'), 2, Found::Nothing, moved()),
            (Some('a'), 2, node(ME, 2), copied()),
            // The original was moved, and a copy put where it was.
            (Some('a'), 1, node(ME, 2), copied()),
            // Mounted twice, or a link where the folder was.
            (Some('a'), 1, node(ME, 1), moved()),
            // Another node took the place.
            (Some('a'), 1, node(OTHER, 2), moved()),
            (Some('a'), 2, Found::Hidden, Verdict::Unknown { from: old() }),
            (None, 2, Found::Nothing, moved()),
            (None, 2, node(ME, 2), copied()),
            (Some('b'), 2, node(ME, 2), Verdict::OtherMachine),
            (Some('b'), 1, Found::Nothing, Verdict::OtherMachine),
        ] {
            let judged = judge(&written("/old", machine, inode), found);
            assert_eq!(judged, verdict, "{machine:?} {inode} {found:?}");
        }
        let other_disk = Found::Node { node: ME, folder: Folder { device: 2, inode: 1 } };
        assert_eq!(judge(&written("/old", Some('a'), 1), other_disk), copied());
    }

    #[test]
    fn what_stays_where_it_was_is_no_copy() {
        for (machine, inode, verdict) in [
            (Some('a'), 1, Verdict::Same),
            (Some('a'), 2, Verdict::Replaced),
            (None, 1, Verdict::Replaced),
            (Some('b'), 1, Verdict::OtherMachine),
        ] {
            let judged = judge(&written("/new", machine, inode), Found::Nothing);
            assert_eq!(judged, verdict, "{machine:?} {inode}");
        }
        assert_eq!(judge(&Written::Absent, Found::Nothing), Verdict::New);
    }

    #[test]
    fn only_another_path_of_this_machine_is_looked_at() {
        let here = site("/new", Some('a'), 1);
        for (written, path) in [
            (written("/old", Some('a'), 1), Some("/old")),
            (written("/old", None, 1), Some("/old")),
            (written("/old", Some('b'), 1), None),
            (written("/new", Some('a'), 2), None),
            (Written::Absent, None),
            (Written::Damaged, None),
            (Written::Newer, None),
        ] {
            assert_eq!(written.former_path(&here), path.map(PathBuf::from), "{written:?}");
        }
    }

    #[test]
    fn bytes_of_another_version_or_of_none_are_told_apart() {
        let place = Place { node: ME, site: site("/new", None, 1) };
        let bytes = place.encode_record().unwrap();
        assert_eq!(Written::decode(&bytes), Written::Place(place));
        for length in 0..bytes.len() {
            assert_eq!(Written::decode(&bytes[..length]), Written::Damaged, "{length}");
        }
        assert_eq!(Written::decode(&[bytes.as_slice(), &[0]].concat()), Written::Damaged);
        assert_eq!(Written::decode(&[&[0, 2], &bytes[2..]].concat()), Written::Newer);
        assert_eq!(Written::decode(&[&[0, 0], &bytes[2..]].concat()), Written::Damaged);
    }

    #[test]
    fn problems_say_what_to_do_and_a_copy_stays_one() {
        let path = || PathBuf::from("/old");
        for (verdict, is_noted, problem) in [
            (Verdict::New, true, None),
            (Verdict::Same, false, None),
            (Verdict::Replaced, true, None),
            (Verdict::Moved { from: path() }, true, None),
            (Verdict::Copied { of: path() }, false, Some("/old")),
            (Verdict::Unknown { from: path() }, true, Some("/old")),
            (Verdict::OtherMachine, true, Some("another computer")),
            (Verdict::Damaged, true, Some("damaged")),
            (Verdict::Newer, true, Some("newer")),
        ] {
            assert_eq!(verdict.is_to_be_noted(), is_noted, "{verdict:?}");
            match (verdict.problem(), problem) {
                (None, None) => {}
                (Some(said), Some(part)) => assert!(said.contains(part) && said.contains("stop"), "{said}"),
                (said, _) => panic!("{verdict:?}: {said:?}"),
            }
        }
    }
}
