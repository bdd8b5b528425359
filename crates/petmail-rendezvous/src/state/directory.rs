//! What the server holds for its clients: nameplates, mailboxes, messages.
//!
//! Owns the rules that outlive a connection (who may claim, open and close what; quotas; expiry) and writes down every
//! change of a row. Must not know connections: a refused side leaves no trace here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use petmail_net::address::AddressGroup;
use petmail_proto::invitation::wormhole::{
    AppId, Body, MailboxId, Nameplate, Phase, RequestId, ServerFrame, ServerMessage, Side,
};
use petmail_proto::time::UnixMillis;
use rand_core::CryptoRngCore;

use super::random;
use super::record::{self, Change, MailboxRow, NameplateRow, Place, RecordError};
use crate::limits::Limits;
use crate::refusal::Refusal;

/// An exchange is between two.
const MAX_SIDES: usize = 2;

/// What a message costs beyond its body, for the quotas.
const MESSAGE_OVERHEAD_BYTES: usize = 256;

/// The client address that made a mailbox, only for its quota; none for local clients, which have no quota.
pub type Origin = Option<AddressGroup>;

/// Everything durable, in memory.
#[derive(Debug)]
pub(crate) struct Directory {
    nameplates: BTreeMap<AppId, BTreeMap<Nameplate, NameplateRow>>,
    mailboxes: BTreeMap<Place, Mailbox>,
    /// Every mailbox by its age, the quietest first.
    ages: BTreeSet<(UnixMillis, Place)>,
    per_origin: BTreeMap<AddressGroup, usize>,
    stored_bytes: usize,
    limits: Limits,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Mailbox {
    row: MailboxRow,
    messages: BTreeMap<u64, Arc<ServerFrame>>,
    bytes: usize,
    origin: Origin,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) app: &'a AppId,
    pub(crate) side: &'a Side,
    pub(crate) origin: Origin,
    pub(crate) now: UnixMillis,
}

impl Caller<'_> {
    pub(crate) fn place(&self, mailbox: &MailboxId) -> Place {
        Place { app: self.app.clone(), mailbox: mailbox.clone() }
    }
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) nameplates: usize,
    pub(crate) mailboxes: usize,
    pub(crate) messages: usize,
    pub(crate) stored_bytes: usize,
}

