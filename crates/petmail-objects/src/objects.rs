//! The objects of a service.

use std::{ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use petmail_proto::content::{Link, PackId};
use tokio::time::timeout;

use crate::{Account, ObjectError, backend::Backend};

/// The longest time for one pack, either way.
const LIMIT: Duration = Duration::from_secs(240);

/// How many packs are asked for or signed at a time.
const AT_ONCE: usize = 4;

/// Where packs are, below the folder or prefix that was chosen.
const PACKS: &str = "packs/";

/// How services are reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// What speaks HTTP.
    pub client: reqwest::Client,
    /// Whether everything has to go through a proxy.
    pub has_proxy: bool,
    /// Whether plain HTTP may be used where nobody else listens.
    pub may_be_private: bool,
}

/// An open service.
#[derive(Clone, Debug)]
pub struct Objects {
    backend: Backend,
    address: String,
}

impl Objects {
    /// Opens a service; nobody is asked yet.
    ///
    /// # Errors
    /// [`ObjectError::Refused`]: an option is wrong.
    pub fn open(account: &Account, way: &Way) -> Result<Self, ObjectError> {
        let (backend, address) = Backend::open(account, way)?;
        Ok(Self { backend, address })
    }

    /// Returns its address without what is secret, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells whether others can read there, by links.
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.backend.has_links()
    }

    /// Stores a pack: whole, or not at all.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn store(&self, pack: &PackId, bytes: Bytes) -> Result<(), ObjectError> {
        self.write(&name(pack), bytes).await
    }

    /// Stores something else beside the packs, under a name of its own; what was there is replaced.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn store_note(&self, note: &str, bytes: Bytes) -> Result<(), ObjectError> {
        limited(self.backend.put(note, bytes)).await
    }

    /// Reads what [`store_note`](Self::store_note) has stored, at most `most` bytes of it.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn read_note(&self, note: &str, most: u64) -> Result<Bytes, ObjectError> {
        let length = limited(self.backend.length(note)).await?;
        self.collect(note, 0..length.min(most)).await
    }

    /// Reads a part of a pack, as it comes: `part` is in bytes, and within the pack.
    ///
    /// # Errors
    /// [`ObjectError`], also while it comes.
    pub async fn read(
        &self,
        pack: &PackId,
        part: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, ObjectError>> + Send + 'static, ObjectError> {
        limited(self.backend.read(&path(pack), part)).await
    }

    /// Returns those packs that are not there.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, ObjectError> {
        let asked = stream::iter(packs.iter().copied()).map(|pack| async move {
            match limited(self.backend.length(&path(&pack))).await {
                Ok(_) => Ok(None),
                Err(ObjectError::Gone) => Ok(Some(pack)),
                Err(error) => Err(error),
            }
        });
        asked.buffered(AT_ONCE).try_filter_map(|missing| async move { Ok(missing) }).try_collect().await
    }

    /// Lists the packs that are there; objects with other names are left out.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn list(&self) -> Result<Vec<PackId>, ObjectError> {
        let names = limited(self.backend.list(PACKS)).await?;
        Ok(names.iter().filter_map(|name| pack_of(name)).collect())
    }

    /// Deletes a pack; one that is gone already is no error.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn delete(&self, pack: &PackId) -> Result<(), ObjectError> {
        limited(self.backend.delete(&path(pack))).await
    }

    /// Signs a link to each pack, good for a time; see [`has_links`](Self::has_links).
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn sign_all(
        &self,
        packs: &[PackId],
        life: Duration,
    ) -> Result<Vec<(PackId, Link)>, ObjectError> {
        let signed = stream::iter(packs.iter().copied())
            .map(|pack| async move { Ok((pack, self.sign(&name(&pack), life).await?)) });
        signed.buffered(AT_ONCE).try_collect().await
    }

    pub(crate) async fn write(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        limited(self.backend.put(&below(PACKS, name), bytes)).await
    }

    pub(crate) async fn sign(&self, name: &str, life: Duration) -> Result<Link, ObjectError> {
        let link = Link::new(&limited(self.backend.sign(&below(PACKS, name), life)).await?);
        link.ok_or_else(|| ObjectError::Refused("the service's links are too long".to_owned()))
    }

    pub(crate) async fn read_part(&self, name: &str, part: Range<u64>) -> Result<Bytes, ObjectError> {
        self.collect(&below(PACKS, name), part).await
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        limited(self.backend.delete(&below(PACKS, name))).await
    }

    pub(crate) async fn is_there(&self, name: &str) -> Result<bool, ObjectError> {
        match limited(self.backend.length(&below(PACKS, name))).await {
            Ok(_) => Ok(true),
            Err(ObjectError::Gone) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn collect(&self, path: &str, part: Range<u64>) -> Result<Bytes, ObjectError> {
        let collected = async {
            let parts: BytesMut = self.backend.read(path, part).await?.try_collect().await?;
            Ok(parts.freeze())
        };
        limited(collected).await
    }
}

fn name(pack: &PackId) -> String {
    HEXLOWER.encode(pack.as_bytes())
}

fn pack_of(name: &str) -> Option<PackId> {
    let bytes = HEXLOWER.decode(name.as_bytes()).ok()?;
    bytes.try_into().ok().map(PackId::from_bytes)
}

fn path(pack: &PackId) -> String {
    below(PACKS, &name(pack))
}

fn below(folder: &str, name: &str) -> String {
    format!("{folder}{name}")
}

async fn limited<T>(operation: impl Future<Output = Result<T, ObjectError>>) -> Result<T, ObjectError> {
    // What speaks with a service is large, and its callers' futures need not be.
    match timeout(LIMIT, Box::pin(operation)).await {
        Ok(done) => done,
        Err(_) => Err(ObjectError::Unavailable("the service does not answer".to_owned())),
    }
}
