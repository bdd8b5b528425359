//! The agent's own mailboxes, and how contacts learn of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use petmail_proto::{
    channel::record::{MAX_TRANSPORTS, TransportRecord},
    keys::TransportId,
    server::{
        account::AccountKeys,
        offer::{Offer, OfferText},
    },
    time::UnixMillis,
    token::TokenKeyId,
    wire::{Record, WireError},
};
use rand_core::CryptoRngCore;

use super::{Core, Peer, Step, send::News};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{AGENT, Account, Contact, Home, MAILBOXES, Mailbox, OFFERS, RESTORED_KEY, Rekeying},
    },
    network::Place,
};

/// How exactly it is known when a mailbox was last read.
const READ_NOTED_EVERY: Duration = Duration::from_secs(3_600);

/// How long a slot is kept whatever the server says of its keys: contacts have to be told of every new one. The generation
/// that brought a slot is the time when it was asked for.
const SLOT_STAYS: Duration = Duration::from_secs(3_600);

/// How many former transports of a contact are remembered: a mailbox that is left is looked into for its retention only.
const MAX_PAST_TIDS: usize = 16;

/// Where an offer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfferSource {
    /// The person typed it.
    Person,
    /// The server inside this node.
    ThisNode,
    /// Whoever answered an invitation.
    Invitation(u32),
}

impl OfferSource {
    const fn invitation(self) -> Option<u32> {
        match self {
            Self::Invitation(id) => Some(id),
            Self::Person | Self::ThisNode => None,
        }
    }
}