impl Directory {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            nameplates: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            ages: BTreeSet::new(),
            per_origin: BTreeMap::new(),
            stored_bytes: 0,
            limits,
            changes: Vec::new(),
        }
    }

    /// Takes a stored nameplate in.
    pub(crate) fn restore_nameplate(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let (app, nameplate, row) = record::read_nameplate(key, value)?;
        self.nameplates.entry(app).or_default().insert(nameplate, row);
        Ok(())
    }

    /// Takes a stored mailbox in.
    pub(crate) fn restore_mailbox(&mut self, key: &[u8], value: &[u8]) -> Result<(), RecordError> {
        let (place, row) = record::read_mailbox(key, value)?;
        self.ages.insert((row.updated, place.clone()));
        self.mailboxes.insert(place, Mailbox::new(row, None));
        Ok(())
    }

    /// Takes a stored message in; its mailbox must have been restored before.
    pub(crate) fn restore_message(
        &mut self,
        place: &Place,
        sequence: u64,
        frame: ServerFrame,
    ) -> Result<(), RecordError> {
        let cost = cost(&frame);
        let mailbox = self.mailboxes.get_mut(place).ok_or(RecordError::Incomplete)?;
        mailbox.bytes += cost;
        mailbox.messages.insert(sequence, Arc::new(frame));
        self.stored_bytes += cost;
        Ok(())
    }

    /// Returns the writes since the last call, in order.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Finds a free nameplate and claims it.
    pub(crate) fn allocate(
        &mut self,
        caller: Caller<'_>,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Nameplate, Refusal> {
        let none = BTreeMap::new();
        let taken = self.nameplates.get(caller.app).unwrap_or(&none);
        let nameplate = random::free_nameplate(|candidate| !taken.contains_key(candidate), rng)
            .ok_or(Refusal::NoFreeNameplate)?;
        self.claim(caller, &nameplate, rng)?;
        Ok(nameplate)
    }

    /// Claims a nameplate for a side; the first claim makes its mailbox. The mailbox becomes open for the side.
    pub(crate) fn claim(
        &mut self,
        caller: Caller<'_>,
        nameplate: &Nameplate,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MailboxId, Refusal> {
        let known = self.nameplates.get(caller.app).and_then(|plates| plates.get(nameplate));
        let mut row = match known {
            Some(row) => row.clone(),
            None => NameplateRow::new(random::mailbox_id(rng)),
        };
        match row.sides.get(caller.side) {
            Some(false) => return Err(Refusal::Reclaimed),
            None if row.sides.len() >= MAX_SIDES => return Err(Refusal::Crowded),
            None | Some(true) => {}
        }
        let name = known.is_none().then(|| nameplate.clone());
        self.enter(caller, &row.mailbox, name)?;
        row.sides.insert(caller.side.clone(), true);
        let mailbox = row.mailbox.clone();
        self.changes.push(record::put_nameplate(caller.app, nameplate, &row));
        self.nameplates.entry(caller.app.clone()).or_default().insert(nameplate.clone(), row);
        Ok(mailbox)
    }

    /// Gives a side's claim back; with the last claim the nameplate is free again. Repeating it changes nothing.
    pub(crate) fn release(&mut self, caller: Caller<'_>, nameplate: &Nameplate) {
        let Some(row) = self.nameplates.get_mut(caller.app).and_then(|plates| plates.get_mut(nameplate))
        else {
            return;
        };
        let Some(claimed @ true) = row.sides.get_mut(caller.side) else { return };
        *claimed = false;
        if row.sides.values().any(|claimed| *claimed) {
            self.changes.push(record::put_nameplate(caller.app, nameplate, row));
            return;
        }
        let place = caller.place(&row.mailbox);
        self.remove_nameplate(caller.app, nameplate);
        if let Some(mailbox) = self.mailboxes.get_mut(&place) {
            mailbox.row.nameplate = None;
            self.changes.push(record::put_mailbox(&place, &mailbox.row));
        }
    }

    /// The nameplates in use by an application, in order.
    pub(crate) fn nameplates(&self, app: &AppId) -> Vec<Nameplate> {
        self.nameplates.get(app).map(|plates| plates.keys().cloned().collect()).unwrap_or_default()
    }

    /// Opens a mailbox for a side, and makes it if there is none. Opening what this side closed reopens it.
    pub(crate) fn open(&mut self, caller: Caller<'_>, mailbox: &MailboxId) -> Result<(), Refusal> {
        self.enter(caller, mailbox, None)
    }

    /// The messages of a mailbox, oldest first.
    pub(crate) fn messages(&self, place: &Place) -> impl Iterator<Item = &Arc<ServerFrame>> {
        self.mailboxes.get(place).into_iter().flat_map(|mailbox| mailbox.messages.values())
    }

    /// Adds a message to a mailbox that the side has open.
    pub(crate) fn add(
        &mut self,
        caller: Caller<'_>,
        mailbox: &MailboxId,
        (phase, body, id): (Phase, Body, Option<RequestId>),
    ) -> Result<Arc<ServerFrame>, Refusal> {
        let place = caller.place(mailbox);
        let frame = record::message_frame(caller.side.clone(), phase, body, id, caller.now);
        let cost = cost(&frame);
        let mailbox = self.mailboxes.get_mut(&place).ok_or(Refusal::NotOpen)?;
        if mailbox.messages.len() >= self.limits.messages_per_mailbox
            || mailbox.bytes + cost > self.limits.mailbox_bytes
        {
            return Err(Refusal::MailboxFull);
        }
        if self.stored_bytes + cost > self.limits.stored_bytes {
            return Err(Refusal::ServerFull);
        }
        let sequence = mailbox.messages.last_key_value().map_or(0, |(last, _)| last + 1);
        let frame = Arc::new(frame);
        mailbox.messages.insert(sequence, Arc::clone(&frame));
        mailbox.bytes += cost;
        self.stored_bytes += cost;
        self.changes.extend(record::put_message(&place, sequence, &frame));
        self.touch(&place, caller.now);
        Ok(frame)
    }

    /// Closes a mailbox for a side. Returns whether that deleted it: the last side to close takes everything along.
    ///
    /// Closing what is not open changes nothing, so that a client may repeat a `close` whose answer it missed.
    pub(crate) fn close(&mut self, caller: Caller<'_>, mailbox: &MailboxId) -> Result<bool, Refusal> {
        let place = caller.place(mailbox);
        let Some(mailbox) = self.mailboxes.get_mut(&place) else { return Ok(false) };
        let full = mailbox.row.sides.len() >= MAX_SIDES;
        match mailbox.row.sides.get_mut(caller.side) {
            None if full => return Err(Refusal::Crowded),
            None | Some(false) => return Ok(false),
            Some(open) => *open = false,
        }
        if mailbox.row.sides.values().any(|open| *open) {
            self.touch(&place, caller.now);
            return Ok(false);
        }
        self.remove_mailbox(&place);
        Ok(true)
    }

    /// Deletes at most `max` mailboxes, with their nameplates, in which nothing happened since `before`; those for
    /// which `in_use` says so stay, and count as used `now`. Returns what it deleted.
    pub(crate) fn expire(
        &mut self,
        before: UnixMillis,
        now: UnixMillis,
        max: usize,
        in_use: impl Fn(&Place) -> bool,
    ) -> Vec<Place> {
        let stale = self.ages.iter().take_while(|(updated, _)| *updated < before).take(max);
        let places: Vec<Place> = stale.map(|(_, place)| place.clone()).collect();
        let (used, expired): (Vec<_>, Vec<_>) = places.into_iter().partition(in_use);
        used.iter().for_each(|place| self.touch(place, now));
        expired.iter().for_each(|place| self.remove_mailbox(place));
        expired
    }

    /// Whether [`Directory::expire`] would find anything.
    pub(crate) fn has_stale(&self, before: UnixMillis) -> bool {
        self.ages.first().is_some_and(|(updated, _)| *updated < before)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            nameplates: self.nameplates.values().map(BTreeMap::len).sum(),
            mailboxes: self.mailboxes.len(),
            messages: self.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum(),
            stored_bytes: self.stored_bytes,
        }
    }

    /// Records that a side has a mailbox open, unless two others have it.
    fn enter(
        &mut self,
        caller: Caller<'_>,
        mailbox: &MailboxId,
        nameplate: Option<Nameplate>,
    ) -> Result<(), Refusal> {
        let place = caller.place(mailbox);
        match self.mailboxes.get(&place) {
            None => self.make_mailbox(&place, caller, nameplate)?,
            Some(known) => {
                let sides = &known.row.sides;
                if !sides.contains_key(caller.side) && sides.len() >= MAX_SIDES {
                    return Err(Refusal::Crowded);
                }
            }
        }
        if let Some(known) = self.mailboxes.get_mut(&place) {
            known.row.sides.insert(caller.side.clone(), true);
        }
        self.touch(&place, caller.now);
        Ok(())
    }

    fn make_mailbox(
        &mut self,
        place: &Place,
        caller: Caller<'_>,
        nameplate: Option<Nameplate>,
    ) -> Result<(), Refusal> {
        let made = caller.origin.and_then(|origin| self.per_origin.get(&origin)).copied().unwrap_or(0);
        if self.mailboxes.len() >= self.limits.mailboxes || made >= self.limits.mailboxes_per_address {
            return Err(Refusal::ServerFull);
        }
        if let Some(origin) = caller.origin {
            self.per_origin.insert(origin, made + 1);
        }
        self.ages.insert((caller.now, place.clone()));
        let row = MailboxRow::new(nameplate, caller.now);
        self.mailboxes.insert(place.clone(), Mailbox::new(row, caller.origin));
        Ok(())
    }

    /// Notes the time of a mailbox's last use and writes its row.
    fn touch(&mut self, place: &Place, now: UnixMillis) {
        let Some(mailbox) = self.mailboxes.get_mut(place) else { return };
        self.ages.remove(&(mailbox.row.updated, place.clone()));
        self.ages.insert((now, place.clone()));
        mailbox.row.updated = now;
        self.changes.push(record::put_mailbox(place, &mailbox.row));
    }

    fn remove_mailbox(&mut self, place: &Place) {
        let Some(mailbox) = self.mailboxes.remove(place) else { return };
        self.ages.remove(&(mailbox.row.updated, place.clone()));
        self.stored_bytes -= mailbox.bytes;
        self.forget_origin(mailbox.origin);
        for (sequence, frame) in &mailbox.messages {
            self.changes.extend(record::delete_message(place, *sequence, frame));
        }
        self.changes.push(record::delete_mailbox(place));
        if let Some(nameplate) = mailbox.row.nameplate {
            self.remove_nameplate(&place.app, &nameplate);
        }
    }

    fn remove_nameplate(&mut self, app: &AppId, nameplate: &Nameplate) {
        let Some(plates) = self.nameplates.get_mut(app) else { return };
        plates.remove(nameplate);
        if plates.is_empty() {
            self.nameplates.remove(app);
        }
        self.changes.push(record::delete_nameplate(app, nameplate));
    }

    fn forget_origin(&mut self, origin: Origin) {
        let Some(origin) = origin else { return };
        if let Some(made) = self.per_origin.get_mut(&origin) {
            *made -= 1;
            if *made == 0 {
                self.per_origin.remove(&origin);
            }
        }
    }
}

