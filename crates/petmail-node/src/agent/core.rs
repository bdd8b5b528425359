//! The agent's state and every rule about it, without I/O.
//!
//! Each operation changes the state and notes in a [`Step`] what must be written, who must be told and which tasks have
//! work now. The caller commits the writes before anything leaves the machine, and reads the state anew from the database
//! if that fails. Time and randomness are arguments, so that tests can crash and replay an agent at every step.

pub(super) mod acks;
mod channel_reset;
pub(super) mod contacts;
mod drafts;
mod give_up;
pub(super) mod invite;
mod keys;
pub(super) mod mailboxes;
mod offer;
mod profile;
mod provider;
mod reading;
mod receive;
pub(super) mod reply;
mod reset;
mod send;
#[cfg(test)]
mod simulation;
pub(crate) mod transfers;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use petmail_proto::{
    channel::{
        MessageNumber,
        cid::{CID_BOX_BYTES, CidSubkeys, Envelope},
        key_ring::KeyRing,
        lookup::TokenTable,
    },
    invitation::machine::Effect,
    keys::{MessageId, TransportId},
    outbox::{Entry, Outbox},
    server::offer::Offer as MailboxOffer,
    time::UnixMillis,
    wire::{Record, WireError},
};
use petmail_store::Keyspace;
use rand_core::CryptoRngCore;

pub(crate) use self::{
    invite::Invite,
    invite::Wish,
    mailboxes::OfferSource,
    offer::{Ended, Offer, Packets},
    receive::Arrival,
};
use self::{transfers::Transfers, turns::Turns};
use super::records::transfers::Download;
use super::records::{
    AGENT, CONTACTS, Contact, INVITATIONS, InvitationRow, KEYS, Keys, MAILBOXES, Mailbox, Message,
    MessageKey, OwnProfile, PROGRESS, Profiles, Progress, Queued, SETTINGS_KEY, Settings,
};
use crate::{
    api::types::Event,
    config::{Config, Privacy},
    db::Write,
};

/// What one operation brings about.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// To be committed together, before anything else.
    pub(crate) writes: Vec<Write>,
    /// To be published after the commit.
    pub(crate) events: Vec<Event>,
    /// Messages whose state changed, to be published with their packets.
    pub(crate) changed: Vec<(MessageKey, Message)>,
    /// Contacts with more acknowledged messages to erase than this step holds.
    pub(crate) sweep_acknowledged: Vec<u32>,
    /// What the invitations' tasks have to do, in order.
    pub(crate) invitation_effects: Vec<(u32, Effect)>,
    /// Whether the outbox has something to offer.
    pub(crate) wake_outbox: bool,
    /// Whether mailboxes have to be asked for something, or looked into in another way.
    pub(crate) mailboxes_changed: bool,
    /// Whether messages in quarantine may open now.
    pub(crate) retry_quarantine: bool,
    /// Whether the conversation of a contact that went with its invitation is to be deleted.
    pub(crate) sweep_removed: bool,
    /// Whether files have to be stored, fetched or taken away, or no longer.
    pub(crate) transfers_changed: bool,
    /// The messages whose files are to be shown anew.
    pub(crate) files: Vec<u64>,
    /// Downloads that were given up: what there is of them is to be removed.
    pub(crate) trash: Vec<Download>,
    /// Uploads that are over, and whose files in the spool are to be removed.
    pub(crate) spent: Vec<u64>,
}

impl Step {
    fn put(
        &mut self,
        keyspace: Keyspace,
        key: impl Into<Vec<u8>>,
        record: &impl Record,
    ) -> Result<(), WireError> {
        self.put_bytes(keyspace, key, record.encode_record()?);
        Ok(())
    }

    pub(in crate::agent) fn put_bytes(
        &mut self,
        keyspace: Keyspace,
        key: impl Into<Vec<u8>>,
        value: Vec<u8>,
    ) {
        self.writes.push(Write { keyspace, key: key.into(), value: Some(value) });
    }

    pub(in crate::agent) fn delete(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>) {
        self.writes.push(Write { keyspace, key: key.into(), value: None });
    }
}

