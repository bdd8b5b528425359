//! The files of packs: those that are complete, in folders named by the first byte of their ids, and those that arrive.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use data_encoding::HEXLOWER;
use petmail_net::program::create_private_dir;
use petmail_proto::{content::PackId, server::account::AccountId, time::UnixMillis};

use super::{PackError, Part};

/// Where packs are.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

/// A pack that has begun and not arrived.
pub(super) struct Upload {
    pub(super) account: AccountId,
    pub(super) id: PackId,
    pub(super) path: PathBuf,
    /// When a part of it came last.
    pub(super) changed: UnixMillis,
}

impl Folder {
    /// A folder that is only looked at: nothing is made.
    pub(super) fn at(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// Makes what is not there.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let folder = Self(dir.to_owned());
        for dir in [dir.to_owned(), folder.complete(), folder.incomplete()] {
            create_private_dir(&dir)?;
        }
        // All at once: a pack that comes waits for its own folder only.
        for first in 0..=u8::MAX {
            create_private_dir(&folder.complete().join(HEXLOWER.encode(&[first])))?;
        }
        File::open(folder.complete())?.sync_all()?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a complete pack.
    pub(super) fn file(&self, id: &PackId) -> PathBuf {
        let name = HEXLOWER.encode(id.as_bytes());
        let (folder, _) = name.split_at(2);
        self.complete().join(folder).join(&name)
    }

    /// The file of a pack that comes in.
    pub(super) fn arriving(&self, account: &AccountId, id: &PackId) -> PathBuf {
        let name = format!("{}-{}", HEXLOWER.encode(account.as_bytes()), HEXLOWER.encode(id.as_bytes()));
        self.incomplete().join(name)
    }

    /// Lists the complete packs.
    pub(super) fn packs(&self) -> io::Result<Vec<PackId>> {
        let mut packs = Vec::new();
        for folder in fs::read_dir(self.complete())? {
            for file in fs::read_dir(folder?.path())? {
                packs.extend(file?.file_name().to_str().and_then(parse_id));
            }
        }
        Ok(packs)
    }

    /// Lists the packs that come in.
    pub(super) fn uploads(&self) -> io::Result<Vec<Upload>> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(self.incomplete())? {
            let entry = entry?;
            let Some((account, id)) = parse_upload(&entry.file_name()) else { continue };
            let changed = match entry.metadata().and_then(|file| file.modified()) {
                Ok(time) => UnixMillis(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default()),
                // It has arrived, or was given up, meanwhile.
                Err(_) => continue,
            };
            uploads.push(Upload { account, id, path: entry.path(), changed });
        }
        Ok(uploads)
    }

    fn complete(&self) -> PathBuf {
        self.0.join("files")
    }

    fn incomplete(&self) -> PathBuf {
        self.0.join("arriving")
    }
}

fn parse_id(name: &str) -> Option<PackId> {
    let bytes = HEXLOWER.decode(name.as_bytes()).ok()?;
    bytes.try_into().ok().map(PackId::from_bytes)
}

fn parse_upload(name: &OsStr) -> Option<(AccountId, PackId)> {
    let (account, id) = name.to_str()?.split_once('-')?;
    let account = HEXLOWER.decode(account.as_bytes()).ok()?.try_into().ok()?;
    Some((AccountId::from_bytes(account), parse_id(id)?))
}

/// How much of a pack there is after a part.
pub(super) enum Arrived {
    Part(u32),
    Whole,
}

/// Writes a part behind what has arrived; the whole is checked, and on disk when this returns.
pub(super) fn append(path: &Path, part: &Part) -> Result<Arrived, PackError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = file.map_err(PackError::new)?;
    let arrived = file.seek(SeekFrom::End(0)).map_err(PackError::new)?;
    // What came twice, because an answer was lost, is written again; a gap is not.
    if u64::from(part.offset) > arrived {
        return Err(PackError::Offset(u32::try_from(arrived).unwrap_or_default()));
    }
    file.seek(SeekFrom::Start(part.offset.into())).map_err(PackError::new)?;
    file.write_all(&part.bytes).map_err(PackError::new)?;
    let end = u64::from(part.offset).saturating_add(part.bytes.len() as u64);
    file.set_len(end).map_err(PackError::new)?;
    if end < part.total.into() {
        return Ok(Arrived::Part(u32::try_from(end).unwrap_or_default()));
    }
    file.seek(SeekFrom::Start(0)).map_err(PackError::new)?;
    if !part.id.names(&file).map_err(PackError::new)? {
        remove(path).map_err(PackError::new)?;
        return Err(PackError::WrongBytes);
    }
    file.sync_all().map_err(PackError::new)?;
    Ok(Arrived::Whole)
}

/// Takes the last byte from a pack that is whole and was not put in its place: whoever sends it has something to send then.
pub(super) fn shorten(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(file.metadata()?.len().saturating_sub(1))
}

/// Gives a complete file its place, durably.
pub(super) fn move_into(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(to.parent().unwrap_or(to))?.sync_all()
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
