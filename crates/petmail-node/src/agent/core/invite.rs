//! Invitations: how the agent starts them, what becomes of their machines' effects, and the contact at their end.

use petmail_proto::{
    channel::{
        cid::{CidSubkeys, Envelope},
        key_ring::KeyRing,
        message::MsgC,
        own_half::OwnHalf,
        payload::{INTRODUCTION, Payload},
        record::Transports,
    },
    invitation::{
        code::{Code, WordCount},
        introduction::{Introduction, IntroductionPacket, Purpose},
        machine::{
            Completed, DEFAULT_LIFE, Effect, Failure, Input, Invitation, InvitationRecord, Status,
            Step as MachineStep, Terms,
        },
    },
    server::offer::OfferText,
    time::UnixMillis,
    wire::{Record, WireError},
};
use rand_core::CryptoRngCore;

use super::{Core, Step, contacts::check_petname, receive::token_agrees, send::News};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{Contact, Home, INVITATIONS, InvitationRow, TheirHalf, Trust},
        view,
    },
    api::types::{Event, InvitationView},
};

/// The most invitations that may be open at once; each holds a connection to the rendezvous server.
const MAX_OPEN: usize = 64;

/// What the person here wants of the other.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// To write to each other.
    Contact,
    /// A mailbox as well.
    Mailbox,
    /// To give a mailbox as well: by this offer.
    GiveMailbox(OfferText),
}

impl Wish {
    fn into_parts(self) -> (Purpose, Option<OfferText>) {
        match self {
            Self::Contact => (Purpose::Contact, None),
            Self::Mailbox => (Purpose::MailboxCustomer, None),
            Self::GiveMailbox(offer) => (Purpose::MailboxProvider, Some(offer)),
        }
    }
}

/// An invitation with its machine.
#[derive(Debug)]
pub(crate) struct Invite {
    pub(crate) id: u32,
    pub(crate) petname: Option<String>,
    pub(crate) cid: Option<u32>,
    pub(crate) machine: Invitation,
    mine: Option<OwnHalf>,
    homes: Vec<Home>,
}

impl Invite {
    /// Reads a stored invitation; [`Core::resume_invitations`] takes up its work.
    pub(super) fn stored(row: InvitationRow) -> Result<Self, WireError> {
        let record = InvitationRecord::decode_record(&row.machine)?;
        let machine = Invitation::restore(record, UnixMillis(0)).next;
        let InvitationRow { id, petname, mine, homes, cid, machine: _ } = row;
        Ok(Self { id, petname, cid, machine, mine, homes })
    }

    pub(super) fn row(&self) -> Result<InvitationRow, WireError> {
        Ok(InvitationRow {
            id: self.id,
            petname: self.petname.clone(),
            mine: self.mine.clone(),
            homes: self.homes.clone(),
            cid: self.cid,
            machine: self.machine.record().encode_record()?,
        })
    }

    /// Tells whether the invitation has not come to an end.
    pub(crate) fn is_open(&self) -> bool {
        match self.machine.status() {
            Status::Waiting | Status::Exchanging | Status::Pending(_) => true,
            Status::Confirmed | Status::Failed(_) | Status::Expired | Status::Cancelled => false,
        }
    }
}

impl Core {
    /// Takes up all invitations after a start: repeats what a killed node may not have done.
    pub(crate) fn resume_invitations(
        &mut self,
        step: &mut Step,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let ids: Vec<u32> = self.invitations.keys().copied().collect();
        for id in ids {
            let Some(invite) = self.invitations.get(&id) else { continue };
            let restored = Invitation::restore(invite.machine.record().clone(), now);
            self.adopt(step, id, restored, now, rng)?;
        }
        Ok(())
    }

