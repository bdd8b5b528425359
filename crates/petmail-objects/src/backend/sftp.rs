//! Objects in a folder of another machine: SFTP version 3, as OpenSSH speaks it, with its extensions for `fsync` and for
//! a rename that replaces.

use std::{ops::Range, path::Path, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use openssh_sftp_client::{Error, error::SftpErrorKind, file::File};
use tokio::{io::AsyncSeek, sync::Mutex};

use super::{
    Incoming, ObjectPath,
    ssh::{Connection, Destination},
};
use crate::ObjectError;

/// Where objects are until they are whole.
const ARRIVING: &str = "arriving/";

/// How much is read or written by one request, in bytes: every server takes so much.
const REQUEST: usize = 32 * 1_024;

/// How many requests of one object are under way at a time.
const AT_ONCE: usize = 32;

/// A folder of another machine.
#[derive(Clone, Debug)]
pub(crate) struct Sftp {
    destination: Destination,
    folder: Arc<str>,
    /// One connection for all; it is made when it is needed, and made again when it broke off.
    connection: Arc<Mutex<Option<Arc<Connection>>>>,
}

impl Sftp {
    pub(super) fn new(destination: Destination, folder: &str) -> Self {
        let folder = Arc::from(folder.trim_end_matches('/'));
        Self { destination, folder, connection: Arc::default() }
    }

    pub(super) async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), ObjectError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let arriving = format!("{ARRIVING}{name}");
        let connection = self.connection().await?;
        let length = bytes.len();
        let stored = match self.write(&connection, &arriving, path, bytes.clone()).await {
            Err(error) if is_not_found(&error) => {
                self.make_folders(&connection, path).await?;
                self.write(&connection, &arriving, path, bytes).await
            }
            other => other,
        };
        match stored {
            Ok(()) => Ok(()),
            Err(error) => {
                let is_full = is_unnamed(&error) && self.is_full(&connection, length).await;
                if !connection.has_ended() {
                    // What is only half there is nobody's; if it stays, the next attempt writes over it.
                    drop(self.remove(&connection, &arriving).await);
                }
                if is_full { Err(ObjectError::Full) } else { Err(self.broken(&connection, error).await) }
            }
        }
    }

    /// Writes a file, has it on the disk, and gives it its name.
    async fn write(
        &self,
        connection: &Connection,
        arriving: &str,
        path: &ObjectPath,
        bytes: Bytes,
    ) -> Result<(), Error> {
        let sftp = &connection.sftp;
        let mut file = sftp.create(self.place(arriving)).await?;
        let pieces = (0..bytes.len()).step_by(REQUEST).map(|start| {
            let piece = bytes.slice(start..bytes.len().min(start.saturating_add(REQUEST)));
            write_at(file.clone(), start as u64, piece)
        });
        stream::iter(pieces).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if sftp.support_fsync() {
            file.sync_all().await?;
        }
        file.close().await?;
        if !sftp.support_posix_rename() {
            self.remove(connection, path).await?;
        }
        sftp.fs().rename(self.place(arriving), self.place(path)).await
    }

    pub(super) async fn length(&self, path: &ObjectPath) -> Result<u64, ObjectError> {
        let connection = self.connection().await?;
        match connection.sftp.fs().metadata(self.place(path)).await {
            Ok(metadata) => metadata.len().ok_or_else(|| {
                ObjectError::Refused("the service does not tell how long files are".to_owned())
            }),
            Err(error) => Err(self.broken(&connection, error).await),
        }
    }

    pub(super) async fn read(&self, path: &ObjectPath, part: Range<u64>) -> Result<Incoming, ObjectError> {
        let connection = self.connection().await?;
        let file = match connection.sftp.open(self.place(path)).await {
            Ok(file) => file,
            Err(error) => return Err(self.broken(&connection, error).await),
        };
        let end = part.end;
        let pieces = part.step_by(REQUEST).map(move |start| {
            let file = file.clone();
            let length = usize::try_from(end.saturating_sub(start)).unwrap_or(REQUEST).min(REQUEST);
            async move { read_at(file, start, length).await }
        });
        let this = self.clone();
        Ok(stream::iter(pieces)
            .buffered(AT_ONCE)
            .then(move |read| {
                let (this, connection) = (this.clone(), Arc::clone(&connection));
                async move {
                    match read {
                        Ok(bytes) => Ok(bytes),
                        Err(error) => Err(this.broken(&connection, error).await),
                    }
                }
            })
            .boxed())
    }

    pub(super) async fn delete(&self, path: &ObjectPath) -> Result<(), ObjectError> {
        let connection = self.connection().await?;
        match self.remove(&connection, path).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(&connection, error).await),
        }
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let connection = self.connection().await?;
        let listed = async {
            let entries = Box::pin(connection.sftp.fs().open_dir(self.place(folder)).await?.read_dir());
            let names = entries.map_ok(|entry| entry.filename().to_string_lossy().into_owned());
            names.try_collect().await
        };
        match listed.await {
            Ok(names) => Ok(names),
            Err(error) => Err(self.broken(&connection, error).await),
        }
    }

    async fn remove(&self, connection: &Connection, path: &ObjectPath) -> Result<(), Error> {
        match connection.sftp.fs().remove_file(self.place(path)).await {
            Err(error) if !is_not_found(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the folder that was chosen, and those in it that writing an object needs.
    async fn make_folders(&self, connection: &Connection, path: &ObjectPath) -> Result<(), ObjectError> {
        let parent = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for folder in [self.place(ARRIVING), self.place(parent)] {
            let mut above: Vec<&Path> = Path::new(&folder).ancestors().collect();
            above.reverse();
            for folder in above {
                let mut fs = connection.sftp.fs();
                match fs.metadata(folder).await {
                    Ok(_) => {}
                    Err(error) if is_not_found(&error) => {
                        // Somebody else may have made it by now: then that is fine.
                        if let Err(error) = fs.create_dir(folder).await
                            && fs.metadata(folder).await.is_err()
                        {
                            return Err(self.broken(connection, error).await);
                        }
                    }
                    Err(error) => return Err(self.broken(connection, error).await),
                }
            }
        }
        Ok(())
    }

    /// SFTP has no word for a full disk.
    async fn is_full(&self, connection: &Connection, length: usize) -> bool {
        if !connection.sftp.support_statvfs() {
            return false;
        }
        let asked = connection.sftp.fs().statvfs(Path::new(&*self.place(""))).await;
        asked.is_ok_and(|disk| disk.bavail.saturating_mul(disk.frsize) < length as u64)
    }

    fn place(&self, path: &ObjectPath) -> String {
        format!("{}/{path}", self.folder)
    }

    async fn connection(&self) -> Result<Arc<Connection>, ObjectError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.has_ended()) {
            return Ok(Arc::clone(connection));
        }
        // The former one ends first.
        *slot = None;
        let connection = Arc::new(Connection::open(&self.destination).await?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Says what went wrong; whatever is no answer of the server's costs the connection.
    async fn broken(&self, connection: &Connection, error: Error) -> ObjectError {
        match error {
            Error::SftpError(SftpErrorKind::NoSuchFile, _) => ObjectError::Gone,
            Error::SftpError(SftpErrorKind::PermDenied, _) => ObjectError::Refused(
                "the account may not do that in the folder: look at its rights".to_owned(),
            ),
            Error::SftpError(kind, _) => {
                ObjectError::Unavailable(format!("the service answers with an error ({kind:?})"))
            }
            error => {
                let why = connection.why_it_broke(&error.to_string()).await;
                let mut slot = self.connection.lock().await;
                if slot.as_deref().is_some_and(|current| std::ptr::eq(current, connection)) {
                    *slot = None;
                }
                why
            }
        }
    }
}

const fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::SftpError(SftpErrorKind::NoSuchFile, _))
}

/// Whether the server has said that something failed, and not what.
const fn is_unnamed(error: &Error) -> bool {
    matches!(error, Error::SftpError(SftpErrorKind::Failure, _))
}

fn seek(file: &mut File, to: u64) -> Result<(), Error> {
    Ok(Pin::new(file).start_seek(std::io::SeekFrom::Start(to))?)
}

async fn write_at(mut file: File, start: u64, piece: Bytes) -> Result<(), Error> {
    seek(&mut file, start)?;
    file.write_all_zero_copy(&mut [piece]).await
}

/// Reads a piece; it is shorter only where the file ends.
async fn read_at(mut file: File, start: u64, length: usize) -> Result<Bytes, Error> {
    let mut piece = BytesMut::with_capacity(length);
    while piece.len() < length {
        // A server may return less than it was asked for; the library goes on as if it had not.
        seek(&mut file, start.saturating_add(piece.len() as u64))?;
        let rest = u32::try_from(length.saturating_sub(piece.len())).unwrap_or(u32::MAX);
        match file.read(rest, BytesMut::new()).await? {
            Some(bytes) => piece.extend_from_slice(&bytes),
            None => break,
        }
    }
    Ok(piece.freeze())
}
