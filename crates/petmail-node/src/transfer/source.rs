//! What is sent: a file or a folder of this machine, or a file that came through the control API.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use petmail_proto::{
    channel::file::StoredKind,
    content::{ContentSecret, Entry, EntryKind, MIN_CHUNK_BYTES, Manifest, chunks, is_path},
    time::UnixMillis,
};
use serde::Deserialize;
use tokio::sync::mpsc;
use walkdir::WalkDir;

use super::spool::SpoolReader;

/// The most files and folders that are sent at once.
const MAX_ENTRIES: usize = 200_000;

/// The longest list of a folder that comes through the control API, in bytes.
const MAX_LIST_BYTES: u32 = 32 << 20;

/// Why something cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The system refuses.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither a file nor a folder.
    #[error("{} is no file and no folder", .0.display())]
    Neither(PathBuf),
    /// Its name cannot be sent.
    #[error("the name of {} cannot be sent: it is no UTF-8, or too long", .0.display())]
    Name(PathBuf),
    /// Too many files.
    #[error("{} has more than {MAX_ENTRIES} files and folders", .0.display())]
    TooMany(PathBuf),
    /// It was written to meanwhile.
    #[error("{} has changed while it was read; retry once nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// What came through the control API is no folder.
    #[error("the folder has not come as it should: {0}")]
    Handed(String),
}

/// What is to be sent, in the order of paths.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) kind: StoredKind,
    pub(crate) entries: Vec<Listed>,
    /// How long all files together are, in bytes.
    pub(crate) size: u64,
    /// How many files.
    pub(crate) count: u32,
    /// How many links, pipes and devices are left out.
    pub(crate) left_out: u32,
    /// Where what came through the control API is, and where content begins there, in bytes.
    spool: Option<(SpoolReader, u64)>,
}

/// A file or folder that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its path in the manifest.
    pub(crate) path: String,
    /// Where its content is; none for a folder.
    pub(crate) content: Option<Place>,
}

/// Where a file's content is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A file, as it was when it was listed.
    File { path: PathBuf, size: u64, modified: UnixMillis },
    /// So many bytes of what came through the control API, after those before it in the listing.
    Spool { size: u64, modified: UnixMillis },
}

/// What a folder's list in the spool says of a file, or, without a size, of a folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Handed {
    path: String,
    #[serde(default)]
    size: Option<u64>,
    /// In Unix milliseconds.
    #[serde(default)]
    modified: u64,
}

/// What is read, in the order of a listing.
#[derive(Debug)]
pub(crate) enum Feed {
    /// The next chunk of the file at this place in the listing.
    Chunk { entry: usize, content: Vec<u8> },
    /// The file has ended.
    End { entry: usize, size: u64, modified: UnixMillis },
}

/// Lists what is to be sent. Links are not followed, except the given path itself.
///
/// # Errors
/// [`SourceError`]; nothing has been read then but names.
pub(crate) fn list(path: &Path) -> Result<Listing, SourceError> {
    let metadata = std::fs::metadata(path).map_err(|source| read_error(path, source))?;
    if metadata.is_file() {
        // A file that may not be read is found before anything is promised.
        File::open(path).map_err(|source| read_error(path, source))?;
        let content =
            Place::File { path: path.to_owned(), size: metadata.len(), modified: modified(&metadata) };
        let entry = Listed { path: "file".to_owned(), content: Some(content) };
        return Ok(Listing {
            kind: StoredKind::File,
            entries: vec![entry],
            size: metadata.len(),
            count: 1,
            left_out: 0,
            spool: None,
        });
    }
    if !metadata.is_dir() {
        return Err(SourceError::Neither(path.to_owned()));
    }
    let mut listing = Listing::empty();
    for found in WalkDir::new(path).min_depth(1).sort_by_file_name() {
        let found = found.map_err(|error| {
            let at = error.path().unwrap_or(path).to_owned();
            let source = error.into_io_error().unwrap_or_else(|| io::Error::other("it leads in a circle"));
            SourceError::Read { path: at, source }
        })?;
        listing.add(path, &found)?;
    }
    Ok(listing)
}

