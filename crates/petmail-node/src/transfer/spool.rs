//! Files that come through the control API, until they are stored: in blocks, each sealed by the vault if there is one.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use petmail_net::program::create_private_dir;
use petmail_proto::at_rest::SEALED_OVERHEAD_BYTES;

use crate::vault::Vault;

/// How much is written, and sealed, at a time, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Takes in a file. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    reader: SpoolReader,
    file: File,
    block: Vec<u8>,
    blocks: u64,
    bytes: u64,
    is_finished: bool,
}

/// A file that was taken in.
#[derive(Clone, Debug)]
pub(crate) struct SpoolReader {
    pub(crate) path: PathBuf,
    id: u64,
    vault: Option<Vault>,
}

impl SpoolReader {
    /// Finds the file that was taken in for this upload.
    pub(crate) fn of(basedir: &Path, id: u64, vault: Option<Vault>) -> Self {
        Self { path: folder(basedir).join(id.to_string()), id, vault }
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// Those of the system; reading fails at a block that was damaged.
    pub(crate) fn open(&self) -> io::Result<impl Read + use<>> {
        let file = BufReader::new(File::open(&self.path)?);
        Ok(Blocks { file, of: self.clone(), blocks: 0, block: io::Cursor::new(Vec::new()) })
    }

    /// Removes it.
    ///
    /// # Errors
    /// Those of the system, except that it is gone already.
    pub(crate) fn remove(&self) -> io::Result<()> {
        crate::basedir::remove_if_present(&self.path)
    }

    fn place(&self, block: u64) -> Vec<u8> {
        [b"/spool\0".as_slice(), &self.id.to_be_bytes(), &block.to_be_bytes()].concat()
    }
}

impl SpoolWriter {
    /// Begins to take in a file.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn create(reader: SpoolReader) -> io::Result<Self> {
        create_private_dir(reader.path.parent().unwrap_or(Path::new(".")))?;
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&reader.path)?;
        Ok(Self { reader, file, block: Vec::new(), blocks: 0, bytes: 0, is_finished: false })
    }

    /// Takes in more.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        while !bytes.is_empty() {
            let room = BLOCK_BYTES.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Has everything on the disk; returns how long the file is, in bytes.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        self.file.sync_all()?;
        self.is_finished = true;
        Ok(self.bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let block = match &self.reader.vault {
            None => block,
            Some(vault) => vault.seal(&self.reader.place(self.blocks), &block),
        };
        self.blocks = self.blocks.saturating_add(1);
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(&block)
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = self.reader.remove()
        {
            tracing::warn!(%error, "a file that did not come whole stays until the next start");
        }
    }
}

/// Removes what no upload needs.
///
/// # Errors
/// Those of the system.
pub(crate) fn sweep(basedir: &Path, needed: impl Fn(u64) -> bool) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder(basedir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if !id.is_some_and(&needed) {
            crate::basedir::remove_if_present(&entry.path())?;
        }
    }
    Ok(())
}

fn folder(basedir: &Path) -> PathBuf {
    basedir.join("spool")
}

struct Blocks {
    file: BufReader<File>,
    of: SpoolReader,
    blocks: u64,
    block: io::Cursor<Vec<u8>>,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.block.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            read => read?,
        }
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        if !(1..=BLOCK_BYTES + SEALED_OVERHEAD_BYTES).contains(&length) {
            return Err(io::Error::other("it is damaged"));
        }
        let mut block = vec![0; length];
        self.file.read_exact(&mut block)?;
        if let Some(vault) = &self.of.vault {
            block = vault.open(&self.of.place(self.blocks), &block).map_err(io::Error::other)?;
        }
        self.blocks = self.blocks.saturating_add(1);
        self.block = io::Cursor::new(block);
        self.block.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_in_comes_out_and_is_sealed_if_the_node_is() {
        let dir = tempfile::tempdir().unwrap();
        for vault in [None, Some(Vault::of_bytes(1, 2))] {
            let reader = SpoolReader::of(dir.path(), 7, vault.clone());
            let content = b"a secret text ".repeat(100_000);
            let mut writer = SpoolWriter::create(reader.clone()).unwrap();
            for piece in content.chunks(333_333) {
                writer.write(piece).unwrap();
            }
            assert_eq!(writer.finish().unwrap(), content.len() as u64);
            let mut read = Vec::new();
            reader.open().unwrap().read_to_end(&mut read).unwrap();
            assert!(read == content);
            let raw = std::fs::read(&reader.path).unwrap();
            assert_eq!(raw.windows(6).any(|window| window == b"secret"), vault.is_none());
            sweep(dir.path(), |id| id == 7).unwrap();
            assert!(reader.path.exists());
            sweep(dir.path(), |_| false).unwrap();
            assert!(!reader.path.exists());
        }
    }

    #[test]
    fn a_file_that_breaks_off_leaves_nothing_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let reader = SpoolReader::of(dir.path(), 7, Some(Vault::of_bytes(1, 2)));
        let mut writer = SpoolWriter::create(reader.clone()).unwrap();
        writer.write(b"half").unwrap();
        drop(writer);
        assert!(!reader.path.exists());
        let mut writer = SpoolWriter::create(reader.clone()).unwrap();
        writer.write(b"whole").unwrap();
        writer.finish().unwrap();
        let mut raw = std::fs::read(&reader.path).unwrap();
        *raw.last_mut().unwrap() ^= 1;
        std::fs::write(&reader.path, raw).unwrap();
        assert!(reader.open().unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
