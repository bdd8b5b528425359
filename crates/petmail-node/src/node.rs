//! A running node: its agent and the tasks that serve it.

use std::path::Path;

use anyhow::Context;
use petmail_net::{
    CancellationToken,
    client::{ClientSettings, SocksProxy, UrlPolicy},
    ws::WsSettings,
};

use crate::{
    agent::{Agent, core::Profile},
    config::Config,
    db::Db,
    local_mailbox::LocalMailbox,
    network::Network,
    tasks,
    vault::Vault,
};

/// A node that has read its state; [`Node::run`] brings it to life.
#[derive(Debug)]
pub struct Node {
    agent: Agent,
    rendezvous: WsSettings,
    local_mailbox: Option<LocalMailbox>,
}

impl Node {
    /// Opens the node's state in `basedir`, with its vault if it is encrypted. The caller holds the basedir's lock for as long as the node lives.
    ///
    /// # Errors
    /// If the configuration makes no sense, or the database cannot be read.
    pub async fn open(basedir: &Path, config: &Config, vault: Option<Vault>) -> anyhow::Result<Self> {
        let socks5 =
            config.socks5.as_deref().map(SocksProxy::parse).transpose().context("socks5 in config.toml")?;
        let policy =
            if config.allow_private_transports { UrlPolicy::AllowPrivate } else { UrlPolicy::PublicOnly };
        let local_mailbox = match &config.local_mailbox {
            Some(local) => Some(LocalMailbox::start(basedir, local).await?),
            None => None,
        };
        let settings = ClientSettings { socks5: socks5.clone(), ..ClientSettings::default() };
        let network = Network::new(settings, policy, local_mailbox.as_ref().map(|local| local.address));
        let db = Db::open(basedir, vault).await?;
        let agent = Agent::open(basedir, db, Profile::of(config), config.rendezvous.clone(), network).await?;
        if let Some(local) = &local_mailbox {
            local.redeem(&agent).await?;
        }
        Ok(Self { agent, rendezvous: WsSettings { socks5, ..WsSettings::default() }, local_mailbox })
    }

    /// Returns the node's agent.
    #[must_use]
    pub fn agent(&self) -> Agent {
        self.agent.clone()
    }

    /// Serves until `shutdown`, then closes the database.
    ///
    /// # Errors
    /// If a task, the database or the local mailbox failed.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mailbox_ended = async {
            match &self.local_mailbox {
                Some(local) => local.ended().await,
                None => std::future::pending().await,
            }
        };
        let tasks = tasks::run(self.agent.clone(), self.rendezvous, shutdown.clone());
        tokio::pin!(tasks);
        let ended = tokio::select! {
            ended = &mut tasks => ended,
            () = mailbox_ended => {
                // Without it contacts cannot reach the node. `stop` says why it has ended.
                shutdown.cancel();
                tasks.await
            }
        };
        self.agent.close().await;
        match self.local_mailbox {
            Some(local) => ended.and(local.stop().await),
            None => ended,
        }
    }
}