impl Listing {
    const fn empty() -> Self {
        let kind = StoredKind::Folder;
        Self { kind, entries: Vec::new(), size: 0, count: 0, left_out: 0, spool: None }
    }

    /// A file that came through the control API.
    pub(crate) fn of_spool(spool: SpoolReader, size: u64) -> Self {
        let content = Place::Spool { size, modified: UnixMillis::default() };
        let entries = vec![Listed { path: "file".to_owned(), content: Some(content) }];
        Self { kind: StoredKind::File, entries, size, count: 1, left_out: 0, spool: Some((spool, 0)) }
    }

    /// A folder that came through the control API: the length of its list u32, the JSON of the list, and the content of all files in
    /// its order.
    ///
    /// # Errors
    /// [`SourceError`]: it has another form.
    pub(crate) fn of_spooled_folder(spool: SpoolReader) -> Result<Self, SourceError> {
        let broken = |source| read_error(&spool.path, source);
        let wrong = |problem: &dyn fmt::Display| SourceError::Handed(problem.to_string());
        let mut source = spool.open().map_err(broken)?;
        let mut length = [0; 4];
        source.read_exact(&mut length).map_err(|_| wrong(&"it has no list"))?;
        let length = u32::from_be_bytes(length);
        if length > MAX_LIST_BYTES {
            return Err(wrong(&"its list is too long"));
        }
        let mut list = Vec::new();
        source.take(length.into()).read_to_end(&mut list).map_err(broken)?;
        let list: Vec<Handed> = serde_json::from_slice(&list).map_err(|error| wrong(&error))?;
        let (mut listing, mut entries) = (Self::empty(), Vec::new());
        for Handed { path, size, modified } in list {
            let kind = match size {
                None => EntryKind::Folder,
                Some(_) => EntryKind::File { size: 0, modified: UnixMillis(modified), chunks: Vec::new() },
            };
            let content = size.map(|size| Place::Spool { size, modified: UnixMillis(modified) });
            let size = size.unwrap_or_default();
            listing.size = listing.size.checked_add(size).ok_or_else(|| wrong(&"it is too long"))?;
            listing.count = listing.count.saturating_add(u32::from(content.is_some()));
            let entry_path = path.clone();
            listing.entries.push(Listed { path, content });
            entries.push(Entry { path: entry_path, kind });
        }
        // Readers would refuse what the list of files may not say.
        Manifest::new(Vec::new(), entries).map_err(|error| wrong(&error))?;
        listing.spool = Some((spool, u64::from(length).saturating_add(4)));
        Ok(listing)
    }

    /// How much the spool has to hold, in bytes.
    pub(crate) fn spooled_bytes(&self) -> u64 {
        self.spool.as_ref().map_or(0, |(_, start)| start.saturating_add(self.size))
    }

    /// Opens the spool where content begins; what has none reads nothing there.
    fn open_spool(&self) -> Result<Box<dyn Read>, SourceError> {
        let Some((spool, start)) = &self.spool else { return Ok(Box::new(io::empty())) };
        let broken = |source| read_error(&spool.path, source);
        let mut source = spool.open().map_err(broken)?;
        io::copy(&mut source.by_ref().take(*start), &mut io::sink()).map_err(broken)?;
        Ok(Box::new(source))
    }

    fn add(&mut self, root: &Path, found: &walkdir::DirEntry) -> Result<(), SourceError> {
        let at = found.path();
        let name = || SourceError::Name(at.to_owned());
        let path = at.strip_prefix(root).ok().and_then(Path::to_str).ok_or_else(name)?.to_owned();
        if !is_path(&path) {
            return Err(name());
        }
        let kind = found.file_type();
        let content = if kind.is_file() {
            let metadata = found.metadata().map_err(|error| read_error(at, error.into()))?;
            self.size = self.size.saturating_add(metadata.len());
            self.count = self.count.saturating_add(1);
            let (size, modified) = (metadata.len(), modified(&metadata));
            Some(Place::File { path: at.to_owned(), size, modified })
        } else if kind.is_dir() {
            None
        } else {
            self.left_out = self.left_out.saturating_add(1);
            return Ok(());
        };
        if self.entries.len() >= MAX_ENTRIES {
            return Err(SourceError::TooMany(root.to_owned()));
        }
        self.entries.push(Listed { path, content });
        Ok(())
    }
}

