//! A mailbox server put together: the basedir's lock, the services, their listeners, and what happens by itself.
//!
//! [`Mailbox`] is what the program runs, and what a node runs that hosts a mailbox of its own.

mod keys;
mod moving;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{Router, body::Bytes};
use petmail_net::{
    CancellationToken, clock,
    program::{DirLock, LockError, service},
    server::{BindError, Limits, Pulse, Server, UnixServer},
    tls::{TlsError, TlsMode},
};
use petmail_proto::{base_url::BaseUrl, keys::CertificatePin, time::UnixMillis};
use petmail_store::EngineKind;
use tokio::{sync::Notify, time::MissedTickBehavior};

use crate::{
    accounts::Accounts,
    admin::{AccountRequest, Admin, AdminError, OfferRequest, Status},
    basedir::Basedir,
    config::{AdminListen, BlobsError, Settings, TlsChoice, default_listen, default_tls},
    deliver::Deliveries,
    http,
    identity::{CurrentIdentity, IdentityError},
    measures,
    packs::{PackError, Packs},
    queue::{
        QueueError, QueueStats, QueueStore,
        embedded::{EmbeddedQueue, OpenQueueError},
    },
    retrieve::Retrieval,
};

/// How often old messages are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How many are deleted at a time, so that deliveries wait for no more than these.
const SWEEP_ROWS: usize = 32;
/// The pause between two such batches.
const SWEEP_PAUSE: Duration = Duration::from_millis(40);
/// How often the descriptor is signed anew; it is good for longer.
const SIGN_INTERVAL: Duration = Duration::from_secs(24 * 3_600);
/// The pause between two owners who are told of new keys: each asks for a new token then, and tells all contacts.
const TELL_INTERVAL: Duration = Duration::from_millis(20);

/// The services of one server, on any queue.
#[derive(Debug)]
pub struct Services<Q> {
    queue: Arc<Q>,
    identity: Arc<CurrentIdentity>,
    pin: Option<CertificatePin>,
    accounts: Accounts<Q>,
    deliveries: Deliveries<Q>,
    retrieval: Arc<Retrieval<Q>>,
    admin: Admin<Q>,
    /// None without the storage role.
    packs: Option<Arc<Packs>>,
    descriptor: RwLock<Bytes>,
    /// Held by who replaces keys: one at a time.
    replacing_keys: tokio::sync::Mutex<()>,
    /// The owners are to be told of new keys.
    rotated: Notify,
}

