//! The agent: the one writer of the node's state, and the commands that people give it.
//!
//! Every change is one step of the pure core beside this file: commit, then publish events, then wake the tasks that send. If a
//! commit fails, the state is read anew from the database, so that memory never runs ahead of the disk.

mod contacts;
mod conversations;
pub(crate) mod core;
mod doctor;
pub mod error;
mod files;
mod health;
mod page;
mod profile;
pub(crate) mod records;
#[doc(hidden)]
pub mod seed;
mod services;
mod snapshot;
mod stored;
pub(crate) mod transfers;
pub(crate) mod view;
mod work;

pub(crate) use self::transfers::{Question, Work};

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use petmail_proto::{
    content::ContentSecret,
    invitation::machine::Effect,
    keys::RedeemToken,
    server::offer::{Offer as MailboxOffer, OfferText},
    time::UnixMillis,
};
use petmail_store::{CommitError, Keyspace, ReadError};
use rand_core::OsRng;
use tokio::sync::{Mutex, Notify, broadcast};

use self::{
    core::{Core, OfferSource, Profile, Step, Wish},
    error::{CommandError, Fault},
    health::Health,
    records::{AGENT, Account, Mailbox, Message, MessageKey, RESTORED_KEY, transfers::Download},
    transfers::Meters,
};
use crate::{
    api::types::{
        Event, InvitationView, InviteRequest, MailboxView, MessageQuery, MessageView, OfferMailboxRequest,
    },
    db::{Db, Write},
    network::{Network, Place},
};

/// How long `invite` waits for the rendezvous server to give a nameplate.
const NAMEPLATE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many events a slow listener may fall behind before it has to list anew.
const EVENT_BACKLOG: usize = 1_024;

/// How many contacts are told of a new mailbox at a time, likewise.
const TOLD_AT_ONCE: usize = 128;

/// The agent of a running node. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Mutex<Core>,
    db: Db,
    rendezvous_url: String,
    network: Network,
    events: broadcast::Sender<Event>,
    outbox: Notify,
    health: StdMutex<Health>,
    meters: StdMutex<Meters>,
    /// Downloads that were given up.
    trash: StdMutex<Vec<Download>>,
    transfers_changed: Notify,
    basedir: PathBuf,
    content_secret: ContentSecret,
    invitations: StdMutex<HashMap<u32, VecDeque<Effect>>>,
    invitations_changed: Notify,
    mailboxes_changed: Notify,
    /// Held by who adds a service: each gets a number of its own.
    services_changing: Mutex<()>,
}

impl Agent {
    /// Reads the agent's state and begins a new epoch.
    pub(crate) async fn open(
        basedir: &Path,
        db: Db,
        profile: Profile,
        rendezvous_url: String,
        network: Network,
    ) -> anyhow::Result<Self> {
        let core = Core::new(profile, stored::load(&db).await?, &mut OsRng)?;
        let content_secret = transfers::content_secret(&db).await?;
        let agent = Self(Arc::new(Inner {
            core: Mutex::new(core),
            db,
            rendezvous_url,
            network,
            events: broadcast::channel(EVENT_BACKLOG).0,
            outbox: Notify::new(),
            health: StdMutex::default(),
            meters: StdMutex::default(),
            trash: StdMutex::default(),
            transfers_changed: Notify::new(),
            basedir: basedir.to_owned(),
            content_secret,
            invitations: StdMutex::default(),
            invitations_changed: Notify::new(),
            mailboxes_changed: Notify::new(),
            services_changing: Mutex::default(),
        }));
        agent.step(|core, step, now| Ok(core.start_epoch(step, now)?)).await?;
        agent.sweep_spool().await;
        while agent.step(|core, step, _| core.move_keys(step)).await? {}
        agent.freeze().await?;
        while agent.step(|core, step, now| core.replace_lost_keys(step, now, &mut OsRng)).await? {}
        if agent.0.db.get(AGENT, RESTORED_KEY).await?.is_some() {
            agent.step(|core, step, now| core.take_over_accounts(step, now, &mut OsRng)).await?;
        }
        agent.step(|core, step, now| core.resume_invitations(step, now, &mut OsRng)).await?;
        agent.step(|core, step, now| core.follow_name(step, now)).await?;
        agent.finish_removals().await?;
        agent.tell_contacts().await?;
        // The node may have stopped between a new contact and the messages that waited for it.
        agent.retry_quarantine().await?;
        Ok(agent)
    }

    /// Closes the database; every later command fails.
    pub(crate) async fn close(&self) {
        self.0.db.clone().close().await;
    }

