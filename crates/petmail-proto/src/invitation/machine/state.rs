//! What of an invitation is stored, and so survives a restart.
//!
//! Owns the stages S0 to S3 and the bookkeeping at the rendezvous server. It must not know of the present connection,
//! which never survives. Specification: `docs/protocol/`, invitations (§2).

use serde::{Deserialize, Serialize};

use crate::{
    invitation::{
        code::{Code, WordCount},
        introduction::{Commitment, IntroductionNonce, IntroductionSignature, Purpose, SignedIntroduction},
        pake::PakeSecret,
        wormhole::{Body, MailboxId, Mood, Nameplate, Phase, SharedKey, Side},
    },
    keys::{ChannelSigningKey, stored_secret},
    time::UnixMillis,
    wire,
};

use super::outcome::{Failure, Reach, Status};

/// An invitation as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvitationRecord {
    pub(super) side: Side,
    pub(super) local: Local,
    pub(super) expires: UnixMillis,
    pub(super) stage: Stage,
    pub(super) meeting: Meeting,
}

impl wire::Record for InvitationRecord {
    const VERSION: u16 = 1;
}

/// What this side brings to the exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Local {
    pub(super) body0: String,
    #[serde(with = "stored_secret")]
    pub(super) signing_key: ChannelSigningKey,
    pub(super) purpose: Purpose,
    pub(super) has_transport: bool,
}

/// How far the exchange has come. Each step forward erases what the step before needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// There is no code yet.
    Allocating { words: WordCount },
    /// The code is known and is being stretched.
    Stretching { code: Code },
    /// S0: our key exchange message may be out; the peer's has not come.
    Waiting { code: Code, pake: PakeSecret },
    /// S1: the key is known, and whether the peer has the same is not.
    Keyed { exchange: Exchange },
    /// S2: the peer has the same key and has committed to its introduction.
    Committed { exchange: Exchange, commitment: Commitment },
    /// S3: the peer's introduction is verified; the key stays while the server may still bring an abort.
    Introduced { exchange: Option<Exchange>, reach: Reach },
    /// The peer has written through the channel.
    Confirmed,
    /// It failed.
    Failed(Failure),
    /// Its time ran out.
    Expired,
    /// This side's person called it off.
    Cancelled,
}

/// What both ends of the key exchange share, and our signed introduction for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Exchange {
    #[serde(with = "stored_secret")]
    pub(super) key: SharedKey,
    pub(super) peer: Side,
    /// SHA-256 of the peer's key exchange body: the same again is no news, another is an attack.
    pub(super) peer_pake: [u8; 32],
    pub(super) nonce: IntroductionNonce,
    pub(super) signature: IntroductionSignature,
    /// Until when an introduction may still come through the channel.
    pub(super) until: UnixMillis,
}

/// What there is and remains to be done at the rendezvous server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meeting {
    /// The nameplate, as long as it is not released.
    pub(super) nameplate: Option<Nameplate>,
    /// The mailbox of the first claim; never another.
    pub(super) mailbox: Option<MailboxId>,
    /// The server has shown us our own key exchange message.
    pub(super) pake_seen: bool,
    /// All that we have said, to be said again byte for byte.
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) presence: Presence,
}

/// One body of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) phase: Phase,
    pub(super) body: Body,
}

/// Whether we have business at the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Presence {
    /// The exchange goes on.
    Present,
    /// What is out must be seen there; then the mailbox is closed with this mood.
    Leaving(Mood),
    /// Nothing is left to do there.
    Gone,
}

impl InvitationRecord {
    /// The key material, while there is any.
    pub(super) const fn exchange(&self) -> Option<&Exchange> {
        match &self.stage {
            Stage::Keyed { exchange } | Stage::Committed { exchange, .. } => Some(exchange),
            Stage::Introduced { exchange, .. } => exchange.as_ref(),
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => None,
        }
    }

    /// Our introduction as signed for `exchange`.
    pub(super) fn signed(&self, exchange: &Exchange) -> SignedIntroduction {
        SignedIntroduction {
            nonce: exchange.nonce,
            body0: self.local.body0.clone(),
            signature: exchange.signature,
        }
    }

    /// When something happens without any input.
    pub(super) fn next_deadline(&self) -> Option<UnixMillis> {
        match &self.stage {
            _ if self.meeting.presence != Presence::Gone => Some(self.expires),
            Stage::Committed { exchange, .. } => Some(exchange.until),
            Stage::Allocating { .. }
            | Stage::Stretching { .. }
            | Stage::Waiting { .. }
            | Stage::Keyed { .. }
            | Stage::Introduced { .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        match &self.stage {
            Stage::Allocating { .. } | Stage::Stretching { .. } | Stage::Waiting { .. } => Status::Waiting,
            Stage::Keyed { .. } | Stage::Committed { .. } => Status::Exchanging,
            Stage::Introduced { reach, .. } => Status::Pending(*reach),
            Stage::Confirmed => Status::Confirmed,
            Stage::Failed(failure) => Status::Failed(failure.clone()),
            Stage::Expired => Status::Expired,
            Stage::Cancelled => Status::Cancelled,
        }
    }

    pub(super) const fn code(&self) -> Option<&Code> {
        match &self.stage {
            Stage::Stretching { code } | Stage::Waiting { code, .. } => Some(code),
            Stage::Allocating { .. }
            | Stage::Keyed { .. }
            | Stage::Committed { .. }
            | Stage::Introduced { .. }
            | Stage::Confirmed
            | Stage::Failed(_)
            | Stage::Expired
            | Stage::Cancelled => None,
        }
    }
}