/// A contact with what is derived from its record.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) contact: Contact,
    pub(crate) keys: KeyRing,
    pub(crate) progress: Progress,
    pub(crate) outbox: Outbox,
    /// When it was heard of last, to the minute.
    pub(crate) heard: Option<UnixMillis>,
    /// What each knows of the other's profile.
    pub(crate) profiles: Profiles,
    /// A mailbox that its introduction offered, and that nobody has taken yet.
    pub(crate) offered: Option<MailboxOffer>,
    /// What was wrong with the last attempt to deliver.
    pub(crate) trouble: Option<String>,
    /// Up to which size its files are fetched without asking, in bytes; 0 for none.
    pub(crate) fetch_limit: u64,
    /// Whether the contact is told the newest key although it said to have it: what it sends is for an older one.
    tells_key: bool,
    subkeys: Subkeys,
}

/// What is derived from the CIDKeys of both sides.
#[derive(Debug)]
struct Subkeys {
    mine: CidSubkeys,
    /// Of this side's former halves: the contact may not know the present one yet.
    formerly_mine: Vec<CidSubkeys>,
    theirs: CidSubkeys,
}

impl Subkeys {
    fn of(contact: &Contact) -> Self {
        Self {
            mine: CidSubkeys::derive(&contact.mine.cid_key),
            formerly_mine: contact
                .resets
                .iter()
                .map(|reset| CidSubkeys::derive(&reset.old_cid_key))
                .collect(),
            theirs: CidSubkeys::derive(&contact.theirs.cid_key),
        }
    }
}

impl Peer {
    fn new(contact: Contact, keys: KeyRing, progress: Progress, outbox: Outbox) -> Self {
        let subkeys = Subkeys::of(&contact);
        Self {
            subkeys,
            contact,
            keys,
            progress,
            outbox,
            heard: None,
            profiles: Profiles::default(),
            offered: None,
            trouble: None,
            fetch_limit: 0,
            tells_key: false,
        }
    }

    /// Opens the envelope of a message for this side's half, present or former.
    fn open(&self, cid_box: &[u8; CID_BOX_BYTES]) -> Option<(Envelope, &CidSubkeys)> {
        let halves = std::iter::once(&self.subkeys.mine).chain(&self.subkeys.formerly_mine);
        halves.into_iter().find_map(|subkeys| Some((subkeys.open(cid_box).ok()?, subkeys)))
    }

    /// The transports that a message of the contact may come by.
    fn my_tids(&self) -> Vec<TransportId> {
        let present = self.contact.mine.transports.list.iter().map(|transport| transport.tid);
        present.chain(self.contact.past_tids.iter().copied()).collect()
    }
}

/// Everything that an agent reads at its start.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) settings: Settings,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) keys: BTreeMap<u32, KeyRing>,
    pub(crate) progress: BTreeMap<u32, Progress>,
    pub(crate) queued: Vec<(u32, Queued)>,
    pub(crate) invitations: Vec<InvitationRow>,
    pub(crate) mailboxes: Vec<Mailbox>,
    pub(crate) last_message_id: u64,
    /// What is in quarantine, by number of arrival.
    pub(crate) quarantine: BTreeMap<u64, InQuarantine>,
    /// When messages for people came in.
    pub(crate) mids: BTreeMap<(u32, MessageId), UnixMillis>,
    /// When contacts were heard of last.
    pub(crate) heard: BTreeMap<u32, UnixMillis>,
    /// What contacts and this node know of each other's profile.
    pub(crate) profiles: BTreeMap<u32, Profiles>,
    /// What contacts are told; nothing before the first start of a version that tells.
    pub(crate) own_profile: Option<OwnProfile>,
    /// Mailboxes that contacts have offered.
    pub(crate) offers: BTreeMap<u32, MailboxOffer>,
    /// Up to which size files of contacts are fetched without asking, in bytes.
    pub(crate) fetch_limits: BTreeMap<u32, u64>,
    pub(crate) transfers: Transfers,
}

/// What of the node's configuration the agent's rules depend on.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// The name that is sent to new contacts.
    pub(crate) display_name: String,
    /// How long acknowledgements are delayed.
    pub(crate) privacy: Privacy,
    /// Whether contacts are told what was read.
    pub(crate) read_receipts: bool,
    /// Whether each mailbox of a contact gets a copy.
    pub(crate) copies_everywhere: bool,
    /// Where fetched files go unless somebody says otherwise: an absolute path.
    pub(crate) download_folder: String,
}

