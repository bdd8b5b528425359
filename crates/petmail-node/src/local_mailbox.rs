//! The mailbox that runs inside the node, for people with a reachable address.
//!
//! It is an ordinary mailbox server in the folder `mailbox` of the basedir, with the node's own account, and those that its owner gives to others. The node
//! reaches it at the address where it listens, its contacts at the host name that the owner gave.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use petmail_mailbox::{
    admin::OfferRequest,
    basedir::Basedir,
    config::{Settings, host},
    queue::embedded::EmbeddedQueue,
    server::{Mailbox, MailboxError, Services},
    size::ByteSize,
};
use petmail_net::{CancellationToken, clock};
use petmail_proto::{base_url::BaseUrl, server::descriptor::ROLE_MAILBOX, time::UnixMillis};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    agent::{Agent, core::OfferSource},
    config,
};

/// What the owner's own account may hold: the disk is the owner's.
const QUOTA: ByteSize = ByteSize(10_000_000_000);

/// What the owner may give to others with `offer-mailbox`, all together.
const GIVEN_AWAY: ByteSize = ByteSize(10_000_000_000);

/// A mailbox that accepts connections; it ends when it is told to.
#[derive(Debug)]
pub(crate) struct LocalMailbox {
    /// Where the node itself reaches it.
    pub(crate) address: SocketAddr,
    services: Arc<Services<EmbeddedQueue>>,
    serving: JoinHandle<Result<(), MailboxError>>,
    shutdown: CancellationToken,
    ended: CancellationToken,
}

impl LocalMailbox {
    /// Makes the mailbox at the first start, and serves it.
    pub(crate) async fn start(basedir: &Path, config: &config::LocalMailbox) -> anyhow::Result<Self> {
        let basedir = Basedir::new(basedir.join("mailbox"));
        if !basedir.is_initialised() {
            let roles = Some(vec![ROLE_MAILBOX.to_owned()]);
            basedir.init_as(choose_url(config)?, roles).context("cannot make the local mailbox")?;
        }
        let url = petmail_mailbox::identity::Identity::load(&basedir.identity_file())?.url().clone();
        let listen = listen_address(config, &url)?;
        let settings = Settings { listen: Some(listen), self_signed: true, ..Settings::default() };
        let mailbox = Mailbox::open(basedir, settings).await.context("cannot open the local mailbox")?;
        let services = Arc::clone(mailbox.services());
        let shutdown = CancellationToken::new();
        let (ready, is_ready) = oneshot::channel();
        let running = mailbox.run(shutdown.clone(), move |_| {
            // Nobody waits any more if the node is stopping already.
            ready.send(()).unwrap_or_default();
            Ok(())
        });
        let ended = CancellationToken::new();
        let ending = ended.clone().drop_guard();
        let serving = tokio::spawn(async move {
            let _ending = ending;
            running.await
        });
        let local = Self { address: reachable(listen), services, serving, shutdown, ended };
        match is_ready.await {
            Ok(()) => Ok(local),
            Err(_) => Err(local.stop().await.err().unwrap_or_else(|| anyhow::anyhow!("it ended at once")))
                .with_context(|| format!("the local mailbox cannot serve at {listen}")),
        }
    }

    /// Gives the node its account, once.
    pub(crate) async fn redeem(&self, agent: &Agent) -> anyhow::Result<()> {
        if agent.has_local_mailbox().await {
            return Ok(());
        }
        let request = OfferRequest {
            mailbox_quota: Some(QUOTA),
            provider_total: Some(GIVEN_AWAY),
            ..OfferRequest::default()
        };
        let now = UnixMillis(clock::unix_ms());
        let offers = self.services.admin().mint_offers(&request, now).await?.offers;
        let offer = offers.first().context("the local mailbox made no offer")?.parse()?;
        agent
            .redeem(offer, OfferSource::ThisNode)
            .await
            .context("the node could not get its account at the local mailbox")?;
        Ok(())
    }

    /// Waits until the mailbox has ended, by itself or because it was told to.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Ends the mailbox when its connections have ended.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.serving.await.context("the local mailbox failed")??;
        Ok(())
    }
}

/// Chooses the port for good: contacts are told of it.
fn choose_url(config: &config::LocalMailbox) -> anyhow::Result<BaseUrl> {
    let port = match config.listen.port() {
        0 => TcpListener::bind(config.listen).and_then(|listener| listener.local_addr())?.port(),
        port => port,
    };
    let url = format!("https://{}:{port}", config.hostname);
    url.parse().with_context(|| format!("{url} is no address that others could use; check --hostname"))
}

fn listen_address(config: &config::LocalMailbox, url: &BaseUrl) -> anyhow::Result<SocketAddr> {
    let port = url.as_str().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port =
        port.with_context(|| format!("the address of the local mailbox, {}, has no port", host(url)))?;
    Ok(SocketAddr::new(config.listen.ip(), port))
}

/// The address at which this machine reaches what listens at `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
