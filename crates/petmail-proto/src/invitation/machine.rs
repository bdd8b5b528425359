//! The state machine of one invitation, restartable at every step.
//!
//! Owns the order in which things happen: what is stored before what is sent, when each body may be read, when to give
//! up, and when to leave the server. It gives an attacker one guess, ever. It must not know how its effects are carried
//! out. Specification: `docs/protocol/`, invitations (§2).
//!
//! A program keeps, for each invitation, an [`Invitation`] and its stored [`InvitationRecord`]. While
//! [`Invitation::wants_connection`] it holds a connection to the rendezvous server, reconnecting with growing delays, and
//! hands everything that happens to [`Invitation::handle`]. Of each [`Step`] it carries out the effects in order, and only
//! then replaces the invitation by `next`: [`Effect::Persist`], [`Effect::Burn`], [`Effect::Completed`],
//! [`Effect::Failed`] and [`Effect::Expired`] of one step are **one transaction**, committed before anything is sent. If
//! it fails, the old invitation stays and the connection is dropped.

mod exchange;
mod link;
mod outcome;
mod rendezvous;
mod state;

use core::time::Duration;

use rand_core::CryptoRngCore;

use crate::{keys::ChannelSigningKey, time::UnixMillis};

use super::{
    code::{BurntCode, Code, WordCount},
    introduction::{Introduction, IntroductionError, IntroductionPacket, Purpose, Unverified},
    pake::PakeSecret,
    stretch::StretchedCode,
    wormhole::{ClientMessage, HashcashChallenge, Mood, Nameplate, ServerMessage, Side, Welcome},
};

pub use outcome::{Completed, Failure, Reach, Status};
pub use state::InvitationRecord;

use link::{Link, Standing};
use state::{Local, Meeting, Presence, Stage};

/// How long an invitation lives unless its person says otherwise; as long as `petmail-rendezvous` keeps an exchange.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long after the key exchange an introduction is still accepted through the channel.
pub const INTRODUCTION_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// One invitation.
#[derive(Clone, Debug)]
pub struct Invitation {
    record: InvitationRecord,
    link: Link,
}

/// What this side brings to an invitation.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the peer will learn; its record made for this invitation alone.
    pub introduction: Introduction,
    /// The secret half of the record's verifying key.
    pub signing_key: ChannelSigningKey,
    /// When to give up; usually [`DEFAULT_LIFE`] from now.
    pub expires: UnixMillis,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a new connection to the rendezvous server; what comes from older ones is not handed in any more.
    Connected,
    /// The connection is lost.
    Disconnected,
    /// The server said this.
    Server(ServerMessage),
    /// The work of [`Effect::Stretch`] is done.
    Stretched(StretchedCode),
    /// The work of [`Effect::Mint`] is done.
    Minted(String),
    /// The time of [`Effect::Wake`] has come.
    Tick,
    /// The person calls it off.
    Cancel,
    /// A message that opened with this invitation's channel keys carried this packet.
    Introduction(IntroductionPacket),
    /// The peer's first payload came through the channel.
    Confirmed,
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Store `next.record()`. Always first.
    Persist,
    /// Remember that a human-made code is used up; part of the transaction.
    Burn(BurntCode),
    /// Put the contact into the address book; part of the transaction.
    Completed(Box<Completed>),
    /// Tell the person, and remove the contact if there is one; part of the transaction.
    Failed(Failure),
    /// Tell the person; part of the transaction.
    Expired,
    /// Stretch the code ([`StretchedCode::derive`]) where it blocks nobody, and answer [`Input::Stretched`].
    Stretch(Code),
    /// Mint a stamp ([`HashcashChallenge::mint`]) where it blocks nobody, and answer [`Input::Minted`].
    Mint(HashcashChallenge),
    /// Show what the server says of itself; its texts are cut to one printable line.
    Greeted(Welcome),
    /// Send this over the present connection, if it is still there.
    Send(ClientMessage),
    /// Close the present connection; [`Invitation::wants_connection`] says whether to make another.
    Disconnect,
    /// Hand in [`Input::Tick`] at this time; replaces the time set before.
    Wake(UnixMillis),
}