    /// Carries out one operation: change the state, commit, publish, wake.
    async fn step<T>(
        &self,
        operation: impl FnOnce(&mut Core, &mut Step, UnixMillis) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let mut core = self.0.core.lock().await;
        let mut step = Step::default();
        let result = operation(&mut core, &mut step, now());
        let writes = std::mem::take(&mut step.writes);
        if result.is_err() && writes.is_empty() {
            return result;
        }
        let committed = match &result {
            Ok(_) => self.commit(writes).await,
            // The operation stopped half-way: what it changed in memory is not to be kept.
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = committed {
            self.reload(&mut core).await;
            return Err(error);
        }
        // The next operation's events come after these.
        self.publish(&core, step).await;
        result
    }

    /// Tells whether a passphrase protects the node.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.db.is_encrypted()
    }

    /// Refuses what would cost a node that has something already what it has.
    pub(crate) async fn refuse_unless_blank(&self) -> Result<(), CommandError> {
        let refuse = |problem: &str, hint: &str| Err(CommandError::new(Fault::Conflict, problem, hint));
        let core = self.0.core.lock().await;
        if !core.is_blank() {
            return refuse(
                "this node has contacts, invitations or a mailbox already, which the backup would replace",
                "restore into a new folder: `petmail-node -d FOLDER restore FILE`",
            );
        }
        if self.is_encrypted() {
            return refuse("this node has a passphrase", "remove it first, restore, and set one again");
        }
        Ok(())
    }

    /// Checks that there is room for what makes the database larger. What notes how things went does without.
    pub(crate) fn check_room(&self) -> Result<(), CommandError> {
        Ok(self.0.db.check_room()?)
    }