/// Reads everything, chunk by chunk, until nobody listens any more.
pub(crate) fn read_all(
    listing: &Listing,
    secret: &ContentSecret,
    feed: &mpsc::Sender<Result<Feed, SourceError>>,
) {
    let mut spool = match listing.open_spool() {
        Ok(spool) => spool,
        Err(error) => return drop(feed.blocking_send(Err(error))),
    };
    for (entry, listed) in listing.entries.iter().enumerate() {
        let Some(place) = &listed.content else { continue };
        let mut size = 0_u64;
        let read = read_one(place, &mut spool, secret, |content| {
            size = size.saturating_add(content.len() as u64);
            feed.blocking_send(Ok(Feed::Chunk { entry, content })).is_ok()
        });
        let fed = match read.and_then(|modified| {
            place.check(size)?;
            Ok(modified)
        }) {
            Ok(modified) => feed.blocking_send(Ok(Feed::End { entry, size, modified })),
            Err(error) => {
                drop(feed.blocking_send(Err(error)));
                return;
            }
        };
        if fed.is_err() {
            return;
        }
    }
}

fn read_one(
    place: &Place,
    spool: &mut impl Read,
    secret: &ContentSecret,
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> Result<UnixMillis, SourceError> {
    let failed = |source| read_error(place.path(), source);
    let (mut source, modified): (Box<dyn Read>, _) = match place {
        Place::File { path, modified, .. } => (Box::new(File::open(path).map_err(failed)?), *modified),
        Place::Spool { size, modified } => (Box::new(spool.take(*size)), *modified),
    };
    // A file of less than a shortest chunk is one chunk, and needs no room for a longest one.
    let mut start = Vec::new();
    source.by_ref().take(MIN_CHUNK_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
    if start.len() < MIN_CHUNK_BYTES {
        if !start.is_empty() {
            take(start);
        }
        return Ok(modified);
    }
    for chunk in chunks(start.as_slice().chain(source), secret) {
        if !take(chunk.map_err(failed)?) {
            break;
        }
    }
    Ok(modified)
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            Self::Spool { .. } => Path::new("what the browser has handed over"),
        }
    }

    /// Checks that what was read is what there was when it was listed, and still is.
    fn check(&self, read: u64) -> Result<(), SourceError> {
        let (path, size, listed) = match self {
            Self::File { path, size, modified } => (path, size, modified),
            Self::Spool { size, .. } if read == *size => return Ok(()),
            Self::Spool { .. } => return Err(SourceError::Handed("its content ends too early".to_owned())),
        };
        let metadata = std::fs::metadata(path).map_err(|source| read_error(path, source))?;
        if read == *size && metadata.len() == *size && modified(&metadata) == *listed {
            return Ok(());
        }
        Err(SourceError::Changed(path.clone()))
    }
}

fn modified(metadata: &std::fs::Metadata) -> UnixMillis {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    UnixMillis(since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or_default())
}

