//! One connection's way through the protocol.
//!
//! Owns what a connection may do when: permission before `bind`, `bind` before the rest, most things once. The rules
//! among the sides of a mailbox are the directory's. Specification: `docs/protocol/`, invitations (§2), and
//! magic-wormhole's `server-protocol`.

use std::sync::Arc;

use petmail_proto::invitation::wormhole::{
    AppId, Body, ClientMessage, HashcashChallenge, MailboxId, Nameplate, NameplateEntry, Phase, RequestId,
    ServerFrame, ServerMessage, Side,
};
use petmail_proto::time::UnixMillis;
use rand_core::CryptoRngCore;

use super::directory::{Caller, Origin};
use super::record::Place;
use super::{ConnectionId, Effect, State, refuse};
use crate::refusal::Refusal;
use crate::request::Request;

/// What the server remembers of a connection.
#[derive(Debug)]
pub(super) struct Session {
    origin: Origin,
    since: UnixMillis,
    /// What still stands between this client and a `bind`.
    challenge: Option<HashcashChallenge>,
    bound: Option<(AppId, Side)>,
    allocated: bool,
    claimed: Option<Nameplate>,
    released: bool,
    /// The mailbox last opened.
    mailbox: Option<MailboxId>,
    listening: bool,
    closed: bool,
}

impl Session {
    pub(super) fn new(origin: Origin, challenge: Option<HashcashChallenge>, since: UnixMillis) -> Self {
        Self {
            origin,
            since,
            challenge,
            bound: None,
            allocated: false,
            claimed: None,
            released: false,
            mailbox: None,
            listening: false,
            closed: false,
        }
    }

    /// The mailbox that this connection listens to.
    pub(super) fn place(&self) -> Option<Place> {
        let (app, _) = self.bound.as_ref()?;
        let mailbox = self.mailbox.as_ref().filter(|_| self.listening)?;
        Some(Place { app: app.clone(), mailbox: mailbox.clone() })
    }

    pub(super) fn forget_mailbox(&mut self) {
        self.listening = false;
    }

    pub(super) fn is_unbound_since(&self, before: UnixMillis) -> bool {
        self.bound.is_none() && self.since < before
    }

    fn caller(&self, now: UnixMillis) -> Result<Caller<'_>, Refusal> {
        let (app, side) = self.bound.as_ref().ok_or(Refusal::MustBind)?;
        Ok(Caller { app, side, origin: self.origin, now })
    }

    fn is_bound(&self) -> bool {
        self.bound.is_some()
    }
}

/// One message being obeyed.
struct Turn<'a, R> {
    connection: ConnectionId,
    session: &'a mut Session,
    id: Option<RequestId>,
    now: UnixMillis,
    rng: &'a mut R,
    effects: &'a mut Vec<Effect>,
}

impl<R> Turn<'_, R> {
    fn send(&mut self, message: ServerMessage) {
        self.effects.push(Effect::Send(self.connection, Arc::new(message.into())));
    }
}

