//! The server loop of every Petmail program: accepts, bounds, drains. Routes and their meaning are the programs' own.
//!
//! Permit, accept and shutdown wait in one place; a failed accept is logged and slept on; each connection has its
//! time-outs; on shutdown running requests may end until a deadline, event streams end at once, the rest is cut.
//! Source: `docs/operating.md`, "Limits".

mod body;
mod connection;
mod gate;
mod limits;
mod listen;
mod meter;
mod peers;
mod pulse;
mod shares;
mod stream;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use self::{
    connection::Host,
    gate::Gate,
    listen::{Listen, Tcp, Unix},
    meter::{Connected, Meter, NoConnection},
    pulse::Questions,
    shares::{Share, Shares},
    stream::Guarded,
};
pub use self::{limits::Limits, peers::Peers, pulse::Pulse};
use crate::{
    address::ClientAddr,
    tls::{Pin, ServerTls, TlsError, TlsMode},
};

/// After a failed accept (out of file descriptors, mostly): long enough for connections to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often addresses that have gone quiet are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How long tasks may take to notice that they were cut.
const CUT_GRACE: Duration = Duration::from_secs(2);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, not this machine's, or reserved.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address or path that was asked for.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl BindError {
    /// Says what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    "another program listens there: stop it, or choose another address with --listen"
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need the right to bind them (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE); or choose a higher port with --listen"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have that address: choose one of its own, or 0.0.0.0 for all, with --listen"
                }
                _ => "choose another address with --listen",
            },
            Self::Tls(TlsError::Read { .. }) => {
                "is the file there, in PEM form, and readable for the user that the server runs as?"
            }
            Self::Tls(TlsError::Unusable(_)) => {
                "--tls-cert wants the certificate chain, the server's own first, and --tls-key the key that belongs to it"
            }
            Self::Tls(_) => "is the basedir writable, and the disk not full?",
        }
    }

    fn listen(address: impl ToString, source: io::Error) -> Self {
        Self::Listen { address: address.to_string(), source }
    }
}

/// A server bound to a TCP address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    tls: Option<ServerTls>,
    limits: Limits,
    peers: Peers,
    meter: Meter,
    pulse: Pulse,
    questions: Questions,
}

impl Server {
    /// Loads the certificate and binds `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The address cannot be bound, or the certificate not used.
    pub async fn bind(address: SocketAddr, mode: &TlsMode, limits: Limits) -> Result<Self, BindError> {
        let tls = ServerTls::load(mode)?;
        let listener = TcpListener::bind(address).await.map_err(|e| BindError::listen(address, e))?;
        let local_addr = listener.local_addr().map_err(|e| BindError::listen(address, e))?;
        let (pulse, questions) = pulse::pulse();
        Ok(Self {
            listener,
            local_addr,
            tls,
            limits,
            peers: Peers::default(),
            meter: Meter::OFF,
            pulse,
            questions,
        })
    }

    /// Says which peers are proxies, and whether addresses are logged. Without this none is, and none are.
    #[must_use]
    pub fn with_peers(self, peers: Peers) -> Self {
        Self { peers, ..self }
    }

    /// Says that this server's connections and requests are what monitoring counts.
    #[must_use]
    pub fn measured(self) -> Self {
        Self { meter: Meter::on(), ..self }
    }

    /// Returns what tells whether the server still accepts connections.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Returns the address that was bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns `https` or `http`.
    #[must_use]
    pub fn base_scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Returns the pin of the certificate in use; none for plain HTTP.
    #[must_use]
    pub fn pin(&self) -> Option<Pin> {
        self.tls.as_ref().and_then(ServerTls::pin)
    }

    /// Answers requests with `router` until `shutdown` is cancelled and the connections have ended or were cut.
    ///
    /// Every request carries its [`ClientAddr`] as an extension. Answers of type `text/event-stream` end on `shutdown`
    /// by themselves; WebSocket handlers have to watch it, or are cut when the drain time is over.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let (config, upkeep) = self.tls.map(ServerTls::into_parts).unzip();
        let listener = Tcp::new(self.listener, config, self.limits.write_timeout);
        let gate = Gate::new(&self.limits, self.peers, self.meter, shutdown.clone());
        let serving = Loop::new(listener, &self.limits, gate, router, shutdown).run(self.questions);
        match upkeep {
            None => serving.await,
            Some(upkeep) => tokio::select! {
                () = serving => {}
                () = upkeep.run() => {}
            },
        }
    }
}

/// A server on a Unix socket that only its owner may use: for administration.
#[derive(Debug)]
pub struct UnixServer {
    listener: UnixListener,
    path: PathBuf,
    limits: Limits,
}

