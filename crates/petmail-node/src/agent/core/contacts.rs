//! The address book.

use std::time::Duration;

use petmail_proto::{channel::key_ring::KeyRing, outbox::Outbox, time::UnixMillis};
use rand_core::CryptoRngCore;

use super::{Core, Peer, Step};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{
            BODIES, CONTACTS, Contact, DRAFTS, EXTRAS, FILES, HEARD, KEYS, MESSAGE_IDS, MESSAGES, Mailbox,
            OFFERS, OUTBOX, PICTURES, PROFILES, PROGRESS, Progress, Trust, transfers::FETCH_LIMITS,
        },
        view,
    },
    api::types::{ContactView, Event},
};

/// The longest petname, in bytes.
pub(crate) const MAX_PETNAME_BYTES: usize = 256;

/// How exactly it is known when a contact was heard of last.
const HEARD_STEP: Duration = Duration::from_secs(60);

impl Core {
    /// Finds a contact.
    pub(crate) fn peer(&self, cid: u32) -> Result<&Peer, CommandError> {
        self.peers.get(&cid).ok_or_else(|| unknown(cid))
    }

    pub(super) fn peer_mut(&mut self, cid: u32) -> Result<&mut Peer, CommandError> {
        self.peers.get_mut(&cid).ok_or_else(|| unknown(cid))
    }

    /// Tells whether mail can reach this agent.
    pub(crate) fn can_receive(&self) -> bool {
        self.mailboxes.values().any(Mailbox::takes_messages)
    }

    /// Lists the address book.
    pub(crate) fn addressbook(&self) -> Vec<ContactView> {
        self.peers.values().map(|peer| view::contact(peer, self.can_receive())).collect()
    }

    /// Gives a contact another local name.
    pub(crate) fn rename(
        &mut self,
        step: &mut Step,
        cid: u32,
        petname: &str,
    ) -> Result<ContactView, CommandError> {
        let petname = check_petname(petname)?;
        self.peer_mut(cid)?.contact.petname = petname;
        self.changed(step, cid)
    }

