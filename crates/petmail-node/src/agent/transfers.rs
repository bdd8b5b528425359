//! Files on their way to and from storage servers: what people do about them. What the transfers themselves need is in `work`,
//! `packs` and `locations`.

mod locations;
mod meters;
mod packs;
mod work;

use std::path::{Path, PathBuf};

use petmail_proto::{
    channel::file::{FileContent, FilePacket, InlineFile, MAX_INLINE_BYTES, StoredKind},
    keys::MessageId,
};
use rand_core::OsRng;
use tokio::task::spawn_blocking;

pub(crate) use self::{locations::Question, work::Work};
pub(super) use self::{meters::Meters, packs::content_secret};
use super::{
    Agent,
    core::Core,
    error::{CommandError, Fault},
    internal, lock, now,
    records::transfers::{Hitch, Phase, Saved, Source, Target, Upload},
    stored,
    view::{
        self,
        file::{packet, with_hitch},
    },
};
use crate::{
    api::types::{ContactView, Direction, Event, FileRow, FileState, FileView, MessageView, StorageView},
    network::storage::StorageError,
    transfer::{
        AccountDepot,
        source::{Listing, list},
        spool::SpoolWriter,
    },
};

/// How long a sent file is kept unless its sender says otherwise, in days.
pub(crate) const KEEP_DAYS: u32 = 30;

/// The permissions of fetched files unless somebody says otherwise.
const PRIVATE: u32 = 0o600;

/// What is to be sent, and to whom.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) cid: u32,
    /// What the contact sees.
    pub(crate) name: String,
    pub(crate) keep_days: u32,
}

/// Where the content of a file is.
#[derive(Debug)]
pub(crate) enum Content {
    /// In its message.
    Inline(Vec<u8>),
    /// Where it was saved.
    Saved(PathBuf),
}

impl Agent {
    /// Sends a file or folder of this machine: a small file within its message, anything else by way of a storage server.
    ///
    /// # Errors
    /// If it cannot be read or sent, or no server would keep it.
    pub(crate) async fn send_path(&self, parcel: Parcel, path: PathBuf) -> Result<FileRow, CommandError> {
        self.check_room()?;
        self.0.core.lock().await.check_can_send(parcel.cid)?;
        let listed = path.clone();
        let listing = spawn_blocking(move || list(&listed)).await.map_err(|error| broken(&error))?;
        let listing = listing.map_err(|error| refuse(error, "name another file or folder"))?;
        let is_small = usize::try_from(listing.size).is_ok_and(|size| size <= MAX_INLINE_BYTES);
        if listing.kind == StoredKind::File && is_small {
            let content = spawn_blocking(move || read(&path)).await.map_err(|error| broken(&error))??;
            return self.send_inline(parcel, content).await;
        }
        self.check_stores().await?;
        let source = path
            .into_os_string()
            .into_string()
            .map_err(|path| refuse(format!("the path {} is no UTF-8", path.display()), "rename the file"))?;
        let id = self.0.core.lock().await.reserve_message_id();
        let left_out = listing.left_out;
        let row = self.begin_upload(parcel, id, Source::Path(source), &listing).await?;
        if left_out == 0 {
            return Ok(row);
        }
        Ok(FileRow { file: with_hitch(row.file, &left_out_of(left_out)), ..row })
    }

    /// Sends a file within its message.
    ///
    /// # Errors
    /// If it is too large for that, or cannot be sent.
    pub(crate) async fn send_inline(
        &self,
        parcel: Parcel,
        content: Vec<u8>,
    ) -> Result<FileRow, CommandError> {
        self.check_room()?;
        let content = InlineFile::new(content).map_err(|error| refuse(error, "upload it instead"))?;
        let packet = FilePacket { name: parcel.name, content: FileContent::Inline(content) };
        let view =
            self.step(|core, step, now| core.send_file(step, parcel.cid, &packet, now, &mut OsRng)).await?;
        row(view).ok_or_else(|| internal(&anyhow::anyhow!("a message has lost its file")))
    }

    /// Begins to take in a file that is to be sent; nothing of it stays unless it comes whole.
    ///
    /// # Errors
    /// If nothing can be sent to this contact, or no server would keep the file.
    pub(crate) async fn begin_spool(&self, cid: u32) -> Result<(u64, SpoolWriter), CommandError> {
        self.check_room()?;
        self.check_stores().await?;
        let mut core = self.0.core.lock().await;
        core.check_can_send(cid)?;
        let id = core.reserve_message_id();
        let writer = SpoolWriter::create(self.spool(id));
        writer.map(|writer| (id, writer)).map_err(|error| internal(&error.into()))
    }

