//! Two agents, a server, and everything that can go wrong between them, on a virtual clock.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use petmail_proto::{
    invitation::{
        machine::{Input, Status},
        wormhole::{Body, ClientMessage, Mood, Nameplate, Phase, ServerMessage, Side},
    },
    time::UnixMillis,
};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use crate::{
    party::{Crash, Party},
    server::{ConnectionId, Server, Temper},
};

pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// More events than any run needs; more means that two machines chase each other for ever.
const MAX_EVENTS: usize = 5_000;

/// What may go wrong, and how often in all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) drops: usize,
    pub(crate) crashes: usize,
    pub(crate) duplicates: bool,
    pub(crate) shuffles: bool,
    pub(crate) forgets: usize,
    pub(crate) junk: usize,
    pub(crate) cancel: bool,
    /// Crash exactly once: at this boundary, counted over the whole run.
    pub(crate) crash_at: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) parties: [Party; 2],
    pub(crate) now: UnixMillis,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) faults: Faults,
    pub(crate) boundaries: usize,
    /// Whether payloads travel between the parties' mailboxes.
    pub(crate) channel_works: bool,
    to_client: BTreeMap<ConnectionId, VecDeque<ServerMessage>>,
    junk: Option<ConnectionId>,
    last_junk_body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Connect(usize),
    ToServer(usize),
    ToClient(usize),
    Job(usize),
    Restart(usize),
    Channel(usize),
}

impl World {
    pub(crate) fn new(temper: Temper, faults: Faults, parties: [Party; 2], seed: u64) -> Self {
        Self {
            server: Server::new(temper),
            parties,
            now: START,
            rng: ChaCha20Rng::seed_from_u64(seed),
            faults,
            boundaries: 0,
            channel_works: true,
            to_client: BTreeMap::new(),
            junk: None,
            last_junk_body: Body::new(vec![1]).unwrap(),
        }
    }

    /// Lets things happen in random order until `done`, or nothing is left to happen, ever.
    pub(crate) fn run(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..MAX_EVENTS {
            if done(self) {
                return;
            }
            self.mishap();
            let events = self.possible();
            if events.is_empty() {
                if !self.skip_time() {
                    return;
                }
                continue;
            }
            self.now.0 += u64::from(self.rng.next_u32() % 50);
            let event = events[self.below(events.len())];
            self.happen(event);
        }
        panic!("no end in sight: {:?}", self.statuses());
    }

    pub(crate) fn statuses(&self) -> [Option<Status>; 2] {
        [0, 1].map(|i| self.parties[i].invitation.as_ref().map(|invitation| invitation.status()))
    }

    fn possible(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (i, party) in self.parties.iter().enumerate() {
            let Some(invitation) = &party.invitation else {
                events.push(Event::Restart(i));
                continue;
            };
            match party.connection {
                None if invitation.wants_connection() && party.reconnect_at <= self.now => {
                    events.push(Event::Connect(i));
                }
                None => {}
                Some(id) => {
                    if !party.to_server.is_empty() {
                        events.push(Event::ToServer(i));
                    }
                    if !self.to_client[&id].is_empty() {
                        events.push(Event::ToClient(i));
                    }
                }
            }
            if party.job.is_some() {
                events.push(Event::Job(i));
            }
            if self.channel_can_carry(i) {
                events.push(Event::Channel(i));
            }
        }
        events
    }

