//! Files that messages bring.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Direction, SecretText};
use petmail_objects::ServiceKind;

/// A file or folder, as its message shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// Its name, made safe: no path, no control characters, nothing that turns the direction of writing.
    pub name: String,
    /// How large it is, in bytes.
    pub size: u64,
    /// Where its content is, or how it is going there.
    pub state: FileState,
    /// Whether it is a file or a folder.
    pub kind: FileKind,
    /// How many files it is.
    pub count: u32,
    /// Until when its storage server keeps it; none if none does.
    pub until: Option<Timestamp>,
    /// How much of it is where it should be, in bytes; none if it is not on its way.
    pub done: Option<u64>,
    /// How fast it goes, in bytes a second, once that is known.
    pub rate: Option<u64>,
    /// How long it will take, in seconds, once that is known.
    pub seconds_left: Option<u64>,
    /// What it waits for, or why it does not go on, and what to do.
    pub reason: Option<String>,
    /// The reason's name, which does not change (`docs/api/`).
    pub reason_code: Option<String>,
    /// What differs from case to case.
    pub reason_detail: Option<String>,
    /// Where it was saved: an absolute path on the node's machine.
    pub path: Option<String>,
    /// The media type, if it is a picture that can be shown: `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub picture: Option<String>,
}

/// Where a file's content is, or how it is going there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// In this node: it came within its message, or went with it.
    Here,
    /// Out: it is on its way to a storage server; its message follows.
    Uploading,
    /// Out: the storage server has it, and the contact has not fetched it yet.
    Stored,
    /// Out: the contact has fetched it.
    Fetched,
    /// In: it can be fetched.
    Offered,
    /// It is being fetched.
    Fetching,
    /// A person has stopped it for now.
    Paused,
    /// It does not go on by itself; the reason says why.
    Failed,
    /// In: it was fetched, and saved.
    Saved,
    /// The storage server does not keep it any more: its time is over, or its sender has taken it back.
    Gone,
}

/// Whether it is a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// One file.
    File,
    /// A folder with everything in it.
    Folder,
}

/// A file in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// The number of the message that brings it.
    pub id: u64,
    /// The contact.
    pub cid: u32,
    /// The room; none between two people.
    pub room: Option<String>,
    /// Which way it went.
    pub direction: Direction,
    /// What its message shows of it.
    #[serde(flatten)]
    pub file: FileView,
}

/// Which files to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesQuery {
    /// Only this contact's.
    #[serde(default)]
    pub cid: Option<u32>,
    /// Only the one that the message with this number brings.
    #[serde(default)]
    pub id: Option<u64>,
    /// Only what is being stored, and has no message yet.
    #[serde(default)]
    pub unsent: bool,
}

/// Which file is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRequest {
    /// The number of the message that brings it.
    pub id: u64,
}

/// A file to send: a path, or a name with the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendFileRequest {
    /// To whom.
    pub cid: u32,
    /// An absolute path on the node's machine: of a file of any size, or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the file is called: 1 to 255 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content in base64: at most 180 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How many days a storage server keeps it, 1 to 365; 30 unless told otherwise. A small file needs no server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
}

/// Which file to fetch, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchFileRequest {
    /// The number of the message that brings it.
    pub id: u64,
    /// An absolute path on the node's machine: a folder that is there, or the new file or folder itself. The node's folder for
    /// downloads unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The permissions of the files, as in chmod: 0 to 0o666. 0o600 unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// Up to which size a contact's files are fetched without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchLimitRequest {
    /// The contact.
    pub cid: u32,
    /// In bytes; 0 for never.
    pub bytes: u64,
}

/// A service to be added.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddServiceRequest {
    /// How it is spoken with.
    pub(crate) kind: ServiceKind,
    /// Where it is, and how it is used; which options there are depends on the kind.
    pub(crate) options: BTreeMap<String, String>,
    /// The password or secret key, if the kind asks for one.
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
}

/// A service whose account has changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeServiceRequest {
    /// Its number.
    pub(crate) id: u32,
    /// Options that change; the others stay.
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    /// The new password or secret key; without one, it stays.
    #[serde(default)]
    pub(crate) secret: Option<SecretText>,
}

/// Names a service.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRequest {
    /// Its number.
    pub id: u32,
}

/// Asks for a service to be forgotten.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveServiceRequest {
    /// Its number.
    pub id: u32,
    /// Also if sent files are stored there.
    #[serde(default)]
    pub force: bool,
}

/// A service that its owner has chosen to keep files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its number.
    pub id: u32,
    /// `s3`, `webdav`, `sftp` or `fs`.
    pub kind: String,
    /// Where it is.
    pub address: String,
    /// Whether contacts can fetch from there, by links; otherwise it is for its owner alone.
    pub has_links: bool,
    /// Why it cannot be used as it is set up, if it cannot.
    pub reason: Option<String>,
}

/// What a storage server keeps for this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageView {
    /// The mailbox whose account it is.
    pub mailbox: u32,
    /// The server's address.
    pub url: String,
    /// How much may be stored there, in bytes.
    pub quota_bytes: u64,
    /// How much is, in bytes.
    pub used_bytes: u64,
    /// Why that is not known, if it is not.
    pub reason: Option<String>,
}