    /// Sends a file, or folder, that was taken in.
    ///
    /// # Errors
    /// If nothing can be sent to this contact any more, or it is no folder; nothing of it stays then.
    pub(crate) async fn send_spooled(
        &self,
        parcel: Parcel,
        id: u64,
        bytes: u64,
        kind: StoredKind,
    ) -> Result<FileRow, CommandError> {
        let sent = match self.list_spooled(id, bytes, kind).await {
            Ok(listing) => self.begin_upload(parcel, id, Source::Spool, &listing).await,
            Err(error) => Err(error),
        };
        if sent.is_err()
            && let Err(error) = self.spool(id).remove()
        {
            tracing::warn!(%error, "a file that is not sent stays until the next start");
        }
        sent
    }

    async fn list_spooled(&self, id: u64, bytes: u64, kind: StoredKind) -> Result<Listing, CommandError> {
        let spool = self.spool(id);
        if kind == StoredKind::File {
            return Ok(Listing::of_spool(spool, bytes));
        }
        let listed = spawn_blocking(move || Listing::of_spooled_folder(spool)).await;
        let listing = listed.map_err(|error| broken(&error))?;
        let listing = listing.map_err(|error| refuse(error, "hand it over again"))?;
        if listing.spooled_bytes() == bytes {
            return Ok(listing);
        }
        let problem = format!("the folder has {bytes} bytes, and its list says {}", listing.spooled_bytes());
        Err(refuse(problem, "hand it over again"))
    }

    async fn begin_upload(
        &self,
        parcel: Parcel,
        id: u64,
        source: Source,
        listing: &Listing,
    ) -> Result<FileRow, CommandError> {
        let Parcel { cid, name, keep_days } = parcel;
        let (kind, size, count) = (listing.kind, listing.size, listing.count);
        let mid = MessageId::generate(&mut OsRng);
        let phase = Phase::Active;
        let upload = Upload { id, cid, mid, name, source, kind, size, count, keep_days, phase };
        let row = upload_row(&upload, &lock(&self.0.meters));
        self.step(|core, step, _| core.begin_upload(step, upload)).await?;
        Ok(row)
    }

    /// Refuses if every server says that it keeps nothing; one that cannot be asked may.
    async fn check_stores(&self) -> Result<(), CommandError> {
        let mut is_possible = false;
        for mailbox in self.storing_mailboxes().await {
            let Some(depot) = AccountDepot::of(self, mailbox, 0) else { continue };
            is_possible |= match depot.grant().await {
                Ok(grant) => grant.quota_bytes > 0,
                Err(error) => error != StorageError::NoStorage,
            };
        }
        if is_possible || self.service_views().await?.iter().any(|service| service.has_links) {
            return Ok(());
        }
        Err(CommandError::new(
            Fault::Conflict,
            "you have no storage that contacts can fetch from: files of more than 180 KiB, and folders, need some",
            "ask whoever gave you a mailbox for storage too (its operator gives it with `petmail-mailbox account set --storage-quota`), \
             or add a service of your own with `petmail-node storage add s3`",
        ))
    }

    /// Says what the servers of this node's mailboxes store for it.
    pub(crate) async fn storage(&self) -> Vec<StorageView> {
        let mut places = Vec::new();
        for mailbox in self.storing_mailboxes().await {
            let (id, url) = (mailbox.id, mailbox.url.to_string());
            let Some(depot) = AccountDepot::of(self, mailbox, 0) else { continue };
            let view = StorageView { mailbox: id, url, quota_bytes: 0, used_bytes: 0, reason: None };
            match depot.grant().await {
                Ok(grant) if grant.quota_bytes == 0 && grant.used_bytes == 0 => {}
                Ok(grant) => {
                    let (quota_bytes, used_bytes) = (grant.quota_bytes, grant.used_bytes);
                    places.push(StorageView { quota_bytes, used_bytes, ..view });
                }
                Err(StorageError::NoStorage) => {}
                Err(error) => places.push(StorageView { reason: Some(error.to_string()), ..view }),
            }
        }
        places
    }