impl UnixServer {
    /// Binds `path` with mode 0600. A socket that a dead process left there is replaced; the caller holds the lock of
    /// the directory, so that no living one is.
    ///
    /// # Errors
    /// The path cannot be bound, or something else than a socket stands there.
    pub fn bind(path: &Path, limits: Limits) -> Result<Self, BindError> {
        let listener = listen::bind_unix(path).map_err(|e| BindError::listen(path.display(), e))?;
        Ok(Self { listener, path: path.to_owned(), limits })
    }

    /// As [`Server::serve`]; removes the socket at the end.
    pub async fn serve(self, router: Router, shutdown: CancellationToken) {
        let (_pulse, questions) = pulse::pulse();
        let listener = Unix(self.listener);
        let gate = Gate::new(&self.limits, Peers::default(), Meter::OFF, shutdown.clone());
        Loop::new(listener, &self.limits, gate, router, shutdown).run(questions).await;
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "could not remove the socket");
        }
    }
}

/// The accept loop, for any kind of listener.
struct Loop<L> {
    listener: Arc<L>,
    host: Arc<Host>,
    gate: Arc<Gate>,
    permits: Arc<Semaphore>,
    per_address: Shares,
}

/// What a connection occupies for as long as its stream lives.
struct Occupied {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
    _task: TaskTrackerToken,
    _counted: Option<Connected>,
}

impl<L: Listen> Loop<L> {
    fn new(
        listener: L,
        limits: &Limits,
        gate: Arc<Gate>,
        router: Router,
        shutdown: CancellationToken,
    ) -> Self {
        let host = Host {
            router: gate.guard(router),
            limits: limits.clone(),
            shutdown,
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self {
            listener: Arc::new(listener),
            host: Arc::new(host),
            gate,
            permits: Arc::new(Semaphore::new(limits.max_connections.get() as usize)),
            per_address: Shares::new(limits.max_connections_per_address),
        }
    }

    async fn run(self, mut questions: Questions) {
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                () = self.host.shutdown.cancelled() => break,
                () = questions.answer() => {}
                _ = housekeeping.tick() => {
                    self.gate.forget_quiet_addresses();
                    crate::metrics::add_up();
                }
                arrival = self.next() => match arrival {
                    Some((raw, client, permit)) => self.admit(raw, client, permit),
                    None => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop(self.listener);
        drain(&self.host).await;
    }

    /// Waits for a free permit and then for a connection; `None` if accepting failed.
    async fn next(&self) -> Option<(L::Raw, ClientAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((raw, client)) => Some((raw, client, permit)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                self.gate.meter().not_connected(NoConnection::Accept);
                None
            }
        }
    }

    fn admit(&self, raw: L::Raw, client: ClientAddr, permit: OwnedSemaphorePermit) {
        let group = if self.gate.peers().trusts(client) { None } else { client.group() };
        let share = match group.map(|group| self.per_address.take(group)) {
            Some(None) => {
                tracing::debug!("connection closed: its address has too many");
                self.gate.meter().not_connected(NoConnection::Address);
                return;
            }
            Some(share) => share,
            None => None,
        };
        let meter = self.gate.meter();
        let occupied = Occupied {
            _permit: permit,
            _share: share,
            _task: self.host.tasks.token(),
            _counted: meter.connected(),
        };
        let (listener, host) = (Arc::clone(&self.listener), Arc::clone(&self.host));
        let connection = async move {
            let limit = host.limits.handshake_timeout;
            let stream = match tokio::time::timeout(limit, listener.establish(raw)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    meter.not_connected(NoConnection::Handshake);
                    return tracing::debug!(%error, "handshake failed");
                }
                Err(_) => {
                    meter.not_connected(NoConnection::HandshakeTimeout);
                    return tracing::debug!("handshake timed out");
                }
            };
            drop(listener);
            // A child token has a lock of its own: all connections would fight for the parent's.
            let io = Guarded::new(stream, host.cut.child_token(), occupied);
            Box::pin(host.converse(io, client)).await;
        };
        self.host.tasks.spawn(self.host.cut.clone().run_until_cancelled_owned(connection));
    }
}

async fn drain(host: &Host) {
    host.tasks.close();
    if tokio::time::timeout(host.limits.drain_timeout, host.tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!("connections did not end in time and are cut");
    host.cut.cancel();
    if tokio::time::timeout(CUT_GRACE, host.tasks.wait()).await.is_err() {
        tracing::error!("tasks of cut connections are still running");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_server_from_listening_has_a_hint_of_its_own() {
        let hint = |kind: io::ErrorKind| BindError::listen("0.0.0.0:443", kind.into()).hint();
        assert!(hint(io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE"));
        assert!(hint(io::ErrorKind::AddrInUse).contains("another program"));
        assert!(hint(io::ErrorKind::AddrNotAvailable).contains("does not have that address"));
    }
}