impl Profile {
    /// What a configuration says of it.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            display_name: config.name.clone(),
            privacy: config.privacy,
            read_receipts: config.read_receipts,
            copies_everywhere: config.copies_everywhere,
            download_folder: config.downloads(),
        }
    }
}

/// What the agent remembers of a message in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InQuarantine {
    pub(crate) received: UnixMillis,
    pub(crate) bytes: usize,
}

/// The agent's state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) profile: Profile,
    /// What contacts are told of the person.
    pub(crate) own_profile: OwnProfile,
    pub(crate) settings: Settings,
    pub(crate) peers: BTreeMap<u32, Peer>,
    pub(crate) invitations: BTreeMap<u32, Invite>,
    pub(crate) mailboxes: BTreeMap<u32, Mailbox>,
    pub(crate) transfers: Transfers,
    tokens: TokenTable<u32>,
    turns: Turns,
    /// When contacts are owed an acknowledgement, and the same the other way round.
    acks_due: BTreeSet<(UnixMillis, u32)>,
    ack_due_of: BTreeMap<u32, UnixMillis>,
    last_message_id: u64,
    quarantine: BTreeMap<u64, InQuarantine>,
    mids: BTreeMap<(u32, MessageId), UnixMillis>,
    /// Messages of the first version whose packets are not fixed yet: contact, number, whether they announce transports.
    unfrozen: Vec<(u32, MessageNumber, bool)>,
    /// Contacts whose keys still lie where the first version put them.
    unmoved: Vec<u32>,
    /// Contacts whose keys were lost, and that have to be told the new ones.
    keyless: Vec<u32>,
}

impl Core {
    /// Tells whether the node has nothing that its owner could miss.
    pub(crate) fn is_blank(&self) -> bool {
        let is_open = self.invitations.values().any(Invite::is_open);
        self.peers.is_empty() && self.mailboxes.is_empty() && !is_open && self.last_message_id == 0
    }

    /// Follows what the owner has chosen anew.
    pub(crate) fn choose(&mut self, profile: Profile) {
        for peer in self.peers.values_mut() {
            peer.outbox.set_copies_everywhere(profile.copies_everywhere);
        }
        self.profile = profile;
    }

