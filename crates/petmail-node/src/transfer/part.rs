//! A file or folder that is being written beside its place, and gets its name when it is whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use data_encoding::HEXLOWER;
use petmail_proto::{
    channel::file::StoredKind,
    content::{ChunkHash, Pack},
};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs, syncfs};

use super::{
    Stopped,
    plan::{Plan, PlannedPack},
};
use crate::{
    agent::records::transfers::{Download, Target},
    file_name::{numbered, safe_name},
};

/// How many files of one name a folder may have before it is somebody else's turn.
const MOST_OF_A_NAME: u32 = 1_000;

/// How much is written before the disk is waited for, in bytes: it works while the next packs come, and not at the end only.
const SYNC_BYTES: u64 = 32 << 20;

/// What is left free on a disk, in bytes.
const RESERVE_BYTES: u64 = 16 << 20;

/// Returns where a download is written until it is whole.
pub(crate) fn part_path(download: &Download) -> PathBuf {
    let (Target::Folder(folder) | Target::Exactly(folder)) = &download.target;
    let folder = match &download.target {
        Target::Folder(_) => Path::new(folder),
        Target::Exactly(_) => Path::new(folder).parent().unwrap_or(Path::new("/")),
    };
    let id = download.mid.as_bytes().first_chunk::<8>().map(|id| HEXLOWER.encode(id)).unwrap_or_default();
    // Another node may save into this folder, and another message of this one bear the same name.
    folder.join(format!(".petmail-{id}-{}.part", download.id))
}

/// What is being written.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    kind: StoredKind,
    mode: u32,
    /// Where the files are, in the plan's order.
    files: Vec<PathBuf>,
    /// The only file, if there is one only.
    only: Option<File>,
    /// How much was written since all of it was last on the disk, in bytes.
    unsynced: AtomicU64,
}

impl Part {
    /// Makes everything that is planned, empty, or goes on with what is there. Returns for each pack whether it is needed.
    ///
    /// # Errors
    /// [`Stopped`] if there is no such folder, or no room.
    pub(super) fn open(download: &Download, plan: &Plan) -> Result<(Self, Vec<bool>), Stopped> {
        let path = part_path(download);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let cannot = |error: io::Error| Stopped::unwritable(&folder, &error);
        if matches!(download.target, Target::Folder(_)) {
            fs::create_dir_all(&folder).map_err(cannot)?;
        }
        let is_new = fs::symlink_metadata(&path).is_err();
        if is_new {
            check_room(&folder, plan.size)?;
        }
        let files = plan.files.iter().map(|file| match plan.kind {
            StoredKind::File => path.clone(),
            StoredKind::Folder => path.join(&file.path),
        });
        let mode = download.mode & 0o666;
        let mut part = Self {
            files: files.collect(),
            path,
            kind: plan.kind,
            mode,
            only: None,
            unsynced: AtomicU64::new(0),
        };
        part.make(plan).map_err(cannot)?;
        if let ([only], StoredKind::File) = (part.files.as_slice(), plan.kind) {
            part.only = Some(writable(only).map_err(cannot)?);
        }
        let needed = plan.packs.iter().map(|pack| is_new || !part.has(pack)).collect();
        Ok((part, needed))
    }

