//! What is to be written where: made of a manifest, before a byte of content is fetched. Names are safe here, and paths lead
//! nowhere but below the folder that is being made.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use petmail_proto::{
    channel::file::StoredKind,
    content::{ChunkEntry, EntryKind, Manifest, PackEntry},
    time::UnixMillis,
};

use crate::file_name::{numbered, safe_name};

/// What is to be written.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) kind: StoredKind,
    /// How long all files together are, in bytes.
    pub(super) size: u64,
    /// Folders, each after the one that it is in; none for a single file.
    pub(super) folders: Vec<PathBuf>,
    /// Files; the path of a single one is empty.
    pub(super) files: Vec<PlannedFile>,
    /// The packs that are needed, each once.
    pub(super) packs: Vec<PlannedPack>,
}

/// A file that is to be written.
#[derive(Debug)]
pub(super) struct PlannedFile {
    /// Below the folder that is being made.
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) size: u64,
    pub(super) modified: UnixMillis,
}

/// A pack, and where its chunks go.
#[derive(Clone, Debug)]
pub(super) struct PlannedPack {
    pub(super) pack: PackEntry,
    pub(super) pieces: Vec<Piece>,
}

/// A chunk, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Which of the files.
    pub(super) file: usize,
    /// Where it begins there, in bytes.
    pub(super) at: u64,
    pub(super) chunk: ChunkEntry,
}

impl Plan {
    /// Plans to write everything that a manifest lists, which has passed its own checks.
    pub(super) fn of(kind: StoredKind, manifest: &Manifest) -> Self {
        let packs = manifest.packs().iter();
        let mut plan = Self {
            kind,
            size: manifest.total_bytes(),
            folders: Vec::new(),
            files: Vec::new(),
            packs: packs.map(|pack| PlannedPack { pack: *pack, pieces: Vec::new() }).collect(),
        };
        let mut names = Names::default();
        for entry in manifest.entries() {
            let path = match kind {
                StoredKind::File => PathBuf::new(),
                StoredKind::Folder => names.path(&entry.path, &mut plan.folders, &entry.kind),
            };
            if let EntryKind::File { size, modified, chunks } = &entry.kind {
                plan.add(PlannedFile { path, size: *size, modified: *modified }, chunks);
            }
        }
        plan.packs.retain(|pack| !pack.pieces.is_empty());
        plan
    }

    fn add(&mut self, file: PlannedFile, chunks: &[ChunkEntry]) {
        let number = self.files.len();
        self.files.push(file);
        let mut at = 0_u64;
        for chunk in chunks {
            let pack = usize::try_from(chunk.pack).ok().and_then(|pack| self.packs.get_mut(pack));
            if let Some(pack) = pack {
                pack.pieces.push(Piece { file: number, at, chunk: chunk.clone() });
            }
            at = at.saturating_add(chunk.length.into());
        }
    }
}

impl PlannedPack {
    /// How much of the files it brings, in bytes.
    pub(super) fn content_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| u64::from(piece.chunk.length)).sum()
    }
}

/// What paths of the sender's become here.
#[derive(Debug, Default)]
struct Names {
    of_folders: HashMap<String, PathBuf>,
    /// In small letters: some systems see no difference.
    taken: HashSet<String>,
}

impl Names {
    fn path(&mut self, path: &str, folders: &mut Vec<PathBuf>, kind: &EntryKind) -> PathBuf {
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut safe = PathBuf::new();
        let mut so_far = String::new();
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            so_far.push_str(parent);
            safe = self.folder(&so_far, parent, &safe, folders);
            so_far.push('/');
        }
        match kind {
            EntryKind::Folder => self.folder(path, name, &safe, folders),
            EntryKind::File { .. } => self.free(&safe, name),
        }
    }

    fn folder(&mut self, path: &str, name: &str, parent: &Path, folders: &mut Vec<PathBuf>) -> PathBuf {
        if let Some(known) = self.of_folders.get(path) {
            return known.clone();
        }
        let safe = self.free(parent, name);
        self.of_folders.insert(path.to_owned(), safe.clone());
        folders.push(safe.clone());
        safe
    }

    /// Finds a name that is safe and that nothing else here has.
    fn free(&mut self, parent: &Path, name: &str) -> PathBuf {
        // Below a folder of its own, a hidden file may stay hidden.
        let safe = if name.starts_with('.') { format!(".{}", safe_name(name)) } else { safe_name(name) };
        let others = (2_u32..).map(|number| numbered(&safe, number));
        let all = std::iter::once(safe.clone()).chain(others).map(|name| parent.join(name));
        let is_free = |path: &PathBuf| !self.taken.contains(&path.to_string_lossy().to_lowercase());
        let path = all.into_iter().find(is_free).unwrap_or_default();
        self.taken.insert(path.to_string_lossy().to_lowercase());
        path
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use petmail_proto::content::Entry;
    use proptest::prelude::*;

    use super::*;

    fn plan(paths: &[&str]) -> Plan {
        let file = EntryKind::File { size: 0, modified: UnixMillis(0), chunks: Vec::new() };
        let entries = paths.iter().map(|path| match path.strip_suffix('/') {
            Some(folder) => Entry { path: folder.to_owned(), kind: EntryKind::Folder },
            None => Entry { path: (*path).to_owned(), kind: file.clone() },
        });
        Plan::of(StoredKind::Folder, &Manifest::new(Vec::new(), entries.collect()).unwrap())
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_need_not_be_listed() {
        let plan = plan(&["a/", "a/b/c", "d/e", "f/"]);
        assert_eq!(plan.folders, ["a", "a/b", "d", "f"].map(PathBuf::from));
        assert_eq!(paths(&plan), ["a/b/c", "d/e"]);
    }

    #[test]
    fn names_that_become_the_same_stay_apart() {
        let plan = plan(&["A", "a", "x\u{202e}y", "xy", "é/1", "É/2", ".git/x"]);
        let mut found: Vec<String> = paths(&plan).iter().map(|path| path.to_lowercase()).collect();
        found.sort();
        let count = found.len();
        found.dedup();
        assert_eq!((found.len(), count), (7, 7), "{plan:?}");
    }

    proptest! {
        #[test]
        fn every_path_stays_below(names in prop::collection::vec("[^\0]{1,20}(/[^\0]{1,20}){0,3}", 1..6)) {
            let file = EntryKind::File { size: 0, modified: UnixMillis(0), chunks: Vec::new() };
            let entries = names.into_iter().map(|path| Entry { path, kind: file.clone() }).collect();
            if let Ok(manifest) = Manifest::new(Vec::new(), entries) {
                let plan = Plan::of(StoredKind::Folder, &manifest);
                for path in plan.folders.iter().chain(plan.files.iter().map(|file| &file.path)) {
                    prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
                    prop_assert!(!path.as_os_str().is_empty());
                }
            }
        }
    }
}