    /// Notes that the people compared their safety words.
    pub(crate) fn verify(&mut self, step: &mut Step, cid: u32) -> Result<ContactView, CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if contact.state == Trust::Pending {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("contact {cid} is still pending"),
                "wait until it is confirmed, then compare the safety words",
            ));
        }
        if contact.state != Trust::Disputed {
            self.check_written_to(cid)?;
        }
        let contact = &mut self.peer_mut(cid)?.contact;
        contact.state = Trust::Verified;
        self.set_ack_due(cid);
        self.wake(step, cid);
        self.changed(step, cid)
    }

    /// Blocks a contact: nothing of it is taken in or acknowledged any more, and nothing is sent to it. All others are told of
    /// new slots, so that it cannot fill the mailboxes either.
    pub(crate) fn block(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<ContactView, CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if contact.state == Trust::Pending {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("contact {cid} is still pending"),
                "contact remove ends it",
            ));
        }
        if contact.state != Trust::Blocked {
            contact.state = Trust::Blocked;
            self.change_slots(step, now, rng)?;
        }
        self.set_ack_due(cid);
        self.changed(step, cid)
    }

    /// Lets a blocked contact in again. Its safety words have to be compared anew.
    pub(crate) fn unblock(&mut self, step: &mut Step, cid: u32) -> Result<ContactView, CommandError> {
        let contact = &mut self.peer_mut(cid)?.contact;
        if contact.state != Trust::Blocked {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("contact {cid} is not blocked"),
                "nothing needs to be done",
            ));
        }
        contact.state = Trust::Confirmed;
        self.set_ack_due(cid);
        self.wake(step, cid);
        self.changed(step, cid)
    }

    /// Refuses to write to a contact that is blocked or disputed.
    pub(super) fn check_written_to(&self, cid: u32) -> Result<(), CommandError> {
        let (problem, hint) = match self.peer(cid)?.contact.state {
            Trust::Pending | Trust::Confirmed | Trust::Verified => return Ok(()),
            Trust::Blocked => {
                (format!("you blocked contact {cid}"), format!("contact unblock {cid} lets them in again"))
            }
            Trust::Disputed => (
                format!("two parties claim to be contact {cid}; one may have stolen keys"),
                format!(
                    "compare the safety digits in person: if they agree, contact verify {cid}; else contact remove {cid}, and invite them anew"
                ),
            ),
        };
        Err(CommandError::new(Fault::Conflict, problem, hint))
    }

    /// Notes that a contact was heard of: not with every message, since a minute is exact enough.
    pub(super) fn note_heard(
        &mut self,
        step: &mut Step,
        cid: u32,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let peer = self.peer_mut(cid)?;
        if peer.heard.is_some_and(|heard| now < heard.plus(HEARD_STEP) && heard <= now) {
            return Ok(());
        }
        peer.heard = Some(now);
        step.put_bytes(HEARD, cid.to_be_bytes(), now.0.to_be_bytes().to_vec());
        Ok(())
    }

    /// Removes a contact; its conversation and what waits for it follow in smaller steps.
    pub(crate) fn remove(&mut self, step: &mut Step, cid: u32) -> Result<(), CommandError> {
        self.peers.remove(&cid).ok_or_else(|| unknown(cid))?;
        self.tokens.forget(cid);
        self.set_ack_due(cid);
        self.forget_invitation_of(step, cid);
        self.settings.removing.push(cid);
        self.put_settings(step)?;
        step.delete(CONTACTS, cid.to_be_bytes());
        step.delete(KEYS, cid.to_be_bytes());
        step.delete(PROGRESS, cid.to_be_bytes());
        step.delete(DRAFTS, cid.to_be_bytes());
        for keyspace in [FETCH_LIMITS, HEARD, OFFERS, PICTURES, PROFILES] {
            step.delete(keyspace, cid.to_be_bytes());
        }
        step.events.push(Event::ContactRemoved { cid });
        Ok(())
    }

    /// Deletes some rows of a removed contact's conversation: queued messages by key, messages by key and id.
    pub(crate) fn remove_rows(step: &mut Step, queued: Vec<Vec<u8>>, messages: Vec<(Vec<u8>, u64)>) {
        for key in queued {
            step.delete(EXTRAS, key.clone());
            step.delete(OUTBOX, key);
        }
        for (key, id) in messages {
            step.delete(MESSAGES, key.clone());
            step.delete(BODIES, key);
            step.delete(MESSAGE_IDS, id.to_be_bytes());
            step.delete(FILES, id.to_be_bytes());
        }
    }

    /// Notes that nothing is left of a removed contact.
    pub(crate) fn removed(&mut self, step: &mut Step, cid: u32) -> Result<(), CommandError> {
        self.settings.removing.retain(|removing| *removing != cid);
        Ok(self.put_settings(step)?)
    }

    /// Adds a contact whose introduction was verified.
    pub(super) fn add_contact(
        &mut self,
        step: &mut Step,
        contact: Contact,
        keys: KeyRing,
    ) -> Result<(), CommandError> {
        let cid = contact.cid;
        let mut outbox = Outbox::default();
        outbox.set_copies_everywhere(self.profile.copies_everywhere);
        self.peers.insert(cid, Peer::new(contact, keys, Progress::default(), outbox));
        self.put_contact(step, cid)?;
        self.put_keys(step, cid)?;
        self.put_progress(step, cid)?;
        step.events.push(Event::Contact(view::contact(self.peer(cid)?, self.can_receive())));
        Ok(())
    }

    /// Returns `wanted`, or with a number behind it if another contact has that name.
    pub(super) fn free_petname(&self, wanted: &str) -> String {
        let taken = |name: &str| self.peers.values().any(|peer| peer.contact.petname == name);
        let numbered = (2_u32..).map(|number| format!("{wanted} ({number})"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    pub(super) fn changed(&self, step: &mut Step, cid: u32) -> Result<ContactView, CommandError> {
        self.put_contact(step, cid)?;
        let view = view::contact(self.peer(cid)?, self.can_receive());
        step.events.push(Event::Contact(view.clone()));
        Ok(view)
    }
}

/// Refuses a local name that cannot be shown.
pub(super) fn check_petname(petname: &str) -> Result<String, CommandError> {
    let petname = petname.trim();
    let good =
        !petname.is_empty() && petname.len() <= MAX_PETNAME_BYTES && !petname.chars().any(char::is_control);
    if good {
        return Ok(petname.to_owned());
    }
    Err(CommandError::new(
        Fault::BadRequest,
        "this petname cannot be used",
        format!("use 1 to {MAX_PETNAME_BYTES} bytes without control characters"),
    ))
}

fn unknown(cid: u32) -> CommandError {
    CommandError::new(
        Fault::NotFound,
        format!("there is no contact {cid}"),
        "the addressbook command lists the contacts with their numbers",
    )
}
