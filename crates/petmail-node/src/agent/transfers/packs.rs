//! Which packs this node has at which storage servers, and which of its files need them.

use std::collections::BTreeSet;

use petmail_proto::{
    content::{ContentSecret, PackId},
    wire::Record,
};

use super::super::{
    Agent,
    error::CommandError,
    records::transfers::{PACK_USES, PACKS, StoredPack, pack_key, pack_of, use_key, user_of},
};
use crate::transfer::Depot;

/// How many rows are written at a time.
const AT_ONCE: usize = 256;

impl Agent {
    /// The secret that cuts and encrypts what this node stores.
    pub(crate) fn content_secret(&self) -> &ContentSecret {
        &self.0.content_secret
    }

    /// Returns the packs that a mailbox's account stores, and whether the upload `id` has stored each itself.
    pub(crate) async fn stored_packs(
        &self,
        mailbox: u32,
        id: u64,
    ) -> Result<Vec<(PackId, StoredPack, bool)>, CommandError> {
        let prefix = mailbox.to_be_bytes();
        let uses = self.scan(PACK_USES, &prefix).await?;
        let own = uses.iter().filter(|(key, _)| user_of(key) == Some(id)).filter_map(|(key, _)| pack_of(key));
        let own: BTreeSet<PackId> = own.map(|(_, pack)| pack).collect();
        let mut packs = Vec::new();
        for (key, row) in self.scan(PACKS, &prefix).await? {
            let Some((_, pack)) = pack_of(&key) else { continue };
            packs.push((pack, StoredPack::decode_record(&row)?, own.contains(&pack)));
        }
        Ok(packs)
    }

    /// Notes that an upload has stored a pack.
    pub(crate) async fn note_pack(
        &self,
        mailbox: u32,
        id: u64,
        pack: &PackId,
        row: &StoredPack,
    ) -> Result<(), CommandError> {
        self.step(|_, step, _| {
            step.put_bytes(PACKS, pack_key(mailbox, pack), row.encode_record()?);
            step.put_bytes(PACK_USES, use_key(mailbox, pack, id), Vec::new());
            Ok(())
        })
        .await
    }

    /// Notes all the packs that an upload needs.
    pub(crate) async fn note_pack_uses(
        &self,
        mailbox: u32,
        id: u64,
        packs: &[PackId],
    ) -> Result<(), CommandError> {
        for some in packs.chunks(AT_ONCE) {
            self.step(|_, step, _| {
                for pack in some {
                    step.put_bytes(PACK_USES, use_key(mailbox, pack, id), Vec::new());
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Returns the packs that are stored with a mailbox's server, or at a service.
    pub(crate) async fn packs_at(&self, mailbox: u32) -> Result<Vec<PackId>, CommandError> {
        let rows = self.scan(PACKS, &mailbox.to_be_bytes()).await?;
        Ok(rows.iter().filter_map(|(key, _)| pack_of(key)).map(|(_, pack)| pack).collect())
    }

    /// Returns the packs that a sent file needs.
    pub(crate) async fn packs_of(&self, mailbox: u32, id: u64) -> Result<Vec<PackId>, CommandError> {
        let uses = self.scan(PACK_USES, &mailbox.to_be_bytes()).await?;
        let own = uses.iter().filter(|(key, _)| user_of(key) == Some(id));
        Ok(own.filter_map(|(key, _)| pack_of(key)).map(|(_, pack)| pack).collect())
    }

    /// Notes that a sent file needs a pack no longer.
    pub(crate) async fn forget_use(&self, mailbox: u32, pack: &PackId, id: u64) -> Result<(), CommandError> {
        self.step(|_, step, _| {
            step.delete(PACK_USES, use_key(mailbox, pack, id));
            Ok(())
        })
        .await
    }

    /// Forgets packs that are not stored any more.
    pub(crate) async fn forget_packs(&self, mailbox: u32, packs: &[PackId]) -> Result<(), CommandError> {
        for some in packs.chunks(AT_ONCE) {
            self.step(|_, step, _| {
                for pack in some {
                    step.delete(PACKS, pack_key(mailbox, pack));
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Deletes the packs that nothing needs any more. What cannot be deleted now is tried again with the next change. No upload
    /// may be under way: it may count on a pack without having said so yet.
    pub(crate) async fn sweep_packs(&self) -> Result<(), CommandError> {
        let uses = self.scan(PACK_USES, &[]).await?;
        let core = self.0.core.lock().await;
        let is_over = |key: &[u8]| user_of(key).is_none_or(|id| !core.transfers.needs(id));
        let (over, needed): (Vec<_>, Vec<_>) =
            uses.into_iter().map(|(key, _)| key).partition(|key| is_over(key));
        drop(core);
        let needed: BTreeSet<(u32, PackId)> = needed.iter().filter_map(|key| pack_of(key)).collect();
        for some in over.chunks(AT_ONCE) {
            self.step(|_, step, _| {
                for key in some {
                    step.delete(PACK_USES, key.clone());
                }
                Ok(())
            })
            .await?;
        }
        let (mut depot, mut away): (Option<(u32, Option<Depot>)>, BTreeSet<u32>) = (None, BTreeSet::new());
        for (key, _) in self.scan(PACKS, &[]).await? {
            let Some((mailbox, pack)) = pack_of(&key) else { continue };
            if needed.contains(&(mailbox, pack)) || away.contains(&mailbox) {
                continue;
            }
            if depot.as_ref().is_none_or(|(of, _)| *of != mailbox) {
                // With a mailbox that was left, its packs went; a service that was removed is its owner's business.
                match Depot::open(self, mailbox, 0).await {
                    Ok(opened) => depot = Some((mailbox, opened)),
                    Err(error) => {
                        tracing::info!(%error, mailbox, "what is no longer needed stays at a service for now");
                        away.insert(mailbox);
                        continue;
                    }
                }
            }
            if let Some((_, Some(depot))) = &depot
                && let Err(error) = depot.delete(&pack).await
            {
                tracing::info!(%error, mailbox, "what is no longer needed stays on a storage server for now");
                away.insert(mailbox);
                continue;
            }
            self.forget_packs(mailbox, &[pack]).await?;
        }
        Ok(())
    }
}

/// Reads the secret of a node, or makes one.
pub(in crate::agent) async fn content_secret(db: &crate::db::Db) -> anyhow::Result<ContentSecret> {
    use super::super::records::{AGENT, transfers::CONTENT_SECRET_KEY};
    use crate::db::Write;
    if let Some(bytes) = db.get(AGENT, CONTENT_SECRET_KEY).await? {
        let bytes = bytes
            .try_into()
            .map_err(|_| anyhow::anyhow!("the content secret is damaged; restore a backup"))?;
        return Ok(ContentSecret::from_bytes(bytes));
    }
    let secret = ContentSecret::generate(&mut rand_core::OsRng);
    let value = Some(secret.expose_bytes().to_vec());
    db.commit(vec![Write { keyspace: AGENT, key: CONTENT_SECRET_KEY.to_vec(), value }]).await?;
    Ok(secret)
}
