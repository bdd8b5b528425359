//! Services that OpenDAL speaks with.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use opendal::{HttpTransporter, OperationContext, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

use super::{Incoming, ObjectPath};
use crate::{ObjectError, Way};

/// Where objects are until they are whole, at services that rename.
const ARRIVING: &str = "arriving/";

/// A service of the library's.
#[derive(Clone, Debug)]
pub(crate) struct Library(Operator);

impl Library {
    /// Has a service reached by the right way.
    pub(super) fn open(built: opendal::Result<Operator>, way: &Way) -> Result<Self, ObjectError> {
        let operator = built.map_err(|error| ObjectError::Refused(error.to_string()))?;
        let transport = HttpTransporter::new(ReqwestTransport::new(way.client.clone()));
        Ok(Self(operator.with_context(OperationContext::new().with_http_transport(transport))))
    }

    pub(super) fn has_links(&self) -> bool {
        self.0.info().capability().presign_read
    }

    pub(super) async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), ObjectError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        // A note beside the folders is small: it is written in one go everywhere.
        if folder.is_empty() || !self.0.info().capability().rename {
            self.0.write(path, bytes).await?;
            return Ok(());
        }
        let arriving = format!("{ARRIVING}{name}");
        self.0.create_dir(ARRIVING).await?;
        self.0.create_dir(&format!("{folder}/")).await?;
        self.0.write(&arriving, bytes).await?;
        Ok(self.0.rename(&arriving, path).await?)
    }

    pub(super) async fn length(&self, path: &ObjectPath) -> Result<u64, ObjectError> {
        Ok(self.0.stat(path).await?.content_length())
    }

    pub(super) async fn read(&self, path: &ObjectPath, part: Range<u64>) -> Result<Incoming, ObjectError> {
        let stream = self.0.reader(path).await?.into_bytes_stream(part).await?;
        Ok(stream
            .map_err(|error| match error.downcast::<opendal::Error>() {
                Ok(error) => error.into(),
                Err(error) => ObjectError::Unavailable(error.to_string()),
            })
            .boxed())
    }

    pub(super) async fn delete(&self, path: &ObjectPath) -> Result<(), ObjectError> {
        Ok(self.0.delete(path).await?)
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let lister = self.0.lister(folder).await?;
        Ok(lister.map_ok(|entry| entry.name().to_owned()).try_collect().await?)
    }

    pub(super) async fn sign(&self, path: &ObjectPath, life: Duration) -> Result<String, ObjectError> {
        Ok(self.0.presign_read(path, life).await?.uri().to_string())
    }
}