impl Core {
    /// Notes an offer that is about to be redeemed; the same offer again continues where it stopped.
    pub(crate) fn begin_redeem(
        &mut self,
        step: &mut Step,
        offer: Offer,
        source: OfferSource,
        rng: &mut impl CryptoRngCore,
    ) -> Result<u32, CommandError> {
        let same = |mailbox: &&mut Mailbox| {
            mailbox.server == offer.identity && mailbox.redeem_token.hash() == offer.token.hash()
        };
        if let Some(known) = self.mailboxes.values_mut().find(same) {
            known.refused = None;
            return Ok(known.id);
        }
        if self.homes().len() >= MAX_TRANSPORTS {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("this node has {MAX_TRANSPORTS} mailboxes already"),
                "more would not make it more reliable",
            ));
        }
        self.settings.last_mailbox = self.settings.last_mailbox.saturating_add(1);
        let id = self.settings.last_mailbox;
        let mailbox = Mailbox {
            id,
            url: offer.url,
            server: offer.identity,
            pin: offer.pin,
            is_local: source == OfferSource::ThisNode,
            keys: AccountKeys::generate(rng),
            redeem_token: offer.token,
            account: None,
            leaving: None,
            rekeying: None,
            read_at: UnixMillis::default(),
            invitation: source.invitation(),
            refused: None,
        };
        self.mailboxes.insert(id, mailbox);
        self.put_settings(step)?;
        self.put_mailbox(step, id)?;
        Ok(id)
    }

    /// Begins to redeem the offer that an invitation brought, because the person asked for a mailbox.
    pub(super) fn take_offer(
        &mut self,
        step: &mut Step,
        invitation: u32,
        offer: &OfferText,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let Ok(offer) = offer.parse() else { return Ok(()) };
        step.mailboxes_changed = true;
        match self.begin_redeem(step, offer, OfferSource::Invitation(invitation), rng) {
            // The contact stays, whatever becomes of the mailbox.
            Err(error) if error.fault == Fault::Conflict => {
                tracing::warn!(invitation, %error, "an offer is not redeemed");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Keeps the offer of a contact from whom nobody asked for one, until the person takes it.
    pub(super) fn keep_offer(
        &mut self,
        step: &mut Step,
        cid: u32,
        offer: &OfferText,
    ) -> Result<(), CommandError> {
        let Ok(offer) = offer.parse() else { return Ok(()) };
        step.put_bytes(OFFERS, cid.to_be_bytes(), offer.expose_text().as_bytes().to_vec());
        self.peer_mut(cid)?.offered = Some(offer);
        self.changed(step, cid).map(drop)
    }

    /// Begins to redeem the offer of a contact, because the person wants it now.
    pub(crate) fn accept_offered(
        &mut self,
        step: &mut Step,
        cid: u32,
        rng: &mut impl CryptoRngCore,
    ) -> Result<u32, CommandError> {
        let peer = self.peer(cid)?;
        let offer = peer.offered.clone().ok_or_else(|| {
            CommandError::new(
                Fault::Conflict,
                format!("contact {cid} offers no mailbox"),
                "ask them for a code",
            )
        })?;
        let source = OfferSource::Invitation(peer.contact.invitation);
        let id = self.begin_redeem(step, offer, source, rng)?;
        // From now on it stands with the mailbox.
        self.peer_mut(cid)?.offered = None;
        step.delete(OFFERS, cid.to_be_bytes());
        self.changed(step, cid)?;
        Ok(id)
    }

    /// Notes that a server gives nothing for an offer.
    pub(crate) fn refuse_offer(
        &mut self,
        step: &mut Step,
        id: u32,
        reason: String,
    ) -> Result<(), CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        mailbox.refused = Some(reason);
        Ok(self.put_mailbox(step, id)?)
    }

    /// Stores what the server gave for an offer. The contacts are told in steps of their own, [`Self::to_be_told`].
    pub(crate) fn finish_redeem(
        &mut self,
        step: &mut Step,
        id: u32,
        account: Account,
    ) -> Result<(), CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        mailbox.account = Some(account);
        Ok(self.put_mailbox(step, id)?)
    }

    /// Notes that a mailbox is read now; not more often than people need to know.
    pub(crate) fn note_read(&mut self, step: &mut Step, id: u32, now: UnixMillis) -> Result<(), WireError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        let is_recent = mailbox.read_at <= now && now.since(mailbox.read_at) < READ_NOTED_EVERY;
        if is_recent {
            return Ok(());
        }
        mailbox.read_at = now;
        self.put_mailbox(step, id)
    }

    /// Notes where the server of a mailbox has moved. The contacts are told in steps of their own, [`Self::to_be_told`].
    pub(crate) fn move_mailbox(
        &mut self,
        step: &mut Step,
        id: u32,
        place: Place,
    ) -> Result<(), CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        Place { url: mailbox.url, identity: mailbox.server, pin: mailbox.pin } = place;
        Ok(self.put_mailbox(step, id)?)
    }

    /// Where contacts are to write: the slots of all accounts that take messages.
    fn homes(&self) -> BTreeSet<Home> {
        let lasting = self.mailboxes.values().filter(|mailbox| mailbox.takes_messages());
        lasting.filter_map(home).collect()
    }

    /// Returns the contacts that know of other mailboxes than there are, or of another profile. Those that are blocked are left
    /// in the dark.
    pub(crate) fn to_be_told(&self) -> Vec<u32> {
        let homes = self.homes();
        let is_wrong = |peer: &Peer| {
            peer.contact.homes.len() != homes.len()
                || peer.contact.homes.iter().any(|home| !homes.contains(home))
                || peer
                    .contact
                    .homes
                    .iter()
                    .zip(&peer.contact.mine.transports.list)
                    .any(|(home, transport)| self.has_moved(*home, transport))
        };
        let is_told =
            |peer: &Peer| peer.contact.is_written_to() && (is_wrong(peer) || !self.knows_profile(peer));
        self.peers.iter().filter(|(_, peer)| is_told(peer)).map(|(cid, _)| *cid).collect()
    }

    /// Whether a transport leads to where the server of its mailbox was before.
    fn has_moved(&self, home: Home, transport: &TransportRecord) -> bool {
        self.mailboxes.get(&home.mailbox).is_some_and(|mailbox| !mailbox.place().is_of(transport))
    }

    /// Corrects the addresses in the transports of a contact; tells whether there was anything to correct.
    fn follow_moves(&mut self, cid: u32) -> Result<bool, CommandError> {
        let places: BTreeMap<u32, Place> =
            self.mailboxes.iter().map(|(id, mailbox)| (*id, mailbox.place())).collect();
        let contact = &mut self.peer_mut(cid)?.contact;
        let mut has_moved = false;
        for (home, transport) in contact.homes.iter().zip(&mut contact.mine.transports.list) {
            let Some(place) = places.get(&home.mailbox).filter(|place| !place.is_of(transport)) else {
                continue;
            };
            let Place { url, identity, pin } = place.clone();
            (transport.url, transport.server, transport.pin) = (url, identity, pin);
            has_moved = true;
        }
        Ok(has_moved)
    }

    /// Begins to leave a mailbox: contacts are told in steps of their own, [`Self::to_be_told`]. What is on its way there is
    /// taken in for as long as the server keeps it.
    pub(crate) fn leave_mailbox(
        &mut self,
        step: &mut Step,
        id: u32,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Err(unknown(id)) };
        if mailbox.is_local {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("mailbox {id} is inside this node"),
                "remove [local_mailbox] from config.toml and restart the node",
            ));
        }
        if mailbox.account.is_none() {
            self.abandon_redeem(step, id);
            return Ok(());
        }
        mailbox.leaving.get_or_insert(now);
        Ok(self.put_mailbox(step, id)?)
    }

    /// Forgets mailboxes that were left so long ago that nothing can be on its way to them; tells which.
    pub(crate) fn forget_left_mailboxes(&mut self, step: &mut Step, now: UnixMillis) -> Vec<u32> {
        let is_over = |mailbox: &&Mailbox| mailbox.stays_until().is_some_and(|until| until <= now);
        let over: Vec<u32> = self.mailboxes.values().filter(is_over).map(|mailbox| mailbox.id).collect();
        for id in &over {
            self.mailboxes.remove(id);
            step.delete(MAILBOXES, id.to_be_bytes());
        }
        over
    }

    /// This node was restored from a backup: the secrets of its accounts are replaced before they are used, so that a copy that
    /// still runs loses them.
    pub(crate) fn take_over_accounts(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        for mailbox in self.mailboxes.values_mut() {
            mailbox.renew(Renewal::default(), now, rng);
            step.put(MAILBOXES, mailbox.id.to_be_bytes(), mailbox)?;
        }
        step.delete(AGENT, RESTORED_KEY);
        Ok(())
    }

    /// Asks for new slots: whoever is not told of them soon reaches this agent no more.
    pub(super) fn change_slots(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        self.renew_accounts(step, Renewal { new_slot: true, new_owner: false }, now, rng)
    }

    /// Takes everything of the accounts out of the hands of whoever has a copy of this node's state.
    pub(crate) fn replace_accounts(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        self.renew_accounts(step, Renewal { new_slot: true, new_owner: true }, now, rng)
    }

    /// The server of a mailbox uses the token key `newest`: if the account's token is for an earlier one, which ends some day,
    /// asks for another slot, whose token is for that key. Tells whether it does.
    ///
    /// A new slot, and not only a new token for the old one: who knows the server's former keys may know the old slot.
    pub(crate) fn follow_token_key(
        &mut self,
        step: &mut Step,
        id: u32,
        newest: TokenKeyId,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(false) };
        let is_left = mailbox.leaving.is_some() || mailbox.rekeying.is_some();
        let is_behind = |account: &Account| {
            let since = UnixMillis(account.record.slot);
            let is_fresh = since <= now && now.since(since) < SLOT_STAYS;
            account.record.kid < newest && !is_fresh
        };
        if is_left || !mailbox.account.as_ref().is_some_and(is_behind) {
            return Ok(false);
        }
        mailbox.renew(Renewal { new_slot: true, new_owner: false }, now, rng);
        self.put_mailbox(step, id)?;
        step.mailboxes_changed = true;
        Ok(true)
    }

    fn renew_accounts(
        &mut self,
        step: &mut Step,
        renewal: Renewal,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        for mailbox in self.mailboxes.values_mut().filter(|mailbox| mailbox.leaving.is_none()) {
            mailbox.renew(renewal, now, rng);
            step.put(MAILBOXES, mailbox.id.to_be_bytes(), mailbox)?;
        }
        step.mailboxes_changed = true;
        Ok(())
    }

    /// Stores what the server gave for new secrets. If there is a new slot, the contacts are told in steps of their own,
    /// [`Self::to_be_told`].
    pub(crate) fn finish_rekey(
        &mut self,
        step: &mut Step,
        id: u32,
        account: Account,
    ) -> Result<(), CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(()) };
        // It may have been asked for more meanwhile; that is answered later.
        if let Some(answered) =
            mailbox.rekeying.take_if(|asked| asked.generation == account.record.generation)
        {
            mailbox.keys = answered.keys;
            mailbox.account = Some(account);
        }
        Ok(self.put_mailbox(step, id)?)
    }

    /// Stores how the server says that an account is; tells whether anything is new.
    pub(crate) fn account_is(
        &mut self,
        step: &mut Step,
        id: u32,
        account: Account,
    ) -> Result<bool, CommandError> {
        let Some(mailbox) = self.mailboxes.get_mut(&id) else { return Ok(false) };
        let generation = account.record.generation;
        let is_present = mailbox.account.as_ref().is_some_and(|known| known.record.generation == generation);
        if !is_present {
            // A later request was answered first.
            return Ok(false);
        }
        let used = |mailbox: &Mailbox| mailbox.account.as_ref().and_then(|account| account.record.used_bytes);
        let (before, used_before) = (mailbox.encode_record()?, used(mailbox));
        mailbox.account = Some(account);
        let (is_new, is_used_else) = (mailbox.encode_record()? != before, used(mailbox) != used_before);
        if is_new {
            self.put_mailbox(step, id)?;
        }
        Ok(is_new || is_used_else)
    }

    /// Forgets an offer that the server refused for good.
    pub(crate) fn abandon_redeem(&mut self, step: &mut Step, id: u32) {
        if self.mailboxes.get(&id).is_some_and(|mailbox| mailbox.account.is_none()) {
            self.mailboxes.remove(&id);
            step.delete(MAILBOXES, id.to_be_bytes());
        }
    }

    /// Makes transports for a contact that knows the homes `known`: a fresh token and a fresh id for each other one. Returns
    /// them with where they lead.
    pub(super) fn fresh_transports(
        &self,
        known: &[Home],
        rng: &mut impl CryptoRngCore,
    ) -> (Vec<TransportRecord>, Vec<Home>) {
        let new = self.homes().into_iter().filter(|home| !known.contains(home));
        let new =
            new.filter_map(|home| Some((fresh_transport(self.mailboxes.get(&home.mailbox)?, rng)?, home)));
        new.take(MAX_TRANSPORTS.saturating_sub(known.len())).unzip()
    }

    /// Tells a contact what it does not know yet: where it is to write from now on, and what the person tells of themselves.
    pub(crate) fn announce(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let transports = self.follow_homes(step, cid, now, rng)?;
        let profile = !self.knows_profile(self.peer(cid)?);
        if profile {
            self.note_told(step, cid)?;
        }
        if transports || profile {
            self.enqueue_own(step, cid, News { transports, profile, ..News::NONE }, now, rng)?;
        }
        Ok(())
    }

    /// Gives a contact transports to all mailboxes that there are; tells whether that changes anything.
    fn follow_homes(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<bool, CommandError> {
        let homes = self.homes();
        let moved = self.follow_moves(cid)?;
        let contact = &mut self.peer_mut(cid)?.contact;
        let before = contact.homes.clone();
        contact.leave_all_but(&homes);
        let kept = contact.homes.clone();
        let (new, their_homes) = self.fresh_transports(&kept, rng);
        if new.is_empty() && kept == before && !moved {
            return Ok(false);
        }
        let contact = &mut self.peer_mut(cid)?.contact;
        contact.homes.extend(their_homes);
        contact.mine.transports.list.extend(new);
        contact.raise_serial(now);
        self.put_contact(step, cid)?;
        self.expect_messages(cid);
        Ok(true)
    }
}