impl State {
    /// Acknowledges a message, then obeys or refuses it.
    pub(super) fn request<R: CryptoRngCore>(
        &mut self,
        connection: ConnectionId,
        request: Request,
        now: UnixMillis,
        rng: &mut R,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut session) = self.sessions.remove(&connection) else { return };
        let Request { id, orig, before_bind, message } = request;
        if message != Err(Refusal::MissingType) {
            let ack = ServerFrame { id: id.clone(), ..ServerMessage::Ack.into() };
            effects.push(Effect::Send(connection, Arc::new(ack)));
        }
        let message = if before_bind || session.is_bound() { message } else { Err(Refusal::MustBind) };
        let mut turn = Turn { connection, session: &mut session, id, now, rng, effects };
        let refused = message.and_then(|message| self.obey(message, &mut turn)).err();
        let ended = refused.as_ref().is_some_and(Refusal::ends_connection);
        self.sessions.insert(connection, session);
        if ended {
            self.disconnect(connection);
        }
        effects.extend(refused.into_iter().flat_map(|refusal| refuse(connection, refusal, orig.clone())));
    }

    fn obey<R: CryptoRngCore>(
        &mut self,
        message: ClientMessage,
        turn: &mut Turn<'_, R>,
    ) -> Result<(), Refusal> {
        match message {
            ClientMessage::Ping { ping } => turn.send(ServerMessage::Pong { pong: ping }),
            ClientMessage::SubmitPermissions { method, stamp } => permit(&method, stamp.as_deref(), turn)?,
            ClientMessage::Bind { appid, side } => self.bind(appid, side, turn.session)?,
            ClientMessage::List => self.list(turn)?,
            ClientMessage::Allocate => self.allocate(turn)?,
            ClientMessage::Claim { nameplate } => self.claim(nameplate, turn)?,
            ClientMessage::Release { nameplate } => self.release(nameplate, turn)?,
            ClientMessage::Open { mailbox } => self.open(mailbox, turn)?,
            ClientMessage::Add { phase, body } => self.add(phase, body, turn)?,
            ClientMessage::Close { mailbox, .. } => self.close(mailbox, turn)?,
        }
        Ok(())
    }

    fn bind(&self, app: AppId, side: Side, session: &mut Session) -> Result<(), Refusal> {
        if session.challenge.is_some() {
            return Err(Refusal::PermissionDenied);
        }
        if session.is_bound() {
            return Err(Refusal::AlreadyBound);
        }
        let allowed = &self.policy.allowed_appids;
        if !allowed.is_empty() && !allowed.contains(&app) {
            return Err(Refusal::AppIdNotAllowed);
        }
        session.bound = Some((app, side));
        Ok(())
    }

    fn list<R>(&self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        let caller = turn.session.caller(turn.now)?;
        let listed = if self.policy.allow_list { self.directory.nameplates(caller.app) } else { Vec::new() };
        let nameplates = listed.into_iter().map(|id| NameplateEntry { id }).collect();
        turn.send(ServerMessage::Nameplates { nameplates });
        Ok(())
    }

    fn allocate<R: CryptoRngCore>(&mut self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        if turn.session.allocated {
            return Err(Refusal::AllocatedTwice);
        }
        let nameplate = self.directory.allocate(turn.session.caller(turn.now)?, turn.rng)?;
        turn.session.allocated = true;
        turn.send(ServerMessage::Allocated { nameplate });
        Ok(())
    }

    fn claim<R: CryptoRngCore>(
        &mut self,
        nameplate: Nameplate,
        turn: &mut Turn<'_, R>,
    ) -> Result<(), Refusal> {
        if turn.session.claimed.is_some() {
            return Err(Refusal::ClaimedTwice);
        }
        turn.session.claimed = Some(nameplate.clone());
        let mailbox = self.directory.claim(turn.session.caller(turn.now)?, &nameplate, turn.rng)?;
        turn.send(ServerMessage::Claimed { mailbox });
        Ok(())
    }

    fn release<R>(&mut self, named: Option<Nameplate>, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        if turn.session.released {
            return Err(Refusal::ReleasedTwice);
        }
        let nameplate = same_or_known(named, turn.session.claimed.as_ref(), Refusal::ReleaseMismatch)?
            .ok_or(Refusal::ReleaseWithoutClaim)?;
        self.directory.release(turn.session.caller(turn.now)?, &nameplate);
        turn.session.released = true;
        turn.send(ServerMessage::Released);
        Ok(())
    }

    fn open<R>(&mut self, mailbox: MailboxId, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        if turn.session.listening {
            return Err(Refusal::OpenedTwice);
        }
        let caller = turn.session.caller(turn.now)?;
        self.directory.open(caller, &mailbox)?;
        let place = caller.place(&mailbox);
        let old =
            self.directory.messages(&place).map(|frame| Effect::Send(turn.connection, Arc::clone(frame)));
        turn.effects.extend(old);
        self.subscribe(turn.connection, place);
        turn.session.mailbox = Some(mailbox);
        turn.session.listening = true;
        Ok(())
    }

    fn add<R>(&mut self, phase: Phase, body: Body, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        let place = turn.session.place().ok_or(Refusal::NotOpen)?;
        let caller = turn.session.caller(turn.now)?;
        let frame = self.directory.add(caller, &place.mailbox, (phase, body, turn.id.take()))?;
        let listeners = self.listeners.get(&place).into_iter().flatten();
        turn.effects.extend(listeners.map(|listener| Effect::Send(*listener, Arc::clone(&frame))));
        Ok(())
    }

    fn close<R>(&mut self, named: Option<MailboxId>, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        if turn.session.closed {
            return Err(Refusal::ClosedTwice);
        }
        let mailbox = same_or_known(named, turn.session.mailbox.as_ref(), Refusal::CloseMismatch)?
            .ok_or(Refusal::CloseWithoutOpen)?;
        let caller = turn.session.caller(turn.now)?;
        let deleted = self.directory.close(caller, &mailbox)?;
        let place = caller.place(&mailbox);
        self.unsubscribe(turn.connection, &place);
        if deleted {
            self.drop_listeners(&place);
        }
        turn.session.listening = false;
        turn.session.closed = true;
        turn.send(ServerMessage::Closed);
        Ok(())
    }
}

/// Checks what a client offers for permission to bind. Where none is needed, anything will do.
fn permit<R>(method: &str, stamp: Option<&str>, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
    let Some(challenge) = &turn.session.challenge else { return Ok(()) };
    let stamp = stamp.filter(|_| method == "hashcash").ok_or(Refusal::PermissionDenied)?;
    challenge.verify(stamp).map_err(|_| Refusal::PermissionDenied)?;
    turn.session.challenge = None;
    Ok(())
}

/// The name in the message, or by default the one known; both must agree.
fn same_or_known<T: Clone + PartialEq>(
    named: Option<T>,
    known: Option<&T>,
    mismatch: Refusal,
) -> Result<Option<T>, Refusal> {
    match (named, known) {
        (Some(named), Some(known)) if named != *known => Err(mismatch),
        (named, known) => Ok(named.or_else(|| known.cloned())),
    }
}
