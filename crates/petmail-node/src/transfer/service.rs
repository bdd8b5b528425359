//! Packs at a service that knows nothing of Petmail: S3, WebDAV, SFTP, a folder. Each pack is an object, written in one go.

mod options;

use std::{error::Error as _, future::Future, io, time::Duration};

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures::{StreamExt, TryStreamExt, stream};
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use petmail_proto::content::{Link, PackId};
use rand_core::{OsRng, RngCore};
use tokio::time::timeout;

use super::Patience;
use crate::{
    agent::{Agent, records::services::Service},
    network::storage::StorageError,
};

/// For how long links are good: the longest that S3 allows.
pub(crate) const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The longest time for one pack, either way.
const LIMIT: Duration = Duration::from_secs(240);

/// How many packs are asked for or signed at a time.
const AT_ONCE: usize = 4;

/// Where packs are, below the folder or prefix that was chosen.
const PACKS: &str = "packs/";

/// Where packs are until they are whole, at services that rename.
const ARRIVING: &str = "arriving/";

/// The length of what a test stores, in bytes.
const TEST_BYTES: usize = 100_000;

/// An open service.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    operator: Operator,
    /// Its address without what is secret, for people.
    pub(crate) address: String,
}

impl Objects {
    /// Opens a service; nobody is asked yet.
    ///
    /// # Errors
    /// [`StorageError::Refused`]: an option is wrong.
    pub(crate) fn open(agent: &Agent, service: &Service) -> Result<Self, StorageError> {
        let (operator, address) = options::open(agent.network(), service)?;
        let transport = HttpTransporter::new(ReqwestTransport::new(agent.network().service_client()?));
        let context = OperationContext::new().with_http_transport(transport);
        Ok(Self { operator: operator.with_context(context), address })
    }

    /// Tells whether contacts can read there, by links.
    pub(crate) fn has_links(&self) -> bool {
        self.operator.info().capability().presign_read
    }

