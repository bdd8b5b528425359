//! Fetching a file or folder: each pack once, several at a time, each checked before anything of it is written.
//!
//! What an interrupted run has written is found by reading it again: nothing is believed but content of the right hash.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use petmail_proto::{
    channel::file::{StoredFile, StoredKind},
    content::{Link, LinkedPlace, Manifest, Pack, PackId, PackLinks, StoragePlace},
};
use tokio::task::spawn_blocking;

use super::{
    Patience, Stopped,
    part::{Part, WriteError, discard},
    part_path,
    plan::{Plan, PlannedPack},
};
use crate::{
    agent::{
        Agent,
        records::transfers::{Download, Saved},
        view::file::picture,
    },
    network::storage::StorageError,
};

/// How many packs are fetched at a time.
const FETCHING_AT_ONCE: usize = 3;

/// How much of a file tells what kind of picture it is, in bytes.
const PICTURE_HEAD_BYTES: u64 = 256 * 1024;

/// The largest picture that is shown, in bytes.
pub(crate) const MAX_PICTURE_BYTES: u64 = 20 << 20;

/// Fetches what a message refers to, and puts it in its place.
pub(crate) async fn fetch(agent: Agent, download: Download) -> Result<(), Stopped> {
    let (name, stored) = agent.stored_file(download.id).await.map_err(Stopped::because)?;
    let path = match renamed_before(&download) {
        Some(path) => path,
        None => fetch_to_place(&agent, &download, &name, &stored).await?,
    };
    let is_picture = stored.kind == StoredKind::File && stored.size <= MAX_PICTURE_BYTES;
    let (looked_at, shown) = (path.clone(), path.clone());
    let picture =
        if is_picture { spawn_blocking(move || look_at(looked_at)).await.ok().flatten() } else { None };
    let saved = Saved { path: shown.to_string_lossy().into_owned(), picture };
    agent.finish_download(download.id, saved).await.map_err(Stopped::because)
}

/// Removes what there is of a download that was given up.
pub(crate) async fn discard_download(download: Download) {
    let path = part_path(&download);
    match spawn_blocking(move || discard(&download)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "a part of a file stays"),
        Err(error) => tracing::error!(%error, "a part of a file stays"),
    }
}

/// Finds a file that was renamed just before the node was stopped.
fn renamed_before(download: &Download) -> Option<PathBuf> {
    let path = PathBuf::from(download.renaming.as_ref()?);
    let exists = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok();
    (!exists(&part_path(download)) && exists(&path)).then_some(path)
}

async fn fetch_to_place(
    agent: &Agent,
    download: &Download,
    name: &str,
    stored: &StoredFile,
) -> Result<PathBuf, Stopped> {
    agent.transfer_begins(download.id, stored.size);
    let reader = Reader::of(agent, download, stored).await?;
    let manifest = read_manifest(&reader, stored).await?;
    let (opened, kind) = (download.clone(), stored.kind);
    let opening = spawn_blocking(move || {
        let plan = Plan::of(kind, &manifest);
        Part::open(&opened, &plan).map(|(part, needed)| (plan, part, needed))
    });
    let (plan, part, needed) = opening.await.map_err(Stopped::because)??;
    let part = Arc::new(part);
    let (wanted, there): (Vec<_>, Vec<_>) =
        plan.packs.iter().cloned().zip(needed).partition(|(_, is_needed)| *is_needed);
    agent.transfer_advances(download.id, there.iter().map(|(pack, _)| pack.content_bytes()).sum());
    let fetched = stream::iter(wanted).map(|(planned, _)| {
        let (reader, part) = (reader.clone(), Arc::clone(&part));
        // A task of its own: several cores take part.
        let task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(fetch_pack(reader, part, planned)));
        async move { task.await.map_err(Stopped::because)? }
    });
    fetched.buffer_unordered(FETCHING_AT_ONCE).try_collect::<()>().await?;
    let completed = Arc::clone(&part);
    let completing = spawn_blocking(move || completed.complete(&plan));
    completing.await.map_err(Stopped::because)?.map_err(|error| disk_trouble(&error))?;
    for number in 1.. {
        let path = part.candidate(&download.target, name, number)?;
        // Stopped in between, the node finds it under this name.
        let text = path.to_string_lossy().into_owned();
        agent.note_renaming(download.id, &text).await.map_err(Stopped::because)?;
        if part.rename(&path)? {
            return Ok(path);
        }
    }
    unreachable!("there is an end to candidates")
}

async fn fetch_pack(reader: Reader, part: Arc<Part>, planned: PlannedPack) -> Result<(), Stopped> {
    let pack = reader.read(planned.pack.id).await?;
    let bytes = planned.content_bytes();
    let writing = spawn_blocking(move || (part.write(&planned, &pack), pack.bytes));
    let (written, buffer) = writing.await.map_err(Stopped::because)?;
    reader.buffers.give(buffer);
    written.map_err(|error| match error {
        WriteError::Damaged => Stopped::Damaged,
        WriteError::Disk(error) => disk_trouble(&error),
    })?;
    reader.agent.transfer_advances(reader.id, bytes);
    Ok(())
}

