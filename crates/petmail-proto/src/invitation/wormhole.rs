//! The messages of the magic-wormhole mailbox server protocol, both directions.
//!
//! Owns their JSON form and the bounds of every field; shared by the
//! invitation client and the rendezvous server. It must not know what either
//! does with a message. Unknown fields are ignored in both directions and
//! unknown messages of a server become [`ServerMessage::Unknown`], as the
//! protocol demands. Specification: `docs/protocol/`, invitations (§2), and
//! the magic-wormhole project's `server-protocol`.

mod field;
mod seal;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use field::{AppId, Body, FieldError, MailboxId, Mood, Nameplate, Phase, RequestId, Side};
pub use seal::{OpenError, SharedKey};

/// The application id under which Petmail's invitations meet.
pub const APP_ID: &str = "petmail.org/invitation/v1";

/// The largest JSON message, in bytes, that either side accepts: a body of
/// [`Body::MAX_BYTES`] in hex, and room for the fields around it.
pub const MAX_FRAME_BYTES: usize = 2 * Body::MAX_BYTES + 4096;

/// A message from a client, with the fields that every message may carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Copied by the server into its acknowledgement and its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// The message itself.
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// What a client can ask of a rendezvous server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ClientMessage {
    /// Answers the `permission-required` part of the server's welcome. magic-wormhole.rs says it in the singular.
    #[serde(alias = "submit-permission")]
    SubmitPermissions {
        /// The method chosen; `hashcash` is the only one defined so far.
        method: String,
        /// For `hashcash`, the stamp.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stamp: Option<String>,
    },
    /// Says who speaks on this connection. Must come before what follows.
    Bind {
        /// The application whose nameplates and mailboxes are meant.
        appid: AppId,
        /// The speaker, as told apart from its peer.
        side: Side,
    },
    /// Asks for the nameplates in use.
    List,
    /// Asks for a free nameplate.
    Allocate,
    /// Asks for the mailbox behind a nameplate.
    Claim {
        /// The nameplate.
        nameplate: Nameplate,
    },
    /// Gives the nameplate back.
    Release {
        /// The nameplate; by default the one claimed on this connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nameplate: Option<Nameplate>,
    },
    /// Subscribes to a mailbox: its messages follow, old ones first.
    Open {
        /// The mailbox.
        mailbox: MailboxId,
    },
    /// Adds a message to the open mailbox; it is echoed to both sides.
    Add {
        /// Which step of the exchange the body belongs to.
        phase: Phase,
        /// The bytes.
        body: Body,
    },
    /// Leaves the mailbox; with its last side gone, the server deletes it.
    Close {
        /// The mailbox; by default the one open on this connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mailbox: Option<MailboxId>,
        /// How it went, for the server's statistics.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mood: Option<Mood>,
    },
    /// Asks for a [`ServerMessage::Pong`].
    Ping {
        /// Copied into the answer.
        ping: i64,
    },
}

/// A message from a server, with the fields that every message may carry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerFrame {
    /// Copied from the client's message that this one answers or forwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RequestId>,
    /// When the server sent this, in seconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_tx: Option<f64>,
    /// When the server received what this answers, in seconds of Unix time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_rx: Option<f64>,
    /// The message itself.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// What a rendezvous server can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The first message on every connection.
    Welcome {
        /// What the client should know about this server.
        welcome: Welcome,
    },
    /// Answers [`ClientMessage::List`].
    Nameplates {
        /// The nameplates in use.
        nameplates: Vec<NameplateEntry>,
    },
    /// Answers [`ClientMessage::Allocate`].
    Allocated {
        /// The nameplate, already claimed for this side.
        nameplate: Nameplate,
    },
    /// Answers [`ClientMessage::Claim`].
    Claimed {
        /// The mailbox behind the nameplate.
        mailbox: MailboxId,
    },
    /// Answers [`ClientMessage::Release`].
    Released,
    /// A message of the open mailbox, from either side.
    Message {
        /// Who added it.
        side: Side,
        /// Which step of the exchange it belongs to.
        phase: Phase,
        /// The bytes.
        body: Body,
    },
    /// Answers [`ClientMessage::Close`].
    Closed,
    /// Says that a message arrived (not that it was obeyed).
    Ack,
    /// Answers [`ClientMessage::Ping`].
    Pong {
        /// Copied from the question.
        pong: i64,
    },
    /// Refuses a message.
    Error {
        /// Why, in English. `crowded` and `reclaimed` are what clients look for.
        error: String,
        /// The refused message.
        #[serde(default)]
        orig: Value,
    },
    /// A message that this version does not know; to be ignored.
    #[serde(other)]
    Unknown,
}

/// What a server tells every client first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Welcome {
    /// News from the operator, to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
    /// The server refuses to serve; to be shown as the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The ways to get permission to `bind`; none means that none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_required: Option<Permissions>,
    /// What only `petmail-rendezvous` promises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub petmail: Option<PetmailWelcome>,
}

/// The ways to get permission to use a server; any one suffices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Present if clients without any permission are served too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoPermission>,
    /// Present if a hashcash stamp is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashcash: Option<HashcashChallenge>,
}

/// The parameters of the method `none`: there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoPermission {}

/// The parameters of the method `hashcash`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashcashChallenge {
    /// How many leading zero bits the stamp's hash must have.
    pub bits: u32,
    /// What the stamp must be made for; contains no colon.
    pub resource: String,
}

/// What `petmail-rendezvous` promises beyond the common protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PetmailWelcome {
    /// How many seconds the server keeps an unfinished exchange while both
    /// sides are away.
    pub retention: u64,
}

/// One entry of [`ServerMessage::Nameplates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameplateEntry {
    /// The nameplate.
    pub id: Nameplate,
}

/// Why bytes from the other end of a rendezvous connection were refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The other end sent more than [`MAX_FRAME_BYTES`].
    #[error("the message has {0} bytes, more than {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// The other end sent something that is no message of this protocol.
    #[error("not a message of the rendezvous protocol: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl ClientFrame {
    /// Decodes a client's message; unknown fields are ignored.
    ///
    /// # Errors
    /// [`FrameError`] if it is too long, or no known message with all its fields.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        decode(bytes)
    }
}

impl ServerFrame {
    /// Decodes a server's message; unknown fields are ignored.
    ///
    /// # Errors
    /// [`FrameError`] if it is too long, not an object with a `type`, or lacks a
    /// field that its type needs.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        decode(bytes)
    }
}

impl From<ClientMessage> for ClientFrame {
    fn from(message: ClientMessage) -> Self {
        Self { id: None, message }
    }
}

impl From<ServerMessage> for ServerFrame {
    fn from(message: ServerMessage) -> Self {
        Self { id: None, server_tx: None, server_rx: None, message }
    }
}

impl std::fmt::Display for ClientFrame {
    /// Writes the JSON text that goes over the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_json(self, f)
    }
}

impl std::fmt::Display for ServerFrame {
    /// Writes the JSON text that goes over the wire.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write_json(self, f)
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong(bytes.len()));
    }
    Ok(serde_json::from_slice(bytes)?)
}

fn write_json(frame: &impl Serialize, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let text = serde_json::to_string(frame).map_err(|_| std::fmt::Error)?;
    f.write_str(&text)
}

#[cfg(test)]
mod tests;
