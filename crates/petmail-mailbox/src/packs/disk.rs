//! Packs on a disk, or at a service: each a file or an object; who has stored it, in a store beside them.
//!
//! A file is complete and synced before its row is committed; a row is deleted before its file is removed. What a crash leaves
//! in between is a file without a row, which the next start removes. Unfinished files count for nobody, are bounded in number, and go after
//! [`UPLOAD_LIFE`].
//!
//! At a service it is alike, but that what nobody owns is removed a little later, while nobody stores it again; and packs arrive on the disk
//! first. Files that were there before the service was chosen go there one after the other.

mod place;

use std::{
    collections::BTreeSet,
    fs, io,
    ops::Bound,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use petmail_objects::Objects;
use petmail_proto::{
    content::{MAX_PACK_BYTES, Pack, PackId},
    retrieval::PackState,
    server::account::AccountId,
    time::UnixMillis,
    wire::Record,
};
use petmail_store::{
    Batch, CommitError, Direction, EngineKind, RESERVE_BYTES, ReadError, Row, Store, check_free, prefix_range,
};
use tokio::task::spawn_blocking;

use super::{
    Depositor, PackError, PackTotals, Part, Stored,
    folder::{self, Arrived, Folder, Upload},
    lease_end,
    memory::Memory,
    rows::{HELD, HeldRow, KEYSPACES, PACKS, PackRow, decode, held_key, parse_held_key},
    service::Service,
};
use crate::admin::PacksStatus;

/// How many packs of an account may have begun and not arrived.
pub const MAX_OPEN_UPLOADS: usize = 16;

/// For how long nothing more may come of a pack that has begun.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(48 * 3_600);

/// How many rows are read or changed at a time.
const AT_A_TIME: usize = 512;

/// The packs of one server.
#[derive(Debug)]
pub struct Packs {
    folder: Folder,
    /// Where whole packs go; none if they stay in the folder.
    service: Option<Service>,
    store: Store,
    /// Held by who changes rows: one at a time, so that counts add up.
    changing: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

/// Says that a part is being written, until it is dropped.
struct Writing<'a> {
    packs: &'a Packs,
    key: (PackId, AccountId),
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.packs.memory().writing.remove(&self.key);
    }
}

impl Packs {
    /// Opens the packs in `dir`, making it if absent, and removes what a crash has left. With a service, whole packs go there.
    ///
    /// # Errors
    /// [`PackError`]; also if the packs are somewhere else. A service that does not answer is none.
    pub async fn open(dir: &Path, service: Option<Objects>) -> Result<Self, PackError> {
        let folder = Folder::open(dir).map_err(PackError::new)?;
        let index = dir.join("index");
        let store = spawn_blocking(move || Store::open(&index, EngineKind::Sled, KEYSPACES)).await;
        let store = store.map_err(PackError::new)?.map_err(PackError::new)?;
        let packs = Self {
            folder,
            service: service.map(Service::new),
            store,
            changing: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        };
        packs.remember().await?;
        packs.remove_orphans().await?;
        packs.see_place().await?;
        Ok(packs)
    }

    /// Finishes what is under way, and closes the store.
    pub async fn close(&self) {
        self.store.clone().close().await;
    }

    /// Waits until a write to the store has failed, after which it has to be opened again, and says why.
    pub async fn failed(&self) -> String {
        self.store.failed().await.to_string()
    }

    /// How many bytes an account is charged for.
    #[must_use]
    pub fn used_bytes(&self, account: &AccountId) -> u64 {
        self.memory().used.get(account).copied().unwrap_or_default()
    }

    /// What all packs take.
    #[must_use]
    pub fn totals(&self) -> PackTotals {
        let memory = self.memory();
        PackTotals { packs: memory.packs, charged_bytes: memory.used.values().sum() }
    }

