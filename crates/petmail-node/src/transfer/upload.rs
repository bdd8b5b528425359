//! Storing a file or folder: read and cut in one thread, hashed and sealed on all cores, gathered in packs, three of which are
//! on their way at a time. Nothing is held but what is between these.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::available_parallelism,
};

use bytes::Bytes;
use futures::StreamExt;
use petmail_proto::{
    channel::file::StoredKind,
    content::{
        ChunkEntry, ChunkHash, ContentSecret, Entry, EntryKind, Manifest, ManifestChunk, Pack, PackEntry,
        PackId, PackWriter, Reference, SealedChunk, chunks,
    },
    time::UnixMillis,
};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    Depot, Stopped, links,
    pack_table::{PackTable, Whereabouts},
    source::{Feed, Listed, Listing, SourceError, list, read_all},
};
use crate::{
    agent::{
        Agent,
        records::transfers::{Source, StoredChunk, StoredPack, Upload},
    },
    network::storage::StorageError,
};

/// How many packs are on their way at a time.
const STORING_AT_ONCE: usize = 3;

/// How many chunks wait to be sealed.
const READ_AHEAD: usize = 2;

/// The most chunks in a pack: their list is one row.
const MAX_CHUNKS: usize = 4_096;

/// How often everything is looked through, because packs that were stored are not there any more.
const MAX_PASSES: usize = 3;

/// Stores what is to be sent, and has the message sent that says where it is. What an interrupted run has stored is not stored
/// again.
pub(crate) async fn store(agent: Agent, upload: Upload) -> Result<(), Stopped> {
    let listing = Arc::new(listing(&agent, &upload).await?);
    let depot = Arc::new(Depot::choose(&agent, upload.id, listing.size).await?);
    let mailbox = depot.place();
    for _ in 0..MAX_PASSES {
        let pass = Pass::begin(agent.clone(), upload.id, Arc::clone(&depot)).await?;
        let (reference, packs) = pass.run(&listing).await?;
        agent.note_pack_uses(mailbox, upload.id, &packs).await.map_err(Stopped::because)?;
        let missing = depot.explained(depot.missing(&packs).await).await?;
        if missing.is_empty() {
            let sent = (mailbox, reference);
            let finished = agent.finish_upload(upload.id, sent, (listing.size, listing.count)).await;
            return finished.map_err(Stopped::because);
        }
        tracing::warn!(packs = missing.len(), "a storage server has lost packs; they are stored again");
        agent.forget_packs(mailbox, &missing).await.map_err(Stopped::because)?;
    }
    Err(Stopped::because("the storage server loses what it has stored; ask its operator"))
}

async fn listing(agent: &Agent, upload: &Upload) -> Result<Listing, Stopped> {
    let (spool, size) = (agent.spool(upload.id), upload.size);
    let listed = match upload.source.clone() {
        Source::Spool if upload.kind == StoredKind::File => return Ok(Listing::of_spool(spool, size)),
        Source::Spool => spawn_blocking(move || Listing::of_spooled_folder(spool)).await,
        Source::Path(path) => spawn_blocking(move || list(Path::new(&path))).await,
    };
    Ok(listed.map_err(Stopped::because)??)
}

/// A chunk on its way from the file to a pack.
enum Item {
    /// Some pack has it.
    Known { entry: usize, hash: ChunkHash, place: Whereabouts },
    /// It is new.
    New { entry: usize, chunk: SealedChunk },
    /// The file has ended.
    End { entry: usize, size: u64, modified: UnixMillis },
}

/// A file, as far as it was looked through.
#[derive(Clone, Debug, Default)]
struct Progress {
    size: u64,
    modified: UnixMillis,
    chunks: Vec<(ChunkHash, Whereabouts)>,
}

/// One look through everything that is to be sent.
struct Pass {
    agent: Agent,
    id: u64,
    depot: Arc<Depot>,
    secret: Arc<ContentSecret>,
    table: Arc<Mutex<PackTable>>,
    writer: PackWriter,
    /// The number of the pack that is being filled, and its chunks.
    filling: (u32, Vec<StoredChunk>),
    /// Each returns the buffer of its pack, unless somebody still reads it.
    storing: JoinSet<Result<Option<Vec<u8>>, StorageError>>,
}

