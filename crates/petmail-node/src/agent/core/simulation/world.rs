//! The nodes, the servers between them, the clock, and everything that goes wrong until a point in time.

use std::{collections::BTreeMap, time::Duration};

use petmail_proto::{invitation::machine::Input, outbox::Outcome, time::UnixMillis};
use rand_chacha::{
    ChaCha20Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{
    check::Ledger,
    disk::Disk,
    mailbox::MailServer,
    node::{Committed, Node, Trouble},
    rendezvous::Rendezvous,
    script::{FAULTY, Meeting, Plan, SETTLING, SLOW_PACE, SLOW_SETTLING, START},
};
use crate::agent::{
    core::{Core, Step},
    error::CommandError,
};

/// More events than any run needs: more means that something chases itself for ever.
const MAX_EVENTS: usize = 30_000;

#[derive(Debug)]
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) servers: Vec<MailServer>,
    pub(super) rendezvous: Rendezvous,
    pub(super) meetings: Vec<Meeting>,
    pub(super) plans: Vec<Plan>,
    pub(super) backups: BTreeMap<usize, Disk>,
    pub(super) now: UnixMillis,
    pub(super) faults_until: UnixMillis,
    pub(super) rng: ChaCha20Rng,
    pub(super) ledger: Ledger,
}

/// What can happen next; numbers are positions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Do(usize),
    Start(usize),
    Effect(usize),
    Connect(usize, u32),
    Upstream(usize, u32),
    Downstream(usize, u32),
    Stretch(usize),
    Tick(usize, u32),
    AskOutbox(usize),
    Deliver(usize, usize),
    Answer(usize, usize),
    Redeem(usize, u32),
    Rekey(usize, u32),
    Fetch(usize, u32),
    SweepAcknowledged(usize),
    EraseKeys(usize),
    NoteClock(usize),
    RetryQuarantine(usize),
    TellContacts(usize),
    SweepRemoved(usize),
}

impl World {
    pub(super) fn new(names: &[&'static str], servers: usize, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Self {
            nodes: names.iter().map(|name| Node::new(name)).collect(),
            servers: (0..servers).map(|i| MailServer::new(&format!("mail{i}"), &mut rng)).collect(),
            rendezvous: Rendezvous::default(),
            meetings: Vec::new(),
            plans: Vec::new(),
            backups: BTreeMap::new(),
            now: START,
            faults_until: START.plus(FAULTY),
            rng,
            ledger: Ledger::default(),
        }
    }

    /// Lets things happen in random order until nothing is left to happen.
    pub(super) fn run(&mut self) {
        for _ in 0..MAX_EVENTS {
            if self.now >= START.plus(FAULTY) {
                self.switch_copies_off();
            }
            self.mishap();
            let events = self.possible();
            if events.is_empty() {
                if !self.skip_time() {
                    return;
                }
                continue;
            }
            self.now.0 += u64::from(self.rng.next_u32() % 100) * self.pace();
            let event = events[self.below(events.len())];
            self.happen(event);
        }
        panic!("no end in sight at {}", self.now);
    }

    pub(super) fn step<T>(
        &mut self,
        index: usize,
        operation: impl FnOnce(&mut Core, &mut Step, UnixMillis, &mut ChaCha20Rng) -> Result<T, CommandError>,
    ) -> Option<T> {
        let trouble = self.trouble();
        let committed = self.nodes[index].step(trouble, self.now, &mut self.rng, operation);
        if let Some(Committed { writes, .. }) = &committed {
            self.ledger.committed(index, &self.nodes[index], writes);
        }
        if self.nodes[index].core.is_none() {
            self.crashed(index);
        }
        committed.map(|committed| committed.result)
    }

    fn trouble(&mut self) -> Trouble {
        if !self.is_faulty() {
            return Trouble::None;
        }
        match self.below(60) {
            0..4 => Trouble::CommitFails,
            4 => Trouble::CrashBeforeCommit,
            5 => Trouble::CrashAfterCommit,
            _ => Trouble::None,
        }
    }

    /// What the node had on its way arrives or does not; the rest of its memory is gone.
    pub(super) fn crashed(&mut self, index: usize) {
        self.nodes[index].core = None;
        let flights = std::mem::take(&mut self.nodes[index].tasks.flights);
        for flight in flights.iter().filter(|flight| flight.ended.is_none()) {
            if self.below(2) == 0 {
                self.arrive(index, &flight.offer).map_or_else(drop, drop);
            }
        }
        let lines: Vec<_> = self.nodes[index].tasks.lines.keys().copied().collect();
        for invitation in lines {
            self.break_line(index, invitation);
        }
        self.nodes[index].tasks = Default::default();
    }