    /// Describes all of them.
    #[must_use]
    pub fn status(&self) -> PacksStatus {
        let PackTotals { packs, charged_bytes } = self.totals();
        let service = self.service.as_ref().map(|service| service.address().to_owned());
        PacksStatus { packs, charged_bytes, service, problem: self.memory().trouble.clone() }
    }

    /// Takes a part of a pack. The pack is on disk, and charged, when this returns `Stored`.
    ///
    /// # Errors
    /// [`PackError`]; what has arrived before stays, unless it was wrong.
    pub async fn put(&self, from: Depositor, part: Part, now: UnixMillis) -> Result<PackState, PackError> {
        let end = u64::from(part.offset).saturating_add(part.bytes.len() as u64);
        if part.bytes.is_empty() || part.total > MAX_PACK_BYTES || end > u64::from(part.total) {
            return Err(PackError::BadPart);
        }
        let Part { id, total, .. } = part;
        if self.look_up(from, &[id], now).await? == [PackState::Stored] {
            return Ok(PackState::Stored);
        }
        self.check_quota(&from, total)?;
        check_free(self.folder.path(), RESERVE_BYTES)?;
        let writing = self.begin(from.account, id)?;
        let path = self.folder.arriving(&from.account, &id);
        let arrived = spawn_blocking(move || folder::append(&path, &part)).await.map_err(PackError::new)?;
        let state = match arrived {
            Ok(Arrived::Part(bytes)) => PackState::Arriving(bytes),
            Ok(Arrived::Whole) => {
                if let Err(error) = self.keep(&from, id, total, now).await {
                    folder::shorten(&self.folder.arriving(&from.account, &id)).map_err(PackError::new)?;
                    return Err(error);
                }
                PackState::Stored
            }
            Err(PackError::WrongBytes) => {
                self.memory().forget_upload(&from.account, &id);
                return Err(PackError::WrongBytes);
            }
            Err(error) => return Err(error),
        };
        drop(writing);
        Ok(state)
    }

    /// Tells how far an account's packs are stored, and keeps those that are for the time of a lease.
    ///
    /// # Errors
    /// [`PackError`].
    pub async fn look_up(
        &self,
        from: Depositor,
        ids: &[PackId],
        now: UnixMillis,
    ) -> Result<Vec<PackState>, PackError> {
        let stored = {
            let _one_at_a_time = self.changing.lock().await;
            self.extend(&from, ids, now).await?
        };
        let state = |id: &PackId| match stored.contains(id) {
            true => PackState::Stored,
            false => self.arrived(&from.account, id),
        };
        Ok(ids.iter().map(state).collect())
    }

    /// Finds a pack, whoever asks; none if it is not there.
    ///
    /// # Errors
    /// [`PackError`].
    pub async fn find(&self, id: &PackId) -> Result<Option<Stored>, PackError> {
        let Some(row) = self.store.get(PACKS, *id.as_bytes()).await.map_err(read_error)? else {
            return Ok(None);
        };
        let file = self.folder.file(id);
        Ok(Some(match &self.service {
            Some(service) if !file.exists() => {
                Stored::Object(service.objects().clone(), decode::<PackRow>(&row)?.bytes.into())
            }
            _ => Stored::File(file),
        }))
    }

    /// Deletes an account's pack. It stays for as long as it was promised to, and is not charged for any more; what is
    /// gone already is no error.
    ///
    /// # Errors
    /// [`PackError`].
    pub async fn delete(&self, account: AccountId, id: PackId, now: UnixMillis) -> Result<(), PackError> {
        let _one_at_a_time = self.changing.lock().await;
        self.memory().forget_upload(&account, &id);
        folder::remove(&self.folder.arriving(&account, &id)).map_err(PackError::new)?;
        let Some(held) = self.held(&account, &id).await? else { return Ok(()) };
        if held.lease <= now {
            return self.drop_held(account, id, held).await;
        }
        if !held.is_deleted {
            let row = HeldRow { is_deleted: true, ..held }.encode_record().map_err(PackError::new)?;
            self.commit(Batch::new().put(HELD, held_key(&account, &id), row)).await?;
            let mut memory = self.memory();
            memory.charge(&account, |used| used.saturating_sub(held.bytes.into()));
            memory.deleted.insert((held.lease, account, id));
        }
        Ok(())
    }