impl Pass {
    async fn begin(agent: Agent, id: u64, depot: Arc<Depot>) -> Result<Self, Stopped> {
        let mut table = PackTable::default();
        let stored = agent.stored_packs(depot.place(), id).await.map_err(Stopped::because)?;
        for (pack, row, is_own) in stored {
            table.add_stored(pack, &row, is_own);
        }
        let filling = (table.begin(), Vec::new());
        let secret = Arc::new(agent.content_secret().clone());
        let (table, writer) = (Arc::new(Mutex::new(table)), PackWriter::new());
        Ok(Self { agent, id, depot, secret, table, writer, filling, storing: JoinSet::new() })
    }

    async fn run(mut self, listing: &Arc<Listing>) -> Result<(Reference, Vec<PackId>), Stopped> {
        self.agent.transfer_begins(self.id, listing.size);
        let mut files = vec![Progress::default(); listing.entries.len()];
        let mut items = self.items(Arc::clone(listing)).boxed();
        while let Some(item) = items.next().await {
            match item? {
                Item::End { entry, size, modified } => {
                    if let Some(file) = files.get_mut(entry) {
                        (file.size, file.modified) = (size, modified);
                    }
                }
                Item::Known { entry, hash, place } => {
                    self.agent.transfer_advances(self.id, place.length.into());
                    if self.table().is_own(place.pack) {
                        // The packs of the interrupted run come out the same, so that what has arrived of one is of use.
                        self.close_pack().await?;
                    }
                    if let Some(file) = files.get_mut(entry) {
                        file.chunks.push((hash, place));
                    }
                }
                Item::New { entry, chunk } => {
                    let hash = chunk.hash;
                    let place = self.add(chunk).await?;
                    if let Some(file) = files.get_mut(entry) {
                        file.chunks.push((hash, place));
                    }
                }
            }
        }
        drop(items);
        self.close_pack().await?;
        let (manifest, mut packs) = self.manifest(&listing.entries, files)?;
        let manifest = self.store_manifest(&manifest).await?;
        packs.extend(manifest.iter().map(|chunk| chunk.pack));
        packs.sort_unstable();
        packs.dedup();
        let linked = links::publish(&self.agent, &self.depot, self.id, &packs).await?;
        packs.extend(linked.iter().map(|linked| linked.list.pack));
        let places = self.depot.server().into_iter().collect();
        Ok((Reference { places, linked, manifest }, packs))
    }

    /// Reads, hashes and seals, in order and ahead of who takes it.
    fn items(
        &self,
        listing: Arc<Listing>,
    ) -> impl futures::Stream<Item = Result<Item, SourceError>> + Send + use<> {
        let (feed, fed) = mpsc::channel(READ_AHEAD);
        let (secret, table) = (Arc::clone(&self.secret), Arc::clone(&self.table));
        let reading = Arc::clone(&secret);
        spawn_blocking(move || read_all(&listing, &reading, &feed));
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        let sealed = ReceiverStream::new(fed).map(move |feed| {
            let (secret, table) = (Arc::clone(&secret), Arc::clone(&table));
            spawn_blocking(move || feed.map(|feed| seal(feed, &secret, &table)))
        });
        sealed.buffered(cores).map(|sealed| sealed.expect("hashing and sealing do not panic"))
    }

    /// Adds a chunk to a pack, unless it has come meanwhile.
    async fn add(&mut self, chunk: SealedChunk) -> Result<Whereabouts, Stopped> {
        if let Some(place) = self.table().find(&chunk.hash) {
            self.agent.transfer_advances(self.id, place.length.into());
            return Ok(place);
        }
        if self.filling.1.len() >= MAX_CHUNKS {
            self.close_pack().await?;
        }
        let (place, full) = self.writer.add(&chunk);
        if let Some(full) = full {
            self.send(full).await?;
        }
        let stored = StoredChunk { hash: chunk.hash, offset: place.offset, length: chunk.length };
        let pack = self.filling.0;
        self.table().add(pack, stored);
        self.filling.1.push(stored);
        Ok(Whereabouts { pack, offset: place.offset, length: chunk.length })
    }

    async fn close_pack(&mut self) -> Result<(), Stopped> {
        match self.writer.take() {
            Some(full) => self.send(full).await,
            None => Ok(()),
        }
    }