    /// A connection to the rendezvous server ends; only some of what was sent over it arrives.
    pub(super) fn break_line(&mut self, index: usize, invitation: u32) {
        let Some(mut line) = self.nodes[index].tasks.lines.remove(&invitation) else { return };
        let arrives = self.below(line.outgoing.len() + 1);
        for message in line.outgoing.drain(..arrives) {
            self.rendezvous.handle(line.id, message);
        }
        self.rendezvous.disconnect(line.id);
        self.nodes[index].tasks.reconnect_at = self.now.plus(Duration::from_secs(5));
    }

    fn mishap(&mut self) {
        if !self.is_faulty() || self.below(40) > 0 {
            return;
        }
        let index = self.below(self.nodes.len());
        if self.below(2) == 0 {
            return self.crashed(index);
        }
        let lines: Vec<_> = self.nodes[index].tasks.lines.keys().copied().collect();
        if !lines.is_empty() {
            let invitation = lines[self.below(lines.len())];
            self.break_line(index, invitation);
            self.input(index, invitation, Input::Disconnected);
        }
    }

    pub(super) fn input(&mut self, index: usize, invitation: u32, input: Input) -> bool {
        let taken =
            self.step(index, |core, step, now, rng| core.invitation_input(step, invitation, input, now, rng));
        taken.is_some()
    }

    /// How a delivery ends: mostly well, once things have settled always.
    pub(super) fn outcome(&mut self) -> (bool, Outcome) {
        let failed = |retry_after, is_full| Outcome::Failed { retry_after, is_full };
        if !self.is_faulty() {
            return (true, Outcome::Taken);
        }
        match self.below(10) {
            0 => (true, failed(None, false)),
            1 => (false, failed(None, false)),
            2 => (false, failed(None, true)),
            3 => (false, failed(Some(Duration::from_secs(40)), false)),
            _ => (true, Outcome::Taken),
        }
    }

    /// When something that leaves now is there: while things go wrong it may be long under way.
    pub(super) fn travel_end(&mut self) -> UnixMillis {
        let millis = if self.is_faulty() { self.below(4_000) as u64 * self.pace() } else { 0 };
        self.now.plus(Duration::from_millis(millis))
    }

    /// Tells whether weeks pass, with much time between things.
    pub(super) fn is_slow(&self) -> bool {
        self.faults_until > START.plus(FAULTY)
    }

    /// How much faster than in the beginning time passes.
    fn pace(&self) -> u64 {
        let is_slow = self.now >= START.plus(FAULTY) && self.is_faulty();
        if is_slow { SLOW_PACE } else { 1 }
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.now < self.faults_until
    }

    fn switch_copies_off(&mut self) {
        for copy in self.nodes.iter_mut().filter(|node| node.is_copy) {
            copy.core = None;
            copy.tasks = Default::default();
            copy.away_until = UnixMillis(u64::MAX);
        }
    }

    /// Nothing can happen now: jumps to when something can. False if nothing ever will.
    fn skip_time(&mut self) -> bool {
        let wakes = self.nodes.iter().flat_map(|node| {
            let tasks = &node.tasks;
            let reconnects = (!node.idle_invitations().is_empty()).then_some(tasks.reconnect_at);
            let flights = tasks.flights.iter().map(|flight| flight.due);
            let erasures = node
                .core
                .iter()
                .flat_map(|core| core.peers.values())
                .filter_map(|peer| peer.keys.erases_at())
                .map(|shown| node.clock.time(shown));
            let returns = node.core.is_none().then_some(node.away_until);
            tasks
                .wakes
                .values()
                .copied()
                .chain(tasks.offers_at)
                .chain(reconnects)
                .chain(flights)
                .chain(erasures)
                .chain(returns)
        });
        let settling = if self.is_slow() { SLOW_SETTLING } else { SETTLING };
        let plans = self.plans.iter().map(|plan| plan.at);
        let next = wakes.chain(plans).filter(|time| *time > self.now).min();
        match next {
            Some(next) if next < self.faults_until.plus(settling) => self.now = next,
            _ => return false,
        }
        true
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.next_u32()).unwrap() % bound
    }
}