/// Why a server does not start, or stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// `init` was not run there.
    #[error("{} holds no mailbox server", .0.display())]
    NotInitialised(PathBuf),
    /// The clock is wrong.
    #[error(transparent)]
    Clock(#[from] clock::ClockError),
    /// Another process works there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The keys cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The queue cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenQueueError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The packs cannot be opened.
    #[error(transparent)]
    Packs(#[from] PackError),
    /// The service for packs is set up wrongly.
    #[error(transparent)]
    Blobs(#[from] BlobsError),
    /// The queue failed while it was served, and has to be opened again.
    #[error("the store has failed, and nothing more can be kept: {0}")]
    StoreFailed(QueueError),
    /// The descriptor cannot be made.
    #[error(transparent)]
    Descriptor(AdminError),
    /// The certificate cannot be made or read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address is taken, or a certificate unusable.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Something beside the queue cannot be written.
    #[error("cannot write to the basedir: {0}")]
    Io(#[from] std::io::Error),
}

impl<Q: QueueStore> Services<Q> {
    /// Puts the services together and signs the first descriptor.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn new(
        queue: Arc<Q>,
        identity: CurrentIdentity,
        packs: Option<Packs>,
        pin: Option<CertificatePin>,
        now: UnixMillis,
    ) -> Result<Self, MailboxError> {
        let identity = Arc::new(identity);
        let services = Self {
            accounts: Accounts::new(Arc::clone(&queue), Arc::clone(&identity)),
            deliveries: Deliveries::new(Arc::clone(&queue), Arc::clone(&identity)),
            retrieval: Arc::new(Retrieval::new(Arc::clone(&queue), Arc::clone(&identity), now)),
            admin: Admin::new(Arc::clone(&queue), Arc::clone(&identity), pin),
            queue,
            packs: packs.map(Arc::new),
            identity,
            pin,
            descriptor: RwLock::default(),
            replacing_keys: tokio::sync::Mutex::default(),
            rotated: Notify::new(),
        };
        services.sign_descriptor(now).await.map_err(|error| match error {
            AdminError::Queue(error) => MailboxError::Queue(error),
            other => MailboxError::Descriptor(other),
        })?;
        Ok(services)
    }

    /// Returns the address that clients use.
    #[must_use]
    pub fn url(&self) -> BaseUrl {
        self.identity.get().url().clone()
    }

    /// Tells whether the server has another address now.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.identity.get().moved_to().is_some()
    }

    /// Returns the service for accounts.
    #[must_use]
    pub const fn accounts(&self) -> &Accounts<Q> {
        &self.accounts
    }

    /// Returns the service for deliveries.
    #[must_use]
    pub const fn deliveries(&self) -> &Deliveries<Q> {
        &self.deliveries
    }

    /// Returns the service for retrieval.
    #[must_use]
    pub const fn retrieval(&self) -> &Arc<Retrieval<Q>> {
        &self.retrieval
    }

    /// Returns the service for the operator.
    #[must_use]
    pub const fn admin(&self) -> &Admin<Q> {
        &self.admin
    }

    /// Returns the packs; none if the server does not keep any.
    #[must_use]
    pub const fn packs(&self) -> Option<&Arc<Packs>> {
        self.packs.as_ref()
    }

    /// Removes an account with all that it holds.
    ///
    /// # Errors
    /// [`AdminError`]; to be asked again then.
    pub async fn remove_account(&self, request: AccountRequest) -> Result<(), AdminError> {
        let account = request.account;
        let removed = self.admin.remove(request).await;
        // Also if the account is gone: the program may have ended between the two before.
        if let Some(packs) = &self.packs {
            packs.forget(account).await.map_err(|error| AdminError::Queue(QueueError::new(error)))?;
        }
        removed
    }

    /// Describes the server.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn status(&self) -> Result<Status, AdminError> {
        let packs = self.packs.as_ref().map(|packs| packs.status());
        Ok(Status { packs, ..self.admin.status().await? })
    }

    /// Returns the signed descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Bytes {
        self.descriptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells how the store is doing.
    ///
    /// # Errors
    /// [`QueueError`] if the store cannot even tell.
    pub async fn store(&self) -> Result<QueueStats, QueueError> {
        self.queue.stats().await
    }

    /// Deletes a few of the messages whose time is over; tells whether more may be left.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn sweep(&self, now: UnixMillis) -> Result<bool, QueueError> {
        let looked_at = self.queue.sweep(now, SWEEP_ROWS).await?;
        measures::count_swept(looked_at);
        Ok(looked_at == SWEEP_ROWS)
    }

    async fn sign_descriptor(&self, now: UnixMillis) -> Result<(), AdminError> {
        let identity = self.identity.get();
        let seconds = Duration::from_millis(now.0).as_secs();
        // What a server says that has moved must never look newer than what it says at its new address.
        let minimum = if identity.moved_to().is_some() { 0 } else { seconds };
        let serial = self.queue.next_serial(minimum).await?;
        if let Some(days) = days_back(serial, seconds) {
            tracing::warn!(
                days,
                "the clock is behind what it was: is it right? what is kept by time is kept longer"
            );
        }
        let signed = identity.descriptor(serial, self.pin, now)?;
        *self.descriptor.write().unwrap_or_else(PoisonError::into_inner) = signed.into();
        Ok(())
    }

    /// Signs, sweeps, and looks after keys until `shutdown`.
    async fn maintain(&self, shutdown: &CancellationToken) {
        let mut signing = tokio::time::interval(SIGN_INTERVAL);
        signing.reset();
        let mut sweeping = tokio::time::interval(SWEEP_INTERVAL);
        sweeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut telling = tokio::time::interval(TELL_INTERVAL);
        let mut to_tell = Vec::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = signing.tick() => {
                    if let Err(error) = self.sign_descriptor(http::now()).await {
                        tracing::error!(%error, "cannot renew the descriptor");
                    }
                }
                () = self.rotated.notified() => to_tell = self.retrieval.streaming(),
                _ = telling.tick(), if !to_tell.is_empty() => {
                    to_tell.pop().iter().for_each(|account| self.retrieval.tell_changed(account));
                }
                _ = sweeping.tick() => {
                    if let Err(error) = self.end_keys(http::now()).await {
                        tracing::error!(%error, "cannot drop the keys that have ended");
                    }
                    match self.sweep(http::now()).await {
                        Ok(true) => sweeping.reset_after(SWEEP_PAUSE),
                        Ok(false) => {}
                        Err(error) => tracing::error!(%error, "cannot delete old messages"),
                    }
                }
            }
        }
    }
}

