//! What the control API says: the JSON that the command line, the control panel and scripts read.
//!
//! Field names are a contract (`docs/api/`): they may be added to, never changed.

mod files;
mod panel;
mod rooms;
mod secrets;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    files::{
        AddServiceRequest, FetchFileRequest, FetchLimitRequest, FileKind, FileRequest, FileRow, FileState,
        FileView, FilesQuery, RemoveServiceRequest, SendFileRequest, ServiceRequest, ServiceView,
        StorageView,
    },
    panel::{
        CodeRequest, CodeView, OpenView, OpenerRequest, PictureChange, PictureRequest, QrReadRequest,
        QrRequest, SettingsChange, SettingsView, SuggestionView,
    },
    rooms::{Draft, FindMessageRequest, ReplyView, RoomView, SearchRequest},
    secrets::{PassphraseChange, PassphraseRequest, SecretText},
};

/// An entry of the address book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactView {
    /// The contact's local number.
    pub cid: u32,
    /// The local name, never sent to anyone.
    pub petname: String,
    /// The name that the contact gave itself.
    pub display_name: String,
    /// Names the picture that the contact gave itself; another picture has another name.
    #[serde(default)]
    pub picture: Option<String>,
    /// Up to which size its files are fetched without asking, in bytes; 0 for none.
    #[serde(default)]
    pub fetch_limit_bytes: u64,
    /// The address of a mailbox that the contact offered, and that was not taken yet.
    #[serde(default)]
    pub offered_mailbox: Option<String>,
    /// How far the relationship is.
    pub state: ContactState,
    /// Why the contact is pending, and what to do.
    pub reason: Option<String>,
    /// Which reason it is, for programs: a name that does not change (`docs/api/`).
    #[serde(default)]
    pub reason_code: Option<String>,
    /// What of the reason differs from case to case: what a server or the system said, or a day.
    #[serde(default)]
    pub reason_detail: Option<String>,
    /// Whether messages can be sent: the contact has published a mailbox.
    pub can_send: bool,
    /// My key towards this contact (base64url).
    pub my_verfkey: String,
    /// The contact's key (base64url).
    pub their_verfkey: String,
    /// Six words that both people see; equal words mean nobody sits between them.
    pub safety_words: String,
    /// When the introductions were exchanged.
    pub since: Timestamp,
    /// When a message of it came in last, to the minute.
    #[serde(default)]
    pub last_heard: Option<Timestamp>,
    /// Where messages to it go, the first choice first.
    #[serde(default)]
    pub transports: Vec<TransportView>,
}

/// A mailbox of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportView {
    /// The server's address.
    pub url: String,
    /// How long it keeps messages, in days.
    pub retention_days: u64,
}

/// How far a relationship is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactState {
    /// Introductions are exchanged; no message has come through the channel yet.
    Pending,
    /// A message came through the channel: both sides have each other.
    Confirmed,
    /// The people compared their safety words.
    Verified,
    /// Blocked here: nothing is taken in from it, and nothing sent to it.
    Blocked,
    /// Two parties claim to be it: nothing is sent to it until the people have compared their safety digits.
    Disputed,
}

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
    /// The space for messages, in bytes.
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

/// What a provider may give to others, and has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivesView {
    /// Bytes of mailboxes, all together.
    pub total_bytes: u64,
    /// Bytes of those that were given, and of offers that are open.
    pub given_bytes: u64,
}

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

/// The node in one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Always true in an answer of the node; the command line says false when there is none.
    pub running: bool,
    /// Whether the node waits for its passphrase; nothing else is known then.
    #[serde(default)]
    pub locked: bool,
    /// Where the control API listens.
    pub baseurl: String,
    /// The program's version.
    pub version: String,
    /// The name that is sent to new contacts.
    pub display_name: String,
    /// Outgoing messages.
    pub outbox: OutboxView,
    /// The node's mailboxes.
    pub mailboxes: Vec<MailboxView>,
    /// The rendezvous server.
    pub rendezvous: RendezvousView,
    /// Contacts and open invitations.
    pub contacts: usize,
    /// Invitations that have not ended.
    pub open_invitations: usize,
    /// What is wrong and what to do, most urgent first; empty if all is well.
    pub problems: Vec<String>,
    /// The same, for programs.
    #[serde(default)]
    pub issues: Vec<IssueView>,
}

impl StatusView {
    /// All that can be said of a node that waits for its passphrase.
    pub(super) fn locked(display_name: String) -> Self {
        Self {
            running: true,
            locked: true,
            baseurl: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            display_name,
            outbox: OutboxView::default(),
            mailboxes: Vec::new(),
            rendezvous: RendezvousView::default(),
            contacts: 0,
            open_invitations: 0,
            problems: Vec::new(),
            issues: Vec::new(),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueView {
    /// What kind of thing it is: a name that does not change (`docs/api/`).
    pub code: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The contact that it is about.
    pub cid: Option<u32>,
    /// The local name of that contact.
    pub name: Option<String>,
    /// The mailbox that it is about.
    pub mailbox: Option<u32>,
    /// How many messages it is about.
    pub count: Option<u64>,
    /// What differs from case to case: what a server or the system said, or a day.
    pub detail: Option<String>,
    /// The whole in one line, with what to do.
    pub text: String,
}

/// How urgent something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not work until something is done.
    Problem,
    /// It works, but not for ever, or waits.
    Warning,
    /// Somebody has something to say.
    Notice,
}

/// Counts of outgoing messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxView {
    /// Not yet taken by a mailbox.
    pub waiting: u64,
    /// Taken by a mailbox, and not acknowledged yet.
    pub sent: u64,
    /// Acknowledged by the contact's node, since there is this node.
    pub delivered: u64,
}

/// One thing that `doctor` looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub state: CheckState,
    /// What was found.
    pub detail: String,
    /// What to do, unless all is well.
    pub hint: Option<String>,
}

/// How something is that `doctor` looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// All is well.
    Ok,
    /// It works, but not for ever, or not well.
    Warning,
    /// It does not work.
    Problem,
}

/// How the rendezvous server is doing. The node connects to it only while an invitation is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RendezvousView {
    /// The server's address.
    pub url: String,
    /// Whether an invitation is connected to it now.
    pub connected: bool,
    /// What is wrong, if an invitation cannot reach it.
    pub reason: Option<String>,
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

/// Which message to retry or cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// Its number.
    pub id: u64,
}

/// What to redeem for a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptMailboxRequest {
    /// The offer, as the server's operator gave it.
    pub offer: String,
}

/// Which contact is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactRequest {
    /// Its number.
    pub cid: u32,
}

/// Whose keys are to be replaced: exactly one of the two is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetKeysRequest {
    /// This contact's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<u32>,
    /// Those of all contacts, and of the mailbox accounts.
    #[serde(default)]
    pub all: bool,
}

/// Whose keys were replaced, and whose could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetKeysView {
    /// The contacts that are being told of new keys.
    pub contacts: Vec<ContactView>,
    /// The others.
    pub skipped: Vec<SkippedContact>,
}

/// A contact whose keys were not replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedContact {
    /// Its number.
    pub cid: u32,
    /// Why, and what to do.
    pub reason: String,
}

/// A new petname for a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// The contact.
    pub cid: u32,
    /// Its new local name.
    pub petname: String,
}
