//! Files that storage servers keep: those that are being sent, those that were, and those that are fetched. Where they are after
//! a while is in `locations`.

mod locations;

use std::{collections::BTreeMap, time::Duration};

use petmail_proto::{
    channel::{
        file::{FetchedPacket, FileContent, FilePacket, StoredFile},
        payload::{FILE, Payload},
    },
    content::Reference,
    keys::MessageId,
    time::UnixMillis,
};
use rand_core::CryptoRngCore;
use serde_json::{Map, Value};

use super::{Core, Step, send::News};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{
            Message, MessageKey,
            transfers::{
                DOWNLOADS, Download, FETCH_LIMITS, Hitch, LOCATIONS, Located, Phase, SHARES, Saved, Share,
                Source, Target, UPLOADS, Upload,
            },
        },
        view::file::packet,
    },
    api::types::ContactView,
};

/// The most uploads of a node that have not ended.
const MAX_UPLOADS: usize = 1_000;

/// How many rows of a kind one step changes.
const AT_ONCE: usize = 128;

/// The most files of a folder that is fetched without anybody asking: empty ones take room, too.
const MOST_BY_THEMSELVES: u32 = 10_000;

/// The permissions of files that are fetched without anybody asking.
const PRIVATE: u32 = 0o600;

/// What is stored of transfers.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    pub(crate) uploads: BTreeMap<u64, Upload>,
    pub(crate) shares: BTreeMap<u64, Share>,
    pub(crate) downloads: BTreeMap<u64, Download>,
    /// Where files are now that are not where their messages say.
    pub(crate) located: BTreeMap<u64, Located>,
    /// The files that contacts ask for, and why they could not be told yet.
    pub(crate) questions: BTreeMap<(u32, MessageId), Option<Hitch>>,
}

impl Transfers {
    /// Tells whether anybody still needs the packs of this upload or share.
    pub(crate) fn needs(&self, id: u64) -> bool {
        self.uploads.contains_key(&id) || self.shares.contains_key(&id)
    }
}

impl Core {
    /// Gives out the number of a message that is going to be.
    pub(crate) fn reserve_message_id(&mut self) -> u64 {
        self.next_message_id()
    }

