//! What people do about contacts.

use rand_core::OsRng;

use super::{
    Agent,
    core::Core,
    error::{CommandError, Fault},
    internal,
    records::OUTBOX,
    stored,
};
use crate::api::types::{ContactView, ResetKeysRequest, ResetKeysView, SkippedContact};

/// How many rows of a removed contact are deleted at a time: three writes each stay below a batch's limit.
const REMOVE_ROWS: usize = 256;

impl Agent {
    /// Lists the address book.
    pub async fn addressbook(&self) -> Vec<ContactView> {
        self.0.core.lock().await.addressbook()
    }

    /// Gives a contact another local name.
    ///
    /// # Errors
    /// If there is no such contact, or the name cannot be used.
    pub async fn rename_contact(&self, cid: u32, petname: &str) -> Result<ContactView, CommandError> {
        self.step(|core, step, _| core.rename(step, cid, petname)).await
    }

    /// Notes that the people compared their safety words.
    ///
    /// # Errors
    /// If there is no such contact, or it is pending.
    pub async fn verify_contact(&self, cid: u32) -> Result<ContactView, CommandError> {
        self.step(|core, step, _| core.verify(step, cid)).await
    }

    /// Blocks a contact: nothing of it is taken in or acknowledged any more, and it is not told where mail goes from now on.
    ///
    /// # Errors
    /// If there is no such contact, or it is pending.
    pub async fn block_contact(&self, cid: u32) -> Result<ContactView, CommandError> {
        self.step(|core, step, now| core.block(step, cid, now, &mut OsRng)).await
    }

    /// Replaces the keys of one contact's channel, or those of all contacts and of the accounts: the panic button.
    ///
    /// # Errors
    /// If neither or both are asked for; if the one contact's cannot be replaced.
    pub async fn reset_keys(&self, request: &ResetKeysRequest) -> Result<ResetKeysView, CommandError> {
        match (request.cid, request.all) {
            (Some(cid), false) => {
                let view = self.reset_channel(cid).await?;
                Ok(ResetKeysView { contacts: vec![view], skipped: Vec::new() })
            }
            (None, true) => self.reset_all_keys().await,
            _ => Err(CommandError::new(
                Fault::BadRequest,
                "it is not clear whose keys are meant",
                "name one contact, or say all",
            )),
        }
    }

    async fn reset_channel(&self, cid: u32) -> Result<ContactView, CommandError> {
        self.step(|core, step, now| core.reset_channel(step, cid, now, &mut OsRng)).await
    }

    async fn reset_all_keys(&self) -> Result<ResetKeysView, CommandError> {
        self.step(|core, step, now| core.replace_accounts(step, now, &mut OsRng)).await?;
        let cids: Vec<u32> = self.0.core.lock().await.peers.keys().copied().collect();
        let mut done = ResetKeysView { contacts: Vec::new(), skipped: Vec::new() };
        for cid in cids {
            match self.reset_channel(cid).await {
                Ok(view) => done.contacts.push(view),
                Err(error) if error.fault == Fault::Internal => return Err(error),
                Err(error) => done.skipped.push(SkippedContact { cid, reason: error.to_string() }),
            }
        }
        Ok(done)
    }

    /// Lets a blocked contact in again.
    ///
    /// # Errors
    /// If there is no such contact, or it is not blocked.
    pub async fn unblock_contact(&self, cid: u32) -> Result<ContactView, CommandError> {
        let view = self.step(|core, step, _| core.unblock(step, cid)).await?;
        self.tell_contacts().await?;
        Ok(view)
    }

    /// Removes a contact with its conversation and all that waits for it.
    ///
    /// # Errors
    /// If there is no such contact.
    pub async fn remove_contact(&self, cid: u32) -> Result<(), CommandError> {
        self.step(|core, step, _| core.remove(step, cid)).await?;
        self.finish_removals().await
    }

    pub(super) async fn finish_removals(&self) -> Result<(), CommandError> {
        let removing = self.0.core.lock().await.settings.removing.clone();
        for cid in removing {
            let prefix = cid.to_be_bytes();
            let queued = self.scan(OUTBOX, &prefix).await?;
            let messages = stored::messages(&self.0.db, &prefix).await.map_err(|error| internal(&error))?;
            for chunk in queued.chunks(REMOVE_ROWS) {
                let keys = chunk.iter().map(|(key, _)| key.clone()).collect();
                self.step(|_, step, _| {
                    Core::remove_rows(step, keys, Vec::new());
                    Ok(())
                })
                .await?;
            }
            for chunk in messages.chunks(REMOVE_ROWS) {
                let rows = chunk.iter().map(|(key, message)| (key.encode(), message.id)).collect();
                self.step(|_, step, _| {
                    Core::remove_rows(step, Vec::new(), rows);
                    Ok(())
                })
                .await?;
            }
            while self.step(|core, step, _| Ok(core.forget_transfers_of(step, cid))).await? {}
            while self.step(|core, step, _| Ok(core.forget_mids_of(step, cid))).await? {}
            self.step(|core, step, _| core.removed(step, cid)).await?;
        }
        Ok(())
    }
}
