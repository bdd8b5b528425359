//! Conversations: what lists of them show, what is searched for, and texts being written.

use serde::{Deserialize, Serialize};

use super::{ContactState, Direction, MessageView};

/// Which message of a conversation another one answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyView {
    /// Which way it went.
    pub direction: Direction,
    /// The sender's numbering.
    pub epoch: u64,
    /// The number within the epoch.
    pub seqnum: u64,
}

/// A conversation with a contact, as a list of conversations shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomView {
    /// The contact's local number.
    pub cid: u32,
    /// The contact's local name.
    pub petname: String,
    /// How far the relationship is.
    pub state: ContactState,
    /// How many messages that came in are not read.
    pub unread: u64,
    /// The text that is being written; empty if none is.
    pub draft: String,
    /// The last message.
    pub last: Option<MessageView>,
}

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// What the texts contain, in capitals or not: 1 to 1,024 bytes.
    pub text: String,
    /// Only this contact's.
    #[serde(default)]
    pub cid: Option<u32>,
    /// At most so many, 1 to 200; 50 if nothing is said.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// Which message is meant, by what names it in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindMessageRequest {
    /// The contact.
    pub cid: u32,
    /// Which way it went.
    pub direction: Direction,
    /// The sender's numbering.
    pub epoch: u64,
    /// The number within the epoch.
    pub seqnum: u64,
}

/// A text that is being written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// To whom.
    pub cid: u32,
    /// The text, at most 65,536 bytes; empty if there is none any more.
    pub text: String,
}