    /// Deletes everything that an account has stored, with the account.
    ///
    /// # Errors
    /// [`PackError`]; to be asked again then.
    pub async fn forget(&self, account: AccountId) -> Result<(), PackError> {
        let _one_at_a_time = self.changing.lock().await;
        loop {
            let rows = self.page(prefix_range(account.as_bytes())).await?;
            if rows.is_empty() {
                break;
            }
            for (key, row) in rows {
                let (_, id) = parse_held_key(&key)?;
                self.drop_held(account, id, decode(&row)?).await?;
            }
        }
        for id in self.memory().open.remove(&account).unwrap_or_default() {
            folder::remove(&self.folder.arriving(&account, &id)).map_err(PackError::new)?;
        }
        Ok(())
    }

    /// Removes a few of the packs that are deleted and whose lease has ended, and of those of which nothing more has come. Tells whether
    /// more may be left.
    ///
    /// # Errors
    /// [`PackError`].
    pub async fn sweep(&self, now: UnixMillis) -> Result<bool, PackError> {
        let _one_at_a_time = self.changing.lock().await;
        let ended: Vec<_> = {
            let memory = self.memory();
            memory.deleted.iter().take_while(|(end, ..)| *end <= now).take(AT_A_TIME).copied().collect()
        };
        for (_, account, id) in &ended {
            if let Some(held) = self.held(account, id).await?
                && held.is_deleted
                && held.lease <= now
            {
                self.drop_held(*account, *id, held).await?;
            }
        }
        {
            let mut memory = self.memory();
            for key in &ended {
                memory.deleted.remove(key);
            }
        }
        self.remove_abandoned(now).map_err(PackError::new)?;
        Ok(ended.len() == AT_A_TIME)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_quota(&self, from: &Depositor, bytes: u32) -> Result<(), PackError> {
        let used = self.used_bytes(&from.account);
        if used.saturating_add(bytes.into()) > from.quota_bytes { Err(PackError::Full) } else { Ok(()) }
    }

    /// How much of a pack has arrived. Few packs have begun, so that this seldom looks at the disk.
    fn arrived(&self, account: &AccountId, id: &PackId) -> PackState {
        let has_begun = self.memory().open.get(account).is_some_and(|open| open.contains(id));
        let file = if has_begun { fs::metadata(self.folder.arriving(account, id)).ok() } else { None };
        let length = file.and_then(|file| u32::try_from(file.len()).ok());
        PackState::Arriving(length.filter(|length| *length < MAX_PACK_BYTES).unwrap_or_default())
    }

    /// Notes that a part is being written.
    fn begin(&self, account: AccountId, id: PackId) -> Result<Writing<'_>, PackError> {
        let mut memory = self.memory();
        if memory.removing == Some(id) {
            return Err(PackError::Busy);
        }
        let open = memory.open.entry(account).or_default();
        if !open.contains(&id) && open.len() >= MAX_OPEN_UPLOADS {
            return Err(PackError::Busy);
        }
        open.insert(id);
        let key = (id, account);
        if !memory.writing.insert(key) {
            return Err(PackError::Busy);
        }
        drop(memory);
        Ok(Writing { packs: self, key })
    }