/// What is replaced of an account beside the secrets for retrieval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Renewal {
    /// Whoever is not told of the new slot reaches the account no more.
    new_slot: bool,
    /// Whoever knows the old owner's key owns it no more.
    new_owner: bool,
}

impl Contact {
    /// Gives the transports a serial above all that the contact may have seen: the agent may have been set back since.
    pub(super) fn raise_serial(&mut self, now: UnixMillis) {
        let transports = &mut self.mine.transports;
        transports.serial = transports.serial.saturating_add(1).max(now.0);
    }

    /// Takes out the transports that lead elsewhere; their ids are remembered.
    pub(super) fn leave_all_but(&mut self, homes: &BTreeSet<Home>) {
        let transports = std::mem::take(&mut self.mine.transports.list);
        for (home, transport) in std::mem::take(&mut self.homes).into_iter().zip(transports) {
            if homes.contains(&home) {
                self.homes.push(home);
                self.mine.transports.list.push(transport);
            } else {
                self.past_tids.push(transport.tid);
            }
        }
        let too_many = self.past_tids.len().saturating_sub(MAX_PAST_TIDS);
        self.past_tids.drain(..too_many);
    }
}

impl Mailbox {
    /// Where its server is.
    fn place(&self) -> Place {
        Place { url: self.url.clone(), identity: self.server, pin: self.pin }
    }

