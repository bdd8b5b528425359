//! Messages, one by one and in pages, and what is sent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FileView, ReplyView};

/// A message, in or out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The message's local number; rises with every message received or sent.
    pub id: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The contact.
    pub cid: u32,
    /// The contact's local name.
    pub petname: String,
    /// The room; none for a message between two people.
    pub room: Option<String>,
    /// The sender's numbering starts anew with each epoch (Unix milliseconds).
    pub epoch: u64,
    /// The number within the epoch.
    pub seqnum: u64,
    /// When this node stored it: received or accepted for sending.
    pub when_received: Timestamp,
    /// The packets: `{"basic": "text"}`, …; a file without its content.
    pub payload: serde_json::Map<String, serde_json::Value>,
    /// Where it is.
    pub state: MessageState,
    /// Why it is there, and what to do.
    pub reason: Option<String>,
    /// Which reason it is, for programs: a name that does not change (`docs/api/`).
    #[serde(default)]
    pub reason_code: Option<String>,
    /// What of the reason differs from case to case: what a server or the system said, or a day.
    #[serde(default)]
    pub reason_detail: Option<String>,
    /// The message that it answers, if it says so: one of the same conversation, which may be gone.
    #[serde(default)]
    pub reply_to: Option<ReplyView>,
    /// The file that it brings.
    #[serde(default)]
    pub file: Option<FileView>,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the contact.
    In,
    /// To the contact.
    Out,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// No mailbox has taken it yet.
    Waiting,
    /// A mailbox of the contact has it on disk.
    Sent,
    /// The contact's node has it.
    Delivered,
    /// It was read: there, says the contact, if it was sent; here, if it came in.
    Read,
    /// It was given up; the reason says why, and what to do.
    Failed,
    /// It came in.
    Received,
}

/// Which messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageQuery {
    /// Only this contact's.
    pub cid: Option<u32>,
    /// Only those with a greater number.
    pub since: Option<u64>,
    /// Only one way.
    pub direction: Option<Direction>,
    /// Only those that stand before this one in the contact's conversation.
    #[serde(default)]
    pub before: Option<u64>,
    /// Only those that stand after this one in the contact's conversation.
    #[serde(default)]
    pub after: Option<u64>,
    /// Only those around this one in the contact's conversation, itself among them.
    #[serde(default)]
    pub around: Option<u64>,
    /// At most so many of a contact's, 1 to 500: the first of those after one, else the last.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl MessageQuery {
    /// Tells whether it asks for a part of a conversation.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.before.is_some() || self.after.is_some() || self.around.is_some() || self.limit.is_some()
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// To whom.
    pub cid: u32,
    /// The text: 1 to 65,536 bytes of UTF-8.
    pub text: String,
    /// The number of the message that it answers, one of the same conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
}

/// Which inbound messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchQuery {
    /// Only this contact's.
    pub cid: Option<u32>,
    /// Only those with a greater number.
    pub since: Option<u64>,
}

/// Which message to retry or cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// Its number.
    pub id: u64,
}
