//! One account at one storage server, with a ticket that is renewed when its time is over.

use bytes::Bytes;
use petmail_proto::{
    content::{PackId, StoragePlace},
    retrieval::{MAX_LOOK_UPS, PackState, StorageGrant},
};
use tokio::sync::Mutex;

use super::Patience;
use crate::{
    agent::{
        Agent,
        records::{Account, Mailbox},
    },
    network::storage::{MAX_PART_BYTES, Part, Put, StorageError},
};

/// The shortest part of a pack that is sent by itself, unless it is the last, in bytes: a slow network brings it in time.
const MIN_PART_BYTES: usize = 64 << 10;

/// How often a server may ask for a pack anew.
const MAX_REPEATS: u32 = 2;

/// How often another ticket is asked for until a server counts as one that refuses.
const MAX_RENEWALS: u32 = 8;

/// The most answered requests for one pack: all of it in the shortest parts, and again.
const MAX_REQUESTS: u32 = 400;

/// An account that stores packs.
#[derive(Debug)]
pub(crate) struct AccountDepot {
    agent: Agent,
    mailbox: Mailbox,
    account: Account,
    grant: Mutex<Option<StorageGrant>>,
    /// The transfer that waits if the server is away.
    id: u64,
}

impl AccountDepot {
    /// Opens the account of a mailbox; nobody is asked yet. None if the mailbox has no account.
    pub(crate) fn of(agent: &Agent, mailbox: Mailbox, id: u64) -> Option<Self> {
        let account = mailbox.account.clone()?;
        Some(Self { agent: agent.clone(), mailbox, account, grant: Mutex::default(), id })
    }

    /// The mailbox's number.
    pub(super) const fn mailbox(&self) -> u32 {
        self.mailbox.id
    }

    /// Where readers find what is stored.
    pub(super) fn place(&self) -> StoragePlace {
        StoragePlace { url: self.mailbox.url.clone(), pin: self.mailbox.pin }
    }

    /// Asks how much may be stored.
    pub(crate) async fn grant(&self) -> Result<StorageGrant, StorageError> {
        let mut kept = self.grant.lock().await;
        if let Some(grant) = kept.as_ref() {
            return Ok(grant.clone());
        }
        let grant = self.agent.network().storage_grant(&self.mailbox, &self.account).await?;
        *kept = Some(grant.clone());
        Ok(grant)
    }

    /// Stores a pack, however long its server is away. A part that had arrived is not sent again.
    pub(super) async fn store(&self, id: PackId, bytes: &Bytes) -> Result<(), StorageError> {
        let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (mut offset, mut repeats, mut requests) = (0_u32, 0, 0);
        let (mut longest, mut attempts) = (MAX_PART_BYTES, Attempts::of(self));
        while requests < MAX_REQUESTS && repeats <= MAX_REPEATS {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = start.saturating_add(longest).min(bytes.len());
            let part = Part { id, offset, total, bytes: bytes.slice(start..end) };
            let put = match self.put_once(part).await {
                Ok(put) => put,
                Err(error) => {
                    attempts.mend(error).await?;
                    longest = (longest / 2).max(MIN_PART_BYTES);
                    continue;
                }
            };
            attempts = Attempts::of(self);
            longest = longest.saturating_mul(2).min(MAX_PART_BYTES);
            requests += 1;
            match put {
                Put::Stored => return Ok(()),
                Put::Next(next) => offset = next,
                Put::Wrong => (offset, repeats) = (0, repeats + 1),
            }
        }
        Err(StorageError::Damaged)
    }

    async fn put_once(&self, part: Part) -> Result<Put, StorageError> {
        let ticket = self.grant().await?.ticket;
        self.agent.network().put_part(&self.mailbox, &ticket, part).await
    }

    /// Returns those packs that are not stored; the others stay for a while whatever is deleted.
    pub(super) async fn missing(&self, packs: &[PackId]) -> Result<Vec<PackId>, StorageError> {
        let mut missing = Vec::new();
        for some in packs.chunks(MAX_LOOK_UPS) {
            let mut attempts = Attempts::of(self);
            let states = loop {
                match self.look_up_once(some).await {
                    Ok(states) => break states,
                    Err(error) => attempts.mend(error).await?,
                }
            };
            let absent = some.iter().zip(states).filter(|(_, state)| *state != PackState::Stored);
            missing.extend(absent.map(|(pack, _)| *pack));
        }
        Ok(missing)
    }

    async fn look_up_once(&self, packs: &[PackId]) -> Result<Vec<PackState>, StorageError> {
        let ticket = self.grant().await?.ticket;
        self.agent.network().look_up_packs(&self.mailbox, &ticket, packs).await
    }

    /// Deletes a pack. It is tried once; with a new ticket if the one at hand was too old.
    pub(crate) async fn delete(&self, pack: &PackId) -> Result<(), StorageError> {
        match self.delete_once(pack).await {
            Err(StorageError::Ticket) => {
                *self.grant.lock().await = None;
                self.delete_once(pack).await
            }
            done => done,
        }
    }

    async fn delete_once(&self, pack: &PackId) -> Result<(), StorageError> {
        let ticket = self.grant().await?.ticket;
        self.agent.network().delete_pack(&self.mailbox, &ticket, pack).await
    }

    /// Its server's name.
    pub(super) fn host(&self) -> String {
        petmail_mailbox::config::host(&self.mailbox.url)
    }

    /// Asks anew how much is stored, and how much may be, in bytes.
    pub(super) async fn room(&self) -> Option<(u64, u64)> {
        *self.grant.lock().await = None;
        let grant = self.grant().await.ok()?;
        Some((grant.used_bytes, grant.quota_bytes))
    }
}

/// What was done about failures of one request.
struct Attempts<'a> {
    depot: &'a AccountDepot,
    patience: Patience<'a>,
    /// How often another ticket was asked for.
    renewals: u32,
}

impl<'a> Attempts<'a> {
    fn of(depot: &'a AccountDepot) -> Self {
        Self { depot, patience: Patience::of(&depot.agent, depot.id), renewals: 0 }
    }

    /// Does what may help before the next attempt, or returns the error.
    async fn mend(&mut self, error: StorageError) -> Result<(), StorageError> {
        match error {
            StorageError::Ticket if self.renewals < MAX_RENEWALS => {
                *self.depot.grant.lock().await = None;
                self.renewals += 1;
                // A server that was restarted knows none of its tickets; one that restarts again needs time.
                let again = StorageError::Unavailable { reason: error.to_string(), retry_after: None };
                if self.renewals == 1 { Ok(()) } else { self.patience.wait(again).await }
            }
            StorageError::Ticket => Err(StorageError::NoStorage),
            other => self.patience.wait(other).await,
        }
    }
}
