//! Verifying the packs of a stopped server: whether each is there, is what its name says, and somebody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    ops::Bound,
    path::Path,
};

use futures::TryStreamExt;
use petmail_objects::Objects;
use petmail_proto::{content::PackId, server::account::AccountId};
use petmail_store::{Direction, EngineKind, Keyspace, Row, Store};
use tokio::task::spawn_blocking;

use super::{
    PackError,
    folder::Folder,
    rows::{HELD, HeldRow, KEYSPACES, PACKS, PackRow, decode, parse_held_key},
};
use crate::check::{Problem, ProblemKind};

/// How many rows are read at a time.
const AT_A_TIME: usize = 512;

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct CheckedPacks {
    pub(crate) problems: Vec<Problem>,
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
}

/// Reads all packs in `dir`, which nobody serves, and at the service, and holds them against their rows, and these against the accounts.
pub(crate) async fn check_packs(
    dir: &Path,
    service: Option<&Objects>,
    accounts: &BTreeSet<AccountId>,
) -> CheckedPacks {
    let mut checked = CheckedPacks::default();
    if dir.join("index").exists()
        && let Err(error) = checked.run(dir, service, accounts).await
    {
        checked.problem(ProblemKind::PacksUnreadable, error);
    }
    checked
}

impl CheckedPacks {
    async fn run(
        &mut self,
        dir: &Path,
        service: Option<&Objects>,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<(), PackError> {
        let folder = Folder::at(dir);
        let index = dir.join("index");
        let store = spawn_blocking(move || Store::open(&index, EngineKind::Sled, KEYSPACES)).await;
        let store = store.map_err(PackError::new)?.map_err(PackError::new)?;
        let rows = (all(&store, PACKS).await, all(&store, HELD).await);
        store.close().await;
        let (packs, held) = (rows.0?, rows.1?);
        let owners = self.owners(&held, accounts);
        let mut known = BTreeSet::new();
        for (key, row) in packs {
            let id = <[u8; 32]>::try_from(key.as_slice()).map(PackId::from_bytes);
            let (Ok(id), Ok(row)) = (id, decode::<PackRow>(&row)) else {
                self.problem(ProblemKind::PackRowDamaged, "the row of a pack");
                continue;
            };
            known.insert(id);
            self.packs = self.packs.saturating_add(1);
            self.bytes = self.bytes.saturating_add(row.bytes.into());
            let count = owners.get(&id).copied().unwrap_or_default();
            if count != row.owners {
                self.problem(
                    ProblemKind::PackOwners,
                    format_args!("pack {id} has {count} owners, and is said to have {}", row.owners),
                );
            }
            let path = folder.file(&id);
            let is_right = match service {
                Some(service) if !path.exists() => is_right_object(service, &id, row.bytes).await,
                _ => spawn_blocking(move || is_right(&path, &id, row.bytes)).await.map_err(PackError::new)?,
            };
            match is_right {
                Ok(true) => {}
                Ok(false) => {
                    self.problem(ProblemKind::PackDamaged, format_args!("pack {id} is not what was stored"))
                }
                Err(error) => self.problem(ProblemKind::PackMissing, format_args!("pack {id}: {error}")),
            }
        }
        for id in owners.keys().filter(|id| !known.contains(id)) {
            self.problem(ProblemKind::PackOwners, format_args!("pack {id} has owners, and is not known"));
        }
        let mut found = folder.packs().map_err(PackError::new)?;
        if let Some(service) = service {
            found.extend(service.list().await?);
        }
        for id in found {
            if !known.contains(&id) {
                self.problem(
                    ProblemKind::PackOrphan,
                    format_args!("the file of pack {id} belongs to nobody"),
                );
            }
        }
        Ok(())
    }

    /// Counts who holds which pack.
    fn owners(&mut self, held: &[Row], accounts: &BTreeSet<AccountId>) -> BTreeMap<PackId, u32> {
        let mut owners = BTreeMap::new();
        for (key, row) in held {
            let (Ok((account, id)), Ok(_)) = (parse_held_key(key), decode::<HeldRow>(row)) else {
                self.problem(ProblemKind::PackRowDamaged, "the row of an account's pack");
                continue;
            };
            if !accounts.contains(&account) {
                self.problem(
                    ProblemKind::PackOfNobody,
                    format_args!("pack {id} is held by {account}, which is no account"),
                );
            }
            let count: &mut u32 = owners.entry(id).or_default();
            *count = count.saturating_add(1);
        }
        owners
    }

    fn problem(&mut self, kind: ProblemKind, text: impl std::fmt::Display) {
        self.problems.push(Problem::new(kind, text));
    }
}

async fn all(store: &Store, keyspace: Keyspace) -> Result<Vec<Row>, PackError> {
    let (mut rows, mut start) = (Vec::new(), Bound::Unbounded);
    loop {
        let page = store.range(keyspace, (start, Bound::Unbounded), Direction::Ascending, AT_A_TIME).await;
        let page = page.map_err(PackError::new)?;
        let Some((last, _)) = page.last() else { return Ok(rows) };
        start = Bound::Excluded(last.clone());
        rows.extend(page);
    }
}

async fn is_right_object(service: &Objects, id: &PackId, bytes: u32) -> io::Result<bool> {
    let stream = service.read(id, 0..bytes.into()).await.map_err(io::Error::other)?;
    let read: Vec<_> = stream.try_collect().await.map_err(io::Error::other)?;
    let read = read.concat();
    Ok(read.len() as u64 == u64::from(bytes) && id.names(read.as_slice())?)
}

fn is_right(path: &Path, id: &PackId, bytes: u32) -> io::Result<bool> {
    Ok(fs::metadata(path)?.len() == u64::from(bytes) && id.names(File::open(path)?)?)
}