    /// Takes up all invitations after the state was read anew from the database: the machines have forgotten what passed
    /// over their connections and what they asked for, so the connections end and the rest is asked for again.
    pub(crate) fn reconnect_invitations(&self, step: &mut Step) {
        for (id, invite) in &self.invitations {
            // At the beginning of time no deadline is over: nothing of this has to be committed.
            let restored = Invitation::restore(invite.machine.record().clone(), UnixMillis(0));
            let effects = std::iter::once(Effect::Disconnect).chain(restored.effects);
            step.invitation_effects.extend(effects.map(|effect| (*id, effect)));
        }
    }

    /// Starts an invitation, with the other person's code or for a new one.
    pub(crate) fn invite(
        &mut self,
        step: &mut Step,
        (petname, code): (Option<&str>, Option<&str>),
        wish: Wish,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<u32, CommandError> {
        let petname = petname.map(check_petname).transpose()?;
        let code = code.map(|code| self.check_code(code, now)).transpose()?;
        self.check_open_invitations()?;
        let (purpose, offer) = wish.into_parts();
        let (list, homes) = self.fresh_transports(&[], rng);
        let mine = OwnHalf::generate(self.settings.epoch, Transports { serial: 1, list }, rng);
        let terms = Terms {
            introduction: Introduction {
                channel: mine.record(),
                name: self.profile.display_name.clone(),
                purpose,
                offer,
            },
            signing_key: mine.channel.signing_key.clone(),
            expires: now.plus(DEFAULT_LIFE),
        };
        let started = match code {
            Some(code) => Invitation::with_code(terms, code, now, rng),
            None => Invitation::allocate(terms, WordCount::default(), now, rng),
        };
        let started = started.map_err(|error| {
            CommandError::new(Fault::Internal, error.to_string(), "check the display name in config.toml")
        })?;
        self.settings.last_invitation = self.settings.last_invitation.saturating_add(1);
        let id = self.settings.last_invitation;
        self.put_settings(step)?;
        let machine = started.next.clone();
        self.invitations.insert(id, Invite { id, petname, cid: None, machine, mine: Some(mine), homes });
        self.adopt(step, id, started, now, rng)?;
        Ok(id)
    }

    fn check_code(&self, text: &str, now: UnixMillis) -> Result<Code, CommandError> {
        let bad = |problem: String, hint: &str| CommandError::new(Fault::BadRequest, problem, hint);
        let code: Code = text.parse().map_err(|error| {
            bad(format!("{error}"), "type the code as it was told to you, like 4-purple-sausages")
        })?;
        if self.settings.burnt_codes.iter().any(|burnt| code.is_refused(burnt, now)) {
            return Err(bad("this code was used before".into(), "agree on another code"));
        }
        let is_ours = |invite: &Invite| {
            invite.is_open()
                && invite.machine.code().is_some_and(|ours| ours.expose_text() == code.expose_text())
        };
        if self.invitations.values().any(is_ours) {
            return Err(bad(
                "an open invitation of this node has this code".into(),
                "type it at the other person's node, or wait: both sides are listed by the invitations command",
            ));
        }
        Ok(code)
    }

    /// Checks that one more invitation may be started.
    pub(crate) fn check_open_invitations(&self) -> Result<(), CommandError> {
        if self.invitations.values().filter(|invite| invite.is_open()).count() < MAX_OPEN {
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            format!("{MAX_OPEN} invitations are open already"),
            "cancel some with cancel-invitation",
        ))
    }