impl<Q: QueueStore> Services<Q> {
    /// Removes packs that nobody has any more, and puts others where they belong, until `shutdown`.
    async fn tend_packs(&self, shutdown: &CancellationToken) {
        let Some(packs) = &self.packs else { return };
        let tend = async {
            loop {
                let swept = packs.sweep(http::now()).await;
                let tidied = packs.tidy().await;
                let mut has_more = false;
                for done in [swept, tidied] {
                    match done {
                        Ok(more) => has_more |= more,
                        Err(error) => tracing::error!(%error, "cannot remove or move packs now"),
                    }
                }
                tokio::time::sleep(if has_more { SWEEP_PAUSE } else { SWEEP_INTERVAL }).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tend => {}
        }
    }
}

/// A server on its basedir. No other process can open it meanwhile.
#[derive(Debug)]
pub struct Mailbox {
    basedir: Basedir,
    services: Arc<Services<EmbeddedQueue>>,
    settings: Settings,
    tls: TlsChoice,
    is_service: bool,
    _lock: DirLock,
}

impl Mailbox {
    /// Opens the server in `basedir` with complete `settings`, to serve it.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn open(basedir: Basedir, settings: Settings) -> Result<Self, MailboxError> {
        Self::open_as(basedir, settings, false).await
    }

    /// Opens the server while nobody serves it, to administer it: offers are as if it were served as it was last.
    ///
    /// # Errors
    /// [`MailboxError`].
    pub async fn open_stopped(basedir: Basedir, settings: Settings) -> Result<Self, MailboxError> {
        Self::open_as(basedir, settings, true).await
    }

    async fn open_as(basedir: Basedir, settings: Settings, as_last: bool) -> Result<Self, MailboxError> {
        if !basedir.is_initialised() {
            return Err(MailboxError::NotInitialised(basedir.path().to_owned()));
        }
        clock::check(clock::unix_ms())?;
        let lock = DirLock::acquire_soon(basedir.path()).await?;
        let identity = CurrentIdentity::load(basedir.identity_file())?;
        let url = identity.get().url().clone();
        let last_had_pin = if as_last { basedir.was_self_signed() } else { None };
        let tls = match (settings.tls(), last_had_pin) {
            (Some(tls), _) => tls,
            (None, Some(true)) => TlsChoice::SelfSigned,
            (None, Some(false)) => TlsChoice::PlainHttp,
            (None, None) => default_tls(&url),
        };
        let pin = basedir.pin(&tls, &url)?;
        let queue = open_queue(&basedir, settings.store).await?;
        let packs =
            if identity.get().is_storage() { Some(open_packs(&basedir, &settings).await?) } else { None };
        let services = Services::new(Arc::new(queue), identity, packs, pin, http::now()).await?;
        Ok(Self { basedir, services: Arc::new(services), settings, tls, is_service: false, _lock: lock })
    }

    /// Says that this server is what the process is for: the service manager's watchdog is told how it is.
    #[must_use]
    pub fn as_service(self) -> Self {
        Self { is_service: true, ..self }
    }

    /// Returns the services.
    #[must_use]
    pub const fn services(&self) -> &Arc<Services<EmbeddedQueue>> {
        &self.services
    }

