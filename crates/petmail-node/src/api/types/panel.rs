//! What the control panel asks beside what everybody asks: how it is opened, what is chosen, codes and QR codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Privacy;

/// What the owner has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsView {
    /// The name that new contacts are sent.
    pub display_name: String,
    /// Names the owner's picture, which contacts are sent.
    pub picture: Option<String>,
    /// How much is given up for less to be observed.
    pub privacy: Privacy,
    /// Whether contacts are told what was read.
    pub read_receipts: bool,
    /// Whether each mailbox of a contact gets a copy of a message.
    pub copies_everywhere: bool,
    /// The rendezvous server.
    pub rendezvous: String,
    /// Whether a passphrase protects the node.
    pub encrypted: bool,
    /// The node's folder.
    pub basedir: String,
    /// The program's version.
    pub version: String,
}

/// The owner's picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureChange {
    /// A PNG, JPEG or WebP file in base64: at most 16 KiB, 512 pixels high and wide; null takes the picture away.
    /// It has to be said: an empty request takes nothing away.
    #[serde(deserialize_with = "Option::deserialize")]
    pub picture: Option<String>,
}

/// Whose picture is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PictureRequest {
    /// A contact; none is the owner.
    pub cid: Option<u32>,
}

/// What to change; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsChange {
    /// The name that new contacts are sent: at most 256 bytes without control characters; may be empty.
    pub display_name: Option<String>,
    /// How much is given up for less to be observed.
    pub privacy: Option<Privacy>,
    /// Whether contacts are told what was read.
    pub read_receipts: Option<bool>,
    /// Whether each mailbox of a contact gets a copy of a message.
    pub copies_everywhere: Option<bool>,
}

/// A code that a person typed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeRequest {
    /// The code.
    pub code: String,
}

impl fmt::Debug for CodeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeRequest(redacted)")
    }
}

/// What there is to say about a code before it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeView {
    /// The code as it counts.
    pub code: String,
    /// Whether all its words are on the lists, each in its turn.
    pub known: bool,
    /// Words that look like slips of the pen.
    pub suggestions: Vec<SuggestionView>,
}

/// A word that looks like a slip of the pen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuggestionView {
    /// Which part of the code it is; the number before the words is part 0.
    pub position: usize,
    /// What was typed.
    pub word: String,
    /// What may have been meant, the nearest first; may be empty.
    pub instead: Vec<String>,
}

/// A text to draw as a QR code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QrRequest {
    /// The text: 1 to 1,000 bytes.
    pub text: String,
}

impl fmt::Debug for QrRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QrRequest(redacted)")
    }
}

/// A picture in which QR codes are searched.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QrReadRequest {
    /// Pixels in a row, 1 to 1,024.
    pub width: usize,
    /// Rows, 1 to 1,024.
    pub height: usize,
    /// The brightness of each pixel, a byte each, row by row, in base64.
    pub luma: String,
}

impl fmt::Debug for QrReadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QrReadRequest(redacted)")
    }
}

/// Where the control panel is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenView {
    /// The page's address. Its fragment has an opener token, which works once and for a minute.
    pub url: String,
}

impl fmt::Debug for OpenView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenView(redacted)")
    }
}

/// What the page trades for the access token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenerRequest {
    /// The opener token from the page's address.
    pub opener: String,
}

impl fmt::Debug for OpenerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenerRequest(redacted)")
    }
}
