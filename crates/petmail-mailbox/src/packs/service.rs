//! Packs at a commodity service: each an object. Who has stored it is known on this machine alone.
//!
//! The service's place is claimed for one server: a note there and a file here hold the same random text. So no two servers remove each
//! other's packs, and one that is led to another place says that its packs are not there.

use std::{fs, io, path::Path};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use petmail_objects::{ObjectError, Objects};
use petmail_proto::content::PackId;
use rand_core::{OsRng, RngCore};
use tokio::{
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
};

use super::{PackError, folder::Folder};

/// The name of the note.
const CLAIM: &str = "petmail-mailbox";

/// The file beside the packs that holds the same as the note.
const CLAIM_FILE: &str = "place";

/// The longest note that is read, in bytes.
const MAX_CLAIM_BYTES: u64 = 64;

/// How many packs are sent there at a time: each is in memory meanwhile.
const SENDING_AT_ONCE: usize = 8;

/// A service where packs are.
#[derive(Debug)]
pub(super) struct Service {
    objects: Objects,
    /// Set once the place is known to be this server's.
    claimed: OnceCell<()>,
    sending: Semaphore,
}

impl Service {
    pub(super) fn new(objects: Objects) -> Self {
        Self { objects, claimed: OnceCell::new(), sending: Semaphore::new(SENDING_AT_ONCE) }
    }

    /// Where it is, for people.
    pub(super) fn address(&self) -> &str {
        self.objects.address()
    }

    /// The objects, to look at.
    pub(super) const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The objects, to change them: the place is this server's.
    pub(super) async fn claimed(&self, folder: &Folder, known: u64) -> Result<&Objects, PackError> {
        self.claimed.get_or_try_init(|| self.claim(folder, known)).await?;
        Ok(&self.objects)
    }

    /// Stores the file of a pack as an object, at a place that is claimed.
    pub(super) async fn store_file(&self, id: &PackId, file: &Path) -> Result<(), PackError> {
        let _one_of_a_few = self.sending.acquire().await.map_err(PackError::new)?;
        let file = file.to_owned();
        let bytes = spawn_blocking(move || fs::read(file)).await.map_err(PackError::new)?;
        Ok(self.objects.store(id, Bytes::from(bytes.map_err(PackError::new)?)).await?)
    }

    async fn claim(&self, folder: &Folder, known: u64) -> Result<(), PackError> {
        let has_packs = has_remote(folder, known).map_err(PackError::new)?;
        let file = folder.path().join(CLAIM_FILE);
        let ours = match fs::read(&file) {
            Ok(ours) => Some(ours),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(PackError::new(error)),
        };
        let address = self.address();
        let refused = |text: String| Err(PackError::Service(ObjectError::Refused(text)));
        let text = match (ours, self.objects.read_note(CLAIM, MAX_CLAIM_BYTES).await) {
            (Some(ours), Ok(theirs)) if ours == theirs => return Ok(()),
            (_, Ok(_)) => {
                return refused(format!(
                    "another server keeps its packs at {address}: choose another bucket, prefix or folder; if it is this one, moved, copy its folder `packs` as well"
                ));
            }
            (Some(_), Err(ObjectError::Gone)) if has_packs => {
                return refused(format!(
                    "this server's packs are not at {address}: name the former place again, or copy all objects from there, also `{CLAIM}`"
                ));
            }
            (Some(ours), Err(ObjectError::Gone)) => ours,
            (None, Err(ObjectError::Gone)) => {
                let mut random = [0; 16];
                OsRng.fill_bytes(&mut random);
                let ours = HEXLOWER.encode(&random).into_bytes();
                petmail_net::program::write_private_file(&file, &ours).map_err(PackError::new)?;
                ours
            }
            (_, Err(error)) => return Err(error.into()),
        };
        Ok(self.objects.store_note(CLAIM, text.into()).await?)
    }
}

/// Whether packs of the server with this folder are, or were, at a service.
pub(crate) fn claims_service(dir: &Path) -> bool {
    dir.join(CLAIM_FILE).exists()
}

/// Whether some of so many known packs are at a service.
pub(super) fn has_remote(folder: &Folder, known: u64) -> io::Result<bool> {
    Ok(claims_service(folder.path()) && folder.packs()?.len() as u64 != known)
}
