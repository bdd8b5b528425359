//! The file of an export: a title with its version, frames of bounded length, and a last frame with the SHA-256 of everything
//! before it. `docs/operating.md` describes what is in it.

use std::io::{self, Read, Write};

use petmail_proto::wire::{Reader, WireError, Writer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::queue::exported::{Exported, MAX_EXPORTED_BYTES};

const TITLE: &[u8] = b"petmail-mailbox-export ";
const VERSION: &[u8] = b"1\n";
/// The longest file that travels along: a server's keys, or a certificate.
const MAX_FILE_BYTES: usize = 64 * 1_024;
const FILE: u8 = b'f';
const END: u8 = b'.';
/// A frame's kind and length.
const HEAD_BYTES: usize = 5;

/// The files of a server that travel along, by their names in its folder.
pub const FILES: [&str; 4] = ["server.json", "tls-cert.pem", "tls-key.pem", "last-tls"];

/// One part of an export.
#[derive(Debug)]
pub enum Part {
    /// A file of the server's folder: its name, one of [`FILES`], and what is in it.
    File(&'static str, Zeroizing<Vec<u8>>),
    /// A record of the queue.
    Record(Exported),
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no export of a mailbox server")]
    Foreign,
    /// It was written by a newer program.
    #[error("the export is of a newer program than this one")]
    Newer,
    /// It ends too early.
    #[error("the export is cut off: it was not finished, or not copied whole")]
    Truncated,
    /// It is not what was written.
    #[error("the export is damaged")]
    Damaged,
}

impl From<WireError> for FileError {
    fn from(error: WireError) -> Self {
        if matches!(error, WireError::UnknownVersion { .. }) { Self::Newer } else { Self::Damaged }
    }
}

/// Writes an export.
#[derive(Debug)]
pub struct ExportWriter<W> {
    sink: W,
    digest: Sha256,
    parts: u64,
}

impl<W: Write> ExportWriter<W> {
    /// Writes the title.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn new(sink: W) -> Result<Self, FileError> {
        let mut writer = Self { sink, digest: Sha256::new(), parts: 0 };
        writer.write(TITLE)?;
        writer.write(VERSION)?;
        Ok(writer)
    }

    /// Appends a part.
    ///
    /// # Errors
    /// [`FileError`], also for a part that no reader would take.
    pub fn append(&mut self, part: &Part) -> Result<(), FileError> {
        let (kind, bytes) = match part {
            Part::File(name, bytes) => {
                let framed = Writer::default().variable(name.as_bytes()).fixed(bytes);
                (FILE, Zeroizing::new(framed.finish()))
            }
            Part::Record(record) => {
                let (kind, bytes) = record.encode()?;
                (kind, Zeroizing::new(bytes))
            }
        };
        if bytes.len() > MAX_EXPORTED_BYTES {
            return Err(WireError::TooLarge.into());
        }
        self.parts = self.parts.saturating_add(1);
        self.frame(kind, &bytes)
    }

    /// Writes the last frame, and returns the sink; nothing is synced.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn finish(mut self) -> Result<W, FileError> {
        let digest = self.digest.clone().finalize();
        let end = Writer::default().u64(self.parts).fixed(&digest).finish();
        self.frame(END, &end)?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> Result<(), FileError> {
        let length = u32::try_from(bytes.len()).map_err(|_| WireError::TooLarge)?;
        self.write(&Writer::default().u8(kind).u32(length).finish())?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.digest.update(bytes);
        Ok(self.sink.write_all(bytes)?)
    }
}

/// Reads an export, holding one part at a time. What it yields is not to be believed before the end was reached.
#[derive(Debug)]
pub struct ExportReader<R> {
    source: R,
    digest: Sha256,
    parts: u64,
    is_over: bool,
}

impl<R: Read> ExportReader<R> {
    /// Reads the title.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn new(source: R) -> Result<Self, FileError> {
        let mut reader = Self { source, digest: Sha256::new(), parts: 0, is_over: false };
        let title = reader.read(TITLE.len()).map_err(|error| match error {
            FileError::Truncated => FileError::Foreign,
            other => other,
        })?;
        if *title != TITLE {
            return Err(FileError::Foreign);
        }
        if *reader.read(VERSION.len())? == VERSION { Ok(reader) } else { Err(FileError::Newer) }
    }

    /// Returns the next part; `None` once everything was read and is what was written.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        if self.is_over {
            return Ok(None);
        }
        let before = self.digest.clone();
        let head = self.read(HEAD_BYTES)?;
        let mut head = Reader::new(&head);
        let (kind, length) = (head.u8()?, head.u32()?);
        let length = usize::try_from(length).map_err(|_| FileError::Damaged)?;
        if length > MAX_EXPORTED_BYTES {
            return Err(FileError::Damaged);
        }
        let bytes = self.read(length)?;
        if kind == END {
            self.check_end(before, &bytes)?;
            self.is_over = true;
            return Ok(None);
        }
        self.parts = self.parts.saturating_add(1);
        if kind == FILE {
            return file(&bytes).map(Some);
        }
        Exported::decode(kind, &bytes)?.map(Part::Record).map(Some).ok_or(FileError::Damaged)
    }

    fn check_end(&mut self, before: Sha256, end: &[u8]) -> Result<(), FileError> {
        let mut end = Reader::new(end);
        let (parts, digest) = (end.u64()?, end.array::<32>()?);
        end.finish()?;
        let is_whole = parts == self.parts && digest == <[u8; 32]>::from(before.finalize());
        let mut more = [0];
        if is_whole && self.source.read(&mut more)? == 0 { Ok(()) } else { Err(FileError::Damaged) }
    }

    fn read(&mut self, length: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let limit = u64::try_from(length).map_err(|_| FileError::Damaged)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        self.source.by_ref().take(limit).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(FileError::Truncated);
        }
        self.digest.update(&*bytes);
        Ok(bytes)
    }
}

fn file(bytes: &[u8]) -> Result<Part, FileError> {
    let mut reader = Reader::new(bytes);
    let name = reader.variable(MAX_FILE_BYTES)?;
    let contents = reader.rest();
    let known = FILES.into_iter().find(|known| known.as_bytes() == name);
    match known {
        Some(name) if contents.len() <= MAX_FILE_BYTES => {
            Ok(Part::File(name, Zeroizing::new(contents.to_vec())))
        }
        _ => Err(FileError::Damaged),
    }
}
