//! Where this node stores packs: an account at a storage server, or a service that its owner has chosen.

use bytes::Bytes;
use petmail_mailbox::size::ByteSize;
use petmail_proto::content::{Link, PackId, StoragePlace};

use super::{
    Patience, Stopped,
    account::AccountDepot,
    service::{LINK_LIFE, ServiceDepot},
};
use crate::{
    agent::{Agent, error::CommandError, records::services::service_of},
    network::storage::StorageError,
};

/// The most that goes to a service at once, in bytes: the list of links has to fit a chunk.
const MAX_LINKED_BYTES: u64 = 40_000_000_000;

/// Somewhere to store packs.
#[derive(Debug)]
pub(crate) enum Depot {
    /// With the server of a mailbox.
    Account(Box<AccountDepot>),
    /// With a service.
    Service(ServiceDepot),
}

impl Depot {
    fn account(depot: AccountDepot) -> Self {
        Self::Account(Box::new(depot))
    }

    /// Opens what has this number; none if it was left or removed.
    ///
    /// # Errors
    /// A service that is set up cannot be used at present.
    pub(crate) async fn open(agent: &Agent, place: u32, id: u64) -> Result<Option<Self>, StorageError> {
        let Some(service) = service_of(place) else {
            let mailbox = agent.mailbox(place).await.ok();
            return Ok(mailbox.and_then(|mailbox| AccountDepot::of(agent, mailbox, id)).map(Self::account));
        };
        match agent.find_service(service).await.map_err(unreadable)? {
            Some(service) => Ok(Some(Self::Service(ServiceDepot::of(agent, &service, id)?))),
            None => Ok(None),
        }
    }

    /// Finds where contacts can fetch from and so many bytes fit: at a server, or else at a service with links, or else at the first server
    /// that stores anything.
    ///
    /// # Errors
    /// [`Stopped`] if there is none.
    pub(super) async fn choose(agent: &Agent, id: u64, bytes: u64) -> Result<Self, Stopped> {
        let mut patience = Patience::of(agent, id);
        loop {
            let error = match Self::find(agent, id, bytes).await {
                Ok(depot) => return Ok(depot),
                Err(error) => error,
            };
            patience.wait(error).await.map_err(|error| match error {
                StorageError::NoStorage => Stopped::NoStorage,
                other => Stopped::Refused(other.to_string()),
            })?;
        }
    }

    async fn find(agent: &Agent, id: u64, bytes: u64) -> Result<Self, StorageError> {
        let (mut full, mut trouble) = (None, StorageError::NoStorage);
        for mailbox in agent.storing_mailboxes().await {
            let Some(depot) = AccountDepot::of(agent, mailbox, id) else { continue };
            match depot.grant().await {
                Ok(grant) if grant.quota_bytes.saturating_sub(grant.used_bytes) >= bytes && bytes > 0 => {
                    return Ok(Self::account(depot));
                }
                Ok(grant) if grant.quota_bytes > 0 => drop(full.get_or_insert(depot)),
                Ok(_) | Err(StorageError::NoStorage) => {}
                Err(error) => trouble = error,
            }
        }
        for service in agent.services().await.map_err(unreadable)? {
            match ServiceDepot::of(agent, &service, id) {
                Ok(depot) if !depot.objects.has_links() => {}
                Ok(_) if bytes > MAX_LINKED_BYTES => {
                    let most = ByteSize(MAX_LINKED_BYTES);
                    trouble =
                        StorageError::Refused(format!("files of more than {most} do not go to a service"));
                }
                Ok(depot) => return Ok(Self::Service(depot)),
                Err(error) => trouble = error,
            }
        }
        full.map(Self::account).ok_or(trouble)
    }

    /// Its number among mailboxes and services.
    pub(super) const fn place(&self) -> u32 {
        match self {
            Self::Account(depot) => depot.mailbox(),
            Self::Service(depot) => depot.place(),
        }
    }

    /// Where readers find what is stored, if they need no links.
    pub(super) fn server(&self) -> Option<StoragePlace> {
        match self {
            Self::Account(depot) => Some(depot.place()),
            Self::Service(_) => None,
        }
    }

    /// Stores a pack, however long that takes.
    pub(super) async fn store(&self, id: PackId, bytes: &Bytes) -> Result<(), StorageError> {
        match self {
            Self::Account(depot) => depot.store(id, bytes).await,
            Self::Service(depot) => depot.patiently(|| depot.objects.store(&id, bytes.clone())).await,
        }
    }

    /// Returns those packs that are not stored; a server keeps the others for a while whatever is deleted.
    pub(super) async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, StorageError> {
        match self {
            Self::Account(depot) => depot.missing(packs).await,
            Self::Service(depot) => depot.patiently(|| depot.objects.missing(packs)).await,
        }
    }

    /// Signs links to packs; none if readers need none.
    pub(super) async fn links(&self, packs: &[PackId]) -> Result<Option<Vec<(PackId, Link)>>, StorageError> {
        match self {
            Self::Account(_) => Ok(None),
            Self::Service(depot) => {
                depot.patiently(|| depot.objects.sign_all(packs, LINK_LIFE)).await.map(Some)
            }
        }
    }

    /// Deletes a pack. It is tried once.
    pub(crate) async fn delete(&self, pack: &PackId) -> Result<(), StorageError> {
        match self {
            Self::Account(depot) => depot.delete(pack).await,
            Self::Service(depot) => Ok(depot.objects.delete(pack).await?),
        }
    }

    /// Says of a failure why it does not go on.
    pub(super) async fn explained<T: Send>(&self, result: Result<T, StorageError>) -> Result<T, Stopped> {
        match result {
            Ok(done) => Ok(done),
            Err(error) => Err(self.explain(error).await),
        }
    }

    async fn explain(&self, error: StorageError) -> Stopped {
        let (address, room) = match self {
            Self::Account(depot) if error == StorageError::Full => (depot.host(), depot.room().await),
            Self::Account(depot) => (depot.host(), None),
            Self::Service(depot) => (depot.objects.address().to_owned(), None),
        };
        let room =
            room.map(|(used, quota)| format!(" ({} of {} are taken)", ByteSize(used), ByteSize(quota)));
        match error {
            StorageError::Full => Stopped::Full(address + &room.unwrap_or_default()),
            StorageError::NoStorage => Stopped::NoStorage,
            StorageError::Damaged => Stopped::Changed(address),
            other => Stopped::Refused(format!("{address}: {other}")),
        }
    }
}

/// Without the database nobody knows which services there are; none of them counts as removed.
fn unreadable(error: CommandError) -> StorageError {
    StorageError::Unavailable { reason: error.to_string(), retry_after: None }
}