    /// Has the account's secrets replaced, unless that is under way already.
    fn renew(&mut self, renewal: Renewal, now: UnixMillis, rng: &mut impl CryptoRngCore) {
        let Renewal { new_slot, new_owner } = renewal;
        let Some(account) = &self.account else { return };
        let asked = self.rekeying.as_ref();
        let owner = self.keys.signing.verifying_key();
        let is_asked = |asked: &Rekeying| {
            (asked.new_slot || !new_slot) && (asked.keys.signing.verifying_key() != owner || !new_owner)
        };
        if asked.is_some_and(is_asked) {
            return;
        }
        let last = asked.map_or(account.record.generation, |asked| asked.generation);
        let fresh = AccountKeys::generate(rng);
        let keys =
            if new_owner { fresh } else { AccountKeys { signing: self.keys.signing.clone(), ..fresh } };
        self.rekeying = Some(Rekeying { generation: last.saturating_add(1).max(now.0), keys, new_slot });
    }

    /// The generation that the account's secrets have, or are about to have.
    pub(crate) fn generation(&self) -> Option<u64> {
        let account = self.account.as_ref()?;
        Some(self.rekeying.as_ref().map_or(account.record.generation, |asked| asked.generation))
    }

    /// Whether contacts can write there: the account is there, is not being left, and has room for messages.
    pub(crate) fn takes_messages(&self) -> bool {
        let has_room = |account: &Account| account.record.quota.bytes > 0;
        self.leaving.is_none() && self.account.as_ref().is_some_and(has_room)
    }