    /// Whether party `i` has something for the other that the other has not confirmed.
    fn channel_can_carry(&self, i: usize) -> bool {
        let Some(contact) = &self.parties[i].disk.contact else { return false };
        let Some(peer) = &self.parties[1 - i].invitation else { return false };
        let open = matches!(peer.status(), Status::Exchanging | Status::Pending(_));
        self.channel_works && contact.introduction.has_transport() && open
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Connect(i) => {
                let (id, welcome) = self.server.connect();
                self.to_client.insert(id, VecDeque::from([welcome]));
                self.parties[i].connection = Some(id);
                self.hand_in(i, Input::Connected);
            }
            Event::ToServer(i) => {
                let message = self.parties[i].to_server.remove(0);
                let id = self.parties[i].connection.unwrap();
                self.serve(id, message);
            }
            Event::ToClient(i) => {
                let id = self.parties[i].connection.unwrap();
                let message = self.to_client.get_mut(&id).unwrap().pop_front().unwrap();
                self.hand_in(i, Input::Server(message));
            }
            Event::Job(i) => {
                let input = self.parties[i].do_job();
                self.hand_in(i, input);
            }
            Event::Restart(i) => self.parties[i].restart(self.now),
            Event::Channel(i) => {
                let packet = self.parties[i].disk.contact.as_ref().unwrap().packet.clone();
                self.hand_in(1 - i, Input::Introduction(packet));
                if self.parties[1 - i].has_contact() && self.parties[1 - i].invitation.is_some() {
                    self.hand_in(1 - i, Input::Confirmed);
                }
            }
        }
    }

    fn hand_in(&mut self, i: usize, input: Input) {
        let crash = self.next_crash();
        if self.parties[i].handle(input, self.now, crash, &mut self.rng) {
            let hung_up = self.parties[i].invitation.is_some();
            self.disconnect(i, hung_up);
        }
    }

    /// Every effect boundary of every step is a place where the power may fail.
    fn next_crash(&mut self) -> Crash {
        const BOUNDARIES_PER_STEP: usize = 6;
        let from = self.boundaries;
        self.boundaries += BOUNDARIES_PER_STEP;
        let by_chance = self.faults.crashes > 0 && self.below(12) == 0;
        let place = match self.faults.crash_at {
            Some(at) if (from..self.boundaries).contains(&at) => at - from,
            None if by_chance => {
                self.faults.crashes -= 1;
                self.below(BOUNDARIES_PER_STEP)
            }
            _ => return Crash::Never,
        };
        place.checked_sub(1).map_or(Crash::BeforeCommit, Crash::After)
    }

    fn serve(&mut self, id: ConnectionId, message: ClientMessage) {
        let replay = matches!(message, ClientMessage::Open { .. });
        let mut answers = self.server.handle(id, message);
        if replay && self.faults.shuffles {
            for i in (1..answers.len()).rev() {
                let j = self.below(i + 1);
                answers.swap(i, j);
            }
        }
        for (id, answer) in answers {
            let twice = self.faults.duplicates
                && matches!(answer, ServerMessage::Message { .. })
                && self.below(3) == 0;
            if let Some(queue) = self.to_client.get_mut(&id) {
                queue.extend(std::iter::repeat_n(answer, if twice { 2 } else { 1 }));
            }
        }
    }

    /// The connection ends; if it is lost rather than closed, only some of what was sent over it arrives.
    fn disconnect(&mut self, i: usize, all_arrives: bool) {
        let Some(id) = self.parties[i].connection.take() else { return };
        let sent = std::mem::take(&mut self.parties[i].to_server);
        let arrives = if all_arrives { sent.len() } else { self.below(sent.len() + 1) };
        for message in sent.into_iter().take(arrives) {
            self.serve(id, message);
        }
        self.server.disconnect(id);
        self.to_client.remove(&id);
        self.parties[i].reconnect_at = self.now.plus(Duration::from_secs(5));
        if self.parties[i].invitation.is_some() {
            self.hand_in(i, Input::Disconnected);
        }
    }

    fn mishap(&mut self) {
        if self.faults.drops > 0 && self.below(10) == 0 {
            self.faults.drops -= 1;
            let i = self.below(2);
            self.disconnect(i, false);
        }
        if self.faults.forgets > 0 && self.below(10) == 0 {
            self.faults.forgets -= 1;
            self.disconnect(0, false);
            self.disconnect(1, false);
            self.server.forget_idle();
        }
        if self.faults.junk > 0 && self.below(20) == 0 {
            self.faults.junk -= 1;
            self.junk_acts();
        }
        if self.faults.cancel && self.below(40) == 0 {
            self.faults.cancel = false;
            self.cancel();
        }
    }

    fn cancel(&mut self) {
        let Some(invitation) = self.parties[0].invitation.clone() else { return };
        if invitation.handle(Input::Cancel, self.now, &mut self.rng).is_ok() {
            self.hand_in(0, Input::Cancel);
        }
    }

    /// A stranger who has guessed the nameplate, knows the protocol, and says what it likes as whom it likes.
    fn junk_acts(&mut self) {
        let Some(code) = self.parties[0].code.clone() else { return };
        if let Some(id) = self.junk.filter(|_| self.below(5) > 0) {
            let (phase, body) = (self.junk_phase(), self.junk_body());
            return self.serve(id, ClientMessage::Add { phase, body });
        }
        if let Some(old) = self.junk.take() {
            self.server.disconnect(old);
            self.to_client.remove(&old);
        }
        let (id, _) = self.server.connect();
        self.to_client.insert(id, VecDeque::new());
        self.junk = Some(id);
        let side = self.junk_side();
        let appid = petmail_proto::invitation::wormhole::AppId::new("a").unwrap();
        self.serve(id, ClientMessage::Bind { appid, side });
        let nameplate: Nameplate = code.nameplate();
        self.serve(id, ClientMessage::Claim { nameplate });
        let claimed = self.to_client[&id].iter().find_map(|message| match message {
            ServerMessage::Claimed { mailbox } => Some(mailbox.clone()),
            _ => None,
        });
        let Some(mailbox) = claimed else { return };
        self.serve(id, ClientMessage::Open { mailbox: mailbox.clone() });
        if self.below(8) == 0 {
            let mood = Some(Mood::new("junk").unwrap());
            self.serve(id, ClientMessage::Close { mailbox: Some(mailbox), mood });
            self.junk = None;
        }
    }

    fn junk_side(&mut self) -> Side {
        let known = self.server.sides();
        match self.below(3) {
            0 if !known.is_empty() => known[self.below(known.len())].clone(),
            _ => Side::generate(&mut self.rng),
        }
    }

    fn junk_phase(&mut self) -> Phase {
        let phases = ["pake", "pake", "version", "0", "abort", "news"];
        Phase::new(phases[self.below(phases.len())]).unwrap()
    }

    /// Nothing at all, garbage, an honest-looking message for a guessed code, or what another has just said.
    fn junk_body(&mut self) -> Body {
        use petmail_proto::invitation::{pake::PakeSecret, stretch::StretchedCode};
        let heard = self.junk.and_then(|id| {
            self.to_client[&id].iter().rev().find_map(|message| match message {
                ServerMessage::Message { body, .. } => Some(body.clone()),
                _ => None,
            })
        });
        let body = match self.below(4) {
            0 => Body::new(Vec::new()).unwrap(),
            1 => Body::new(vec![7; 60]).unwrap(),
            2 => PakeSecret::generate(StretchedCode::from_bytes([9; 32]), &mut self.rng).body(),
            _ => heard.unwrap_or_else(|| self.last_junk_body.clone()),
        };
        self.last_junk_body = body.clone();
        body
    }

    /// Nothing can happen now: jumps to when something can. False if nothing ever will.
    fn skip_time(&mut self) -> bool {
        let wakes = self.parties.iter().filter_map(|party| party.wake);
        let connects = self.parties.iter().filter_map(|party| {
            let wants = party.invitation.as_ref().is_some_and(|invitation| invitation.wants_connection());
            (wants && party.connection.is_none()).then_some(party.reconnect_at)
        });
        let Some(next) = wakes.chain(connects).min() else { return false };
        self.now = self.now.max(next);
        for i in 0..2 {
            if self.parties[i].wake.is_some_and(|wake| wake <= self.now) {
                self.parties[i].wake = None;
                self.hand_in(i, Input::Tick);
            }
        }
        true
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.next_u32()).unwrap() % bound
    }
}
