//! One node: its state in memory and on disk, and what its tasks have to do. A crash leaves the disk only.

use std::collections::{BTreeMap, VecDeque};

use petmail_proto::{
    invitation::{code::Code, machine::Effect, wormhole::ClientMessage},
    time::UnixMillis,
};
use rand_chacha::ChaCha20Rng;

use super::{clock::Clock, disk::Disk};
use crate::{
    agent::{
        core::{Core, Ended, Offer, Peer, Step},
        error::{CommandError, Fault},
    },
    db::Write,
};

/// What goes wrong with one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// The disk refuses; nothing is written, and the node goes on.
    CommitFails,
    CrashBeforeCommit,
    CrashAfterCommit,
}

/// What a commit wrote, whatever became of the node afterwards.
#[derive(Debug)]
pub(super) struct Committed<T> {
    pub(super) result: T,
    pub(super) writes: Vec<Write>,
}

/// A connection to the rendezvous server, with what is on its way there.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) outgoing: VecDeque<ClientMessage>,
}

/// A delivery under way; with its outcome once the answer is on its way back.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) offer: Offer,
    pub(super) ended: Option<Ended>,
    /// When it comes to its next end.
    pub(super) due: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) clock: Clock,
    /// It is switched off until then.
    pub(super) away_until: UnixMillis,
    /// Its folder is a copy of another one's.
    pub(super) is_copy: bool,
    pub(super) disk: Disk,
    pub(super) core: Option<Core>,
    pub(super) tasks: Tasks,
}

/// What the tasks of a running node know; gone with a crash.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    pub(super) effects: VecDeque<(u32, Effect)>,
    pub(super) lines: BTreeMap<u32, Line>,
    pub(super) wakes: BTreeMap<u32, UnixMillis>,
    pub(super) stretching: VecDeque<(u32, Code)>,
    pub(super) flights: Vec<Flight>,
    pub(super) reconnect_at: UnixMillis,
    /// When the outbox is to be asked.
    pub(super) offers_at: Option<UnixMillis>,
    pub(super) retries_quarantine: bool,
    /// Contacts with acknowledged messages to erase.
    pub(super) sweeps: Vec<u32>,
    /// The clock was set, and nothing done about it yet.
    pub(super) clock_changed: bool,
}

impl Node {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            clock: Clock::default(),
            away_until: UnixMillis::default(),
            is_copy: false,
            disk: Disk::default(),
            core: None,
            tasks: Tasks::default(),
        }
    }

    /// Carries out one operation as the agent does: change, commit, then let the tasks know.
    pub(super) fn step<T>(
        &mut self,
        trouble: Trouble,
        now: UnixMillis,
        rng: &mut ChaCha20Rng,
        operation: impl FnOnce(&mut Core, &mut Step, UnixMillis, &mut ChaCha20Rng) -> Result<T, CommandError>,
    ) -> Option<Committed<T>> {
        let mut step = Step::default();
        let result = operation(self.core.as_mut()?, &mut step, self.clock.shows(now), rng);
        let writes = std::mem::take(&mut step.writes);
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                assert_ne!(error.fault, Fault::Internal, "{}: {error}", self.name);
                if !writes.is_empty() {
                    self.reload(now);
                }
                return None;
            }
        };
        match trouble {
            Trouble::CommitFails if !writes.is_empty() => {
                self.reload(now);
                return None;
            }
            Trouble::CrashBeforeCommit => {
                self.core = None;
                return None;
            }
            Trouble::None | Trouble::CommitFails | Trouble::CrashAfterCommit => self.disk.commit(&writes),
        }
        if trouble == Trouble::CrashAfterCommit {
            self.core = None;
        } else {
            self.publish(step, now);
        }
        Some(Committed { result, writes })
    }

    fn publish(&mut self, step: Step, now: UnixMillis) {
        self.tasks.effects.extend(step.invitation_effects);
        if step.wake_outbox {
            self.tasks.offers_at = Some(now);
        }
        self.tasks.retries_quarantine |= step.retry_quarantine;
        self.tasks.sweeps.extend(step.sweep_acknowledged);
    }

    fn reload(&mut self, now: UnixMillis) {
        let core = self.disk.load(self.name);
        let mut step = Step::default();
        core.reconnect_invitations(&mut step);
        assert!(step.writes.is_empty(), "nothing can be written now");
        self.core = Some(core);
        self.publish(step, now);
    }

    pub(super) fn has_effects(&self, invitation: u32) -> bool {
        self.tasks.effects.iter().any(|(id, _)| *id == invitation)
    }

    pub(super) fn wants_connection(&self, invitation: u32) -> bool {
        let invite = self.core.as_ref().and_then(|core| core.invitations.get(&invitation));
        invite.is_some_and(|invite| invite.machine.wants_connection())
    }

    /// The contact that came of an invitation.
    pub(super) fn contact_of(&self, invitation: u32) -> Option<&Peer> {
        self.core.as_ref()?.peers.values().find(|peer| peer.contact.invitation == invitation)
    }
}