    /// When the first messages that were not read may be deleted there; `None` while that is far.
    pub(crate) fn expires_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        if !self.takes_messages() && self.leaving.is_none() {
            return None;
        }
        let retention = Duration::from_secs(self.account.as_ref()?.record.retention_seconds);
        let is_far = self.read_at == UnixMillis::default() || now.since(self.read_at) < retention / 2;
        (!is_far).then(|| self.read_at.plus(retention))
    }

    /// Until when a mailbox that was left is still looked into.
    pub(crate) fn stays_until(&self) -> Option<UnixMillis> {
        let retention = self.account.as_ref().map_or(0, |account| account.record.retention_seconds);
        Some(self.leaving?.plus(Duration::from_secs(retention)))
    }
}

/// The slot of a mailbox where contacts are to write.
fn home(mailbox: &Mailbox) -> Option<Home> {
    mailbox.account.as_ref().map(|account| Home { mailbox: mailbox.id, slot: account.record.slot })
}

fn unknown(id: u32) -> CommandError {
    CommandError::new(
        Fault::NotFound,
        format!("there is no mailbox {id}"),
        "the mailboxes command lists them with their numbers",
    )
}

fn fresh_transport(mailbox: &Mailbox, rng: &mut impl CryptoRngCore) -> Option<TransportRecord> {
    let account = mailbox.account.as_ref()?;
    let token = account.record.token.for_contact(&account.token_key, rng);
    let token = token.inspect_err(|error| tracing::error!(mailbox = mailbox.id, %error, "no token")).ok()?;
    Some(TransportRecord {
        tid: TransportId::generate(rng),
        url: mailbox.url.clone(),
        server: mailbox.server,
        pin: mailbox.pin,
        kid: account.record.kid,
        token,
        retention_seconds: account.record.retention_seconds,
    })
}