impl Mailbox {
    fn new(row: MailboxRow, origin: Origin) -> Self {
        Self { row, messages: BTreeMap::new(), bytes: 0, origin }
    }
}

fn cost(frame: &ServerFrame) -> usize {
    let body = match &frame.message {
        ServerMessage::Message { body, .. } => body.as_bytes().len(),
        _ => 0,
    };
    body + MESSAGE_OVERHEAD_BYTES
}

#[cfg(test)]
mod invariants {
    use super::*;

    impl Directory {
        /// Panics unless every rule that ties the rows together holds.
        pub(crate) fn check_invariants(&self) {
            assert_eq!(self.ages.len(), self.mailboxes.len());
            let bytes: usize = self.mailboxes.values().map(|mailbox| mailbox.bytes).sum();
            assert_eq!(bytes, self.stored_bytes);
            for (place, mailbox) in &self.mailboxes {
                assert!(self.ages.contains(&(mailbox.row.updated, place.clone())));
                assert!(mailbox.row.sides.len() <= MAX_SIDES);
                assert!(mailbox.row.sides.values().any(|open| *open), "a mailbox that nobody has open");
                if let Some(nameplate) = &mailbox.row.nameplate {
                    assert_eq!(self.nameplates[&place.app][nameplate].mailbox, place.mailbox);
                }
            }
            for (app, plates) in &self.nameplates {
                assert!(!plates.is_empty());
                for (nameplate, row) in plates {
                    let place = Place { app: app.clone(), mailbox: row.mailbox.clone() };
                    assert_eq!(self.mailboxes[&place].row.nameplate.as_ref(), Some(nameplate));
                    assert!(row.sides.len() <= MAX_SIDES);
                    assert!(row.sides.values().any(|claimed| *claimed));
                }
            }
        }
    }
}
