//! How the node is: its status, what is wrong, what was tested.

use serde::{Deserialize, Serialize};

use super::MailboxView;

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
    pub(crate) fn locked(display_name: String) -> Self {
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
