//! How an invitation stands and why it failed, in words for people.
//!
//! Owns the states that are shown and the reason and hint of every failure. Specification: `docs/protocol/`,
//! invitations (§2).

use serde::{Deserialize, Serialize};

use crate::invitation::{
    introduction::{Introduction, IntroductionError, IntroductionPacket, Purpose},
    pake::PakeError,
};

/// How an invitation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody has answered yet.
    Waiting,
    /// Somebody has answered; introductions are not exchanged yet.
    Exchanging,
    /// Introductions are exchanged; nothing came through the channel yet.
    Pending(Reach),
    /// The peer has written through the channel.
    Confirmed,
    /// It failed.
    Failed(Failure),
    /// Its time ran out.
    Expired,
    /// This side's person called it off.
    Cancelled,
}

/// Who of the two can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Both have a mailbox.
    Both,
    /// Only this side has a mailbox; the peer can write, but cannot be written to.
    OnlyUs,
    /// Only the peer has a mailbox; it can be written to, but cannot write.
    OnlyThem,
}

/// Both introductions are exchanged: a contact begins.
#[derive(Clone, Debug)]
pub struct Completed {
    /// Who the peer is.
    pub introduction: Introduction,
    /// The packet for every payload to the peer until the peer has confirmed.
    pub packet: IntroductionPacket,
    /// What both people see alike if nobody sits between them.
    pub safety_words: Vec<String>,
    /// Who of the two can be reached.
    pub reach: Reach,
}

/// Why an invitation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer's first sealed body does not open.
    #[error("the codes are not the same, or somebody tried to guess yours")]
    WrongCode,
    /// A third side, or a second key exchange message, was seen.
    #[error("somebody else answered")]
    SomebodyElse,
    /// The server says that two sides are there already.
    #[error("two others have used this code already")]
    Crowded,
    /// The peer's key exchange message is refused.
    #[error("the other side's first message is not acceptable: {0}")]
    BadPake(String),
    /// The peer speaks another protocol under Petmail's name.
    #[error("the other side's program is not compatible")]
    Incompatible,
    /// The peer's introduction is refused.
    #[error("the other side's introduction is not acceptable: {0}")]
    BadIntroduction(String),
    /// The two people want different things.
    #[error("you asked for “{ours}”, the other side for “{theirs}”")]
    PurposeMismatch {
        /// What this side chose.
        ours: Purpose,
        /// What the peer chose.
        theirs: Purpose,
    },
    /// Neither side can be reached.
    #[error("one of you needs a mailbox first")]
    NoTransport,
    /// The server has forgotten the exchange before anybody answered.
    #[error("the invitation expired on this server")]
    ExpiredOnServer,
    /// The server refuses to serve.
    #[error("the rendezvous server refused: {0}")]
    ServerRefused(String),
    /// The peer's person called it off.
    #[error("the other side cancelled")]
    PeerCancelled,
    /// The peer gave up for a reason of its own.
    #[error("the other side gave up")]
    PeerFailed,
    /// The other side was to give a mailbox, and gives none.
    #[error("the other side gives no mailbox")]
    NoOffer,
}

impl Failure {
    /// What the person can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::WrongCode => "make a new code, and check every word when typing it",
            Self::SomebodyElse | Self::Crowded | Self::BadPake(_) => {
                "make a new code, and give it only to the one it is for"
            }
            Self::Incompatible | Self::BadIntroduction(_) => {
                "both of you should update Petmail, then make a new code"
            }
            Self::PurposeMismatch { .. } => {
                "agree on what you want, and use the matching commands with a new code"
            }
            Self::NoOffer => "ask them to use offer-mailbox, and for the code that it prints",
            Self::NoTransport => "get a mailbox (accept-mailbox), then make a new code",
            Self::ExpiredOnServer => {
                "make a new code, and stay online until the other side has used it; or use a server that keeps codes"
            }
            Self::ServerRefused(_) => "try again later, or use another rendezvous server",
            Self::PeerCancelled | Self::PeerFailed => "ask the other side, then make a new code",
        }
    }
}

impl From<PakeError> for Failure {
    fn from(error: PakeError) -> Self {
        Self::BadPake(error.to_string())
    }
}

impl From<IntroductionError> for Failure {
    fn from(error: IntroductionError) -> Self {
        Self::BadIntroduction(error.to_string())
    }
}