    /// Sends a full pack on its way, once there is room for it, and begins the next.
    async fn send(&mut self, pack: Pack) -> Result<(), Stopped> {
        while self.storing.len() >= STORING_AT_ONCE {
            self.one_is_stored().await?;
        }
        let bytes = u32::try_from(pack.bytes.len()).unwrap_or(u32::MAX);
        let next = {
            let mut table = self.table();
            table.fill(self.filling.0, PackEntry { id: pack.id, bytes });
            table.begin()
        };
        let (_, chunks) = std::mem::replace(&mut self.filling, (next, Vec::new()));
        let (agent, depot, id) = (self.agent.clone(), Arc::clone(&self.depot), self.id);
        self.storing.spawn(async move {
            let content = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
            let (name, whole) = (pack.id, Bytes::from(pack.bytes));
            depot.store(name, &whole).await?;
            let noted = agent.note_pack(depot.place(), id, &name, &StoredPack { bytes, chunks }).await;
            noted.map_err(|error| StorageError::Unavailable {
                reason: error.to_string(),
                retry_after: None,
            })?;
            agent.transfer_advances(id, content);
            Ok(whole.try_into_mut().ok().map(Vec::from))
        });
        Ok(())
    }

    /// Waits until one more of the packs is stored.
    async fn one_is_stored(&mut self) -> Result<(), Stopped> {
        match self.storing.join_next().await {
            Some(Ok(Ok(Some(buffer)))) => {
                self.writer.reuse(buffer);
                Ok(())
            }
            None | Some(Ok(Ok(None))) => Ok(()),
            Some(Ok(Err(error))) => self.depot.explained(Err(error)).await,
            Some(Err(error)) => Err(Stopped::because(error)),
        }
    }

    /// Lists the files with the packs that they need.
    fn manifest(&self, entries: &[Listed], files: Vec<Progress>) -> Result<(Manifest, Vec<PackId>), Stopped> {
        let table = self.table();
        let mut packs = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        let mut listed = Vec::with_capacity(entries.len());
        for (entry, file) in entries.iter().zip(files) {
            if entry.content.is_none() {
                listed.push(Entry { path: entry.path.clone(), kind: EntryKind::Folder });
                continue;
            }
            let mut chunks = Vec::with_capacity(file.chunks.len());
            for (hash, place) in file.chunks {
                let pack = table.pack(place.pack).ok_or_else(|| Stopped::because("a part was not stored"))?;
                let number = *numbers.entry(place.pack).or_insert_with(|| {
                    packs.push(pack);
                    u32::try_from(packs.len().saturating_sub(1)).unwrap_or(u32::MAX)
                });
                let (offset, length, key) = (place.offset, place.length, self.secret.chunk_key(&hash));
                chunks.push(ChunkEntry { pack: number, offset, length, hash, key });
            }
            let kind = EntryKind::File { size: file.size, modified: file.modified, chunks };
            listed.push(Entry { path: entry.path.clone(), kind });
        }
        let ids = packs.iter().map(|pack| pack.id).collect();
        Ok((Manifest::new(packs, listed).map_err(Stopped::because)?, ids))
    }

    /// Stores the manifest, and waits until everything is stored.
    async fn store_manifest(&mut self, manifest: &Manifest) -> Result<Vec<ManifestChunk>, Stopped> {
        let bytes = manifest.encode().map_err(Stopped::because)?;
        let secret = Arc::clone(&self.secret);
        let sealed = spawn_blocking(move || {
            let sealed = chunks(bytes.as_slice(), &secret).map(|chunk| Ok(secret.seal(&chunk?)));
            sealed.collect::<Result<Vec<_>, std::io::Error>>()
        });
        let mut placed = Vec::new();
        for chunk in sealed.await.map_err(Stopped::because)?.map_err(Stopped::because)? {
            let (hash, length, key) = (chunk.hash, chunk.length, chunk.key.clone());
            placed.push((self.add(chunk).await?, hash, length, key));
        }
        self.close_pack().await?;
        while !self.storing.is_empty() {
            self.one_is_stored().await?;
        }
        let table = self.table();
        let manifest = placed.into_iter().map(|(place, hash, length, key)| {
            let pack = table.pack(place.pack).ok_or_else(|| Stopped::because("a part was not stored"))?.id;
            Ok(ManifestChunk { pack, offset: place.offset, length, hash, key })
        });
        manifest.collect()
    }

    fn table(&self) -> MutexGuard<'_, PackTable> {
        lock(&self.table)
    }
}

/// Finds a chunk by its hash, or seals it.
fn seal(feed: Feed, secret: &ContentSecret, table: &Mutex<PackTable>) -> Item {
    match feed {
        Feed::End { entry, size, modified } => Item::End { entry, size, modified },
        Feed::Chunk { entry, content } => {
            let hash = ChunkHash::of(&content);
            let known = lock(table).find(&hash);
            match known {
                Some(place) => Item::Known { entry, hash, place },
                None => Item::New { entry, chunk: secret.seal_hashed(content, hash) },
            }
        }
    }
}

fn lock(table: &Mutex<PackTable>) -> MutexGuard<'_, PackTable> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