/// Where one pack may be.
enum Place<'a> {
    Server(&'a StoragePlace),
    Link(&'a Link),
}

/// Buffers of packs that were written, for those to come.
#[derive(Clone, Debug, Default)]
struct Buffers(Arc<Mutex<Vec<BytesMut>>>);

impl Buffers {
    fn take(&self) -> BytesMut {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        let Ok(mut buffer) = Bytes::from(buffer).try_into_mut() else { return };
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < FETCHING_AT_ONCE {
            spare.push(buffer);
        }
    }
}

/// Reads packs from where the sender has stored them.
#[derive(Clone, Debug)]
struct Reader {
    agent: Agent,
    id: u64,
    cid: u32,
    places: Vec<StoragePlace>,
    links: Option<Arc<PackLinks>>,
    buffers: Buffers,
}

impl Reader {
    async fn of(agent: &Agent, download: &Download, stored: &StoredFile) -> Result<Self, Stopped> {
        let places = stored.reference.places.clone();
        let (agent, buffers) = (agent.clone(), Buffers::default());
        let mut reader = Self { agent, id: download.id, cid: download.cid, places, links: None, buffers };
        if let Some(LinkedPlace { link, list }) = &stored.reference.linked {
            reader.links = Some(Arc::new(PackLinks::from_iter([(list.pack, link.clone())])));
            let read = reader.read(list.pack).await.and_then(|pack| {
                let links = list.open(&pack).and_then(|list| PackLinks::decode(&list));
                links.map_err(|_| Stopped::Damaged)
            });
            reader.links = match read {
                Ok(links) => Some(Arc::new(links)),
                Err(stopped) if reader.places.is_empty() => return Err(stopped),
                // The storage servers have it all, too.
                Err(_) => None,
            };
        }
        Ok(reader)
    }

    /// Reads a pack from the first place that has it, however long they are away.
    async fn read(&self, id: PackId) -> Result<Pack, Stopped> {
        let mut patience = Patience::of(&self.agent, self.id);
        // What has come before a connection broke is not fetched again.
        let mut kept = self.buffers.take();
        loop {
            let before = kept.len();
            let error = match self.read_once(&id, &mut kept).await {
                Ok(pack) => return Ok(pack),
                Err(error) => error,
            };
            if kept.len() > before {
                patience = Patience::of(&self.agent, self.id);
            }
            patience.wait(error).await.map_err(|error| match error {
                StorageError::Gone | StorageError::NoStorage => Stopped::Gone,
                StorageError::Damaged => Stopped::Damaged,
                other => Stopped::Refused(other.to_string()),
            })?;
        }
    }

    async fn read_once(&self, id: &PackId, kept: &mut BytesMut) -> Result<Pack, StorageError> {
        let mut worst = StorageError::Gone;
        let servers = self.places.iter().map(Place::Server);
        let link = self.links.as_ref().and_then(|links| links.get(id));
        for place in servers.chain(link.map(Place::Link)) {
            let network = self.agent.network();
            let read = match place {
                Place::Server(place) => network.read_pack(self.cid, place, id, kept).await,
                Place::Link(link) => network.read_link(self.cid, link, kept).await,
            };
            match read {
                Ok(()) => {}
                // Who is away may still have it.
                Err(error @ StorageError::Unavailable { .. }) => {
                    worst = error;
                    continue;
                }
                Err(StorageError::Damaged) => {
                    kept.clear();
                    worst = if worst == StorageError::Gone { StorageError::Damaged } else { worst };
                    continue;
                }
                Err(_) => continue,
            }
            let (id, bytes) = (*id, std::mem::take(kept));
            let checked = spawn_blocking(move || Pack::check(id, bytes.into())).await;
            match checked {
                Ok(Ok(pack)) => return Ok(pack),
                _ if worst == StorageError::Gone => worst = StorageError::Damaged,
                _ => {}
            }
        }
        Err(worst)
    }
}

/// Reads the list of files, and checks that it is the one that was announced.
async fn read_manifest(reader: &Reader, stored: &StoredFile) -> Result<Manifest, Stopped> {
    let mut packs: BTreeMap<PackId, Pack> = BTreeMap::new();
    let mut chunks = Vec::new();
    for chunk in &stored.reference.manifest {
        if !packs.contains_key(&chunk.pack) {
            // They are in order: those before are not needed again.
            packs.clear();
            packs.insert(chunk.pack, reader.read(chunk.pack).await?);
        }
        let opened = packs.get(&chunk.pack).map(|pack| chunk.open(pack));
        chunks.push(opened.and_then(Result::ok).ok_or(Stopped::Damaged)?);
    }
    let manifest = stored.reference.read_manifest(&chunks).map_err(Stopped::because)?;
    if stored.is_listed_in(&manifest) {
        return Ok(manifest);
    }
    Err(Stopped::Unannounced)
}

fn look_at(path: PathBuf) -> Option<String> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(PICTURE_HEAD_BYTES).read_to_end(&mut head).ok()?;
    picture(&head).map(str::to_owned)
}

fn disk_trouble(error: &std::io::Error) -> Stopped {
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "make room on the disk, then retry"
        }
        std::io::ErrorKind::NotFound => "what had come was taken away; retry begins anew",
        _ => "mend that, then retry",
    };
    Stopped::Unwritable(format!("cannot write the file: {error}; {hint}"))
}