    /// Renews the leases of those packs that an account has stored, takes back their deletion, and returns them. What was
    /// deleted, and does not fit the quota any more, is none of them. The caller is the only one who changes rows.
    async fn extend(
        &self,
        from: &Depositor,
        ids: &[PackId],
        now: UnixMillis,
    ) -> Result<BTreeSet<PackId>, PackError> {
        let account = from.account;
        let (mut stored, mut revived) = (BTreeSet::new(), Vec::new());
        let mut used = self.used_bytes(&account);
        let mut batch = Batch::new();
        for id in ids {
            let Some(held) = self.held(&account, id).await? else { continue };
            if stored.contains(id) {
                continue;
            }
            if held.is_deleted {
                let more = used.saturating_add(held.bytes.into());
                if more > from.quota_bytes {
                    continue;
                }
                used = more;
                revived.push((*id, held));
            }
            let lease = held.lease.max(lease_end(now));
            let row = HeldRow { lease, is_deleted: false, ..held }.encode_record().map_err(PackError::new)?;
            batch = batch.put(HELD, held_key(&account, id), row);
            stored.insert(*id);
        }
        if stored.is_empty() {
            return Ok(stored);
        }
        self.commit(batch).await?;
        let mut memory = self.memory();
        for (id, held) in revived {
            memory.charge(&account, |used| used.saturating_add(held.bytes.into()));
            memory.deleted.remove(&(held.lease, account, id));
        }
        drop(memory);
        Ok(stored)
    }

    /// Puts a pack that has arrived, is whole and on disk, where it belongs, and charges its owner.
    async fn keep(&self, from: &Depositor, id: PackId, bytes: u32, now: UnixMillis) -> Result<(), PackError> {
        let account = from.account;
        if let Some(service) = &self.service {
            self.objects(service).await?;
            // Should the row not come, it is nobody's, also if the service has it without having said so.
            self.memory().ownerless.insert(id);
            service.store_file(&id, &self.folder.arriving(&account, &id)).await?;
        }
        let _one_at_a_time = self.changing.lock().await;
        if self.extend(from, &[id], now).await?.contains(&id) {
            self.memory().forget_upload(&account, &id);
            return folder::remove(&self.folder.arriving(&account, &id)).map_err(PackError::new);
        }
        self.check_quota(from, bytes)?;
        let arrived = self.folder.arriving(&account, &id);
        if self.service.is_none() {
            let (arrived, file) = (arrived.clone(), self.folder.file(&id));
            spawn_blocking(move || folder::move_into(&arrived, &file))
                .await
                .map_err(PackError::new)?
                .map_err(PackError::new)?;
        }
        let known = self.store.get(PACKS, *id.as_bytes()).await.map_err(read_error)?;
        let owners = known.map(|row| decode::<PackRow>(&row)).transpose()?.map_or(0, |pack| pack.owners);
        let pack =
            PackRow { bytes, owners: owners.saturating_add(1) }.encode_record().map_err(PackError::new)?;
        let held = HeldRow { bytes, lease: lease_end(now), is_deleted: false };
        let held = held.encode_record().map_err(PackError::new)?;
        let batch = Batch::new().put(PACKS, *id.as_bytes(), pack).put(HELD, held_key(&account, &id), held);
        self.commit(batch).await?;
        let mut memory = self.memory();
        memory.forget_upload(&account, &id);
        memory.charge(&account, |used| used.saturating_add(bytes.into()));
        memory.packs = memory.packs.saturating_add(u64::from(owners == 0));
        drop(memory);
        // What went to the service is not needed here any more.
        folder::remove(&arrived).map_err(PackError::new)
    }

