//! What the tasks use of the agent: what there is to do, and how it ended.

use std::collections::{BTreeSet, VecDeque};

use petmail_proto::{
    invitation::machine::{Effect, Input},
    time::UnixMillis,
};
use rand_core::OsRng;
use serde_json::Map;

use super::{
    Agent,
    core::{Arrival, Ended, Offer, Packets},
    error::{CommandError, Fault},
    internal, lock, now,
    records::Mailbox,
    stored,
};
use crate::{
    api::types::Event,
    network::{Network, NetworkError},
};

/// How many quarantined messages are tried at a time.
const QUARANTINE_ROWS: usize = 64;

/// How many messages of the first version are fixed at a time.
const FROZEN_AT_ONCE: usize = 256;

impl Agent {
    pub(crate) fn network(&self) -> &Network {
        &self.0.network
    }

    pub(crate) fn rendezvous_url(&self) -> &str {
        &self.0.rendezvous_url
    }

    /// Waits until the outbox may have something to offer.
    pub(crate) async fn outbox_changed(&self) {
        self.0.outbox.notified().await;
    }

    /// Waits until there is a new mailbox, or one with new secrets.
    pub(crate) async fn mailboxes_changed(&self) {
        self.0.mailboxes_changed.notified().await;
    }

    /// Returns what can be offered now, and when to ask again.
    pub(crate) async fn next_offers(&self, limit: usize) -> (Vec<Offer>, Option<UnixMillis>) {
        self.0.core.lock().await.next_offers(limit, now())
    }

    /// Queues the acknowledgements that are due.
    pub(crate) async fn queue_acks(&self) -> Result<(), CommandError> {
        while self.0.core.lock().await.has_acks_due(now()) {
            self.step(|core, step, now| core.queue_acks(step, now, &mut OsRng)).await?;
        }
        Ok(())
    }

    /// Reads the packets of the message that is offered.
    pub(crate) async fn packets(&self, offer: &Offer) -> Result<Packets, CommandError> {
        let content = match &offer.body_key() {
            None => Ok(Map::new()),
            Some(key) => stored::packets(&self.0.db, key).await,
        };
        let extras = stored::extras(&self.0.db, &offer.extras_key()).await;
        let read = content.and_then(|content| Ok(Packets { content, extras: extras? }));
        read.map_err(|error| internal(&error))
    }

    /// Notes how an offer ended.
    pub(crate) async fn finish_offer(&self, offer: &Offer, ended: Ended) -> Result<(), CommandError> {
        self.step(|core, step, now| Ok(core.finish_offer(step, offer, ended, now, &mut OsRng)?)).await
    }

