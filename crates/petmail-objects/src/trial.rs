//! Trying a service out.

use std::{future::Future, time::Duration};

use data_encoding::HEXLOWER;
use petmail_proto::content::Link;
use rand_core::{OsRng, RngCore};

use crate::{ObjectError, Objects};

/// The length of what a test stores, in bytes.
const TEST_BYTES: usize = 100_000;

/// For how long the link of a test is good.
const TEST_LIFE: Duration = Duration::from_secs(600);

impl Objects {
    /// Writes, reads, reads a part, has it read by a link with `read_link` if there are links, and deletes. Nothing stays.
    ///
    /// # Errors
    /// What the service does not do, and why, for people.
    pub async fn try_out<F, R>(&self, read_link: F) -> Result<(), String>
    where
        F: FnOnce(Link) -> R + Send,
        R: Future<Output = Result<Vec<u8>, String>> + Send,
    {
        let mut bytes = vec![0; TEST_BYTES];
        OsRng.fill_bytes(&mut bytes);
        let name = format!("test-{}", HEXLOWER.encode(bytes.get(..16).unwrap_or_default()));
        self.write(&name, bytes.clone().into()).await.map_err(cannot("let us write"))?;
        let read = self.read_part(&name, 0..TEST_BYTES as u64).await.map_err(cannot("let us read"));
        let part = self.read_part(&name, 1_000..2_000).await.map_err(cannot("let us read parts"));
        let linked = self.try_link(&name, read_link).await;
        // Whatever was wrong: nothing stays.
        let deleted = self.remove(&name).await.map_err(cannot("let us delete"));
        let part = part?;
        deleted?;
        let linked = linked.map_err(|reason| format!("it does not let contacts fetch by links: {reason}"))?;
        let is_same = read? == bytes && Some(&*part) == bytes.get(1_000..2_000);
        if !is_same || linked.is_some_and(|linked| linked != bytes) {
            return Err("it returned something else than was stored".to_owned());
        }
        match self.is_there(&name).await {
            Ok(false) => Ok(()),
            Ok(true) => Err("it keeps what was deleted".to_owned()),
            Err(error) => Err(cannot("say what is there")(error)),
        }
    }

    async fn try_link<R>(
        &self,
        name: &str,
        read_link: impl FnOnce(Link) -> R + Send,
    ) -> Result<Option<Vec<u8>>, String>
    where
        R: Future<Output = Result<Vec<u8>, String>> + Send,
    {
        if !self.has_links() {
            return Ok(None);
        }
        let link = self.sign(name, TEST_LIFE).await.map_err(|error| error.to_string())?;
        read_link(link).await.map(Some)
    }
}

fn cannot(what: &'static str) -> impl Fn(ObjectError) -> String {
    move |error| format!("it does not {what}: {error}")
}