    /// Waits until a write has failed: what is on the disk can only be known by opening the database again.
    pub(crate) async fn failed(&self) -> CommandError {
        internal(&self.0.db.failed().await)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), CommandError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.0.db.commit(writes).await.map_err(|error| internal(&error))
    }

    async fn reload(&self, core: &mut Core) {
        match stored::load(&self.0.db)
            .await
            .and_then(|stored| Ok(Core::new(core.profile.clone(), stored, &mut OsRng)?))
        {
            Ok(stored) => {
                *core = stored;
                let mut step = Step::default();
                core.reconnect_invitations(&mut step);
                self.publish(core, step).await;
            }
            Err(error) => tracing::error!(%error, "the database cannot be read; restart the node"),
        }
    }

    async fn publish(&self, core: &Core, step: Step) {
        let changed = self.show_changed(core, step.changed).await;
        for event in step.events.into_iter().chain(changed) {
            let event = match event {
                Event::Message(view) => Event::Message(self.dress(core, view)),
                other => other,
            };
            self.publish_event(event);
        }
        for id in step.files {
            self.show_file(core, id).await;
        }
        lock(&self.0.trash).extend(step.trash);
        for id in step.spent {
            if let Err(error) = self.spool(id).remove() {
                tracing::warn!(%error, "a file that was sent stays in the spool until the next start");
            }
        }
        if step.transfers_changed {
            self.0.transfers_changed.notify_one();
        }
        if !step.invitation_effects.is_empty() {
            let mut queues = lock(&self.0.invitations);
            for (id, effect) in step.invitation_effects {
                queues.entry(id).or_default().push_back(effect);
            }
            drop(queues);
            self.0.invitations_changed.notify_waiters();
        }
        if step.wake_outbox {
            self.0.outbox.notify_one();
        }
        if step.mailboxes_changed {
            self.0.mailboxes_changed.notify_one();
        }
        self.finish_later(step.sweep_removed, step.retry_quarantine, step.sweep_acknowledged);
    }

    /// Does the rest of an operation that is too large for one step.
    fn finish_later(&self, removals: bool, quarantine: bool, acknowledged: Vec<u32>) {
        let agent = self.clone();
        if !removals && !quarantine && acknowledged.is_empty() {
            return;
        }
        tokio::spawn(async move {
            if removals && let Err(error) = agent.finish_removals().await {
                tracing::warn!(%error, "a removed conversation stays until the next start");
            }
            if quarantine && let Err(error) = agent.retry_quarantine().await {
                tracing::warn!(%error, "messages stay in quarantine");
            }
            if let Err(error) = agent.sweep_acknowledged(acknowledged).await {
                tracing::warn!(%error, "acknowledged messages stay for now");
            }
        });
    }

    /// Shows messages whose state changed, with their packets. Nobody listening saves the reading.
    async fn show_changed(&self, core: &Core, changed: Vec<(MessageKey, Message)>) -> Vec<Event> {
        let mut events = Vec::new();
        if self.0.events.receiver_count() == 0 {
            return events;
        }
        for (key, message) in changed {
            let (Some(peer), Ok(packets)) =
                (core.peers.get(&key.cid), stored::packets(&self.0.db, &key.encode()).await)
            else {
                continue;
            };
            events.push(Event::Message(view::message(peer, key, &message, packets, now())));
        }
        events
    }

    /// Publishes an event that no step of the core brings about.
    pub(crate) fn publish_event(&self, event: Event) {
        // Nobody listening is no fault.
        self.0.events.send(event).map_or_else(drop, drop);
    }

    /// Subscribes to all changes. A listener that falls behind gets an error and lists anew.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Starts an invitation. Without a code it waits until the rendezvous server has given a nameplate.
    ///
    /// # Errors
    /// If the request makes no sense, or no nameplate comes in time; nothing is left of it then.
    pub async fn invite(&self, request: InviteRequest) -> Result<InvitationView, CommandError> {
        let InviteRequest { petname, code, wants_mailbox } = request;
        if wants_mailbox && code.is_none() {
            return Err(CommandError::new(
                Fault::BadRequest,
                "a mailbox comes with the code of whoever gives it",
                "ask them for the code that offer-mailbox prints",
            ));
        }
        let wish = if wants_mailbox { Wish::Mailbox } else { Wish::Contact };
        self.start_invitation(petname, code, wish).await
    }

    /// Makes an offer of one of the node's mailbox servers, and an invitation that brings it: whoever uses the code gets a
    /// contact and a mailbox.
    ///
    /// # Errors
    /// If no mailbox here lets its owner give so much, its server cannot be reached, or no nameplate comes in time; an offer
    /// that was made then counts until it expires.
    pub async fn offer_mailbox(&self, request: OfferMailboxRequest) -> Result<InvitationView, CommandError> {
        self.check_room()?;
        let (provider, terms) = {
            let core = self.0.core.lock().await;
            core.check_open_invitations()?;
            core.provider(&request)?
        };
        let token = RedeemToken::generate(&mut OsRng);
        self.0.network.mint(&provider, token.hash(), terms).await?;
        if let Err(error) = self.refresh_account(&provider).await {
            tracing::debug!(%error, "what is left to give will be known later");
        }
        let Mailbox { url, server, pin, .. } = provider;
        let offer = OfferText::of(&MailboxOffer { url, identity: server, pin, token });
        self.start_invitation(Some(request.petname), None, Wish::GiveMailbox(offer)).await
    }

    async fn start_invitation(
        &self,
        petname: Option<String>,
        code: Option<String>,
        wish: Wish,
    ) -> Result<InvitationView, CommandError> {
        self.check_room()?;
        let mut events = self.subscribe();
        let has_code = code.is_some();
        let start = |core: &mut Core, step: &mut Step, now| {
            core.invite(step, (petname.as_deref(), code.as_deref()), wish, now, &mut OsRng)
        };
        let id = self.step(start).await?;
        if has_code {
            return self.0.core.lock().await.invitation_view(id);
        }
        let ready = tokio::time::timeout(NAMEPLATE_TIMEOUT, async {
            loop {
                let view = self.0.core.lock().await.invitation_view(id)?;
                if view.code.is_some() || view.state != crate::api::types::InvitationState::Waiting {
                    return Ok(view);
                }
                // An event was missed or came: look again either way.
                events.recv().await.map_or_else(drop, drop);
            }
        });
        if let Ok(view) = ready.await {
            return view;
        }
        self.step(|core, step, now| core.cancel_invitation(step, id, now, &mut OsRng)).await?;
        self.step(|core, step, _| {
            core.forget_invitation(step, id);
            Ok(())
        })
        .await?;
        let reason = match self.rendezvous().reason {
            Some(reason) => format!("no code could be made: {reason}"),
            None => "no code could be made: the rendezvous server did not answer in time".to_owned(),
        };
        Err(CommandError::new(
            Fault::Unavailable,
            reason,
            "check the address of the rendezvous server in config.toml and the network, then try again",
        ))
    }

    /// Lists all invitations.
    pub async fn invitations(&self) -> Vec<InvitationView> {
        self.0.core.lock().await.invitations.values().map(view::invitation).collect()
    }

    /// Calls an invitation off.
    ///
    /// # Errors
    /// If there is none of that number, or it is over.
    pub async fn cancel_invitation(&self, id: u32) -> Result<InvitationView, CommandError> {
        self.step(|core, step, now| core.cancel_invitation(step, id, now, &mut OsRng)).await
    }

    /// Forgets an invitation that ended without a contact.
    ///
    /// # Errors
    /// If there is none of that number, or it has not ended so.
    pub async fn dismiss_invitation(&self, id: u32) -> Result<(), CommandError> {
        self.step(|core, step, _| core.dismiss_invitation(step, id)).await
    }

    /// Redeems an offer: the node gets an account, and every contact is told.
    ///
    /// # Errors
    /// If the offer is malformed, used up, or its server cannot be reached; it can be tried again then.
    pub async fn accept_mailbox(&self, offer: &str) -> Result<MailboxView, CommandError> {
        let offer: MailboxOffer = offer.parse().map_err(|error| {
            CommandError::new(
                Fault::BadRequest,
                format!("{error}"),
                "an offer begins with PETMAIL-OFFER: and is printed by `petmail-mailbox offer`",
            )
        })?;
        self.redeem(offer, OfferSource::Person).await
    }

    /// Redeems an offer of any server, or of the one inside this node.
    pub(crate) async fn redeem(
        &self,
        offer: MailboxOffer,
        source: OfferSource,
    ) -> Result<MailboxView, CommandError> {
        self.check_room()?;
        let id = self.step(|core, step, _| core.begin_redeem(step, offer, source, &mut OsRng)).await?;
        self.redeem_noted(id).await
    }

    /// Takes the mailbox that a contact's introduction offered.
    ///
    /// # Errors
    /// If there is none, or its server refuses, or cannot be reached; it is then asked again by itself.
    pub async fn accept_offered(&self, cid: u32) -> Result<MailboxView, CommandError> {
        self.check_room()?;
        let id = self.step(|core, step, _| core.accept_offered(step, cid, &mut OsRng)).await?;
        self.redeem_noted(id).await
    }

    async fn redeem_noted(&self, id: u32) -> Result<MailboxView, CommandError> {
        let mailbox = self.mailbox(id).await?;
        if mailbox.account.is_none()
            && let Err(error) = self.finish_redeem(&mailbox).await
        {
            if error.fault == Fault::Conflict {
                self.abandon_redeem(id).await?;
            } else {
                // It is tried again until it succeeds.
                self.0.mailboxes_changed.notify_one();
            }
            return Err(error);
        }
        self.mailboxes().await.into_iter().find(|view| view.id == id).ok_or_else(|| {
            CommandError::new(Fault::Conflict, "the mailbox was removed meanwhile", "accept the offer again")
        })
    }

    /// Redeems an offer that was noted before, with the keys that were noted with it. Only a refusal ends it: after
    /// anything else the server may have made the account, and gives it to these keys alone.
    pub(crate) async fn finish_redeem(&self, mailbox: &Mailbox) -> Result<(), CommandError> {
        // If the server cannot be asked where it is, redeeming says so.
        let moved = match self.0.network.moved(mailbox).await {
            Ok(Some(place)) => Some(self.move_mailbox(mailbox.id, place).await?),
            Ok(None) | Err(_) => None,
        };
        let account = self.0.network.redeem(moved.as_ref().unwrap_or(mailbox)).await?;
        self.redeemed(mailbox.id, account).await
    }

    /// Notes that an offer was refused for good, where nobody waits for the answer.
    pub(crate) async fn offer_refused(&self, id: u32, reason: String) -> Result<(), CommandError> {
        self.step(|core, step, _| core.refuse_offer(step, id, reason)).await?;
        self.show_mailbox(id).await;
        Ok(())
    }

    /// Leaves a mailbox: contacts are told to write elsewhere.
    ///
    /// # Errors
    /// If there is no such mailbox, or it is inside this node.
    pub async fn remove_mailbox(&self, id: u32) -> Result<Vec<MailboxView>, CommandError> {
        self.step(|core, step, now| core.leave_mailbox(step, id, now)).await?;
        self.0.mailboxes_changed.notify_one();
        self.tell_contacts().await?;
        Ok(self.mailboxes().await)
    }

    /// Notes where the server of a mailbox has moved, and tells every contact.
    pub(crate) async fn move_mailbox(&self, id: u32, place: Place) -> Result<Mailbox, CommandError> {
        tracing::info!(mailbox = id, url = %place.url, "the server of a mailbox has moved");
        self.step(|core, step, _| core.move_mailbox(step, id, place)).await?;
        self.show_mailbox(id).await;
        self.tell_contacts().await?;
        self.mailbox(id).await
    }

    async fn abandon_redeem(&self, id: u32) -> Result<(), CommandError> {
        let abandon = |core: &mut Core, step: &mut Step, _| {
            core.abandon_redeem(step, id);
            Ok(())
        };
        self.step(abandon).await
    }

    async fn redeemed(&self, id: u32, account: Account) -> Result<(), CommandError> {
        self.step(|core, step, _| core.finish_redeem(step, id, account)).await?;
        self.0.mailboxes_changed.notify_one();
        self.show_mailbox(id).await;
        self.tell_contacts().await
    }

    /// Tells every contact of mailboxes that it does not know yet.
    async fn tell_contacts(&self) -> Result<(), CommandError> {
        let cids = self.0.core.lock().await.to_be_told();
        for chunk in cids.chunks(TOLD_AT_ONCE) {
            self.step(|core, step, now| {
                for cid in chunk {
                    // A contact may have been removed meanwhile.
                    if core.peers.contains_key(cid) {
                        core.announce(step, *cid, now, &mut OsRng)?;
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Lists the node's mailboxes.
    pub async fn mailboxes(&self) -> Vec<MailboxView> {
        let core = self.0.core.lock().await;
        let health = lock(&self.0.health);
        core.mailboxes
            .values()
            .map(|mailbox| view::mailbox(mailbox, health.mailboxes.get(&mailbox.id)))
            .collect()
    }

    /// Calls off a message that no mailbox has taken.
    ///
    /// # Errors
    /// If there is no such message, or it does not wait.
    pub async fn cancel_message(&self, id: u64) -> Result<MessageView, CommandError> {
        let (key, message, packets) = self.message(id).await?;
        let view =
            self.step(|core, step, now| core.cancel_message(step, key, &message, packets, now)).await?;
        Ok(self.dress(&*self.0.core.lock().await, view))
    }

    /// Tries a waiting message now, or sends a failed one anew.
    ///
    /// # Errors
    /// If there is no such message, or it neither waits nor has failed.
    pub async fn retry_message(&self, id: u64) -> Result<MessageView, CommandError> {
        self.check_room()?;
        let (key, message, packets) = self.message(id).await?;
        let retry = |core: &mut Core, step: &mut Step, now| {
            core.retry_message(step, key, &message, packets, now, &mut OsRng)
        };
        let view = self.step(retry).await?;
        Ok(self.dress(&*self.0.core.lock().await, view))
    }

    /// Notes that the person has read a message that came in, and all before it of the same contact.
    ///
    /// # Errors
    /// If there is no such message, or it is an own one.
    pub async fn mark_read(&self, id: u64) -> Result<MessageView, CommandError> {
        let (key, message, packets) = self.message(id).await?;
        self.step(|core, step, now| {
            core.mark_read(step, key, now, &mut OsRng)?;
            Ok(self.dress(core, view::message(core.peer(key.cid)?, key, &message, packets, now)))
        })
        .await
    }

    async fn message(&self, id: u64) -> Result<stored::Row, CommandError> {
        let found = stored::message(&self.0.db, id).await.map_err(|error| internal(&error))?;
        found.ok_or_else(|| {
            let problem = format!("there is no message {id}");
            CommandError::new(Fault::NotFound, problem, "the messages command lists them with their numbers")
        })
    }

    /// Lists messages: contact by contact, each direction in the order of numbers, both merged as they came about; or a part
    /// of one conversation.
    ///
    /// # Errors
    /// If the contact is unknown, the message that the part is to stand at is not of this conversation, or the database
    /// fails.
    pub async fn messages(&self, query: MessageQuery) -> Result<Vec<MessageView>, CommandError> {
        if let Some(cid) = query.cid {
            self.0.core.lock().await.peer(cid)?;
        }
        if query.is_page() {
            return self.page(query).await;
        }
        let rows = stored::select(&self.0.db, query).await.map_err(|error| internal(&error))?;
        Ok(self.show(rows).await)
    }

    async fn scan(&self, keyspace: Keyspace, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, CommandError> {
        self.0.db.scan(keyspace, prefix).await.map_err(|error| internal(&error))
    }
}

fn now() -> UnixMillis {
    UnixMillis(petmail_net::clock::unix_ms())
}

fn internal(error: &anyhow::Error) -> CommandError {
    if let Some(CommitError::DiskFull(full)) = error.downcast_ref() {
        return full.clone().into();
    }
    if let (Some(ReadError::Closed), _) | (_, Some(CommitError::Closed)) =
        (error.downcast_ref(), error.downcast_ref())
    {
        let problem = "the node is stopping, or its database is being written anew";
        return CommandError::new(Fault::Unavailable, problem, "try again in a moment");
    }
    CommandError::new(
        Fault::Internal,
        format!("{error:#}"),
        "is the disk full or failing? mend that, then restart the node; nothing that was confirmed is lost",
    )
}

fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
