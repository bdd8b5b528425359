//! Where the packs of a server are: in its folder, or at a service, to which what is in the folder goes.

use petmail_objects::{ObjectError, Objects};
use petmail_proto::content::PackId;

use super::Packs;
use crate::packs::{
    PackError, folder,
    service::{Service, has_remote},
};

/// How many objects are removed, and how many files are moved, at a time.
const AT_A_TIME: usize = 16;

impl Packs {
    /// Sees that packs are where they are looked for.
    pub(super) async fn see_place(&self) -> Result<(), PackError> {
        let Some(service) = &self.service else {
            if has_remote(&self.folder, self.memory().packs).map_err(PackError::new)? {
                return Err(PackError::Service(ObjectError::Refused(
                    "packs of this server are at a service: say at which with --blobs".to_owned(),
                )));
            }
            return Ok(());
        };
        match self.objects(service).await {
            Err(PackError::Service(error @ (ObjectError::Unavailable(_) | ObjectError::Full))) => {
                tracing::warn!(%error, "the storage service is away; packs are refused until it is back");
                self.memory().trouble = Some(error.to_string());
            }
            other => drop(other?),
        }
        tracing::info!(address = service.address(), "packs are kept at a service");
        Ok(())
    }

    /// The service's objects, to change them.
    pub(super) async fn objects<'a>(&self, service: &'a Service) -> Result<&'a Objects, PackError> {
        let known = self.memory().packs;
        service.claimed(&self.folder, known).await
    }

    /// Removes a few of the service's objects that nobody owns, and moves a few files there that came before it was chosen. Tells whether
    /// more may be left.
    ///
    /// # Errors
    /// [`PackError`]; to be asked again then.
    pub async fn tidy(&self) -> Result<bool, PackError> {
        let Some(service) = &self.service else { return Ok(false) };
        let tidied = self.tidy_at(service).await;
        self.memory().trouble = match &tidied {
            Err(PackError::Service(error)) => Some(error.to_string()),
            _ => None,
        };
        tidied
    }

    async fn tidy_at(&self, service: &Service) -> Result<bool, PackError> {
        let objects = self.objects(service).await?;
        // Also if there is nothing to do: the operator sees whether it answers.
        objects.missing(&[PackId::from_bytes([0; 32])]).await?;
        if self.memory().to_move.is_none() {
            let listed = objects.list().await?;
            let files = self.folder.packs().map_err(PackError::new)?;
            let mut memory = self.memory();
            memory.ownerless.extend(listed);
            memory.to_move = Some(files);
        }
        let ownerless: Vec<_> = self.memory().ownerless.iter().take(AT_A_TIME).copied().collect();
        for id in &ownerless {
            self.remove_object(objects, id).await?;
        }
        for _ in 0..AT_A_TIME {
            let Some(id) = self.memory().to_move.as_mut().and_then(Vec::pop) else { break };
            match self.move_file(service, &id).await {
                Ok(()) => {}
                Err(PackError::Failed(reason)) => {
                    tracing::error!(%id, reason, "a pack cannot be moved to the service, and stays in the folder");
                }
                Err(error) => {
                    self.memory().to_move.get_or_insert_default().push(id);
                    return Err(error);
                }
            }
        }
        let has_files = self.memory().to_move.as_ref().is_some_and(|files| !files.is_empty());
        Ok(has_files || ownerless.len() == AT_A_TIME)
    }

    /// Moves the file of a pack to the service, unless its last owner has gone.
    async fn move_file(&self, service: &Service, id: &PackId) -> Result<(), PackError> {
        let file = self.folder.file(id);
        if self.find(id).await?.is_some() {
            service.store_file(id, &file).await?;
        }
        if self.find(id).await?.is_none() {
            self.memory().ownerless.insert(*id);
        }
        folder::remove(&file).map_err(PackError::new)
    }

    /// Removes an object, unless somebody owns it or is about to.
    async fn remove_object(&self, objects: &Objects, id: &PackId) -> Result<(), PackError> {
        {
            let mut memory = self.memory();
            if memory.is_written(id) {
                return Ok(());
            }
            memory.removing = Some(*id);
        }
        let removed = match self.find(id).await {
            Ok(None) => objects.delete(id).await.map_err(PackError::from),
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(error),
        };
        let mut memory = self.memory();
        memory.removing = None;
        if removed.is_ok() {
            memory.ownerless.remove(id);
        }
        removed
    }
}
