//! The conversation with the rendezvous server: joining, saying what is to be said, leaving.
//!
//! Owns which message follows which on a connection. Everything is derived from what is stored and what passed over this
//! connection, so that it comes out right from wherever it was interrupted. It must not know what the bodies say.

use rand_core::CryptoRngCore;
use serde_json::Value;

use crate::invitation::{
    code::Code,
    hashcash,
    wormhole::{
        APP_ID, AppId, Body, ClientMessage, Mood, Nameplate, Permissions, Phase, ServerMessage, Welcome,
    },
};

use super::{
    Effect, Failure, Run,
    exchange::PAKE,
    link::{Link, Request, Standing},
    state::{Presence, Stage},
};

/// The longest text of a server that is kept, in characters.
const MAX_SERVER_TEXT: usize = 200;

/// The servers' word for more than two sides.
const CROWDED: &str = "crowded";

impl Run {
    pub(super) fn connected(&mut self) {
        self.next.link = Link { standing: Standing::Greeting, ..Link::default() };
    }

    pub(super) fn server_said(&mut self, message: ServerMessage, rng: &mut impl CryptoRngCore) {
        match (self.next.link.standing, message) {
            (Standing::Greeting, ServerMessage::Welcome { welcome }) => self.greeted(welcome, rng),
            (Standing::Down, _) => {}
            // Whoever has forgotten the nameplate has released it.
            (_, ServerMessage::Error { orig, .. }) if is_release(&orig) => self.released(),
            (_, ServerMessage::Error { error, .. }) => self.refused(&error, rng),
            (Standing::Bound, message) => self.bound_server_said(message, rng),
            (Standing::Greeting | Standing::Minting, _) => {}
        }
    }

    pub(super) fn minted(&mut self, stamp: String) {
        if self.next.link.standing == Standing::Minting {
            self.send(ClientMessage::SubmitPermissions { method: "hashcash".into(), stamp: Some(stamp) });
            self.bind();
        }
    }

    /// Sends whatever should be and was not yet sent over this connection.
    pub(super) fn pump(&mut self) {
        if self.next.record.meeting.presence == Presence::Gone {
            return self.hang_up();
        }
        if self.next.link.standing != Standing::Bound {
            return;
        }
        match self.next.record.meeting.presence.clone() {
            Presence::Leaving(mood) => self.pump_leaving(mood),
            Presence::Present | Presence::Gone => self.pump_present(),
        }
    }

    fn greeted(&mut self, mut welcome: Welcome, rng: &mut impl CryptoRngCore) {
        for text in [&mut welcome.motd, &mut welcome.error].into_iter().flatten() {
            *text = printable(text);
        }
        self.effects.push(Effect::Greeted(welcome.clone()));
        if let Some(error) = welcome.error {
            return self.refused(&error, rng);
        }
        match welcome.permission_required {
            None | Some(Permissions { none: Some(_), .. }) => self.bind(),
            Some(Permissions { hashcash: Some(challenge), .. }) if challenge.bits <= hashcash::MAX_BITS => {
                self.next.link.standing = Standing::Minting;
                self.effects.push(Effect::Mint(challenge));
            }
            Some(_) => self.refused("it asks for a permission that Petmail cannot get", rng),
        }
    }

    fn bind(&mut self) {
        self.next.link.standing = Standing::Bound;
        let appid = AppId::new(APP_ID).expect("our appid is short");
        self.send(ClientMessage::Bind { appid, side: self.next.record.side.clone() });
    }

    fn bound_server_said(&mut self, message: ServerMessage, rng: &mut impl CryptoRngCore) {
        match message {
            ServerMessage::Allocated { nameplate } => self.allocated(nameplate, rng),
            ServerMessage::Claimed { mailbox } => {
                let asked = self.next.link.asked.contains(&Request::Claim);
                let meeting = &mut self.next.record.meeting;
                if asked && meeting.mailbox.is_none() {
                    meeting.mailbox = Some(mailbox);
                    self.changed = true;
                }
            }
            ServerMessage::Message { side, phase, body } if side == self.next.record.side => {
                self.echoed(phase, &body);
            }
            ServerMessage::Message { side, phase, body } => self.peer_said(side, phase, body, rng),
            ServerMessage::Pong { .. } => self.synced(rng),
            ServerMessage::Released => self.released(),
            ServerMessage::Closed if self.next.link.asked.contains(&Request::Close) => self.gone(),
            ServerMessage::Welcome { .. }
            | ServerMessage::Nameplates { .. }
            | ServerMessage::Closed
            | ServerMessage::Ack
            | ServerMessage::Error { .. }
            | ServerMessage::Unknown => {}
        }
    }

    fn allocated(&mut self, nameplate: Nameplate, rng: &mut impl CryptoRngCore) {
        let Stage::Allocating { words } = &self.next.record.stage else { return };
        match Code::generate(&nameplate, *words, rng) {
            Ok(code) => {
                self.next.record.meeting.nameplate = Some(nameplate);
                self.effects.push(Effect::Stretch(code.clone()));
                self.enter(Stage::Stretching { code });
            }
            Err(error) => self.refused(&error.to_string(), rng),
        }
    }