    fn make(&self, plan: &Plan) -> io::Result<()> {
        if self.kind == StoredKind::Folder {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&self.path)?;
            plan.folders.iter().try_for_each(|folder| builder.create(self.path.join(folder)))?;
        }
        for (path, planned) in self.files.iter().zip(&plan.files) {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if file.metadata()?.len() != planned.size {
                file.set_len(planned.size)?;
            }
        }
        Ok(())
    }

    /// Tells whether everything that a pack brings is there already.
    fn has(&self, pack: &PlannedPack) -> bool {
        pack.pieces.iter().all(|piece| {
            let length = usize::try_from(piece.chunk.length).unwrap_or_default();
            let mut content = vec![0; length];
            let Some(path) = self.files.get(piece.file) else { return false };
            let read = File::open(path).and_then(|file| file.read_exact_at(&mut content, piece.at));
            read.is_ok() && ChunkHash::of(&content) == piece.chunk.hash
        })
    }

    /// Writes what a pack brings, each chunk once it has been opened and found to be the right one.
    ///
    /// # Errors
    /// [`WriteError`].
    pub(super) fn write(&self, planned: &PlannedPack, pack: &Pack) -> Result<(), WriteError> {
        let mut opened = Vec::new();
        for piece in &planned.pieces {
            let sealed = pack.sealed(piece.chunk.place()).map_err(|_| WriteError::Damaged)?;
            let content =
                piece.chunk.key.open_into(sealed, piece.chunk.length, &piece.chunk.hash, &mut opened);
            let content = content.map_err(|_| WriteError::Damaged)?;
            let path = self.files.get(piece.file).ok_or(WriteError::Damaged)?;
            match &self.only {
                Some(file) => file.write_all_at(content, piece.at)?,
                None => writable(path)?.write_all_at(content, piece.at)?,
            }
        }
        let written = planned.content_bytes();
        if self.unsynced.fetch_add(written, Ordering::Relaxed).saturating_add(written) >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Waits until what was written is on the disk.
    fn sync(&self) -> io::Result<()> {
        self.unsynced.store(0, Ordering::Relaxed);
        match &self.only {
            Some(file) => file.sync_all(),
            // One request for all files, however many there are.
            None => Ok(syncfs(File::open(&self.path)?)?),
        }
    }

    /// Has all of it on the disk, with its times and permissions.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn complete(&self, plan: &Plan) -> io::Result<()> {
        for (path, planned) in self.files.iter().zip(&plan.files) {
            let file = writable(path)?;
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(planned.modified.0));
            if let Some(time) = time.filter(|_| planned.modified.0 > 0) {
                file.set_modified(time)?;
            }
            file.set_permissions(Permissions::from_mode(self.mode))?;
        }
        if self.kind == StoredKind::Folder {
            // Whoever may read a folder may look into it.
            let mode = 0o700 | self.mode | (self.mode & 0o444) >> 2;
            for folder in plan.folders.iter().map(|folder| self.path.join(folder)) {
                fs::set_permissions(folder, Permissions::from_mode(mode))?;
            }
            fs::set_permissions(&self.path, Permissions::from_mode(mode))?;
        }
        self.sync()
    }

    /// Returns a name that it may get, the next free one of this number or a greater one; what a person asked for exactly has one
    /// only.
    ///
    /// # Errors
    /// [`Stopped`] if there is none.
    pub(super) fn candidate(&self, target: &Target, name: &str, number: u32) -> Result<PathBuf, Stopped> {
        let name = safe_name(name);
        let (folder, numbers) = match target {
            Target::Exactly(path) if number == 1 => return Ok(PathBuf::from(path)),
            Target::Exactly(path) => return Err(Stopped::Taken(path.clone())),
            Target::Folder(folder) => (Path::new(folder), number..=MOST_OF_A_NAME),
        };
        let named = |number| folder.join(if number == 1 { name.clone() } else { numbered(&name, number) });
        let free = numbers.map(named).find(|path| fs::symlink_metadata(path).is_err());
        free.ok_or(Stopped::Taken(name))
    }

    /// Gives it its name, and tells whether that was still free: nothing that is there is replaced.
    ///
    /// # Errors
    /// [`Stopped`] if the system refuses.
    pub(super) fn rename(&self, path: &Path) -> Result<bool, Stopped> {
        match rename(&self.path, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Stopped::Unwritable(format!("cannot write {}: {error}", path.display()))),
        }
    }
}

/// Why a pack was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// It does not hold what it should.
    #[error("a part is damaged")]
    Damaged,
    /// The system refuses.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// Removes what there is of a download.
///
/// # Errors
/// Those of the system, except that there is nothing.
pub(super) fn discard(download: &Download) -> io::Result<()> {
    let path = part_path(download);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    }
}

fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?;
    File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn check_room(folder: &Path, bytes: u64) -> Result<(), Stopped> {
    let disk = statvfs(folder).map_err(|error| Stopped::unwritable(folder, &error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= bytes.saturating_add(RESERVE_BYTES) {
        return Ok(());
    }
    Err(Stopped::no_room(folder, free, bytes))
}
