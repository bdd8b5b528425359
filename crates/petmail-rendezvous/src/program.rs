//! The whole server: from a configuration to its end.
//!
//! Owns the order of starting and stopping. Must not know the command line.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use petmail_net::server::{BindError, Server, UnixServer};
use petmail_net::tls::TlsMode;
use petmail_net::{CancellationToken, clock, health, program};
use petmail_store::{CommitError, OpenError, Store};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::state::{Counts, Policy};
use crate::status::{self, Status};
use crate::storage::{self, LoadError};
use crate::websocket::{self, Hub};
use crate::writer::{self, Event, Writer};

/// The administration socket in the basedir.
pub(crate) const ADMIN_SOCKET: &str = "admin.sock";

/// What a person sees who opens the server's address in a browser.
const PAGE_TITLE: &str = "Petmail rendezvous";
const PAGE_TEXT: &str =
    "Petmail invitations meet here. This server speaks the magic-wormhole mailbox protocol at /v1.";

/// Why the server did not start, or stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The clock is wrong.
    #[error(transparent)]
    Clock(#[from] clock::ClockError),
    /// The basedir cannot be made.
    #[error("cannot make {path}: {source}")]
    Basedir {
        /// The basedir.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process uses the basedir, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] program::LockError),
    /// The store cannot be opened or read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The addresses or the certificate cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Standard output is closed.
    #[error("cannot announce the address: {0}")]
    Announce(std::io::Error),
    /// A commit failed; nobody was told that it had succeeded.
    #[error("the store failed: {0}")]
    Commit(#[from] CommitError),
    /// A task of the server panicked.
    #[error("a part of the server failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ServeError {
    /// Says what the operator can do about it, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Clock(_) => {
                Some("set the clock (systemd: timedatectl set-ntp true), then start the server again")
            }
            Self::Basedir { .. } | Self::Lock(program::LockError::Unusable { .. }) => {
                Some("name a folder with -d that the user that the server runs as may write")
            }
            Self::Lock(_) => Some("stop the other process first"),
            Self::Bind(error) => Some(error.hint()),
            Self::Load(_) | Self::Announce(_) | Self::Commit(_) | Self::Task(_) => None,
        }
    }
}

/// Serves until `shutdown` is cancelled. Prints the `ready` line once connections are accepted.
///
/// # Errors
/// [`ServeError`] says what keeps the server from running.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ServeError> {
    petmail_net::metrics::install();
    status::begin_counting();
    let started_ms = clock::unix_ms();
    clock::check(started_ms)?;
    program::create_private_dir(&config.basedir)
        .map_err(|source| ServeError::Basedir { path: config.basedir.display().to_string(), source })?;
    let _lock = program::DirLock::acquire_soon(&config.basedir).await?;
    let store = open_store(&config.basedir).await?;
    let state = storage::load(&store, config.policy.clone()).await?;
    let server = Server::bind(config.listen, &config.tls, config.network.clone()).await?;
    let server = server.with_peers(config.peers.clone()).measured();
    let metrics = match config.metrics_listen {
        Some(address) => Some(Server::bind(address, &TlsMode::PlainHttp, config.network.clone()).await?),
        None => None,
    };
    let admin = UnixServer::bind(&config.basedir.join(ADMIN_SOCKET), config.network.clone())?;

    let (events, inbox) = writer::queue();
    // Whatever ends first ends the others.
    let _ending = shutdown.clone().drop_guard();
    let writer = tokio::spawn({
        let ending = shutdown.clone().drop_guard();
        let work = Writer::new(state, store).run(inbox, shutdown.clone());
        async move {
            let _ending = ending;
            work.await
        }
    });
    let url = url(&server);
    if let (TlsMode::SelfSigned { .. }, Some(pin)) = (&config.tls, server.pin()) {
        tracing::info!(%pin, "self-signed certificate");
    }
    let context = Arc::new(status::Context {
        url: url.clone(),
        started_ms,
        retention: config.policy.retention,
        events: events.clone(),
    });
    let hub = Hub::new(events.clone(), config.policy.limits, shutdown.clone(), config.peers.log_addresses);
    let public = public_routes(hub, events.clone());
    let pulse = server.pulse();
    program::announce_ready(&url).map_err(ServeError::Announce)?;
    let serving = server.serve(public, shutdown.clone());
    let monitoring = async {
        if let Some(server) = metrics {
            tracing::info!(address = %server.local_addr(), "metrics are served");
            server.serve(status::metrics_routes(events.clone()), shutdown.clone()).await;
        }
    };
    let is_healthy = || async { pulse.beats().await && status::count(&events).await.is_ok() };
    tokio::join!(
        serving,
        admin.serve(status::routes(context), shutdown.clone()),
        monitoring,
        program::service::feed_watchdog(&shutdown, is_healthy),
    );
    writer.await??;
    Ok(())
}

/// What a stopped server holds.
///
/// # Errors
/// [`ServeError`] if the basedir is in use or its store cannot be read.
pub async fn stopped_status(basedir: &Path, policy: Policy) -> Result<Status, ServeError> {
    let _lock = program::DirLock::acquire(basedir)?;
    let store = open_store(basedir).await?;
    let retention = policy.retention;
    let counts: Counts = storage::load(&store, policy).await?.counts();
    store.close().await;
    Ok(Status::stopped(counts, retention))
}

async fn open_store(basedir: &Path) -> Result<Store, ServeError> {
    let basedir = basedir.to_owned();
    let opened: Result<Store, OpenError> =
        tokio::task::spawn_blocking(move || storage::open(&basedir)).await?;
    Ok(opened.map_err(LoadError::from)?)
}

fn url(server: &Server) -> String {
    let scheme = if server.base_scheme() == "https" { "wss" } else { "ws" };
    format!("{scheme}://{}/v1", server.local_addr())
}

fn public_routes(hub: Hub, events: Events) -> Router {
    let protocol = Router::new().route("/v1", get(websocket::upgrade)).with_state(hub);
    protocol.merge(health::routes(PAGE_TITLE, PAGE_TEXT, move || !events.is_closed()))
}

/// The queue to the writer, as the status needs it.
pub(crate) type Events = mpsc::Sender<Event>;