    /// Stores a pack: whole, or not at all.
    pub(crate) async fn store(&self, pack: &PackId, bytes: Bytes) -> Result<(), StorageError> {
        self.write(&object(pack), bytes).await
    }

    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        if !self.operator.info().capability().rename {
            return limited(self.operator.write(&format!("{PACKS}{name}"), bytes)).await.map(drop);
        }
        let (arriving, place) = (format!("{ARRIVING}{name}"), format!("{PACKS}{name}"));
        limited(self.operator.create_dir(ARRIVING)).await?;
        limited(self.operator.create_dir(PACKS)).await?;
        limited(self.operator.write(&arriving, bytes)).await?;
        limited(self.operator.rename(&arriving, &place)).await
    }

    /// Returns those packs that are not there.
    pub(crate) async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, StorageError> {
        let asked = stream::iter(packs.iter().copied()).map(|pack| async move {
            let found = limited(self.operator.stat(&path(&pack))).await;
            match found {
                Ok(_) => Ok(None),
                Err(StorageError::Gone) => Ok(Some(pack)),
                Err(error) => Err(error),
            }
        });
        asked.buffered(AT_ONCE).try_filter_map(|missing| async move { Ok(missing) }).try_collect().await
    }

    /// Deletes a pack; one that is gone already is no error.
    pub(crate) async fn delete(&self, pack: &PackId) -> Result<(), StorageError> {
        limited(self.operator.delete(&path(pack))).await
    }

    async fn sign_path(&self, path: &str) -> Result<Link, StorageError> {
        let signed = limited(self.operator.presign_read(path, LINK_LIFE)).await?;
        let link = Link::new(&signed.uri().to_string());
        link.ok_or_else(|| StorageError::Refused("the service's links are too long".to_owned()))
    }

    /// Signs a link to each pack.
    pub(crate) async fn sign_all(&self, packs: &[PackId]) -> Result<Vec<(PackId, Link)>, StorageError> {
        let signed = stream::iter(packs.iter().copied())
            .map(|pack| async move { Ok((pack, self.sign_path(&path(&pack)).await?)) });
        signed.buffered(AT_ONCE).try_collect().await
    }

    async fn try_link(&self, agent: &Agent, place: &str, bytes: &[u8]) -> Result<(), StorageError> {
        if !self.has_links() {
            return Ok(());
        }
        let link = self.sign_path(place).await?;
        let mut read = BytesMut::new();
        // No contact has this number.
        agent.network().read_link(0, &link, &mut read).await?;
        if read == bytes { Ok(()) } else { Err(StorageError::Damaged) }
    }

    /// Writes, reads, reads a part, has it read by a link as a contact would, and deletes.
    ///
    /// # Errors
    /// What the service does not do, and why, for people.
    pub(crate) async fn try_out(&self, agent: &Agent) -> Result<(), String> {
        let mut bytes = vec![0; TEST_BYTES];
        OsRng.fill_bytes(&mut bytes);
        let name = format!(
            "test-{}",
            HEXLOWER.encode(bytes.first_chunk::<16>().map_or(&[], |start| start.as_slice()))
        );
        let place = format!("{PACKS}{name}");
        let cannot = |what: &'static str| move |error: StorageError| format!("it does not {what}: {error}");
        self.write(&name, bytes.clone().into()).await.map_err(cannot("let us write"))?;
        let read = limited(self.operator.read(&place)).await.map_err(cannot("let us read"));
        let part = limited(self.operator.read_with(&place).range(1_000..2_000).into_future()).await;
        let linked = self.try_link(agent, &place, &bytes).await;
        // Whatever was wrong: nothing stays.
        let deleted = limited(self.operator.delete(&place)).await.map_err(cannot("let us delete"));
        let part = part.map_err(cannot("let us read parts"))?;
        deleted?;
        linked.map_err(cannot("let contacts fetch by links"))?;
        if read?.to_vec() != bytes || Some(part.to_vec().as_slice()) != bytes.get(1_000..2_000) {
            return Err("it returned something else than was stored".to_owned());
        }
        match limited(self.operator.stat(&place)).await {
            Err(StorageError::Gone) => Ok(()),
            Err(error) => Err(cannot("say what is there")(error)),
            Ok(_) => Err("it keeps what was deleted".to_owned()),
        }
    }
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
        let objects = Objects::open(agent, service)?;
        Ok(Self { agent: agent.clone(), id, place: service.place(), objects })
    }

    pub(super) const fn place(&self) -> u32 {
        self.place
    }

    /// Does something, however long the service is away.
    pub(super) async fn patiently<T, F: Future<Output = Result<T, StorageError>> + Send>(
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
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

fn object(pack: &PackId) -> String {
    HEXLOWER.encode(pack.as_bytes())
}

fn path(pack: &PackId) -> String {
    format!("{PACKS}{}", object(pack))
}

async fn limited<T>(operation: impl IntoFuture<Output = opendal::Result<T>>) -> Result<T, StorageError> {
    match timeout(LIMIT, operation.into_future()).await {
        Ok(done) => done.map_err(trouble),
        Err(_) => Err(StorageError::Unavailable {
            reason: "the service does not answer".to_owned(),
            retry_after: None,
        }),
    }
}

fn trouble(error: opendal::Error) -> StorageError {
    let refused = || {
        StorageError::Refused(
            "the service refuses the account, or does not let it do that: look at the name, the secret and its rights".to_owned(),
        )
    };
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    if matches!(io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
        return StorageError::Full;
    }
    match (error.kind(), status(&error)) {
        (_, Some(507)) => StorageError::Full,
        (ErrorKind::NotFound, _) => StorageError::Gone,
        (ErrorKind::PermissionDenied, _) | (_, Some(401 | 403)) => refused(),
        (ErrorKind::ConfigInvalid | ErrorKind::Unsupported, _) => StorageError::Refused(short(&error)),
        (_, Some(status)) => StorageError::Unavailable {
            reason: format!("the service answers with status {status}"),
            retry_after: None,
        },
        _ => StorageError::Unavailable { reason: short(&error), retry_after: None },
    }
}

/// The status of an HTTP answer: opendal has it among what it says for developers only.
fn status(error: &opendal::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("status: ")?;
    rest.get(..3)?.parse().ok()
}

/// What happened, without the context: that may hold addresses that are signed.
fn short(error: &opendal::Error) -> String {
    let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{}{source}", error.message()).chars().filter(|c| !c.is_control()).take(300).collect()
}