    fn released(&mut self) {
        if self.next.link.asked.contains(&Request::Release) {
            self.next.record.meeting.nameplate = None;
            self.changed = true;
        }
    }

    /// The server has a body of ours.
    fn echoed(&mut self, phase: Phase, body: &Body) {
        let meeting = &mut self.next.record.meeting;
        if !meeting.outgoing.iter().any(|ours| ours.phase == phase && ours.body == *body) {
            return;
        }
        if phase.as_str() == PAKE && !meeting.pake_seen {
            meeting.pake_seen = true;
            self.changed = true;
        }
        self.next.link.echoed.insert(phase);
    }

    /// We have seen all that the mailbox held. If our key exchange message was there once and is not now, the server has
    /// forgotten the exchange: with a peer that knows the mailbox all can be said again, without one nobody will come.
    fn synced(&mut self, rng: &mut impl CryptoRngCore) {
        if !self.next.link.asked.contains(&Request::Open) {
            return;
        }
        self.next.link.synced = true;
        let waiting = matches!(self.next.record.stage, Stage::Waiting { .. });
        let here = self.next.link.echoed.iter().any(|phase| phase.as_str() == PAKE);
        if waiting && self.next.record.meeting.pake_seen && !here {
            self.fail(Failure::ExpiredOnServer, rng);
        }
    }

    /// The server refuses something. Before the exchange has begun that is the end; later it is tried again, except that
    /// a crowded mailbox stays crowded.
    fn refused(&mut self, error: &str, rng: &mut impl CryptoRngCore) {
        let crowded = error == CROWDED;
        match &self.next.record.stage {
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. }
                if crowded =>
            {
                self.fail(Failure::Crowded, rng);
                self.gone();
            }
            Stage::Allocating { .. } | Stage::Stretching { .. } | Stage::Waiting { .. }
                if self.next.record.meeting.mailbox.is_none() =>
            {
                self.fail(Failure::ServerRefused(printable(error)), rng);
                self.gone();
            }
            Stage::Committed { .. } | Stage::Introduced { .. } if crowded => self.gone(),
            Stage::Failed(_) | Stage::Expired | Stage::Cancelled | Stage::Confirmed => self.gone(),
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. }
            | Stage::Committed { .. }
            | Stage::Introduced { .. } => self.hang_up(),
        }
    }

    fn pump_present(&mut self) {
        if matches!(self.next.record.stage, Stage::Allocating { .. }) {
            return self.ask(Request::Allocate, ClientMessage::Allocate);
        }
        let meeting = &self.next.record.meeting;
        if meeting.mailbox.is_none() {
            if let Some(nameplate) = meeting.nameplate.clone() {
                self.ask(Request::Claim, ClientMessage::Claim { nameplate });
            }
            return;
        }
        // A body that comes before our own key exchange message exists could not be read.
        if !matches!(self.next.record.stage, Stage::Stretching { .. }) {
            self.say_all();
        }
        if self.next.record.exchange().is_some() {
            self.release();
        }
    }

    fn pump_leaving(&mut self, mood: Mood) {
        self.say_all();
        let (link, meeting) = (&self.next.link, &self.next.record.meeting);
        if !meeting.outgoing.iter().all(|ours| link.echoed.contains(&ours.phase)) {
            return;
        }
        let mailbox = meeting.mailbox.clone();
        self.release();
        match mailbox {
            Some(mailbox) => {
                self.ask(Request::Close, ClientMessage::Close { mailbox: Some(mailbox), mood: Some(mood) })
            }
            None => self.gone(),
        }
    }

    /// Opens the mailbox and, once it has shown all, adds what of ours is missing.
    fn say_all(&mut self) {
        let meeting = &self.next.record.meeting;
        let Some(mailbox) = meeting.mailbox.clone().filter(|_| !meeting.outgoing.is_empty()) else { return };
        if !self.next.link.asked.contains(&Request::Open) {
            self.ask(Request::Open, ClientMessage::Open { mailbox });
            // Servers answer in order: with the pong, all old messages are here.
            self.send(ClientMessage::Ping { ping: 1 });
        }
        if self.next.link.synced {
            self.add_missing();
        }
    }

    fn add_missing(&mut self) {
        let link = &mut self.next.link;
        for ours in &self.next.record.meeting.outgoing {
            if !link.echoed.contains(&ours.phase) && link.added.insert(ours.phase.clone()) {
                let (phase, body) = (ours.phase.clone(), ours.body.clone());
                self.effects.push(Effect::Send(ClientMessage::Add { phase, body }));
            }
        }
    }

    fn release(&mut self) {
        if let Some(nameplate) = self.next.record.meeting.nameplate.clone() {
            self.ask(Request::Release, ClientMessage::Release { nameplate: Some(nameplate) });
        }
    }

    fn ask(&mut self, request: Request, message: ClientMessage) {
        if self.next.link.asked.insert(request) {
            self.send(message);
        }
    }
}

fn is_release(message: &Value) -> bool {
    message.get("type").and_then(Value::as_str) == Some("release")
}

/// A server's text as it may reach a terminal: no control sequences, not endless.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SERVER_TEXT).collect()
}