/// The answer to an input.
#[derive(Clone, Debug)]
pub struct Step {
    /// The invitation after the input.
    pub next: Invitation,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

/// Why an input was refused; the invitation is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The invitation is over, or has become a contact.
    #[error("the invitation can no longer be cancelled")]
    TooLate,
    /// The channel cannot have carried this yet.
    #[error("the invitation is not far enough for a message through the channel")]
    TooEarly,
    /// The packet is refused.
    #[error("the introduction packet is not acceptable: {0}")]
    Introduction(#[from] IntroductionError),
}

impl Invitation {
    /// Begins an invitation whose code the rendezvous server and chance make; [`Invitation::code`] shows it when it is
    /// there.
    ///
    /// # Errors
    /// [`IntroductionError`] if the terms are not acceptable.
    pub fn allocate(
        terms: Terms,
        words: WordCount,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Step, IntroductionError> {
        Self::start(terms, Stage::Allocating { words }, None, now, rng)
    }

    /// Begins an invitation with a code that a person typed. The caller has checked it against burnt codes
    /// ([`Code::is_refused`]).
    ///
    /// # Errors
    /// [`IntroductionError`] if the terms are not acceptable.
    pub fn with_code(
        terms: Terms,
        code: Code,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Step, IntroductionError> {
        let nameplate = Some(code.nameplate());
        Self::start(terms, Stage::Stretching { code }, nameplate, now, rng)
    }

    /// Takes up a stored invitation after a restart.
    #[must_use]
    pub fn restore(record: InvitationRecord, now: UnixMillis) -> Step {
        let next = Self { record, link: Link::default() };
        let mut run = Run::new(&next, now);
        run.check_deadlines();
        run.resume();
        run.finish(None)
    }

    /// Answers an input.
    ///
    /// # Errors
    /// [`InputError`] if the person or the channel asks for what cannot be. What the server says is never an error.
    pub fn handle(
        &self,
        input: Input,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Step, InputError> {
        let mut run = Run::new(self, now);
        run.check_deadlines();
        // The clock may have been set back: then the time has not come, and is to be waited for again.
        let is_awaited = !matches!(input, Input::Tick);
        match input {
            Input::Connected => run.connected(),
            Input::Disconnected => run.next.link = Link::default(),
            Input::Server(message) => run.server_said(message, rng),
            Input::Stretched(password) => run.stretched(password, rng),
            Input::Minted(stamp) => run.minted(stamp),
            Input::Tick => {}
            Input::Cancel => run.cancel(rng)?,
            Input::Introduction(packet) => run.introduction_packet(packet, rng)?,
            Input::Confirmed => run.confirmed()?,
        }
        run.pump();
        Ok(run.finish(self.record.next_deadline().filter(|_| is_awaited)))
    }

    /// What is to be stored.
    #[must_use]
    pub const fn record(&self) -> &InvitationRecord {
        &self.record
    }

    /// What this side takes the other to be.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.record.local.purpose
    }

    /// How the invitation stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.record.status()
    }

    /// The code, from when it is known until somebody answers.
    #[must_use]
    pub const fn code(&self) -> Option<&Code> {
        self.record.code()
    }

    /// When the invitation gives up waiting at the server.
    #[must_use]
    pub const fn expires(&self) -> UnixMillis {
        self.record.expires
    }

    /// Whether there is something to do at the rendezvous server.
    #[must_use]
    pub fn wants_connection(&self) -> bool {
        self.record.meeting.presence != Presence::Gone
    }

    /// Whether the channel may bring an introduction; until then the channel's keys must be kept.
    #[must_use]
    pub const fn expects_introduction(&self) -> bool {
        matches!(self.record.stage, Stage::Committed { .. })
    }

    fn start(
        terms: Terms,
        stage: Stage,
        nameplate: Option<Nameplate>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Step, IntroductionError> {
        let Terms { introduction, signing_key, expires } = terms;
        if introduction.channel.verifying_key != signing_key.verifying_key() {
            return Err(IntroductionError::Signature);
        }
        let local = Local {
            body0: introduction.to_body0()?,
            signing_key,
            purpose: introduction.purpose,
            has_transport: introduction.has_transport(),
        };
        let meeting = Meeting {
            nameplate,
            mailbox: None,
            pake_seen: false,
            outgoing: Vec::new(),
            presence: Presence::Present,
        };
        let record = InvitationRecord { side: Side::generate(rng), local, expires, stage, meeting };
        let mut step = Self::restore(record, now);
        step.effects.insert(0, Effect::Persist);
        Ok(step)
    }
}

/// One step in the making.
#[derive(Debug)]
struct Run {
    next: Invitation,
    now: UnixMillis,
    changed: bool,
    effects: Vec<Effect>,
}

impl Run {
    fn new(invitation: &Invitation, now: UnixMillis) -> Self {
        Self { next: invitation.clone(), now, changed: false, effects: Vec::new() }
    }

    /// Takes up the work that a restart interrupted.
    fn resume(&mut self) {
        if let Stage::Stretching { code } = &self.next.record.stage {
            self.effects.push(Effect::Stretch(code.clone()));
        }
    }

    fn finish(mut self, old_deadline: Option<UnixMillis>) -> Step {
        let deadline = self.next.record.next_deadline();
        if deadline != old_deadline {
            self.effects.extend(deadline.map(Effect::Wake));
        }
        if self.changed {
            self.effects.insert(0, Effect::Persist);
        }
        Step { next: self.next, effects: self.effects }
    }

    fn enter(&mut self, stage: Stage) {
        self.next.record.stage = stage;
        self.changed = true;
    }

    fn send(&mut self, message: ClientMessage) {
        self.effects.push(Effect::Send(message));
    }

    fn check_deadlines(&mut self) {
        if self.now >= self.next.record.expires && self.next.wants_connection() {
            self.life_is_over();
        }
        if let Stage::Committed { exchange, .. } = &self.next.record.stage
            && self.now >= exchange.until
        {
            self.expire();
        }
    }

    /// The server's part is over. Who is committed still waits for the channel.
    fn life_is_over(&mut self) {
        if self.next.record.meeting.presence != Presence::Present {
            return self.gone();
        }
        let mood = if self.next.record.exchange().is_some() { "happy" } else { "lonely" };
        match &mut self.next.record.stage {
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. } => self.expire(),
            Stage::Introduced { exchange, .. } => *exchange = None,
            Stage::Committed { .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => {}
        }
        self.depart(mood);
    }

    fn expire(&mut self) {
        self.enter(Stage::Expired);
        self.effects.push(Effect::Expired);
    }

    fn cancel(&mut self, rng: &mut impl CryptoRngCore) -> Result<(), InputError> {
        match &self.next.record.stage {
            Stage::Allocating { .. } | Stage::Stretching { .. } | Stage::Waiting { .. } => {
                self.enter(Stage::Cancelled);
                self.depart("lonely");
            }
            Stage::Keyed { .. } | Stage::Committed { .. } => {
                self.say_abort(exchange::Abort::Cancelled, rng);
                self.enter(Stage::Cancelled);
                self.leave("errory");
            }
            Stage::Introduced { .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => return Err(InputError::TooLate),
        }
        Ok(())
    }

    fn confirmed(&mut self) -> Result<(), InputError> {
        match &self.next.record.stage {
            Stage::Introduced { .. } => {
                self.enter(Stage::Confirmed);
                self.depart("happy");
                Ok(())
            }
            Stage::Confirmed => Ok(()),
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. }
            | Stage::Committed { .. } => Err(InputError::TooEarly),
            Stage::Failed(_) | Stage::Expired | Stage::Cancelled => Err(InputError::TooLate),
        }
    }

    fn stretched(&mut self, password: StretchedCode, rng: &mut impl CryptoRngCore) {
        if let Stage::Stretching { code } = &self.next.record.stage {
            let (code, pake) = (code.clone(), PakeSecret::generate(password, rng));
            self.say(exchange::PAKE, pake.body());
            self.enter(Stage::Waiting { code, pake });
        }
    }

    fn introduction_packet(
        &mut self,
        packet: IntroductionPacket,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), InputError> {
        match &self.next.record.stage {
            Stage::Committed { exchange, commitment } => {
                let verified = Unverified::new(packet).verify(&exchange.peer, commitment, &exchange.key)?;
                self.introduced(verified, rng);
                Ok(())
            }
            // Each payload repeats the packet until the peer knows that one has arrived.
            Stage::Introduced { .. } | Stage::Confirmed => Ok(()),
            // Without the peer's commitment the safety words would prove nothing; and our own introduction, without which
            // nobody can write to us, is not out before the commitment is stored.
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. } => Err(InputError::TooEarly),
            Stage::Failed(_) | Stage::Expired | Stage::Cancelled => Err(InputError::TooLate),
        }
    }

    /// Leaves the server once it has all that we said, so that the peer can read it.
    fn leave(&mut self, mood: &'static str) {
        let meeting = &mut self.next.record.meeting;
        if meeting.presence != Presence::Gone {
            meeting.presence = Presence::Leaving(mood_named(mood));
            self.changed = true;
        }
    }

    /// Leaves the server at once; what is not said is not needed any more.
    fn depart(&mut self, mood: &'static str) {
        self.leave(mood);
        self.next.record.meeting.outgoing.clear();
        if self.next.link.standing != Standing::Bound {
            self.gone();
        }
    }

    /// Has nothing to do at the server any more.
    fn gone(&mut self) {
        let meeting = &mut self.next.record.meeting;
        if meeting.presence != Presence::Gone {
            meeting.presence = Presence::Gone;
            meeting.outgoing.clear();
            self.changed = true;
        }
        self.hang_up();
    }

    fn hang_up(&mut self) {
        if self.next.link.standing != Standing::Down {
            self.next.link = Link::default();
            self.effects.push(Effect::Disconnect);
        }
    }
}

fn mood_named(mood: &'static str) -> Mood {
    Mood::new(mood).expect("our moods are short")
}
