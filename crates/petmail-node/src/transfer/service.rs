//! Packs at a service of the owner's that knows nothing of Petmail.

use std::{future::Future, time::Duration};

use petmail_objects::{Account, ObjectError, Objects};

use super::Patience;
use crate::{
    agent::{Agent, records::services::Service},
    network::storage::StorageError,
};

/// For how long links are good: the longest that S3 allows.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Opens a service; nobody is asked yet.
///
/// # Errors
/// [`StorageError::Refused`]: it cannot be used as it is set up.
pub(crate) fn open(agent: &Agent, account: &Account) -> Result<Objects, StorageError> {
    Ok(Objects::open(account, &agent.network().service_way()?)?)
}

/// Packs at a service, on behalf of a transfer.
#[derive(Debug)]
pub(crate) struct ServiceDepot {
    agent: Agent,
    id: u64,
    place: u32,
    pub(super) objects: Objects,
}

impl ServiceDepot {
    /// Opens it; nobody is asked yet.
    ///
    /// # Errors
    /// [`StorageError::Refused`]: it cannot be used as it is set up.
    pub(super) fn of(agent: &Agent, service: &Service, id: u64) -> Result<Self, StorageError> {
        let objects = open(agent, &service.account)?;
        Ok(Self { agent: agent.clone(), id, place: service.place(), objects })
    }

    pub(super) const fn place(&self) -> u32 {
        self.place
    }

    /// Does something, however long the service is away.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, ObjectError>> + Send>(
        &self,
        attempt: impl Fn() -> F + Send + Sync,
    ) -> Result<T, StorageError>
    where
        T: Send,
    {
        let mut patience = Patience::of(&self.agent, self.id);
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => patience.wait(error.into()).await?,
            }
        }
    }
}