    /// Fetches the file that a message refers to, or goes on with that; returns at once.
    ///
    /// # Errors
    /// If there is nothing to fetch, or it is being fetched to another place.
    pub(crate) async fn fetch_file(
        &self,
        id: u64,
        target: Option<Target>,
        mode: Option<u32>,
    ) -> Result<FileRow, CommandError> {
        self.check_room()?;
        self.stored_file(id).await?;
        let (key, message, _) = self.message(id).await?;
        self.step(|core, step, _| {
            let usual = || match core.profile.download_folder.as_str() {
                "" => Err(CommandError::new(
                    Fault::Conflict,
                    "it is not known where fetched files go",
                    "set download_folder in config.toml, and restart the node",
                )),
                folder => Ok(Target::Folder(folder.to_owned())),
            };
            let target = target.map_or_else(usual, Ok)?;
            core.begin_download(step, (key, &message), target, mode.unwrap_or(PRIVATE))
        })
        .await?;
        self.file_row(id).await
    }

    /// Stops a transfer for now.
    ///
    /// # Errors
    /// If no file of this message is under way.
    pub(crate) async fn pause_file(&self, id: u64) -> Result<FileRow, CommandError> {
        self.step(|core, step, _| core.pause_transfer(step, id)).await?;
        self.file_row(id).await
    }

    /// Lets a transfer that was stopped, or has failed, go on.
    ///
    /// # Errors
    /// If no file of this message is under way.
    pub(crate) async fn resume_file(&self, id: u64) -> Result<FileRow, CommandError> {
        self.step(|core, step, _| core.resume_transfer(step, id)).await?;
        self.file_row(id).await
    }

    /// Gives a transfer up; what there is of it goes.
    ///
    /// # Errors
    /// If no file of this message is under way.
    pub(crate) async fn cancel_file(&self, id: u64) -> Result<(), CommandError> {
        self.step(|core, step, _| core.cancel_transfer(step, id)).await
    }

    /// Chooses up to which size a contact's files are fetched without asking, in bytes; 0 for never.
    ///
    /// # Errors
    /// If there is no such contact.
    pub(crate) async fn set_fetch_limit(&self, cid: u32, bytes: u64) -> Result<ContactView, CommandError> {
        self.step(|core, step, _| core.set_fetch_limit(step, cid, bytes)).await
    }

    /// Takes a sent file away from its storage server.
    ///
    /// # Errors
    /// If none keeps it.
    pub(crate) async fn revoke_file(&self, id: u64) -> Result<FileRow, CommandError> {
        let is_stored = self.0.core.lock().await.transfers.shares.contains_key(&id);
        // Who was not told of it yet need not be.
        if is_stored && self.cancel_message(id).await.is_ok() {
            return self.file_row(id).await;
        }
        self.step(|core, step, _| core.revoke(step, id)).await?;
        self.file_row(id).await
    }

    /// Returns the content of the file that a message brings, or where it was saved.
    ///
    /// # Errors
    /// If there is no such message, it brings no file, or that was not fetched.
    pub(crate) async fn file(&self, id: u64) -> Result<Content, CommandError> {
        let (_, _, packets) = self.message(id).await?;
        let file = packet(&packets).ok_or_else(|| no_file(id))?;
        match file.content {
            FileContent::Inline(content) => Ok(Content::Inline(content.into_content())),
            FileContent::Stored(_) => {
                let core = self.0.core.lock().await;
                let saved = core.transfers.downloads.get(&id).and_then(|download| download.saved.clone());
                saved.map(|saved| Content::Saved(saved.path.into())).ok_or_else(|| {
                    let problem = format!("the file of message {id} was not fetched yet");
                    CommandError::new(Fault::Conflict, problem, "save-file fetches it")
                })
            }
        }
    }

    /// Shows one file.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn file_row(&self, id: u64) -> Result<FileRow, CommandError> {
        let core = self.0.core.lock().await;
        self.find_file(&core, id).await?.ok_or_else(|| no_file(id))
    }

    async fn find_file(&self, core: &Core, id: u64) -> Result<Option<FileRow>, CommandError> {
        if let Some(upload) = core.transfers.uploads.get(&id) {
            return Ok(Some(upload_row(upload, &lock(&self.0.meters))));
        }
        let found = stored::message(&self.0.db, id).await.map_err(|error| internal(&error))?;
        let Some((key, message, packets)) = found else { return Ok(None) };
        let Some(peer) = core.peers.get(&key.cid) else { return Ok(None) };
        Ok(row(self.dress(core, view::message(peer, key, &message, packets, now()))))
    }

    /// Lists what is being stored.
    pub(super) fn upload_rows(&self, core: &Core) -> Vec<FileRow> {
        let meters = lock(&self.0.meters);
        core.transfers.uploads.values().map(|upload| upload_row(upload, &meters)).collect()
    }

    /// Shows of a message's file how far it is.
    pub(super) fn dress(&self, core: &Core, mut view: MessageView) -> MessageView {
        if let Some(file) = view.file.take() {
            let shown = match file.state {
                FileState::Here => file,
                _ => shown(file, view.id, view.direction, core, &lock(&self.0.meters)),
            };
            view.file = Some(shown);
        }
        view
    }

    /// Publishes how far a file is, or that it is no more.
    pub(super) async fn show_file(&self, core: &Core, id: u64) {
        let event = match self.find_file(core, id).await {
            Ok(Some(row)) => Event::File(row),
            Ok(None) => Event::FileRemoved { id },
            Err(error) => return tracing::warn!(%error, "a file cannot be shown"),
        };
        self.publish_event(event);
    }
}