    /// Returns the public routes.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.services))
    }

    /// Mints one offer.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn mint_offer(&self, request: OfferRequest) -> Result<String, AdminError> {
        let request = OfferRequest { count: 1, ..request };
        let offers = self.services.admin().mint_offers(&request, http::now()).await?.offers;
        Ok(offers.into_iter().next().unwrap_or_default())
    }

    /// Serves until `shutdown`. `ready` is called once with the URL that was bound, when connections are accepted.
    ///
    /// # Errors
    /// [`MailboxError`]; nothing was served then.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        ready: impl FnOnce(&str) -> std::io::Result<()>,
    ) -> Result<(), MailboxError> {
        let url = self.services.url();
        let listen = self.settings.listen.unwrap_or_else(|| default_listen(&url));
        let limits = self.settings.network.clone();
        let server = Server::bind(listen, &self.tls.mode(&self.basedir, &url), limits.clone()).await?;
        let server = server.with_peers(self.settings.peers()).measured();
        let socket = AdminListen::Unix(self.basedir.admin_socket());
        let admin =
            AdminServer::bind(self.settings.admin_listen.as_ref().unwrap_or(&socket), limits.clone()).await?;
        let metrics = MetricsServer::bind(self.settings.metrics_listen, limits).await?;
        self.basedir.remember_tls(&self.tls)?;
        let scheme = server.base_scheme();
        ready(&format!("{scheme}://{}{}/", server.local_addr(), http::base_path(&url)))?;
        let shutdown = shutdown.child_token();
        let pulse = server.pulse();
        let ((), (), (), (), (), (), failed) = tokio::join!(
            server.serve(self.router(), shutdown.clone()),
            admin.serve(http::admin::router(Arc::clone(&self.services)), shutdown.clone()),
            metrics.serve(&self.services, shutdown.clone()),
            self.services.maintain(&shutdown),
            self.services.tend_packs(&shutdown),
            self.feed_watchdog(&pulse, &shutdown),
            self.end_with_store(&shutdown),
        );
        self.close().await;
        failed.map_or(Ok(()), |error| Err(MailboxError::StoreFailed(error)))
    }

    async fn feed_watchdog(&self, pulse: &Pulse, shutdown: &CancellationToken) {
        if self.is_service {
            let is_healthy = || async {
                pulse.beats().await && self.services.store().await.is_ok_and(|store| store.healthy)
            };
            service::feed_watchdog(shutdown, is_healthy).await;
        }
    }

    /// Waits for `shutdown`, or brings it about and returns why if the store fails: what memory says of the store may be
    /// wrong then, and only opening it again tells.
    async fn end_with_store(&self, shutdown: &CancellationToken) -> Option<QueueError> {
        tokio::select! {
            () = shutdown.cancelled() => None,
            error = self.services.queue.failed() => {
                shutdown.cancel();
                Some(error)
            }
            error = packs_failed(self.services.packs().map(Arc::as_ref)) => {
                shutdown.cancel();
                Some(QueueError::new(error))
            }
        }
    }

    /// Closes the store, and gives the basedir free.
    pub async fn close(self) {
        if let Some(packs) = self.services.packs() {
            packs.close().await;
        }
        self.services.queue.close().await;
    }
}

/// Waits until the packs' store fails; for ever without packs.
async fn packs_failed(packs: Option<&Packs>) -> String {
    match packs {
        Some(packs) => packs.failed().await,
        None => std::future::pending().await,
    }
}

/// Returns by how many days the clock was put back since the descriptor got its number, which is the clock's time or one more
/// than the former; `None` if by less than one, which many descriptors in a short time look like.
fn days_back(serial: u64, seconds: u64) -> Option<u64> {
    let days = serial.saturating_sub(seconds) / (24 * 3_600);
    (days > 0).then_some(days)
}

async fn open_packs(basedir: &Basedir, settings: &Settings) -> Result<Packs, MailboxError> {
    Ok(Packs::open(&basedir.packs_dir(), settings.open_blobs()?).await?)
}

async fn open_queue(basedir: &Basedir, engine: Option<EngineKind>) -> Result<EmbeddedQueue, MailboxError> {
    let dir = basedir.queue_dir();
    petmail_net::program::create_private_dir(&dir)?;
    Ok(EmbeddedQueue::open(&dir, engine).await?)
}

/// The listener for the operator.
enum AdminServer {
    Unix(UnixServer),
    Loopback(Server),
}

impl AdminServer {
    async fn bind(listen: &AdminListen, limits: Limits) -> Result<Self, BindError> {
        match listen {
            AdminListen::Unix(path) => UnixServer::bind(path, limits).map(Self::Unix),
            AdminListen::Loopback(address) => {
                Server::bind(*address, &TlsMode::PlainHttp, limits).await.map(Self::Loopback)
            }
        }
    }

    async fn serve(self, router: Router, shutdown: CancellationToken) {
        match self {
            Self::Unix(server) => server.serve(router, shutdown).await,
            Self::Loopback(server) => server.serve(router, shutdown).await,
        }
    }
}

/// The listener for monitoring, if there is one.
struct MetricsServer(Option<Server>);

impl MetricsServer {
    async fn bind(listen: Option<std::net::SocketAddr>, limits: Limits) -> Result<Self, BindError> {
        let Some(address) = listen else { return Ok(Self(None)) };
        let server = Server::bind(address, &TlsMode::PlainHttp, limits).await?;
        tracing::info!(address = %server.local_addr(), "metrics are served");
        Ok(Self(Some(server)))
    }

    async fn serve<Q: QueueStore>(self, services: &Arc<Services<Q>>, shutdown: CancellationToken) {
        if let Some(server) = self.0 {
            server.serve(measures::routes(Arc::clone(services)), shutdown).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_put_back_is_noticed() {
        assert_eq!(days_back(1_800_000_000, 1_800_000_000), None);
        assert_eq!(days_back(1_800_000_005, 1_800_000_000), None);
        assert_eq!(days_back(1_800_000_000, 1_799_000_000), Some(11));
        assert_eq!(days_back(1_799_000_000, 1_800_000_000), None);
    }
}
