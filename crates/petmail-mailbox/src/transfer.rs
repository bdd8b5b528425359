//! A whole server in one file, and a server made of such a file: on another machine, or on another engine.
//!
//! Owns the order in which an import becomes a server: everything is made in a folder beside, checked, and moved to its place;
//! the server's keys come last, and without them there is no server. Must not know an engine.

pub mod file;

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use petmail_net::program::{DirLock, LockError, create_private_dir, write_private_file};
use petmail_store::EngineKind;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use self::file::{ExportReader, ExportWriter, FILES, FileError, Part};
use crate::{
    basedir::Basedir,
    check::{CheckError, Problem, check},
    identity::{Identity, IdentityError},
    queue::{
        QueueError, QueueStore,
        embedded::{EmbeddedQueue, OpenQueueError},
        exported::Exported,
    },
};

/// How many records are on their way between a file and a queue.
const IN_FLIGHT: usize = 64;

/// How much there is in an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Accounts.
    pub accounts: u64,
    /// Offers, redeemed ones too.
    pub offers: u64,
    /// Messages that wait.
    pub messages: u64,
}

/// Why a server is not exported or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// `init` was not run there.
    #[error("{} holds no mailbox server", .0.display())]
    NotInitialised(PathBuf),
    /// There is a server, or something else.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// Another process works there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The server's keys are missing or unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server's keys are not in the file.
    #[error("the export has no keys of a server")]
    NoKeys,
    /// The file is no good.
    #[error(transparent)]
    File(#[from] FileError),
    /// The queue does not open.
    #[error(transparent)]
    Open(#[from] OpenQueueError),
    /// The queue cannot be read or written.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// What was imported contradicts itself.
    #[error("the export contradicts itself: {}", .0.text)]
    Contradiction(Problem),
    /// What was imported cannot be looked at.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The folder cannot be written.
    #[error("cannot write to {}: {source}", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The program is stopping.
    #[error("the work was broken off")]
    Interrupted,
}

impl Transferred {
    fn count(&mut self, record: &Exported) {
        let counter = match record {
            Exported::Account(_) => &mut self.accounts,
            Exported::Offer(..) => &mut self.offers,
            Exported::Message(_) => &mut self.messages,
            Exported::Serial(_) | Exported::Digest(_) => return,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Writes the server in `basedir`, which nobody serves, into `sink`. Nothing is synced.
///
/// # Errors
/// [`TransferError`]; what was written until then is no complete export.
pub async fn export<W: Write + Send + 'static>(
    basedir: &Basedir,
    sink: W,
) -> Result<(Transferred, W), TransferError> {
    if !basedir.is_initialised() {
        return Err(TransferError::NotInitialised(basedir.path().to_owned()));
    }
    let _lock = DirLock::acquire(basedir.path())?;
    Identity::load(&basedir.identity_file())?;
    let files = files_of(basedir.path()).map_err(|source| unwritable(basedir.path(), source))?;
    let dir = basedir.queue_dir();
    create_private_dir(&dir).map_err(|source| unwritable(&dir, source))?;
    let queue = EmbeddedQueue::open(&dir, None).await?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let writing = blocking(move || write_parts(sink, files, receiver));
    let (handed_out, written) = tokio::join!(queue.export(sender), writing);
    queue.close().await;
    // If the file cannot be written, the queue only knows that nobody takes anything.
    let (transferred, writer) = written?;
    handed_out?;
    // Without the last frame the file is refused, so it is written only now.
    let sink = blocking(move || Ok(writer.finish()?)).await?;
    Ok((transferred, sink))
}

/// Makes a server out of what `source` has, in a folder that is absent or empty, and with this engine. An import that was
/// interrupted there is begun again.
///
/// # Errors
/// [`TransferError`]; the folder is as it was then.
pub async fn import<R: Read + Send + 'static>(
    basedir: &Basedir,
    source: R,
    engine: Option<EngineKind>,
) -> Result<Transferred, TransferError> {
    let path = basedir.path();
    let was_there = path.exists();
    if !basedir.can_import().map_err(|source| unwritable(path, source))? {
        return Err(TransferError::NotEmpty(path.to_owned()));
    }
    create_private_dir(path).map_err(|source| unwritable(path, source))?;
    let lock = DirLock::acquire(path)?;
    let imported = import_locked(basedir, source, engine).await;
    if imported.is_err() {
        clear(basedir).map_err(|source| unwritable(path, source))?;
        drop(lock);
        if !was_there {
            fs::remove_dir_all(path).map_err(|source| unwritable(path, source))?;
        }
    }
    imported
}

async fn import_locked<R: Read + Send + 'static>(
    basedir: &Basedir,
    source: R,
    engine: Option<EngineKind>,
) -> Result<Transferred, TransferError> {
    let staged = Basedir::new(basedir.import_dir());
    let prepare = || {
        clear(basedir)?;
        create_private_dir(staged.path())?;
        create_private_dir(&staged.queue_dir())
    };
    prepare().map_err(|source| unwritable(basedir.path(), source))?;
    let queue = EmbeddedQueue::open(&staged.queue_dir(), engine).await?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let dir = staged.path().to_owned();
    let reading = blocking(move || read_parts(source, &dir, &sender));
    let (read, taken) = tokio::join!(reading, take_in(&queue, receiver));
    queue.close().await;
    // If the queue fails, the reader only knows that nobody takes anything.
    taken?;
    let transferred = read?;
    let identity = Identity::load(&staged.identity_file()).map_err(|error| match error {
        IdentityError::Io(error) if error.kind() == io::ErrorKind::NotFound => TransferError::NoKeys,
        other => other.into(),
    })?;
    // A server that has moved has arrived.
    if let Some(arrived) = identity.arrived() {
        arrived.store(&staged.identity_file())?;
    }
    if let Some(problem) = check(&staged, None).await?.problems.into_iter().next() {
        return Err(TransferError::Contradiction(problem));
    }
    settle(basedir, &staged).map_err(|source| unwritable(basedir.path(), source))?;
    Ok(transferred)
}

async fn take_in(queue: &EmbeddedQueue, mut records: mpsc::Receiver<Exported>) -> Result<(), QueueError> {
    let mut some = Vec::new();
    while records.recv_many(&mut some, IN_FLIGHT).await > 0 {
        queue.import(std::mem::take(&mut some)).await?;
    }
    Ok(())
}

fn write_parts<W: Write>(
    sink: W,
    files: Vec<Part>,
    mut records: mpsc::Receiver<Exported>,
) -> Result<(Transferred, ExportWriter<W>), TransferError> {
    let mut writer = ExportWriter::new(sink)?;
    let mut transferred = Transferred::default();
    files.iter().try_for_each(|file| writer.append(file))?;
    while let Some(record) = records.blocking_recv() {
        transferred.count(&record);
        writer.append(&Part::Record(record))?;
    }
    Ok((transferred, writer))
}

fn read_parts<R: Read>(
    source: R,
    dir: &Path,
    records: &mpsc::Sender<Exported>,
) -> Result<Transferred, TransferError> {
    let mut reader = ExportReader::new(source)?;
    let mut transferred = Transferred::default();
    while let Some(part) = reader.next_part()? {
        match part {
            Part::File(name, contents) => {
                write_private_file(&dir.join(name), &contents).map_err(|source| unwritable(dir, source))?;
            }
            Part::Record(record) => {
                transferred.count(&record);
                records.blocking_send(record).map_err(|_| TransferError::Interrupted)?;
            }
        }
    }
    Ok(transferred)
}

fn files_of(dir: &Path) -> io::Result<Vec<Part>> {
    let mut files = Vec::new();
    for name in FILES {
        match fs::read(dir.join(name)) {
            Ok(contents) => files.push(Part::File(name, Zeroizing::new(contents))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Removes what an import has made that did not get to its end.
fn clear(basedir: &Basedir) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    absent_is_fine(fs::remove_dir_all(basedir.queue_dir()))?;
    for name in FILES {
        absent_is_fine(fs::remove_file(basedir.path().join(name)))?;
    }
    absent_is_fine(fs::remove_dir_all(basedir.import_dir()))
}

/// Moves everything to its place, the keys last: with them there is a server.
fn settle(basedir: &Basedir, staged: &Basedir) -> io::Result<()> {
    let dir = fs::File::open(basedir.path())?;
    fs::rename(staged.queue_dir(), basedir.queue_dir())?;
    let keys = staged.identity_file();
    for name in FILES {
        let from = staged.path().join(name);
        if from != keys && from.exists() {
            fs::rename(from, basedir.path().join(name))?;
        }
    }
    dir.sync_all()?;
    fs::rename(keys, basedir.identity_file())?;
    fs::remove_dir_all(staged.path())?;
    dir.sync_all()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| TransferError::Interrupted)?
}

fn unwritable(path: &Path, source: io::Error) -> TransferError {
    TransferError::Io { path: path.to_owned(), source }
}
