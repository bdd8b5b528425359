//! The address book, and what is done with one contact.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
