//! Files that messages bring.

use serde::{Deserialize, Serialize};

use super::Direction;

/// A file, as its message shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// Its name, made safe: no path, no control characters, nothing that turns the direction of writing.
    pub name: String,
    /// How large it is, in bytes.
    pub size: u64,
    /// Where its content is.
    pub state: FileState,
    /// The media type, if it is a picture that can be shown: `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub picture: Option<String>,
}

/// Where a file's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// In this node.
    Here,
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
    /// An absolute path on the node's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What the file is called: 1 to 255 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The content in base64: at most 180 KiB of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}
