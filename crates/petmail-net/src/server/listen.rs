//! The kinds of listener: how a connection is accepted, and made into a byte stream.

use std::{
    io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::either::Either;

use crate::address::ClientAddr;

/// A source of connections.
pub(super) trait Listen: Send + Sync + 'static {
    /// An accepted connection, before any handshake.
    type Raw: Send + 'static;
    /// What HTTP is spoken on.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for a connection; may be dropped while waiting.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Raw, ClientAddr)>> + Send;

    /// Completes the handshake; bounded in time by the caller.
    fn establish(&self, raw: Self::Raw) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// TCP with or without TLS.
pub(super) struct Tcp {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    write_timeout: Duration,
}

impl Tcp {
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        write_timeout: Duration,
    ) -> Self {
        Self { listener, acceptor: tls.map(TlsAcceptor::from), write_timeout }
    }
}

impl Listen for Tcp {
    type Raw = TcpStream;
    type Stream = Either<TlsStream<TcpStream>, TcpStream>;

    async fn accept(&self) -> io::Result<(TcpStream, ClientAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((stream, ClientAddr::Network(peer)))
    }

    async fn establish(&self, raw: TcpStream) -> io::Result<Self::Stream> {
        raw.set_nodelay(true)?;
        limit_unacknowledged(&raw, self.write_timeout)?;
        match &self.acceptor {
            Some(acceptor) => acceptor.accept(raw).await.map(Either::Left),
            None => Ok(Either::Right(raw)),
        }
    }
}

/// A peer that takes nothing more keeps its connection, and what waits to be sent, only this long.
#[cfg(target_os = "linux")]
fn limit_unacknowledged(stream: &TcpStream, time: Duration) -> io::Result<()> {
    let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds)?)
}

#[cfg(not(target_os = "linux"))]
fn limit_unacknowledged(_stream: &TcpStream, _time: Duration) -> io::Result<()> {
    Ok(())
}

/// A Unix socket.
pub(super) struct Unix(pub(super) UnixListener);

impl Listen for Unix {
    type Raw = UnixStream;
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, ClientAddr)> {
        let (stream, _) = self.0.accept().await?;
        Ok((stream, ClientAddr::Local))
    }

    async fn establish(&self, raw: UnixStream) -> io::Result<UnixStream> {
        Ok(raw)
    }
}

/// Binds `path`, replacing an old socket, with mode 0600.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something else than a socket stands there",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    // The programs' umask has already made it so; this is for those who embed the server.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
