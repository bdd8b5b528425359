//! What the people do, and when.

use std::time::Duration;

use petmail_proto::time::UnixMillis;

use super::clock::Clock;

/// Two people who want to meet.
#[derive(Clone, Debug)]
pub(super) struct Meeting {
    pub(super) nodes: [usize; 2],
    pub(super) code: Typed,
    pub(super) invitations: [Option<u32>; 2],
    /// The texts that each side's node has accepted, in order.
    pub(super) texts: [Vec<String>; 2],
    /// Somebody has removed the contact.
    pub(super) is_removed: bool,
    /// A side was restored from a backup: what it wrote and received since is lost to it.
    pub(super) is_restored: [bool; 2],
}

impl Meeting {
    pub(super) fn new(nodes: [usize; 2]) -> Self {
        Self {
            nodes,
            code: Typed::AsTold,
            invitations: [None; 2],
            texts: Default::default(),
            is_removed: false,
            is_restored: [false; 2],
        }
    }
}

/// Which code the people type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Typed {
    /// The first has one made, the second types it.
    AsTold,
    /// The second mistypes it.
    Wrongly,
    /// Both have agreed on one.
    HumanMade,
}

/// Something that somebody does as soon as it can be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// Accepts an offer of a mailbox server.
    Accept { node: usize, server: usize },
    /// Takes part in a meeting; the second waits for the first one's code.
    Invite { meeting: usize, side: usize },
    /// Writes to the other side.
    Write { meeting: usize, side: usize },
    /// Removes the other side.
    Remove { meeting: usize, side: usize },
    /// Calls the invitation off.
    Cancel { meeting: usize, side: usize },
    /// Restarts a node in good order.
    Restart { node: usize },
    /// Makes a backup of a node.
    BackUp { node: usize },
    /// Loses a node, and restores its backup.
    Restore { node: usize },
    /// Has the slots of a node's mailboxes replaced.
    ChangeSlots { node: usize },
    /// Replaces everything of a node that somebody may have stolen.
    ResetKeys { node: usize },
    /// Changes what a node's person tells of themselves.
    ChangeProfile { node: usize },
    /// Sets a node's clock.
    SetClock { node: usize, clock: Clock },
    /// Switches a node off for some time.
    Leave { node: usize, time: Duration },
    /// Copies a node's folder, and starts both.
    Copy { node: usize },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) at: UnixMillis,
    pub(super) deed: Deed,
}

/// When the simulation begins.
pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// How long things go wrong.
pub(super) const FAULTY: Duration = Duration::from_secs(600);

/// How long some go on after that, with much time between things.
pub(super) const SLOW_SECONDS: usize = 21 * 86_400;

/// The same.
pub(super) const SLOW: Duration = Duration::from_secs(SLOW_SECONDS as u64);

/// How long mailboxes keep messages in such a time: as real ones do.
pub(super) const SLOW_RETENTION: Duration = Duration::from_secs(14 * 86_400);

/// How long somebody is away then at most. Two who both change their slots, and are both away for longer than mailboxes keep
/// messages, lose each other.
pub(super) const MAX_ABSENCE_DAYS: usize = 5;

/// How much more time passes then.
pub(super) const SLOW_PACE: u64 = 3_000;

/// How long it may take until everything has settled: longer than an invitation lives, and than mailboxes keep messages.
pub(super) const SETTLING: Duration = Duration::from_secs(80 * 3_600);

/// The same after such a time.
pub(super) const SLOW_SETTLING: Duration = Duration::from_secs(40 * 86_400);
