//! The fields of rendezvous messages, each with its bound.
//!
//! Owns what makes a field well-formed. The bounds keep a hostile client from
//! filling a server, and a hostile server from filling a client.
//! Specification: `docs/protocol/`, invitations (§2).

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a field of a rendezvous message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The text is longer than the field may be.
    #[error("{field} is longer than {max_bytes} bytes")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its bound.
        max_bytes: usize,
    },
    /// The text is empty where something is needed.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A nameplate has something other than ASCII digits.
    #[error("nameplate has non-digits")]
    NotDigits,
    /// A body is not hexadecimal.
    #[error("body is not hexadecimal")]
    NotHex,
}

/// Makes a newtype over a bounded string.
macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The greatest length, in bytes of UTF-8.
            pub const MAX_BYTES: usize = $max;

            /// Checks a text.
            ///
            /// # Errors
            /// [`FieldError`] if the text is not allowed in this field.
            pub fn new(text: impl Into<String>) -> Result<Self, FieldError> {
                let text = text.into();
                if text.len() > Self::MAX_BYTES {
                    return Err(FieldError::TooLong { field: $field, max_bytes: Self::MAX_BYTES });
                }
                let check: fn(&str) -> Result<(), FieldError> = $check;
                check(&text)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = FieldError;

            fn try_from(text: String) -> Result<Self, FieldError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(field: $name) -> Self {
                field.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

bounded_text! {
    /// The application whose users meet; each has its own nameplates.
    AppId, "appid", 128, |text| not_empty("appid", text)
}
bounded_text! {
    /// One of the two who meet in a mailbox, chosen at random by each.
    Side, "side", 64, |text| not_empty("side", text)
}
bounded_text! {
    /// The short number, in ASCII digits, at the front of a code.
    Nameplate, "nameplate", 40, |text| digits(text)
}
bounded_text! {
    /// A server's name for the mailbox behind a nameplate.
    MailboxId, "mailbox", 128, |text| not_empty("mailbox", text)
}
bounded_text! {
    /// The step of an exchange that a body belongs to.
    Phase, "phase", 64, |text| not_empty("phase", text)
}
bounded_text! {
    /// How an exchange went: `happy`, `lonely`, `scary`, `errory`, ….
    Mood, "mood", 32, |_| Ok(())
}
bounded_text! {
    /// A client's name for one of its messages.
    RequestId, "id", 64, |_| Ok(())
}

impl Side {
    /// Draws a side's name: 16 hexadecimal digits, so that two never agree by chance.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut bytes = [0; 8];
        rng.fill_bytes(&mut bytes);
        Self(HEXLOWER.encode(&bytes))
    }
}

/// The bytes of a message between the two sides; hexadecimal in JSON.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Body(Vec<u8>);

impl Body {
    /// The greatest length in bytes: an introduction with all that it may carry.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Checks the length of a body.
    ///
    /// # Errors
    /// [`FieldError::TooLong`] above [`Body::MAX_BYTES`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, FieldError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(FieldError::TooLong { field: "body", max_bytes: Self::MAX_BYTES });
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Body {
    type Error = FieldError;

    fn try_from(text: String) -> Result<Self, FieldError> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        Self::new(bytes.map_err(|_| FieldError::NotHex)?)
    }
}

impl From<Body> for String {
    fn from(body: Body) -> Self {
        HEXLOWER.encode(&body.0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

fn not_empty(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.is_empty() { Err(FieldError::Empty(field)) } else { Ok(()) }
}

fn digits(text: &str) -> Result<(), FieldError> {
    not_empty("nameplate", text)?;
    if text.bytes().all(|b| b.is_ascii_digit()) { Ok(()) } else { Err(FieldError::NotDigits) }
}
