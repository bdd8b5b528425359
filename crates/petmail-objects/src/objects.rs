//! The objects of a service.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use petmail_proto::content::{Link, PackId};
use tokio::time::timeout;

use crate::{Account, ObjectError, options};

/// The longest time for one pack, either way.
const LIMIT: Duration = Duration::from_secs(240);

/// How many packs are asked for or signed at a time.
const AT_ONCE: usize = 4;

/// Where packs are, below the folder or prefix that was chosen.
const PACKS: &str = "packs/";

/// Where packs are until they are whole, at services that rename.
const ARRIVING: &str = "arriving/";

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
    operator: Operator,
    address: String,
}

impl Objects {
    /// Opens a service; nobody is asked yet.
    ///
    /// # Errors
    /// [`ObjectError::Refused`]: an option is wrong.
    pub fn open(account: &Account, way: &Way) -> Result<Self, ObjectError> {
        let (operator, address) = options::open(account, way)?;
        let transport = HttpTransporter::new(ReqwestTransport::new(way.client.clone()));
        let context = OperationContext::new().with_http_transport(transport);
        Ok(Self { operator: operator.with_context(context), address })
    }

    /// Returns its address without what is secret, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Tells whether others can read there, by links.
    #[must_use]
    pub fn has_links(&self) -> bool {
        self.operator.info().capability().presign_read
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
        limited(self.operator.write(note, bytes)).await.map(drop)
    }

    /// Reads what [`store_note`](Self::store_note) has stored, at most `most` bytes of it.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn read_note(&self, note: &str, most: u64) -> Result<Bytes, ObjectError> {
        let length = limited(self.operator.stat(note)).await?.content_length();
        Ok(limited(self.operator.read_with(note).range(0..length.min(most))).await?.to_bytes())
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
        let reader = limited(self.operator.reader(&path(pack))).await?;
        let stream = limited(reader.into_bytes_stream(part)).await?;
        Ok(stream.map_err(|error| match error.downcast::<opendal::Error>() {
            Ok(error) => error.into(),
            Err(error) => ObjectError::Unavailable(error.to_string()),
        }))
    }

    /// Returns those packs that are not there.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, ObjectError> {
        let asked = stream::iter(packs.iter().copied()).map(|pack| async move {
            match limited(self.operator.stat(&path(&pack))).await {
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
        let lister = match limited(self.operator.lister(PACKS)).await {
            Err(ObjectError::Gone) => return Ok(Vec::new()),
            other => other?,
        };
        let listed = lister.try_filter_map(|entry| async move { Ok(pack_of(entry.name())) }).try_collect();
        match listed.await.map_err(ObjectError::from) {
            Err(ObjectError::Gone) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Deletes a pack; one that is gone already is no error.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub async fn delete(&self, pack: &PackId) -> Result<(), ObjectError> {
        limited(self.operator.delete(&path(pack))).await
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
        if !self.operator.info().capability().rename {
            return limited(self.operator.write(&below(PACKS, name), bytes)).await.map(drop);
        }
        let (arriving, place) = (below(ARRIVING, name), below(PACKS, name));
        limited(self.operator.create_dir(ARRIVING)).await?;
        limited(self.operator.create_dir(PACKS)).await?;
        limited(self.operator.write(&arriving, bytes)).await?;
        limited(self.operator.rename(&arriving, &place)).await
    }

    pub(crate) async fn sign(&self, name: &str, life: Duration) -> Result<Link, ObjectError> {
        let signed = limited(self.operator.presign_read(&below(PACKS, name), life)).await?;
        let link = Link::new(&signed.uri().to_string());
        link.ok_or_else(|| ObjectError::Refused("the service's links are too long".to_owned()))
    }

    pub(crate) async fn read_all(&self, name: &str) -> Result<Bytes, ObjectError> {
        Ok(limited(self.operator.read(&below(PACKS, name))).await?.to_bytes())
    }

    pub(crate) async fn read_part(&self, name: &str, part: Range<u64>) -> Result<Bytes, ObjectError> {
        Ok(limited(self.operator.read_with(&below(PACKS, name)).range(part)).await?.to_bytes())
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        limited(self.operator.delete(&below(PACKS, name))).await
    }

    pub(crate) async fn is_there(&self, name: &str) -> Result<bool, ObjectError> {
        match limited(self.operator.stat(&below(PACKS, name))).await {
            Ok(_) => Ok(true),
            Err(ObjectError::Gone) => Ok(false),
            Err(error) => Err(error),
        }
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

async fn limited<T>(operation: impl IntoFuture<Output = opendal::Result<T>>) -> Result<T, ObjectError> {
    match timeout(LIMIT, operation.into_future()).await {
        Ok(done) => done.map_err(ObjectError::from),
        Err(_) => Err(ObjectError::Unavailable("the service does not answer".to_owned())),
    }
}
