//! What has passed over the present connection to the rendezvous server; forgotten with it.

use std::collections::BTreeSet;

use crate::invitation::wormhole::{Body, Phase, Side};

/// The present connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) standing: Standing,
    /// What was asked for; the protocol allows each once in a connection.
    pub(super) asked: BTreeSet<Request>,
    /// All that the mailbox held when it was opened has been shown.
    pub(super) synced: bool,
    /// Our phases that were added over this connection.
    pub(super) added: BTreeSet<Phase>,
    /// Our phases that the server has shown us.
    pub(super) echoed: BTreeSet<Phase>,
    /// The side that spoke before it was known to be our peer.
    pub(super) early_side: Option<Side>,
    /// What it said, to be read in its turn; at most one body for each phase that means something.
    pub(super) early: Vec<(Phase, Body)>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is none, or it is to be closed.
    #[default]
    Down,
    /// The server's welcome is awaited.
    Greeting,
    /// A hashcash stamp is being made.
    Minting,
    /// We have said who we are.
    Bound,
}

/// What the protocol allows once in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    Allocate,
    Claim,
    Open,
    Release,
    Close,
}
