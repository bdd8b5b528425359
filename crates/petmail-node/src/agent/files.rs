//! Files that messages bring, as people list and save them.

use petmail_proto::channel::file::FilePacket;
use rand_core::OsRng;

use super::{
    Agent,
    error::{CommandError, Fault},
    internal, now, stored,
    view::{self, file::packet},
};
use crate::api::types::{FileRow, FilesQuery, MessageView};

impl Agent {
    /// Queues a file for a contact; it is durable when this returns.
    ///
    /// # Errors
    /// If there is no such contact, or no room.
    pub(crate) async fn send_file(&self, cid: u32, file: &FilePacket) -> Result<MessageView, CommandError> {
        self.check_room()?;
        self.step(|core, step, now| core.send_file(step, cid, file, now, &mut OsRng)).await
    }

    /// Lists files, the newest first.
    ///
    /// # Errors
    /// If there is no such contact, or the database fails.
    pub(crate) async fn files(&self, query: FilesQuery) -> Result<Vec<FileRow>, CommandError> {
        let FilesQuery { cid, id } = query;
        if let Some(cid) = cid {
            self.0.core.lock().await.peer(cid)?;
        }
        let mut files = Vec::new();
        for found in stored::file_ids(&self.0.db).await.map_err(|error| internal(&error))?.into_iter().rev() {
            if id.is_some_and(|id| id != found) {
                continue;
            }
            // Its contact may have been removed meanwhile.
            let row = stored::message(&self.0.db, found).await.map_err(|error| internal(&error))?;
            let Some((key, message, packets)) = row.filter(|(key, ..)| cid.is_none_or(|cid| cid == key.cid))
            else {
                continue;
            };
            let core = self.0.core.lock().await;
            let Some(peer) = core.peers.get(&key.cid) else { continue };
            let view = view::message(peer, key, &message, packets, now());
            let MessageView { id, cid, room, direction, file: Some(file), .. } = view else { continue };
            files.push(FileRow { id, cid, room, direction, file });
        }
        Ok(files)
    }

    /// Returns the content of the file that a message brings.
    ///
    /// # Errors
    /// If there is no such message, or it brings no file.
    pub(crate) async fn file(&self, id: u64) -> Result<Vec<u8>, CommandError> {
        let (_, _, packets) = self.message(id).await?;
        let file = packet(&packets).ok_or_else(|| {
            let problem = format!("message {id} brings no file");
            CommandError::new(Fault::NotFound, problem, "the files command lists those that do")
        })?;
        Ok(file.inline.into_content())
    }
}
