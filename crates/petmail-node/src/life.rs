//! The lives of a node's process: locked, until somebody has the passphrase; open; and open anew, after its database was
//! written anew by order of its owner.

use anyhow::Context;
use petmail_net::CancellationToken;
use tokio::sync::{mpsc, oneshot};

use crate::{
    agent::{
        Agent,
        error::{CommandError, Fault},
    },
    api::lives::{Lives, Order, Ordered},
    backup::in_place,
    basedir::Basedir,
    config::Config,
    node::Node,
    vault::{self, LockedVault, Vault},
};

/// How a process finds the node.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Not encrypted, or with its key.
    Open(Option<Vault>),
    /// Encrypted; whoever has the passphrase opens it later.
    Locked(LockedVault),
}

/// What a process leads its lives with.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) basedir: Basedir,
    pub(crate) lives: Lives,
    pub(crate) orders: mpsc::Receiver<Ordered>,
    pub(crate) shutdown: CancellationToken,
    /// Why this node may be a copy of another one.
    pub(crate) copy: Option<String>,
}

/// Who waits to be told how an order went, once the node is open again.
type Waiting = (oneshot::Sender<Result<(), CommandError>>, Result<(), CommandError>);

impl Process {
    /// Lives until the shutdown. Calls `ready` once the control API answers.
    ///
    /// # Errors
    /// The node cannot be opened, or failed so that it cannot go on.
    pub(crate) async fn run(
        mut self,
        entry: Entry,
        ready: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut ready = Some(ready);
        let mut waiting: Option<Waiting> = None;
        let mut vault = match entry {
            Entry::Open(vault) => vault,
            Entry::Locked(_) => {
                self.lives.lock(&Config::load(&self.basedir.config_file())?.name);
                ready.take().map_or(Ok(()), |ready| ready())?;
                tracing::info!("locked: waiting for the passphrase");
                let Some((vault, tell)) = self.unlocked().await else { return Ok(()) };
                self.lives.close();
                waiting = Some((tell, Ok(())));
                Some(vault)
            }
        };
        loop {
            // A database that is half a backup is not opened: what would come into it goes with the next start.
            in_place::undo_interrupted(&self.basedir)?;
            let config = Config::load(&self.basedir.config_file())?;
            let node = Node::open(self.basedir.path(), &config, vault.clone()).await?;
            let agent = node.agent();
            agent.set_copy(self.copy.clone());
            let life = self.shutdown.child_token();
            self.lives.open(agent.clone(), life.clone());
            ready.take().map_or(Ok(()), |ready| ready())?;
            if let Some((tell, done)) = waiting.take() {
                // Whoever ordered it may have gone.
                drop(tell.send(done));
            }
            let running = node.run(life.clone());
            tokio::pin!(running);
            let (order, tell) = tokio::select! {
                ended = &mut running => return ended,
                ordered = self.sensible_order(vault.is_some()) => ordered,
            };
            self.lives.close();
            life.cancel();
            running.await?;
            if self.shutdown.is_cancelled() {
                return Ok(());
            }
            let done = self.carry_out(order, &agent, &mut vault).await;
            waiting = Some((tell, done));
        }
    }

    /// Waits for the passphrase; returns nothing at the shutdown.
    async fn unlocked(&mut self) -> Option<(Vault, oneshot::Sender<Result<(), CommandError>>)> {
        loop {
            let ordered = tokio::select! {
                () = self.shutdown.cancelled() => None,
                ordered = self.orders.recv() => ordered,
            };
            match ordered? {
                (Order::Unlock(vault), tell) => return Some((vault, tell)),
                (_, tell) => drop(tell.send(Err(conflict("the node is locked")))),
            }
        }
    }

    /// Waits for an order that makes sense for an open node. The others, such as the second of two who unlocked it at once, are
    /// refused, and the node goes on.
    async fn sensible_order(&mut self, is_encrypted: bool) -> Ordered {
        loop {
            // The API holds the other end for as long as this process lives.
            let Some((order, tell)) = self.orders.recv().await else { std::future::pending().await };
            let refused = match order {
                Order::Unlock(_) => "the node is not locked",
                Order::Encrypt(_) if is_encrypted => "the node has a passphrase already",
                Order::Decrypt if !is_encrypted => "the node has no passphrase",
                Order::Encrypt(_) | Order::Decrypt | Order::Restore(_) => return (order, tell),
            };
            drop(tell.send(Err(conflict(refused))));
        }
    }

    /// Carries out an order while nobody has the database open. Whatever goes wrong, the node is as it was.
    async fn carry_out(
        &self,
        order: Order,
        agent: &Agent,
        vault: &mut Option<Vault>,
    ) -> Result<(), CommandError> {
        let basedir = &self.basedir;
        let done = match order {
            Order::Unlock(_) => Ok(()),
            Order::Encrypt(passphrase) => {
                vault::encrypt(basedir, &passphrase).await.map(|new| *vault = Some(new))
            }
            Order::Decrypt => match vault.clone() {
                Some(old) => vault::decrypt(basedir, old).await.map(|()| *vault = None),
                None => Ok(()),
            },
            Order::Restore(backup) => {
                agent.refuse_unless_blank().await?;
                in_place::restore(basedir, backup).await.context("cannot restore")
            }
        };
        done.map_err(|error| {
            CommandError::new(
                Fault::Internal,
                format!("{error:#}"),
                "mend what is named, then try again; nothing was changed",
            )
        })
    }
}

fn conflict(problem: &str) -> CommandError {
    CommandError::new(Fault::Conflict, problem, "nothing was changed")
}
