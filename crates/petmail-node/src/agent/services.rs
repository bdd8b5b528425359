//! Services that this node's owner has chosen to keep files.

use bytes::BytesMut;
use petmail_objects::{Account, Secret};
use petmail_proto::{content::Link, wire::Record};

use super::{
    Agent,
    error::{CommandError, Fault},
    records::services::{SERVICES, Service},
};
use crate::{
    api::types::{AddServiceRequest, ChangeServiceRequest, ServiceView},
    network::storage::StorageError,
    transfer::service,
};

/// The most services of a node.
const MAX_SERVICES: usize = 32;

/// The most packs that are looked for to know a place again.
const MAX_SAMPLES: usize = 64;

fn unusable(problem: String) -> CommandError {
    CommandError::new(Fault::Unavailable, problem, "put it right, then try again; nothing was changed")
}

impl Agent {
    /// Returns the services.
    ///
    /// # Errors
    /// The database cannot be read: that is not the same as that there are none.
    pub(crate) async fn services(&self) -> Result<Vec<Service>, CommandError> {
        let rows = self.scan(SERVICES, &[]).await?;
        rows.iter().map(|(_, row)| Ok(Service::decode_record(row)?)).collect()
    }

    /// Returns a service; none if it was removed.
    ///
    /// # Errors
    /// As [`services`](Self::services).
    pub(crate) async fn find_service(&self, id: u32) -> Result<Option<Service>, CommandError> {
        Ok(self.services().await?.into_iter().find(|service| service.id == id))
    }

    async fn service(&self, id: u32) -> Result<Service, CommandError> {
        self.find_service(id).await?.ok_or_else(|| {
            CommandError::new(
                Fault::NotFound,
                format!("there is no service {id}"),
                "`storage list` shows those that there are",
            )
        })
    }

    /// Lists the services, without what is secret.
    ///
    /// # Errors
    /// As [`services`](Self::services).
    pub(crate) async fn service_views(&self) -> Result<Vec<ServiceView>, CommandError> {
        Ok(self.services().await?.iter().map(|service| self.service_view(service)).collect())
    }

    fn service_view(&self, service: &Service) -> ServiceView {
        let (id, kind) = (service.id, service.account.kind.name().to_owned());
        match service::open(self, &service.account) {
            Ok(objects) => {
                let has_links = objects.has_links();
                ServiceView { id, kind, address: objects.address().to_owned(), has_links, reason: None }
            }
            Err(error) => ServiceView {
                id,
                kind,
                address: String::new(),
                has_links: false,
                reason: Some(error.to_string()),
            },
        }
    }

    /// Tries a service out, and keeps it if it does everything that is needed.
    ///
    /// # Errors
    /// If it does not; nothing is kept then.
    pub(crate) async fn add_service(&self, request: AddServiceRequest) -> Result<ServiceView, CommandError> {
        let _one_at_a_time = self.0.services_changing.lock().await;
        let known = self.services().await?;
        if known.len() >= MAX_SERVICES {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("there are {MAX_SERVICES} services already"),
                "remove one first",
            ));
        }
        let AddServiceRequest { kind, options, secret } = request;
        let id = known.iter().map(|service| service.id).max().unwrap_or_default().saturating_add(1);
        let secret = secret.map(|secret| Secret::new(std::mem::take(&mut *secret.into_text())));
        let service = Service { id, account: Account { kind, options, secret } };
        self.try_out(&service).await?;
        self.step(|_, step, _| {
            step.put_bytes(SERVICES, id.to_be_bytes(), service.encode_record()?);
            Ok(())
        })
        .await?;
        Ok(self.service_view(&service))
    }

    /// Tries a service out with another account or other options, and keeps them if what is stored is there as well.
    ///
    /// # Errors
    /// If it does not work like that; everything stays as it was then.
    pub(crate) async fn change_service(
        &self,
        request: ChangeServiceRequest,
    ) -> Result<ServiceView, CommandError> {
        let _one_at_a_time = self.0.services_changing.lock().await;
        let ChangeServiceRequest { id, options, secret } = request;
        let Service { account: mut changed, .. } = self.service(id).await?;
        changed.options.extend(options);
        if let Some(secret) = secret {
            changed.secret = Some(Secret::new(std::mem::take(&mut *secret.into_text())));
        }
        let service = Service { id, account: changed };
        self.try_out(&service).await?;
        self.check_place(&service).await?;
        self.step(|_, step, _| {
            step.put_bytes(SERVICES, id.to_be_bytes(), service.encode_record()?);
            // What could not be done with the old account may go now.
            step.transfers_changed = true;
            Ok(())
        })
        .await?;
        Ok(self.service_view(&service))
    }

    /// Refuses a place where nothing is of what is stored with a service. What it has lost keeps nobody from a new key.
    async fn check_place(&self, service: &Service) -> Result<(), CommandError> {
        let mut stored = self.packs_at(service.place()).await?;
        stored.truncate(MAX_SAMPLES);
        let objects = service::open(self, &service.account).map_err(|error| unusable(error.to_string()))?;
        let missing = objects.missing(&stored).await.map_err(|error| unusable(error.to_string()))?;
        if stored.is_empty() || missing.len() < stored.len() {
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            "the packs that this node has stored are not there",
            "name the place where they are; add another place as a service of its own",
        ))
    }

    /// Writes to a service, reads, and deletes.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) async fn test_service(&self, id: u32) -> Result<ServiceView, CommandError> {
        let service = self.service(id).await?;
        self.try_out(&service).await?;
        Ok(self.service_view(&service))
    }

    async fn try_out(&self, service: &Service) -> Result<(), CommandError> {
        let objects = service::open(self, &service.account).map_err(|error| {
            let fault = if matches!(error, StorageError::Refused(_)) {
                Fault::BadRequest
            } else {
                Fault::Unavailable
            };
            CommandError::new(fault, error.to_string(), "put it right, then try again; nothing was kept")
        })?;
        let read_link = |link| async move { self.read_as_contact(&link).await };
        objects.try_out(read_link).await.map_err(|problem| {
            CommandError::new(
                Fault::Unavailable,
                format!("the storage at {} cannot be used: {problem}", objects.address()),
                "see that it runs, and that the account may write, read and delete there; then try again",
            )
        })
    }

    /// Reads by a link what a contact would.
    async fn read_as_contact(&self, link: &Link) -> Result<Vec<u8>, String> {
        let mut read = BytesMut::new();
        // No contact has this number.
        self.network().read_link(0, link, &mut read).await.map_err(|error| error.to_string())?;
        Ok(read.to_vec())
    }

    /// Forgets a service and its secret. What is stored there stays.
    ///
    /// # Errors
    /// If contacts may still fetch files from there, unless that is accepted.
    pub(crate) async fn remove_service(&self, id: u32, is_forced: bool) -> Result<(), CommandError> {
        let place = self.service(id).await?.place();
        self.step(|core, step, _| {
            let shares = core.transfers.shares.values().filter(|share| share.mailbox == place).count();
            if shares > 0 && !is_forced {
                return Err(CommandError::new(
                    Fault::Conflict,
                    format!("{shares} sent files are stored there, and this node could not take them away any more"),
                    "revoke them first, or add --force: they stay at the service then, and contacts can fetch them for some days yet",
                ));
            }
            step.delete(SERVICES, id.to_be_bytes());
            Ok(())
        })
        .await
    }
}