fn read_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Read { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::spool::SpoolWriter;

    fn read(listing: &Listing) -> Result<Vec<(String, Vec<u8>)>, String> {
        let (sender, mut receiver) = mpsc::channel(1_000);
        read_all(listing, &ContentSecret::from_bytes([1; 32]), &sender);
        drop(sender);
        let mut files: Vec<_> =
            listing.entries.iter().map(|listed| (listed.path.clone(), Vec::new())).collect();
        while let Some(feed) = receiver.blocking_recv() {
            match feed.map_err(|error| error.to_string())? {
                Feed::Chunk { entry, content } => files[entry].1.extend(content),
                Feed::End { entry, size, .. } => assert_eq!(size, files[entry].1.len() as u64),
            }
        }
        Ok(files)
    }

    #[test]
    fn folders_are_listed_in_order_and_links_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("b/empty")).unwrap();
        for (name, length) in [("b/z", 3), ("a", 0), ("b.txt", MIN_CHUNK_BYTES), ("big", 3_000_000)] {
            std::fs::write(at(name), vec![7; length]).unwrap();
        }
        std::os::unix::fs::symlink("/etc", at("link")).unwrap();
        let listing = list(dir.path()).unwrap();
        assert_eq!((listing.kind, listing.count, listing.left_out), (StoredKind::Folder, 4, 1));
        assert_eq!(listing.size, 3_000_003 + MIN_CHUNK_BYTES as u64);
        let mut files = read(&listing).unwrap();
        files.sort();
        let names: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.len())).collect();
        let expected =
            [("a", 0), ("b", 0), ("b.txt", MIN_CHUNK_BYTES), ("b/empty", 0), ("b/z", 3), ("big", 3_000_000)];
        assert_eq!(names, expected);
    }

    /// What comes through the control API for a folder.
    fn spooled(dir: &Path, list: &str, content: &[u8]) -> Result<Listing, SourceError> {
        let spool = SpoolReader::of(dir, 7, None);
        let mut writer = SpoolWriter::create(spool.clone()).unwrap();
        writer.write(&u32::try_from(list.len()).unwrap().to_be_bytes()).unwrap();
        writer.write(list.as_bytes()).unwrap();
        writer.write(content).unwrap();
        let bytes = writer.finish().unwrap();
        let listing = Listing::of_spooled_folder(spool)?;
        assert!(listing.spooled_bytes() >= bytes.min(listing.size));
        Ok(listing)
    }

    #[test]
    fn a_folder_that_was_handed_over_is_read_in_the_order_of_its_list() {
        let dir = tempfile::tempdir().unwrap();
        let list = r#"[{"path":"z","size":3,"modified":5},{"path":"empty"},{"path":"a/b","size":0},{"path":"a/c","size":2}]"#;
        let listing = spooled(dir.path(), list, b"onetw").unwrap();
        assert_eq!((listing.kind, listing.size, listing.count), (StoredKind::Folder, 5, 3));
        assert_eq!(listing.spooled_bytes(), 4 + list.len() as u64 + 5);
        let files = read(&listing).unwrap();
        let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        assert_eq!(files, [("z", b"one".as_slice()), ("empty", b""), ("a/b", b""), ("a/c", b"tw")]);
        let short = spooled(dir.path(), list, b"on").unwrap();
        assert!(read(&short).unwrap_err().contains("ends too early"));
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for list in [
            "",
            "{}",
            r#"[{"path":"../a","size":1}]"#,
            r#"[{"path":"/a","size":1}]"#,
            r#"[{"path":"","size":1}]"#,
            r#"[{"path":"a","size":1},{"path":"a","size":1}]"#,
            r#"[{"path":"a","size":1},{"path":"a/b","size":1}]"#,
            r#"[{"path":"a","size":-1}]"#,
            r#"[{"path":"a","size":18446744073709551615},{"path":"b","size":1}]"#,
            r#"[{"path":"a","size":1,"mode":511}]"#,
        ] {
            assert!(matches!(spooled(dir.path(), list, b"x"), Err(SourceError::Handed(_))), "{list}");
        }
        let spool = SpoolReader::of(dir.path(), 7, None);
        for bytes in [b"".as_slice(), b"ab", &[255, 255, 255, 255, b'[']] {
            let mut writer = SpoolWriter::create(spool.clone()).unwrap();
            writer.write(bytes).unwrap();
            writer.finish().unwrap();
            assert!(Listing::of_spooled_folder(spool.clone()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_changes_while_it_is_read_is_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"one").unwrap();
        let listing = list(&path).unwrap();
        assert_eq!(read(&listing).unwrap(), [("file".to_owned(), b"one".to_vec())]);
        std::fs::write(&path, b"longer").unwrap();
        assert!(read(&listing).unwrap_err().contains("has changed"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&listing).unwrap_err().contains("cannot read"));
        assert!(matches!(list(Path::new("/dev/zero")), Err(SourceError::Neither(_))));
        assert!(matches!(list(&path), Err(SourceError::Read { .. })));
    }
}
