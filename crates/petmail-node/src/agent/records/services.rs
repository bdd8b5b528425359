//! What a node stores of services that its owner has chosen to keep files: S3, WebDAV, SFTP, folders.

use petmail_objects::Account;
use petmail_proto::wire::Record;
use petmail_store::Keyspace;
use serde::{Deserialize, Serialize};

/// [`Service`]s by their number.
pub(crate) const SERVICES: Keyspace = Keyspace::new("services");

/// Set in the numbers of services where mailboxes have numbers, too.
const SERVICE_BIT: u32 = 1 << 31;

/// A service that keeps files for its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) id: u32,
    pub(crate) account: Account,
}

impl Record for Service {
    const VERSION: u16 = 1;
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
