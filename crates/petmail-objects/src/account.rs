//! An account at a service, as its owner names it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// What there is to know to keep packs at a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// How it is spoken with.
    pub kind: ServiceKind,
    /// Where it is, and how it is used: [`Account::check`] names what there is for each kind.
    pub options: BTreeMap<String, String>,
    /// What proves that the account is its owner's, if that is asked for.
    pub secret: Option<Secret>,
}

/// How a service is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// The protocol of Amazon S3, which many offer.
    S3,
    /// RFC 4918.
    Webdav,
    /// A folder of another machine, over SSH.
    Sftp,
    /// A folder of this machine, or one that is mounted here.
    Fs,
}

/// A password or key: wiped when it is dropped, and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}
