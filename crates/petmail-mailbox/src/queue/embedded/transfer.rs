//! Handing out everything that the embedded queue holds, and taking it in elsewhere.

use std::sync::Arc;

use petmail_proto::{server::account::AccountId, wire::Record};
use petmail_store::{Batch, Direction, Keyspace, MAX_BATCH_BYTES, MAX_BATCH_OPS, MAX_VALUE_BYTES, Row};
use tokio::sync::mpsc;

use super::{
    EmbeddedQueue, SERIAL, after_key,
    entry::Entry,
    random_blob_name,
    rows::{self, ACCOUNTS, BODIES, EXPIRY, MESSAGES, META, MessageRow, OFFERS, OfferRow, Place, REPLAYS},
};
use crate::queue::{
    Account, QueueError, QueueStore,
    exported::{Exported, ExportedDigest, ExportedMessage},
};

/// How many rows are read at a time.
const ROWS: usize = 256;
/// The most operations, and about the most bytes, that one record takes.
const RECORD: (usize, usize) = (2, MAX_VALUE_BYTES + 4_096);

impl EmbeddedQueue {
    pub(super) async fn hand_out(&self, sink: &mpsc::Sender<Exported>) -> Result<(), QueueError> {
        if let Some(serial) = self.last_serial().await? {
            send(sink, Exported::Serial(serial)).await?;
        }
        for keyspace in [ACCOUNTS, OFFERS, MESSAGES, EXPIRY] {
            let mut from = Vec::new();
            loop {
                let rows = self.store.range(keyspace, from.., Direction::Ascending, ROWS).await;
                let rows = rows.map_err(QueueError::new)?;
                let Some((last, _)) = rows.last() else { break };
                from = after_key(last);
                for row in rows {
                    send(sink, self.exported(keyspace, row).await?).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn take_in(&self, records: &[Exported]) -> Result<(), QueueError> {
        let (ops, bytes) = RECORD;
        let mut batch = Batch::new();
        for record in records {
            if batch.len() + ops > MAX_BATCH_OPS || batch.bytes() + bytes > MAX_BATCH_BYTES {
                self.commit(std::mem::take(&mut batch)).await?;
            }
            batch = self.put(batch, record).await?;
        }
        self.commit(batch).await?;
        records.iter().try_for_each(|record| self.note(record))
    }

    async fn exported(&self, keyspace: Keyspace, (key, value): Row) -> Result<Exported, QueueError> {
        if keyspace == ACCOUNTS {
            let account = Account::decode_record(&value).map_err(QueueError::new)?;
            return Ok(Exported::Account(Box::new(account)));
        }
        if keyspace == OFFERS {
            let hash = rows::parse_offer_key(&key)?;
            let offer = OfferRow::decode_record(&value).map_err(QueueError::new)?;
            return Ok(Exported::Offer(hash, offer));
        }
        if keyspace == EXPIRY {
            let (expiry, digest) = rows::parse_expiry_key(&key)?;
            let (account, number) = rows::parse_message_key(&value)?;
            return Ok(Exported::Digest(ExportedDigest { digest, expiry, account, number }));
        }
        let (account, number) = rows::parse_message_key(&key)?;
        let row = MessageRow::decode_record(&value).map_err(QueueError::new)?;
        let msg_c = self.message(account, number).await?;
        let msg_c = msg_c.ok_or_else(|| QueueError::new("a message has no body; `check` says which"))?;
        let MessageRow { received, is_former_slot, .. } = row;
        Ok(Exported::Message(ExportedMessage { account, number, received, is_former_slot, msg_c }))
    }

    /// Adds what a record says to `batch`; a large message becomes a file first.
    async fn put(&self, batch: Batch, record: &Exported) -> Result<Batch, QueueError> {
        let encoded = |bytes: Result<Vec<u8>, _>| bytes.map_err(QueueError::new);
        Ok(match record {
            Exported::Serial(serial) => batch.put(META, SERIAL, serial.to_be_bytes()),
            Exported::Account(account) => {
                batch.put(ACCOUNTS, *account.id.as_bytes(), encoded(account.encode_record())?)
            }
            Exported::Offer(hash, offer) => {
                batch.put(OFFERS, *hash.as_bytes(), encoded(offer.encode_record())?)
            }
            Exported::Message(message) => self.put_message(batch, message).await?,
            Exported::Digest(ExportedDigest { digest, expiry, account, number }) => {
                let message = rows::message_key(account, *number);
                let batch = batch.put(EXPIRY, rows::expiry_key(*expiry, digest), message);
                // They come soonest first: of two for the same bytes the later one holds.
                batch.put(REPLAYS, *digest.as_bytes(), expiry.0.to_be_bytes())
            }
        })
    }

    async fn put_message(&self, batch: Batch, message: &ExportedMessage) -> Result<Batch, QueueError> {
        let key = rows::message_key(&message.account, message.number);
        let (batch, place) = if message.msg_c.len() <= MAX_VALUE_BYTES {
            (batch.put(BODIES, key.clone(), message.msg_c.clone()), Place::Row)
        } else {
            let name = random_blob_name();
            self.blobs.put(name, message.msg_c.clone()).await.map_err(QueueError::new)?;
            (batch, Place::File(*name.as_bytes()))
        };
        let row = row_of(message, place)?.encode_record().map_err(QueueError::new)?;
        Ok(batch.put(MESSAGES, key, row))
    }

    /// Counts in memory what is on disk now.
    fn note(&self, record: &Exported) -> Result<(), QueueError> {
        match record {
            Exported::Account(account) => {
                self.index_mut().add(&Arc::new(Entry::new(account)), account);
            }
            Exported::Message(message) => {
                let row = row_of(message, Place::Row)?;
                self.note_number(&message.account, |entry| entry.restore(message.number, &row));
            }
            Exported::Digest(ExportedDigest { account, number, .. }) => {
                self.note_number(account, |entry| entry.skip(*number));
            }
            Exported::Offer(hash, OfferRow { terms, redeemed: None }) => {
                self.index_mut().note_open(*hash, terms);
            }
            Exported::Serial(_) | Exported::Offer(..) => {}
        }
        Ok(())
    }

    fn note_number(&self, account: &AccountId, note: impl FnOnce(&Entry)) {
        if let Some(entry) = self.entry(account) {
            note(&entry);
        }
    }
}

fn row_of(message: &ExportedMessage, place: Place) -> Result<MessageRow, QueueError> {
    let ExportedMessage { received, is_former_slot, .. } = *message;
    Ok(MessageRow { received, length: rows::length_of(&message.msg_c)?, place, is_former_slot })
}

async fn send(sink: &mpsc::Sender<Exported>, record: Exported) -> Result<(), QueueError> {
    sink.send(record).await.map_err(|_| QueueError::new("nobody takes what is handed out"))
}