    /// Checks that something can be sent to a contact.
    pub(crate) fn check_can_send(&self, cid: u32) -> Result<(), CommandError> {
        self.check_written_to(cid)?;
        if self.transfers.uploads.len() < MAX_UPLOADS {
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            format!("there are {MAX_UPLOADS} files under way already"),
            "wait for some of them, or cancel some; the files command lists them",
        ))
    }

    /// Begins to store a file or folder for a contact.
    pub(crate) fn begin_upload(&mut self, step: &mut Step, upload: Upload) -> Result<(), CommandError> {
        self.check_can_send(upload.cid)?;
        let id = upload.id;
        self.transfers.uploads.insert(id, upload);
        self.put_upload(step, id)
    }

    /// Sends the message that says where a stored file is. The upload may have been cancelled meanwhile.
    pub(crate) fn finish_upload(
        &mut self,
        step: &mut Step,
        id: u64,
        (mailbox, reference): (u32, Reference),
        (size, count): (u64, u32),
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let Some(upload) = self.transfers.uploads.get(&id).cloned() else { return Ok(()) };
        let Upload { cid, mid, name, kind, keep_days, .. } = upload;
        self.check_written_to(cid)?;
        let asked = Duration::from_secs(u64::from(keep_days).saturating_mul(86_400));
        let until = now.plus(asked);
        let content = FileContent::Stored(StoredFile { kind, size, count, until, reference });
        let content = Payload::new(mid).with(FILE, &FilePacket { name, content }).packets;
        self.queue_message(step, cid, (id, mid), content, now, rng)?;
        self.end_upload(step, id);
        let share = Share { cid, mid, mailbox, until, fetched: None };
        step.put(SHARES, id.to_be_bytes(), &share)?;
        self.transfers.shares.insert(id, share);
        self.transfers_changed(step, id);
        Ok(())
    }

    /// Fetches the file of a message; one that was being fetched to the same place goes on.
    pub(crate) fn begin_download(
        &mut self,
        step: &mut Step,
        (key, message): (MessageKey, &Message),
        target: Target,
        mode: u32,
    ) -> Result<(), CommandError> {
        let (id, cid) = (message.id, key.cid);
        let mid = message.mid.unwrap_or(MessageId::from_bytes([0; 16]));
        let before = self.transfers.downloads.get(&id);
        let unfinished = before.filter(|before| before.saved.is_none());
        if let Some(before) = unfinished
            && before.phase == Phase::Active
            && before.target != target
        {
            let (Target::Folder(place) | Target::Exactly(place)) = &before.target;
            return Err(CommandError::new(
                Fault::Conflict,
                format!("the file of message {id} is being fetched to {place}"),
                format!("wait for it, or cancel {id} first"),
            ));
        }
        if let Some(before) = unfinished.filter(|before| before.target != target).cloned() {
            step.trash.push(before);
        }
        let renaming = unfinished.filter(|before| before.target == target);
        let renaming = renaming.and_then(|before| before.renaming.clone());
        let download = Download { id, cid, mid, target, mode, renaming, phase: Phase::Active, saved: None };
        self.transfers.downloads.insert(id, download);
        self.put_download(step, id)
    }

    /// Fetches what came in, if its contact's files are fetched up to that size.
    pub(super) fn fetch_by_itself(
        &mut self,
        step: &mut Step,
        key: MessageKey,
        message: &Message,
        file: Option<FilePacket>,
    ) -> Result<(), CommandError> {
        let Some(FilePacket { content: FileContent::Stored(stored), .. }) = file else { return Ok(()) };
        let limit = self.peer(key.cid)?.fetch_limit;
        if stored.size > limit || limit == 0 || stored.count > MOST_BY_THEMSELVES {
            return Ok(());
        }
        // Without a place for files, a person has to say where to.
        let folder = self.profile.download_folder.clone();
        if folder.is_empty() {
            return Ok(());
        }
        self.begin_download(step, (key, message), Target::Folder(folder), PRIVATE)
    }

    /// Notes what a download is being renamed to.
    pub(crate) fn note_renaming(&mut self, step: &mut Step, id: u64, path: &str) -> Result<(), CommandError> {
        let Some(download) = self.transfers.downloads.get_mut(&id) else { return Ok(()) };
        download.renaming = Some(path.to_owned());
        let download = download.clone();
        Ok(step.put(DOWNLOADS, id.to_be_bytes(), &download)?)
    }

    /// Notes that a file is in its place, and tells its sender.
    pub(crate) fn finish_download(
        &mut self,
        step: &mut Step,
        id: u64,
        saved: Saved,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let Some(download) = self.transfers.downloads.get_mut(&id) else { return Ok(()) };
        download.saved = Some(saved);
        download.renaming = None;
        let (cid, mid) = (download.cid, download.mid);
        self.put_download(step, id)?;
        self.forget_location(step, id);
        // Own files can be fetched too; and who is blocked is told nothing.
        if self.mids.contains_key(&(cid, mid)) && self.check_written_to(cid).is_ok() {
            self.enqueue_own(step, cid, News { fetched: Some(mid), ..News::NONE }, now, rng)?;
        }
        Ok(())
    }

    /// Takes in that a contact has fetched a file.
    pub(super) fn hear_fetched(
        &mut self,
        step: &mut Step,
        cid: u32,
        fetched: FetchedPacket,
        now: UnixMillis,
    ) -> Result<(), CommandError> {
        let mut shares = self.transfers.shares.iter_mut();
        let is_meant = |share: &Share| share.cid == cid && share.mid == fetched.mid;
        let Some((id, share)) = shares.find(|(_, share)| is_meant(share)) else { return Ok(()) };
        let id = *id;
        share.fetched.get_or_insert(now);
        let share = share.clone();
        step.put(SHARES, id.to_be_bytes(), &share)?;
        step.files.push(id);
        Ok(())
    }

    /// Stops a transfer for now.
    pub(crate) fn pause_transfer(&mut self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        self.set_phase(step, id, Phase::Paused)
    }

    /// Lets a transfer that was stopped, or has failed, go on.
    pub(crate) fn resume_transfer(&mut self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        self.set_phase(step, id, Phase::Active)
    }

    /// Notes that a transfer cannot go on.
    pub(crate) fn fail_transfer(
        &mut self,
        step: &mut Step,
        id: u64,
        hitch: Hitch,
    ) -> Result<(), CommandError> {
        self.set_phase(step, id, Phase::Failed(hitch))
    }

    fn set_phase(&mut self, step: &mut Step, id: u64, phase: Phase) -> Result<(), CommandError> {
        if let Some(upload) = self.transfers.uploads.get_mut(&id) {
            upload.phase = phase;
            return self.put_upload(step, id);
        }
        let unfinished = |download: &&mut Download| download.saved.is_none();
        if let Some(download) = self.transfers.downloads.get_mut(&id).filter(unfinished) {
            download.phase = phase;
            return self.put_download(step, id);
        }
        Err(not_under_way(id))
    }

    /// Gives a transfer up.
    pub(crate) fn cancel_transfer(&mut self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        let is_upload = self.end_upload(step, id);
        let downloads = &mut self.transfers.downloads;
        if is_upload {
            // That was it.
        } else if downloads.get(&id).is_some_and(|download| download.saved.is_none()) {
            step.trash.extend(downloads.remove(&id));
            step.delete(DOWNLOADS, id.to_be_bytes());
            self.forget_location(step, id);
        } else {
            return Err(not_under_way(id));
        }
        self.transfers_changed(step, id);
        Ok(())
    }

    /// Takes a sent file away from its storage server.
    pub(crate) fn revoke(&mut self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        if !self.end_share(step, id) {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("no storage server keeps a file of message {id}"),
                "what a message itself has carried cannot be taken back; the files command shows what is stored",
            ));
        }
        self.transfers_changed(step, id);
        Ok(())
    }

    /// Takes away what was kept long enough. Returns whether anything was.
    pub(crate) fn expire_shares(&mut self, step: &mut Step, now: UnixMillis) -> bool {
        let old = self.transfers.shares.iter().filter(|(_, share)| share.until <= now);
        let old: Vec<u64> = old.map(|(id, _)| *id).take(AT_ONCE).collect();
        for id in &old {
            self.end_share(step, *id);
            self.transfers_changed(step, *id);
        }
        old.len() == AT_ONCE
    }

    /// Forgets transfers with a removed contact, as many as one step holds; true if there may be more.
    pub(crate) fn forget_transfers_of(&mut self, step: &mut Step, cid: u32) -> bool {
        let Transfers { uploads, shares, downloads, .. } = &mut self.transfers;
        let of_uploads = ids_of(uploads, |upload| upload.cid == cid);
        let of_shares = ids_of(shares, |share| share.cid == cid);
        let of_downloads = ids_of(downloads, |download| download.cid == cid);
        for id in &of_downloads {
            step.trash.extend(downloads.remove(id).filter(|download| download.saved.is_none()));
            step.delete(DOWNLOADS, id.to_be_bytes());
        }
        for id in &of_uploads {
            self.end_upload(step, *id);
        }
        for id in &of_shares {
            self.end_share(step, *id);
        }
        for id in &of_downloads {
            self.forget_location(step, *id);
        }
        self.forget_questions_of(step, cid);
        step.transfers_changed = true;
        [of_uploads, of_shares, of_downloads].iter().any(|ids| ids.len() == AT_ONCE)
    }

    /// Chooses up to which size a contact's files are fetched without asking; 0 for none.
    pub(crate) fn set_fetch_limit(
        &mut self,
        step: &mut Step,
        cid: u32,
        bytes: u64,
    ) -> Result<ContactView, CommandError> {
        self.peer_mut(cid)?.fetch_limit = bytes;
        step.put_bytes(FETCH_LIMITS, cid.to_be_bytes(), bytes.to_be_bytes().to_vec());
        self.changed(step, cid)
    }

    /// Forgets an upload; tells whether there was one.
    fn end_upload(&mut self, step: &mut Step, id: u64) -> bool {
        let Some(upload) = self.transfers.uploads.remove(&id) else { return false };
        step.delete(UPLOADS, id.to_be_bytes());
        if upload.source == Source::Spool {
            step.spent.push(id);
        }
        true
    }

    /// Forgets a sent file; tells whether there was one.
    fn end_share(&mut self, step: &mut Step, id: u64) -> bool {
        if self.transfers.shares.remove(&id).is_none() {
            return false;
        }
        step.delete(SHARES, id.to_be_bytes());
        self.forget_location(step, id);
        true
    }

    fn forget_location(&mut self, step: &mut Step, id: u64) {
        if self.transfers.located.remove(&id).is_some() {
            step.delete(LOCATIONS, id.to_be_bytes());
        }
    }

    /// Refuses to send a message anew whose file no server keeps any more.
    pub(super) fn check_still_stored(
        &self,
        id: u64,
        packets: &Map<String, Value>,
    ) -> Result<(), CommandError> {
        let is_stored = |file: FilePacket| {
            matches!(file.content, FileContent::Stored(_)) && !self.transfers.shares.contains_key(&id)
        };
        if !packet(packets).is_some_and(is_stored) {
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            format!("the file of message {id} is not stored any more"),
            "send the file again",
        ))
    }

    /// Takes the file of a message that was called off away from its storage server.
    pub(super) fn drop_share(&mut self, step: &mut Step, id: u64) {
        if self.end_share(step, id) {
            self.transfers_changed(step, id);
        }
    }

    fn put_upload(&self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        if let Some(upload) = self.transfers.uploads.get(&id) {
            step.put(UPLOADS, id.to_be_bytes(), upload)?;
        }
        self.transfers_changed(step, id);
        Ok(())
    }

    fn put_download(&self, step: &mut Step, id: u64) -> Result<(), CommandError> {
        if let Some(download) = self.transfers.downloads.get(&id) {
            step.put(DOWNLOADS, id.to_be_bytes(), download)?;
        }
        self.transfers_changed(step, id);
        Ok(())
    }

    fn transfers_changed(&self, step: &mut Step, id: u64) {
        step.transfers_changed = true;
        step.files.push(id);
    }
}

fn not_under_way(id: u64) -> CommandError {
    CommandError::new(
        Fault::Conflict,
        format!("no file of message {id} is under way"),
        "the files command lists those that are",
    )
}

/// The first few.
fn ids_of<T>(rows: &BTreeMap<u64, T>, is_meant: impl Fn(&T) -> bool) -> Vec<u64> {
    rows.iter().filter(|(_, row)| is_meant(row)).map(|(id, _)| *id).take(AT_ONCE).collect()
}
