//! What a node stores of services that its owner has chosen to keep files: S3, WebDAV, SFTP, folders.

use std::{collections::BTreeMap, fmt};

use petmail_proto::wire::Record;
use petmail_store::Keyspace;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// [`Service`]s by their number.
pub(crate) const SERVICES: Keyspace = Keyspace::new("services");

/// Set in the numbers of services where mailboxes have numbers, too.
const SERVICE_BIT: u32 = 1 << 31;

/// A service that keeps files for its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) id: u32,
    pub(crate) kind: ServiceKind,
    /// Where it is, and how it is used: the names of each kind are in [`crate::transfer::service`].
    pub(crate) options: BTreeMap<String, String>,
    /// What proves that the account is the owner's, if that is asked for.
    pub(crate) secret: Option<StoredSecret>,
}

impl Record for Service {
    const VERSION: u16 = 1;
}

/// How a service is spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServiceKind {
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
pub(crate) struct StoredSecret(String);

impl StoredSecret {
    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for StoredSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for StoredSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSecret(redacted)")
    }
}

impl Service {
    /// Its number among mailboxes and services.
    pub(crate) const fn place(&self) -> u32 {
        self.id | SERVICE_BIT
    }
}

/// Returns the number of a service from one among mailboxes and services; none if it is a mailbox's.
pub(crate) const fn service_of(place: u32) -> Option<u32> {
    if place & SERVICE_BIT == 0 { None } else { Some(place & !SERVICE_BIT) }
}