    /// Erases the acknowledged messages that were too many for one step.
    pub(super) async fn sweep_acknowledged(&self, cids: Vec<u32>) -> Result<(), CommandError> {
        for cid in cids {
            while self.0.core.lock().await.peers.get(&cid).is_some_and(|peer| peer.outbox.done() > 0) {
                self.step(|core, step, _| {
                    core.sweep_acknowledged(step, cid)?;
                    step.sweep_acknowledged.clear();
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Fixes what messages say that the first version of the program has queued.
    pub(super) async fn freeze(&self) -> Result<(), CommandError> {
        while self.0.core.lock().await.unfrozen() > 0 {
            self.step(|core, step, _| core.freeze(step, FROZEN_AT_ONCE)).await?;
        }
        Ok(())
    }

    /// Begins a new epoch, because the clocks say that this machine was set back, or slept.
    pub(crate) async fn begin_epoch(&self) -> Result<(), CommandError> {
        self.step(|core, step, now| Ok(core.start_epoch(step, now)?)).await?;
        while self.step(|core, step, now| core.stop_waiting(step, now)).await? {}
        Ok(())
    }

    /// Erases the keys whose time is over.
    pub(crate) async fn erase_keys(&self) -> Result<(), CommandError> {
        while self.step(|core, step, now| core.erase_keys(step, now)).await? {}
        Ok(())
    }

    /// Gives up and forgets what has grown too old.
    pub(crate) async fn keep_house(&self) -> Result<(), CommandError> {
        while self.step(|core, step, now| core.expire_messages(step, now)).await? {}
        while self.step(|core, step, now| Ok(core.forget_mids(step, now))).await? {}
        while self.step(|core, step, now| core.forget_resets(step, now)).await? {}
        let left = self.step(|core, step, now| Ok(core.forget_left_mailboxes(step, now))).await?;
        if !left.is_empty() {
            self.0.mailboxes_changed.notify_one();
        }
        self.expire_shares().await?;
        self.retry_quarantine().await
    }

    /// Returns the ids of all redeemed mailboxes, with the generation of their secrets.
    pub(crate) async fn redeemed_mailboxes(&self) -> BTreeSet<(u32, u64)> {
        let core = self.0.core.lock().await;
        core.mailboxes.values().filter_map(|mailbox| Some((mailbox.id, mailbox.generation()?))).collect()
    }

    /// Tells whether the mailbox inside this node has given its account, or is about to.
    pub(crate) async fn has_local_mailbox(&self) -> bool {
        self.0.core.lock().await.mailboxes.values().any(|mailbox| mailbox.is_local)
    }

    /// Returns offers that were not redeemed before the node stopped.
    pub(crate) async fn unfinished_offers(&self) -> Vec<Mailbox> {
        let core = self.0.core.lock().await;
        let is_open = |mailbox: &&Mailbox| mailbox.account.is_none() && mailbox.refused.is_none();
        core.mailboxes.values().filter(is_open).cloned().collect()
    }

    /// Returns a mailbox.
    pub(crate) async fn mailbox(&self, id: u32) -> Result<Mailbox, CommandError> {
        let core = self.0.core.lock().await;
        core.mailboxes.get(&id).cloned().ok_or_else(|| {
            CommandError::new(Fault::NotFound, format!("there is no mailbox {id}"), "mailboxes lists them")
        })
    }

    /// Asks for new secrets of an account, as was noted before; returns the mailbox with them.
    pub(crate) async fn rekey(&self, mailbox: Mailbox) -> Result<Mailbox, NetworkError> {
        let Some(rekeying) = &mailbox.rekeying else { return Ok(mailbox) };
        let account = self.0.network.rekey(&mailbox, rekeying).await?;
        let stored = async {
            self.step(|core, step, _| core.finish_rekey(step, mailbox.id, account)).await?;
            self.tell_contacts().await?;
            self.mailbox(mailbox.id).await
        };
        stored.await.map_err(|error| NetworkError::Refused(error.to_string()))
    }

    /// Asks how a mailbox's account is, and shows what is new: notices, suspension, another quota. If the server has new keys,
    /// notes that a new address is to be asked for.
    pub(crate) async fn refresh_account(&self, mailbox: &Mailbox) -> Result<(), NetworkError> {
        let Some(account) = &mailbox.account else { return Ok(()) };
        if let Some(newest) = self.0.network.newest_token_key(mailbox).await? {
            let noted = self
                .step(|core, step, now| core.follow_token_key(step, mailbox.id, newest, now, &mut OsRng))
                .await;
            if noted.map_err(|error| NetworkError::Refused(error.to_string()))? {
                return Ok(());
            }
        }
        let account = self.0.network.account(mailbox, account).await?;
        let stored = self.step(|core, step, _| core.account_is(step, mailbox.id, account)).await;
        if stored.map_err(|error| NetworkError::Refused(error.to_string()))? {
            self.show_mailbox(mailbox.id).await;
        }
        Ok(())
    }

    pub(super) async fn show_mailbox(&self, id: u32) {
        if let Some(view) = self.mailboxes().await.into_iter().find(|view| view.id == id) {
            self.0.events.send(Event::Mailbox(view)).map_or_else(drop, drop);
        }
    }

    /// Takes in messages from a mailbox, all in one commit. When this returns, the server may delete them.
    pub(crate) async fn receive(&self, messages: Vec<Vec<u8>>) -> Result<(), CommandError> {
        self.check_room()?;
        self.step(|core, step, now| {
            for msg_c in &messages {
                match core.receive(step, msg_c, now, &mut OsRng)? {
                    Arrival::Accepted | Arrival::Duplicate => {}
                    Arrival::Reset => tracing::info!("a contact has new keys"),
                    Arrival::Retired => tracing::info!("a message came too late for its key"),
                    Arrival::Blocked => tracing::debug!("a message from a blocked contact was dropped"),
                    Arrival::Disputed => tracing::warn!("a message from one of two rivals was dropped"),
                    Arrival::Damaged => tracing::warn!("a damaged message was dropped"),
                    Arrival::Unknown => tracing::info!("a message from nobody known is kept in quarantine"),
                }
            }
            Ok(())
        })
        .await
    }

    /// Returns the invitations whose tasks have something to do.
    pub(crate) fn invitations_with_work(&self) -> Vec<u32> {
        let queues = lock(&self.0.invitations);
        let mut ids: Vec<u32> = queues.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Takes what an invitation's task has to do.
    pub(crate) fn take_invitation_work(&self, id: u32) -> VecDeque<Effect> {
        lock(&self.0.invitations).remove(&id).unwrap_or_default()
    }

    /// Completes when any invitation may have got work after this was first polled.
    pub(crate) fn invitations_changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.invitations_changed.notified()
    }

    /// Returns the open invitations that need the rendezvous server.
    pub(crate) async fn wants_rendezvous(&self, id: u32) -> bool {
        let core = self.0.core.lock().await;
        core.invitations.get(&id).is_some_and(|invite| invite.machine.wants_connection())
    }

    /// Returns the invitations that need the rendezvous server.
    pub(crate) async fn invitations_wanting_rendezvous(&self) -> Vec<u32> {
        let core = self.0.core.lock().await;
        core.invitations
            .values()
            .filter(|invite| invite.machine.wants_connection())
            .map(|invite| invite.id)
            .collect()
    }

    /// Hands an input to an invitation.
    pub(crate) async fn invitation_input(&self, id: u32, input: Input) -> Result<(), CommandError> {
        self.step(|core, step, now| core.invitation_input(step, id, input, now, &mut OsRng)).await
    }

    /// Tries the messages in quarantine again, and drops those that are too old.
    pub(crate) async fn retry_quarantine(&self) -> Result<(), CommandError> {
        let rows = stored::quarantine(&self.0.db).await.map_err(|error| internal(&error))?;
        for chunk in rows.chunks(QUARANTINE_ROWS) {
            self.step(|core, step, now| {
                for (id, row) in chunk {
                    core.retry(step, *id, row, now, &mut OsRng)?;
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
