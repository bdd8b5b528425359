//! Files that messages bring, as people list them.

use super::{Agent, error::CommandError, internal, now, stored, transfers::row, view};
use crate::api::types::{FileRow, FilesQuery};

impl Agent {
    /// Lists files, the newest first; those that are being stored before those that were sent.
    ///
    /// # Errors
    /// If there is no such contact, or the database fails.
    pub(crate) async fn files(&self, query: FilesQuery) -> Result<Vec<FileRow>, CommandError> {
        let FilesQuery { cid, id, unsent } = query;
        let mut files = {
            let core = self.0.core.lock().await;
            if let Some(cid) = cid {
                core.peer(cid)?;
            }
            self.upload_rows(&core)
        };
        files.reverse();
        files.retain(|row| cid.is_none_or(|cid| cid == row.cid) && id.is_none_or(|id| id == row.id));
        if unsent {
            return Ok(files);
        }
        for found in stored::file_ids(&self.0.db).await.map_err(|error| internal(&error))?.into_iter().rev() {
            if id.is_some_and(|id| id != found) {
                continue;
            }
            // Its contact may have been removed meanwhile.
            let message = stored::message(&self.0.db, found).await.map_err(|error| internal(&error))?;
            let Some((key, message, packets)) =
                message.filter(|(key, ..)| cid.is_none_or(|cid| cid == key.cid))
            else {
                continue;
            };
            let core = self.0.core.lock().await;
            let Some(peer) = core.peers.get(&key.cid) else { continue };
            files.extend(row(self.dress(&core, view::message(peer, key, &message, packets, now()))));
        }
        Ok(files)
    }
}