    /// Takes a pack from an account; the last one takes the file along. The caller is the only one who changes rows.
    async fn drop_held(&self, account: AccountId, id: PackId, held: HeldRow) -> Result<(), PackError> {
        let row = self.store.get(PACKS, *id.as_bytes()).await.map_err(read_error)?;
        let pack: PackRow = decode(&row.ok_or_else(|| PackError::new("a pack has no row"))?)?;
        let batch = Batch::new().delete(HELD, held_key(&account, &id));
        let is_last = pack.owners <= 1;
        let batch = if is_last {
            batch.delete(PACKS, *id.as_bytes())
        } else {
            let pack = PackRow { owners: pack.owners.saturating_sub(1), ..pack };
            batch.put(PACKS, *id.as_bytes(), pack.encode_record().map_err(PackError::new)?)
        };
        self.commit(batch).await?;
        let mut memory = self.memory();
        if !held.is_deleted {
            memory.charge(&account, |used| used.saturating_sub(held.bytes.into()));
        }
        memory.deleted.remove(&(held.lease, account, id));
        memory.packs = memory.packs.saturating_sub(u64::from(is_last));
        drop(memory);
        if is_last {
            folder::remove(&self.folder.file(&id)).map_err(PackError::new)?;
        }
        if is_last && self.service.is_some() {
            self.memory().ownerless.insert(id);
        }
        Ok(())
    }

    async fn held(&self, account: &AccountId, id: &PackId) -> Result<Option<HeldRow>, PackError> {
        let row = self.store.get(HELD, held_key(account, id)).await.map_err(read_error)?;
        row.map(|row| decode(&row)).transpose()
    }

    async fn page(&self, range: petmail_store::KeyRange) -> Result<Vec<Row>, PackError> {
        self.store.range(HELD, range, Direction::Ascending, AT_A_TIME).await.map_err(read_error)
    }

    async fn count_packs(&self) -> Result<u64, PackError> {
        let (mut count, mut start) = (0_u64, Bound::Unbounded);
        loop {
            let range = (start, Bound::Unbounded);
            let rows = self.store.range(PACKS, range, Direction::Ascending, AT_A_TIME).await;
            let rows = rows.map_err(read_error)?;
            let Some((last, _)) = rows.last() else { return Ok(count) };
            start = Bound::Excluded(last.clone());
            count = count.saturating_add(rows.len() as u64);
        }
    }

    async fn commit(&self, batch: Batch) -> Result<(), PackError> {
        self.store.commit(batch).await.map_err(|error| match error {
            CommitError::DiskFull(full) => full.into(),
            other => PackError::new(other),
        })
    }

    /// Reads what is kept in memory.
    async fn remember(&self) -> Result<(), PackError> {
        let packs = self.count_packs().await?;
        let mut start = Bound::Unbounded;
        loop {
            let rows = self.page((start, Bound::Unbounded)).await?;
            let Some((last, _)) = rows.last() else { break };
            start = Bound::Excluded(last.clone());
            let mut memory = self.memory();
            for (key, row) in &rows {
                let (account, id) = parse_held_key(key)?;
                let held: HeldRow = decode(row)?;
                if held.is_deleted {
                    memory.deleted.insert((held.lease, account, id));
                } else {
                    memory.charge(&account, |used| used.saturating_add(held.bytes.into()));
                }
            }
        }
        let mut memory = self.memory();
        memory.packs = packs;
        for Upload { account, id, path, .. } in self.folder.uploads().map_err(PackError::new)? {
            memory.open.entry(account).or_default().insert(id);
            if Pack::check(id, fs::read(&path).map_err(PackError::new)?).is_ok() {
                folder::shorten(&path).map_err(PackError::new)?;
            }
        }
        Ok(())
    }

    /// Removes files of packs that have no row.
    async fn remove_orphans(&self) -> Result<(), PackError> {
        for id in self.folder.packs().map_err(PackError::new)? {
            if self.find(&id).await?.is_none() {
                folder::remove(&self.folder.file(&id)).map_err(PackError::new)?;
            }
        }
        Ok(())
    }

    /// Removes unfinished packs of which nothing has come for long.
    fn remove_abandoned(&self, now: UnixMillis) -> io::Result<()> {
        for Upload { account, id, path, changed } in self.folder.uploads()? {
            if now.since(changed) >= UPLOAD_LIFE {
                folder::remove(&path)?;
                self.memory().forget_upload(&account, &id);
            }
        }
        Ok(())
    }
}

fn read_error(error: ReadError) -> PackError {
    PackError::new(error)
}
