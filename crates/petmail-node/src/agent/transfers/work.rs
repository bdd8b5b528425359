//! What the transfers under way use of the agent: what there is to do, and how it went.

use petmail_proto::{
    channel::file::{FileContent, FilePacket, StoredFile},
    content::Reference,
};
use rand_core::OsRng;

use super::{
    super::{
        Agent,
        error::{CommandError, Fault},
        lock,
        records::{
            Mailbox,
            transfers::{Download, Hitch, Phase, Saved, Upload},
        },
        view::file::packet,
    },
    no_file,
};
use crate::transfer::spool::{self, SpoolReader};

/// What is under way, or should be.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) uploads: Vec<Upload>,
    pub(crate) downloads: Vec<Download>,
    /// Whether contacts ask where files are.
    pub(crate) has_questions: bool,
}

impl Agent {
    /// Waits until files have to be stored, fetched or taken away, or no longer.
    pub(crate) async fn transfers_changed(&self) {
        self.0.transfers_changed.notified().await;
    }

    /// Returns what should be under way.
    pub(crate) async fn transfer_work(&self) -> Work {
        let core = self.0.core.lock().await;
        let uploads = core.transfers.uploads.values().filter(|upload| upload.phase == Phase::Active);
        let is_active = |download: &&Download| download.phase == Phase::Active && download.saved.is_none();
        let downloads = core.transfers.downloads.values().filter(is_active);
        let (uploads, downloads) = (uploads.cloned().collect(), downloads.cloned().collect());
        Work { uploads, downloads, has_questions: !core.transfers.questions.is_empty() }
    }

    /// Takes the downloads that were given up: what there is of them is to be removed.
    pub(crate) fn take_trash(&self) -> Vec<Download> {
        std::mem::take(&mut lock(&self.0.trash))
    }

    /// Notes that a transfer cannot go on until a person has done something.
    pub(crate) async fn fail_transfer(&self, id: u64, hitch: Hitch) -> Result<(), CommandError> {
        self.step(|core, step, _| core.fail_transfer(step, id, hitch)).await
    }

    /// Returns the mailboxes whose servers may keep files.
    pub(crate) async fn storing_mailboxes(&self) -> Vec<Mailbox> {
        let core = self.0.core.lock().await;
        let may =
            |mailbox: &&Mailbox| mailbox.account.is_some() && mailbox.leaving.is_none() && !mailbox.is_local;
        core.mailboxes.values().filter(may).cloned().collect()
    }

    /// Where a file that came through the control API waits.
    pub(crate) fn spool(&self, id: u64) -> SpoolReader {
        SpoolReader::of(&self.0.basedir, id, self.0.db.vault())
    }

    /// Removes the files that came through the control API and that no upload needs any more; before any comes.
    pub(in crate::agent) async fn sweep_spool(&self) {
        let core = self.0.core.lock().await;
        let swept = spool::sweep(&self.0.basedir, |id| core.transfers.uploads.contains_key(&id));
        if let Err(error) = swept {
            tracing::warn!(%error, "files that are no longer needed stay in the spool");
        }
    }

    /// Returns the name of a message's file, and where it is stored now.
    pub(crate) async fn stored_file(&self, id: u64) -> Result<(String, StoredFile), CommandError> {
        let (_, _, packets) = self.message(id).await?;
        let FilePacket { name, content } = packet(&packets).ok_or_else(|| no_file(id))?;
        match content {
            FileContent::Stored(stored) => {
                let location = self.0.core.lock().await.transfers.location(id);
                let reference = location.into_iter().fold(stored.reference, Reference::at);
                Ok((name, StoredFile { reference, ..stored }))
            }
            FileContent::Inline(_) => Err(CommandError::new(
                Fault::Conflict,
                format!("the file of message {id} is here already"),
                "save-file saves it",
            )),
        }
    }

    /// Has the message sent that says where a stored file is.
    pub(crate) async fn finish_upload(
        &self,
        id: u64,
        place: (u32, Reference),
        what: (u64, u32),
    ) -> Result<(), CommandError> {
        self.step(|core, step, now| core.finish_upload(step, id, place, what, now, &mut OsRng)).await?;
        lock(&self.0.meters).forget(id);
        Ok(())
    }

    /// Notes what a download is about to be renamed to.
    pub(crate) async fn note_renaming(&self, id: u64, path: &str) -> Result<(), CommandError> {
        self.step(|core, step, _| core.note_renaming(step, id, path)).await
    }

    /// Notes that a file is in its place, and tells its sender.
    pub(crate) async fn finish_download(&self, id: u64, saved: Saved) -> Result<(), CommandError> {
        self.step(|core, step, now| core.finish_download(step, id, saved, now, &mut OsRng)).await?;
        lock(&self.0.meters).forget(id);
        Ok(())
    }

    /// Takes away what was kept long enough.
    pub(in crate::agent) async fn expire_shares(&self) -> Result<(), CommandError> {
        while self.step(|core, step, now| Ok(core.expire_shares(step, now))).await? {}
        Ok(())
    }

    /// Notes that a transfer begins, or begins anew.
    pub(crate) fn transfer_begins(&self, id: u64, total: u64) {
        lock(&self.0.meters).begin(id, total);
        self.show_soon(id);
    }

    /// Notes that so many bytes more are where they should be.
    pub(crate) fn transfer_advances(&self, id: u64, bytes: u64) {
        if lock(&self.0.meters).advance(id, bytes) {
            self.show_soon(id);
        }
    }

    /// Notes what a transfer waits for.
    pub(crate) fn transfer_waits(&self, id: u64, hitch: Hitch) {
        if lock(&self.0.meters).wait(id, hitch) {
            self.show_soon(id);
        }
    }

    fn show_soon(&self, id: u64) {
        let agent = self.clone();
        tokio::spawn(async move {
            let core = agent.0.core.lock().await;
            agent.show_file(&core, id).await;
        });
    }
}
