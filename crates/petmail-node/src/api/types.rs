//! What the control API says: the JSON that the command line, the control panel and scripts read.
//!
//! Field names are a contract (`docs/api/`): they may be added to, never changed.

mod contacts;
mod files;
mod health;
mod messages;
mod panel;
mod rooms;
mod secrets;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    contacts::{
        ContactRequest, ContactState, ContactView, RenameRequest, ResetKeysRequest, ResetKeysView,
        SkippedContact, TransportView,
    },
    files::{
        AddServiceRequest, ChangeServiceRequest, FetchFileRequest, FetchLimitRequest, FileKind, FileRequest,
        FileRow, FileState, FileView, FilesQuery, RemoveServiceRequest, SendFileRequest, ServiceRequest,
        ServiceView, StorageView,
    },
    health::{CheckState, CheckView, IssueView, OutboxView, RendezvousView, Severity, StatusView},
    messages::{Direction, FetchQuery, MessageQuery, MessageRequest, MessageState, MessageView, SendRequest},
    panel::{
        CodeRequest, CodeView, OpenView, OpenerRequest, PictureChange, PictureRequest, QrReadRequest,
        QrRequest, SettingsChange, SettingsView, SuggestionView,
    },
    rooms::{Draft, FindMessageRequest, ReplyView, RoomView, SearchRequest},
    secrets::{PassphraseChange, PassphraseRequest, SecretText},
};

/// An invitation, under way or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationView {
    /// The invitation's local number.
    pub id: u32,
    /// The name that the contact will get.
    pub petname: Option<String>,
    /// The code to tell the other person; absent once the exchange has begun.
    pub code: Option<String>,
    /// How far it is.
    pub state: InvitationState,
    /// Why it is in this state, and what to do.
    pub reason: Option<String>,
    /// Which reason it is, for programs: a name that does not change (`docs/api/`).
    #[serde(default)]
    pub reason_code: Option<String>,
    /// What of the reason differs from case to case: what a server or the system said, or a day.
    #[serde(default)]
    pub reason_detail: Option<String>,
    /// The contact that came of it.
    pub cid: Option<u32>,
    /// What it is for.
    #[serde(default)]
    pub purpose: InvitationPurpose,
    /// When it ends unless the other side answers.
    pub expires: Timestamp,
}

/// What an invitation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvitationPurpose {
    /// Two people become contacts.
    #[default]
    Contact,
    /// The other person gives a mailbox as well.
    ReceiveMailbox,
    /// The other person gets a mailbox as well.
    GiveMailbox,
}

/// How far an invitation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvitationState {
    /// Waiting for the other side to use the code.
    Waiting,
    /// Both sides are there; keys are being exchanged.
    Exchanging,
    /// Introductions are exchanged; waiting for the first message through the channel.
    Pending,
    /// Done: both sides have each other.
    Confirmed,
    /// Ended without a contact; the reason says why.
    Failed,
    /// Nobody answered in time.
    Expired,
    /// Cancelled here.
    Cancelled,
}

/// An account at a mailbox server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxView {
    /// The account's local number.
    pub id: u32,
    /// The server's address.
    pub url: String,
    /// Whether the event stream is open now.
    pub connected: bool,
    /// What is wrong, and what to do, if it is not connected.
    pub reason: Option<String>,
    /// Which reason it is, for programs: a name that does not change (`docs/api/`).
    #[serde(default)]
    pub reason_code: Option<String>,
    /// What of the reason differs from case to case: what a server or the system said, or a day.
    #[serde(default)]
    pub reason_detail: Option<String>,
    /// How long the server keeps messages, in days.
    pub retention_days: u32,
    /// The space for messages, in bytes; 0 for an account that keeps files alone.
    pub quota_bytes: u64,
    /// How much of it is taken, in bytes, as the server said last.
    #[serde(default)]
    pub used_bytes: Option<u64>,
    /// Whether the mailbox runs inside this node.
    pub local: bool,
    /// Set once it was removed: until then messages on their way are still taken in.
    #[serde(default)]
    pub leaving: Option<Timestamp>,
    /// Whether its operator lets it take nothing more.
    #[serde(default)]
    pub suspended: bool,
    /// What its operator has to say.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Whether its offer is redeemed.
    #[serde(default)]
    pub redeemed: bool,
    /// Whether its offer was refused for good; the reason says why.
    #[serde(default)]
    pub refused: bool,
    /// The invitation that brought its offer, if one did.
    #[serde(default)]
    pub invitation: Option<u32>,
    /// How much of the server can be given to others with `offer-mailbox`; absent if nothing.
    #[serde(default)]
    pub gives: Option<GivesView>,
}

impl MailboxView {
    /// Whether the account keeps files and takes no messages.
    #[must_use]
    pub const fn is_for_files_alone(&self) -> bool {
        self.redeemed && self.quota_bytes == 0
    }
}

/// What a provider may give to others, and has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivesView {
    /// Bytes of mailboxes, all together.
    pub total_bytes: u64,
    /// Bytes of those that were given, and of offers that are open.
    pub given_bytes: u64,
}

/// A change, as the event stream carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A message was received, queued, or changed its state.
    Message(MessageView),
    /// A contact appeared or changed.
    Contact(ContactView),
    /// An invitation was forgotten.
    InvitationRemoved {
        /// Its number.
        id: u32,
    },
    /// A contact was removed.
    ContactRemoved {
        /// Its number.
        cid: u32,
    },
    /// An invitation appeared or changed.
    Invitation(InvitationView),
    /// A mailbox appeared, connected or disconnected.
    Mailbox(MailboxView),
    /// Somebody has read this message, and all before it of the same contact and direction.
    Read {
        /// Whose conversation.
        cid: u32,
        /// `in`: read here; `out`: read there.
        direction: Direction,
        /// The message's number.
        epoch: u64,
        /// The message's number.
        seqnum: u64,
    },
    /// A file is on its way, or has come to another state.
    File(FileRow),
    /// A file that was to be sent was called off.
    FileRemoved {
        /// The number that its message would have had.
        id: u64,
    },
    /// A text that is being written changed.
    Draft(Draft),
    /// The owner has chosen something else.
    Settings(SettingsView),
    /// The reader of the stream was too slow and missed changes: it lists anew. Said by the stream, never by the agent.
    Lagged,
}

/// The arguments of a command that takes none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// What to invite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteRequest {
    /// The name that the contact will get here.
    pub petname: Option<String>,
    /// The other person's code; without it a new code is made.
    pub code: Option<String>,
    /// Whether the other person gives a mailbox too; only with a code.
    #[serde(default)]
    pub wants_mailbox: bool,
}

/// Which mailbox to give to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfferMailboxRequest {
    /// The name that the contact will get here.
    pub petname: String,
    /// How many bytes the mailbox may hold; 100 MB if nothing is said.
    #[serde(default)]
    pub mailbox_quota: Option<u64>,
    /// How many bytes may be stored beside it, in files and folders; none if nothing is said.
    #[serde(default)]
    pub storage_quota: Option<u64>,
    /// How many days messages are kept there; as long as in one's own mailbox if nothing is said.
    #[serde(default)]
    pub retention_days: Option<u32>,
}

/// Which invitation to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Its number.
    pub id: u32,
}

/// Which mailbox to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxRequest {
    /// Its number.
    pub id: u32,
}

/// What to redeem for a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptMailboxRequest {
    /// The offer, as the server's operator gave it.
    pub offer: String,
}