    /// Calls an invitation off.
    pub(crate) fn cancel_invitation(
        &mut self,
        step: &mut Step,
        id: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<InvitationView, CommandError> {
        let invite = self.invitations.get(&id).ok_or_else(|| unknown(id))?;
        let cancelled = invite.machine.handle(Input::Cancel, now, rng).map_err(|_| {
            CommandError::new(
                Fault::Conflict,
                format!("invitation {id} is over or has become a contact"),
                "the invitations command shows its state; contact remove removes a contact",
            )
        })?;
        self.adopt(step, id, cancelled, now, rng)?;
        self.invitation_view(id)
    }

    /// Forgets an invitation that ended without a contact, because the person has seen that.
    pub(crate) fn dismiss_invitation(&mut self, step: &mut Step, id: u32) -> Result<(), CommandError> {
        let invite = self.invitations.get(&id).ok_or_else(|| unknown(id))?;
        if invite.is_open() || invite.cid.is_some() {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("invitation {id} has not ended without a contact"),
                "cancel-invitation ends an open one; one that became a contact stays with it",
            ));
        }
        self.forget_invitation(step, id);
        step.events.push(Event::InvitationRemoved { id });
        Ok(())
    }

    /// Deletes an invitation of which nothing can come.
    pub(crate) fn forget_invitation(&mut self, step: &mut Step, id: u32) {
        self.invitations.remove(&id);
        step.delete(INVITATIONS, id.to_be_bytes());
    }

    /// Hands an input to an invitation's machine. What cannot be any more (it ended meanwhile) changes nothing.
    pub(crate) fn invitation_input(
        &mut self,
        step: &mut Step,
        id: u32,
        input: Input,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let Some(invite) = self.invitations.get(&id) else { return Ok(()) };
        match invite.machine.handle(input, now, rng) {
            Ok(taken) => self.adopt(step, id, taken, now, rng),
            Err(error) => {
                tracing::debug!(invitation = id, %error, "input refused");
                Ok(())
            }
        }
    }

    /// Shows an invitation.
    pub(crate) fn invitation_view(&self, id: u32) -> Result<InvitationView, CommandError> {
        self.invitations.get(&id).map(view::invitation).ok_or_else(|| unknown(id))
    }

    pub(super) fn confirm_invitation(
        &mut self,
        step: &mut Step,
        id: u32,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        self.invitation_input(step, id, Input::Confirmed, now, rng)
    }

    /// Tries whether a message that no contact wrote belongs to an invitation and brings its introduction.
    pub(super) fn complete_invitation(
        &mut self,
        step: &mut Step,
        message: &MsgC<'_>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Option<(u32, Envelope)>, CommandError> {
        let found =
            self.invitations.values().filter(|invite| invite.machine.expects_introduction()).find_map(
                |invite| {
                    let (envelope, packet) = introduced_by(message, invite.mine.as_ref()?)?;
                    Some((invite.id, envelope, packet))
                },
            );
        let Some((id, envelope, packet)) = found else { return Ok(None) };
        self.invitation_input(step, id, Input::Introduction(packet), now, rng)?;
        let cid = self.invitations.get(&id).and_then(|invite| invite.cid);
        Ok(cid.map(|cid| (cid, envelope)))
    }

    /// Takes over a machine's step: its durable effects become part of this one, the others go to the task.
    pub(super) fn adopt(
        &mut self,
        step: &mut Step,
        id: u32,
        taken: MachineStep,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let Some(invite) = self.invitations.get_mut(&id) else { return Ok(()) };
        let before = view::invitation(invite);
        invite.machine = taken.next;
        for effect in taken.effects {
            match effect {
                Effect::Persist => self.put_invitation(step, id)?,
                Effect::Burn(code) => {
                    self.settings.burnt_codes.retain(|burnt| now < burnt.until);
                    self.settings.burnt_codes.push(code);
                    self.put_settings(step)?;
                }
                Effect::Completed(completed) => self.complete(step, id, *completed, now, rng)?,
                Effect::Failed(failure) => self.fail(step, id, &failure)?,
                Effect::Expired => {}
                other @ (Effect::Stretch(_)
                | Effect::Mint(_)
                | Effect::Greeted(_)
                | Effect::Send(_)
                | Effect::Disconnect
                | Effect::Wake(_)) => step.invitation_effects.push((id, other)),
            }
        }
        let after = self.invitation_view(id)?;
        if after != before {
            step.events.push(Event::Invitation(after));
        }
        Ok(())
    }

    fn complete(
        &mut self,
        step: &mut Step,
        id: u32,
        completed: Completed,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        self.settings.last_cid = self.settings.last_cid.saturating_add(1);
        let cid = self.settings.last_cid;
        self.put_settings(step)?;
        let invite = self.invitations.get_mut(&id).ok_or_else(|| unknown(id))?;
        invite.cid = Some(cid);
        let purpose = invite.machine.purpose();
        let (mine, homes) = (invite.mine.take(), std::mem::take(&mut invite.homes));
        let OwnHalf { channel, receiver_kid, receiver_key } = mine.ok_or_else(|| unknown(id))?;
        let name = invite.petname.clone().unwrap_or_else(|| completed.introduction.name.clone());
        let name = check_petname(&name).unwrap_or_else(|_| format!("contact {cid}"));
        let contact = Contact {
            cid,
            petname: self.free_petname(&name),
            display_name: completed.introduction.name,
            state: Trust::Pending,
            mine: channel,
            homes,
            past_tids: Vec::new(),
            theirs: completed.introduction.channel,
            safety_words: completed.safety_words.join(" "),
            since: now,
            invitation: id,
            introduction: serde_json::to_string(&completed.packet).ok(),
            generation: 0,
            resets: Vec::new(),
            their_half: TheirHalf::default(),
            unmoved_key: None,
        };
        self.put_invitation(step, id)?;
        self.add_contact(step, contact, KeyRing::new(receiver_kid, receiver_key))?;
        self.enqueue_own(step, cid, News::NONE, now, rng)?;
        self.announce(step, cid, now, rng)?;
        match (purpose, completed.introduction.offer) {
            (Purpose::MailboxCustomer, Some(offer)) => self.take_offer(step, id, &offer, rng)?,
            // The person decides.
            (Purpose::Contact, Some(offer)) => self.keep_offer(step, cid, &offer)?,
            _ => {}
        }
        step.retry_quarantine = true;
        Ok(())
    }

    /// A failed invitation takes its unconfirmed contact with it.
    fn fail(&mut self, step: &mut Step, id: u32, failure: &Failure) -> Result<(), CommandError> {
        tracing::info!(invitation = id, %failure, "an invitation failed");
        let Some(cid) = self.invitations.get_mut(&id).and_then(|invite| invite.cid.take()) else {
            return Ok(());
        };
        self.put_invitation(step, id)?;
        step.sweep_removed = true;
        self.remove(step, cid)
    }

    /// An invitation that is still open ends with its contact: nothing more can come of it.
    pub(super) fn forget_invitation_of(&mut self, step: &mut Step, cid: u32) {
        let ended = self.invitations.values().find(|invite| invite.cid == Some(cid) && invite.is_open());
        if let Some(id) = ended.map(|invite| invite.id) {
            self.forget_invitation(step, id);
            step.invitation_effects.push((id, Effect::Disconnect));
        }
    }
}

/// Opens a message with an invitation's keys as far as to see the introduction inside. The message itself is verified
/// later, with the key that the introduction brings.
fn introduced_by(message: &MsgC<'_>, mine: &OwnHalf) -> Option<(Envelope, IntroductionPacket)> {
    let subkeys = CidSubkeys::derive(&mine.channel.cid_key);
    let envelope = subkeys.open(&message.cid_box).ok()?;
    let tids = mine.channel.transports.list.iter().map(|transport| transport.tid);
    if !token_agrees(message, &envelope, tids, &subkeys) {
        return None;
    }
    let opened = message.open(&envelope, &mine.receiver_key).ok()?;
    let packet: IntroductionPacket = Payload::decode(opened.dangerous_peek()).ok()?.packet(INTRODUCTION)?;
    let claimed = Introduction::from_body0(&packet.signed.body0).ok()?.channel.verifying_key;
    opened.verify(&claimed).ok()?;
    Some((envelope, packet))
}

fn unknown(id: u32) -> CommandError {
    CommandError::new(
        Fault::NotFound,
        format!("there is no invitation {id}"),
        "the invitations command lists them with their numbers",
    )
}
