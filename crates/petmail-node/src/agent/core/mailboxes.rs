//! The agent's own mailboxes, and how contacts learn of them.

use petmail_proto::{
    channel::record::{MAX_TRANSPORTS, TransportRecord},
    keys::TransportId,
    server::{account::AccountKeys, offer::Offer},
    time::UnixMillis,
};
use rand_core::CryptoRngCore;

use super::{Core, Peer, Step};
use crate::agent::{
    error::{CommandError, Fault},
    records::{Account, MAILBOXES, Mailbox},
};

impl Core {
    /// Notes an offer that is about to be redeemed; the same offer again continues where it stopped.
    pub(crate) fn begin_redeem(
        &mut self,
        step: &mut Step,
        offer: Offer,
        is_local: bool,
        rng: &mut impl CryptoRngCore,
    ) -> Result<u32, CommandError> {
        let same = |mailbox: &&Mailbox| {
            mailbox.server == offer.identity && mailbox.redeem_token.hash() == offer.token.hash()
        };
        if let Some(known) = self.mailboxes.values().find(same) {
            return Ok(known.id);
        }
        if self.mailboxes.values().filter(|mailbox| mailbox.account.is_some()).count() >= MAX_TRANSPORTS {
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
            is_local,
            keys: AccountKeys::generate(rng),
            redeem_token: offer.token,
            account: None,
        };
        self.mailboxes.insert(id, mailbox);
        self.put_settings(step)?;
        self.put_mailbox(step, id)?;
        Ok(id)
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

    /// Returns the contacts that do not know of all mailboxes.
    pub(crate) fn to_be_told(&self) -> Vec<u32> {
        let redeemed = || self.mailboxes.values().filter(|mailbox| mailbox.account.is_some());
        let lacks_one = |peer: &Peer| redeemed().any(|mailbox| !peer.contact.mailboxes.contains(&mailbox.id));
        self.peers.iter().filter(|(_, peer)| lacks_one(peer)).map(|(cid, _)| *cid).collect()
    }

    /// Forgets an offer that the server refused for good.
    pub(crate) fn abandon_redeem(&mut self, step: &mut Step, id: u32) {
        if self.mailboxes.get(&id).is_some_and(|mailbox| mailbox.account.is_none()) {
            self.mailboxes.remove(&id);
            step.delete(MAILBOXES, id.to_be_bytes());
        }
    }

    /// Makes transports for a contact that knows the mailboxes `known`: a fresh token and a fresh id for each other one.
    /// Returns them with the ids of their mailboxes.
    pub(super) fn fresh_transports(
        &self,
        known: &[u32],
        rng: &mut impl CryptoRngCore,
    ) -> (Vec<TransportRecord>, Vec<u32>) {
        let room = MAX_TRANSPORTS.saturating_sub(known.len());
        let new = self.mailboxes.values().filter(|mailbox| !known.contains(&mailbox.id));
        new.filter_map(|mailbox| Some((fresh_transport(mailbox, rng)?, mailbox.id))).take(room).unzip()
    }

    /// Tells a contact of mailboxes that it does not know yet.
    pub(crate) fn announce_mailboxes(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let (new, ids) = self.fresh_transports(&self.peer(cid)?.contact.mailboxes, rng);
        if new.is_empty() {
            return Ok(());
        }
        let contact = &mut self.peer_mut(cid)?.contact;
        contact.mailboxes.extend(ids);
        let transports = &mut contact.mine.transports;
        transports.list.extend(new);
        transports.serial = transports.serial.saturating_add(1);
        self.put_contact(step, cid)?;
        self.expect_messages(cid);
        self.enqueue_own(step, cid, true, now, rng)
    }
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