/// The file of a message, for a list of files.
pub(super) fn row(view: MessageView) -> Option<FileRow> {
    let MessageView { id, cid, room, direction, file, .. } = view;
    Some(FileRow { id, cid, room, direction, file: file? })
}

fn upload_row(upload: &Upload, meters: &Meters) -> FileRow {
    let Upload { id, cid, name, kind, size, count, phase, .. } = upload;
    let view = view::file::stored(name, *kind, *size, *count, None);
    let file = under_way(view, phase, FileState::Uploading, *id, meters);
    FileRow { id: *id, cid: *cid, room: None, direction: Direction::Out, file }
}

fn under_way(view: FileView, phase: &Phase, active: FileState, id: u64, meters: &Meters) -> FileView {
    let view = meters.show(id, view);
    match phase {
        Phase::Active => FileView { state: active, ..view },
        Phase::Paused => standing(FileState::Paused, view),
        Phase::Failed(hitch) => with_hitch(standing(FileState::Failed, view), hitch),
        Phase::Asked => with_hitch(standing(active, view), &asked()),
    }
}

/// It does not move.
fn standing(state: FileState, view: FileView) -> FileView {
    let view = FileView { state, rate: None, seconds_left: None, ..view };
    FileView { reason: None, reason_code: None, reason_detail: None, ..view }
}

fn asked() -> Hitch {
    let text = "it is not where it was any more; its sender's node was asked where it is now, and answers when it runs";
    Hitch { code: "sender-asked".to_owned(), detail: None, text: text.to_owned() }
}

fn left_out_of(count: u32) -> Hitch {
    let text = format!("{count} links, pipes or devices are left out");
    Hitch { code: "left-out".to_owned(), detail: Some(count.to_string()), text }
}

fn shown(view: FileView, id: u64, direction: Direction, core: &Core, meters: &Meters) -> FileView {
    let download = core.transfers.downloads.get(&id);
    if let Some(download) = download
        && download.saved.is_none()
    {
        return under_way(view, &download.phase, FileState::Fetching, id, meters);
    }
    let saved = download.and_then(|download| download.saved.clone());
    let is_over = view.until.is_some_and(|until| until <= view::timestamp(now()));
    match (direction, saved, core.transfers.shares.get(&id)) {
        (Direction::In, Some(Saved { path, picture }), _) => {
            FileView { state: FileState::Saved, path: Some(path), picture, ..view }
        }
        (Direction::In, None, _) if !is_over => view,
        (Direction::Out, saved, Some(share)) => {
            let state = if share.fetched.is_some() { FileState::Fetched } else { FileState::Stored };
            FileView { state, path: saved.map(|saved| saved.path), ..view }
        }
        (Direction::In | Direction::Out, _, _) => FileView { state: FileState::Gone, ..view },
    }
}

/// Reads a small file.
fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    use std::io::Read;
    let cannot = |error: std::io::Error| {
        refuse(format!("cannot read {}: {error}", path.display()), "name another file")
    };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MAX_INLINE_BYTES as u64 + 1).read_to_end(&mut content).map_err(cannot)?;
    Ok(content)
}

fn no_file(id: u64) -> CommandError {
    let problem = format!("message {id} brings no file");
    CommandError::new(Fault::NotFound, problem, "the files command lists those that do")
}

fn refuse(problem: impl std::fmt::Display, hint: &str) -> CommandError {
    CommandError::new(Fault::BadRequest, problem.to_string(), hint)
}

fn broken(error: &tokio::task::JoinError) -> CommandError {
    CommandError::new(Fault::Internal, error.to_string(), "try again")
}