    /// Makes the state from what is stored.
    ///
    /// # Errors
    /// If an invitation's record is of a newer program.
    pub(crate) fn new(
        profile: Profile,
        stored: Stored,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, WireError> {
        let (mut progress, mut keys) = (stored.progress, stored.keys);
        let (mut profiles, mut offers) = (stored.profiles, stored.offers);
        // Whoever is a contact already has the name from its introduction.
        let own_profile = stored
            .own_profile
            .unwrap_or_else(|| OwnProfile { name: profile.display_name.clone(), ..OwnProfile::default() });
        let mut queued: BTreeMap<u32, Vec<_>> = BTreeMap::new();
        let mut unfrozen = Vec::new();
        for (cid, Queued { entry, unfrozen: announces }) in stored.queued {
            unfrozen.extend(announces.map(|announces| (cid, entry.number, announces)));
            queued.entry(cid).or_default().push(entry);
        }
        let mut core = Self {
            profile,
            own_profile,
            settings: stored.settings,
            peers: BTreeMap::new(),
            invitations: BTreeMap::new(),
            mailboxes: stored.mailboxes.into_iter().map(|mailbox| (mailbox.id, mailbox)).collect(),
            transfers: stored.transfers,
            tokens: TokenTable::new(),
            turns: Turns::default(),
            acks_due: BTreeSet::new(),
            ack_due_of: BTreeMap::new(),
            last_message_id: stored.last_message_id,
            quarantine: stored.quarantine,
            mids: stored.mids,
            unfrozen,
            unmoved: Vec::new(),
            keyless: Vec::new(),
        };
        for mut contact in stored.contacts {
            let cid = contact.cid;
            let unmoved = contact.unmoved_key.take();
            core.unmoved.extend(unmoved.is_some().then_some(cid));
            // A backup has no keys.
            let keys = keys.remove(&cid).or(unmoved);
            core.keyless.extend(keys.is_none().then_some(cid));
            let keys = keys.unwrap_or_else(|| KeyRing::generate(core.settings.epoch, rng));
            let mut outbox = Outbox::new(queued.remove(&cid).unwrap_or_default());
            outbox.set_copies_everywhere(core.profile.copies_everywhere);
            core.turns.wake(cid);
            let progress = progress.remove(&cid).unwrap_or_default();
            let heard = stored.heard.get(&cid).copied();
            let profiles = profiles.remove(&cid).unwrap_or_default();
            let offered = offers.remove(&cid);
            let fetch_limit = stored.fetch_limits.get(&cid).copied().unwrap_or_default();
            let peer =
                Peer { heard, profiles, offered, fetch_limit, ..Peer::new(contact, keys, progress, outbox) };
            core.peers.insert(cid, peer);
            core.expect_messages(cid);
            core.set_ack_due(cid);
        }
        // A conversation that is being deleted may still have messages queued.
        core.unfrozen.retain(|(cid, _, _)| core.peers.contains_key(cid));
        for row in stored.invitations {
            core.invitations.insert(row.id, Invite::stored(row)?);
        }
        Ok(core)
    }

    /// Begins a new epoch: a restart, a restored backup or a copied folder must never reuse a number.
    pub(crate) fn start_epoch(&mut self, step: &mut Step, now: UnixMillis) -> Result<(), WireError> {
        self.settings.epoch = self.settings.epoch.saturating_add(1).max(now.0);
        self.put_settings(step)
    }

    /// Iterates over the texts that wait, are outstanding, or are not noted as delivered yet.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Entry> {
        let entries =
            self.peers.values().flat_map(|peer| peer.outbox.entries().chain(peer.outbox.unerased()));
        entries.filter(|entry| entry.message.is_some())
    }

    fn put_settings(&self, step: &mut Step) -> Result<(), WireError> {
        step.put(AGENT, SETTINGS_KEY, &self.settings)
    }

    fn put_contact(&self, step: &mut Step, cid: u32) -> Result<(), WireError> {
        match self.peers.get(&cid) {
            Some(peer) => step.put(CONTACTS, cid.to_be_bytes(), &peer.contact),
            None => Ok(()),
        }
    }

    fn put_keys(&self, step: &mut Step, cid: u32) -> Result<(), WireError> {
        match self.peers.get(&cid) {
            Some(peer) => step.put(KEYS, cid.to_be_bytes(), &Keys(peer.keys.clone())),
            None => Ok(()),
        }
    }

    fn put_progress(&self, step: &mut Step, cid: u32) -> Result<(), WireError> {
        match self.peers.get(&cid) {
            Some(peer) => step.put(PROGRESS, cid.to_be_bytes(), &peer.progress),
            None => Ok(()),
        }
    }

    fn put_invitation(&self, step: &mut Step, id: u32) -> Result<(), WireError> {
        match self.invitations.get(&id) {
            Some(invite) => step.put(INVITATIONS, id.to_be_bytes(), &invite.row()?),
            None => Ok(()),
        }
    }

    fn put_mailbox(&self, step: &mut Step, id: u32) -> Result<(), WireError> {
        match self.mailboxes.get(&id) {
            Some(mailbox) => step.put(MAILBOXES, id.to_be_bytes(), mailbox),
            None => Ok(()),
        }
    }

    /// Brings the table of expected tokens up to date with a contact's windows and transports.
    fn expect_messages(&mut self, cid: u32) {
        let Some(peer) = self.peers.get(&cid) else { return self.tokens.forget(cid) };
        let Some(next) = peer.progress.windows.next_expected() else { return };
        self.tokens.expect(cid, &peer.subkeys.mine, &peer.my_tids(), next);
    }

    fn next_message_id(&mut self) -> u64 {
        self.last_message_id = self.last_message_id.saturating_add(1);
        self.last_message_id
    }

    fn next_number(&self, last: MessageNumber) -> MessageNumber {
        let epoch = self.settings.epoch;
        let seqnum = if last.epoch == epoch { last.seqnum.saturating_add(1) } else { 1 };
        MessageNumber { epoch, seqnum }
    }
}
