//! Fills the database of a stopped node, for measurements only: what years of use would leave, without the years.
//!
//! The rows are those that the agent itself writes, with keys of their own for every contact. Nobody is behind them.

use std::path::Path;

use anyhow::{Context, ensure};
use petmail_proto::{
    channel::{
        MessageNumber,
        key_ring::KeyRing,
        own_half::OwnHalf,
        record::{TransportRecord, Transports},
    },
    keys::{MessageId, TransportId},
    time::UnixMillis,
    wire::Record,
};
use petmail_store::Keyspace;
use rand_core::OsRng;
use serde_json::{Map, Value};

use super::{
    records::{
        AGENT, BODIES, CONTACTS, Contact, KEYS, Keys, MESSAGE_IDS, MESSAGES, MIDS, Message, MessageKey,
        PROGRESS, Progress, SETTINGS_KEY, Stage, Way, mid_key,
    },
    stored, view,
};
use crate::db::{Db, Write};

/// How many contacts or messages are written at once: four rows for each fit into one commit.
const AT_ONCE: usize = 256;

/// The epoch of what is made up: long before that of any node.
const EPOCH: u64 = 1;

/// Makes contacts until there are `count`, each like the first one, but with keys of its own.
///
/// # Errors
/// If the node runs, or knows nobody.
pub async fn contacts(basedir: &Path, count: u32) -> anyhow::Result<()> {
    let db = Db::open(basedir, None).await?;
    let stored = stored::load(&db).await?;
    let model = stored.contacts.first().context("the node knows nobody yet")?;
    let mut settings = stored.settings.clone();
    let new: Vec<u32> = (settings.last_cid.saturating_add(1)..=count).collect();
    for cids in new.chunks(AT_ONCE) {
        let mut writes = Vec::new();
        for cid in cids {
            writes.extend(contact(*cid, model)?);
        }
        db.commit(writes).await?;
    }
    settings.last_cid = settings.last_cid.max(count);
    db.commit(vec![put(AGENT, SETTINGS_KEY, &settings)?]).await?;
    db.close().await;
    Ok(())
}

/// Makes so many messages that the first contact has written just now.
///
/// # Errors
/// If the node runs, or knows nobody.
pub async fn messages(basedir: &Path, count: u64) -> anyhow::Result<()> {
    let db = Db::open(basedir, None).await?;
    let stored = stored::load(&db).await?;
    ensure!(!stored.contacts.is_empty(), "the node knows nobody yet");
    let when = UnixMillis(petmail_net::clock::unix_ms());
    let numbers: Vec<u64> = (1..=count).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let mut writes = Vec::new();
        for seqnum in numbers {
            let id = stored.last_message_id.saturating_add(*seqnum);
            writes.extend(message(id, MessageNumber { epoch: EPOCH, seqnum: *seqnum }, when)?);
        }
        db.commit(writes).await?;
    }
    db.close().await;
    Ok(())
}

fn contact(cid: u32, model: &Contact) -> anyhow::Result<[Write; 3]> {
    let rng = &mut OsRng;
    let OwnHalf { channel, receiver_kid, receiver_key } =
        OwnHalf::generate(EPOCH, renamed(&model.mine.transports), rng);
    let theirs = OwnHalf::generate(EPOCH, renamed(&model.theirs.transports), rng).record();
    let petname = format!("contact {cid}");
    let contact = Contact { cid, petname, mine: channel, theirs, ..model.clone() };
    let mut progress = Progress::default();
    // Then more are expected.
    progress.windows.receive(MessageNumber { epoch: EPOCH, seqnum: 1 });
    let key = cid.to_be_bytes();
    Ok([
        put(CONTACTS, &key, &contact)?,
        put(KEYS, &key, &Keys(KeyRing::new(receiver_kid, receiver_key)))?,
        put(PROGRESS, &key, &progress)?,
    ])
}

fn message(id: u64, number: MessageNumber, when: UnixMillis) -> anyhow::Result<[Write; 4]> {
    let key = MessageKey { cid: 1, way: Way::In, number };
    let mid = MessageId::generate(&mut OsRng);
    let text =
        format!("what somebody wrote a while ago, number {id}: nothing of much interest, but worth keeping");
    let packets = Map::from_iter([("basic".to_owned(), Value::from(text))]);
    let bytes =
        |keyspace, key: &[u8], value: Vec<u8>| Write { keyspace, key: key.to_vec(), value: Some(value) };
    Ok([
        put(MESSAGES, &key.encode(), &Message { id, when, state: Stage::Received, mid: Some(mid) })?,
        bytes(BODIES, &key.encode(), view::encode_packets(&packets)),
        bytes(MESSAGE_IDS, &id.to_be_bytes(), key.encode()),
        bytes(MIDS, &mid_key(1, mid), when.0.to_be_bytes().to_vec()),
    ])
}

/// The same transports under names of their own.
fn renamed(transports: &Transports) -> Transports {
    let rename = |transport: &TransportRecord| TransportRecord {
        tid: TransportId::generate(&mut OsRng),
        ..transport.clone()
    };
    Transports { list: transports.list.iter().map(rename).collect(), ..transports.clone() }
}

fn put(keyspace: Keyspace, key: &[u8], record: &impl Record) -> anyhow::Result<Write> {
    Ok(Write { keyspace, key: key.to_vec(), value: Some(record.encode_record()?) })
}
