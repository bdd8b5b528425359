//! Reads the agent's rows: all of its state at start, messages on demand.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use petmail_proto::{
    channel::{
        MessageNumber,
        payload::{BASIC, FILE},
    },
    keys::MessageId,
    time::UnixMillis,
    wire::Record,
};
use serde_json::{Map, Value};

use super::{
    core::{InQuarantine, Stored, transfers::Transfers},
    page::Page,
    records::{
        AGENT, BODIES, CONTACTS, DRAFTS, EXTRAS, FILES, HEARD, INVITATIONS, KEYS, Keys, MAILBOXES,
        MESSAGE_IDS, MESSAGES, MIDS, Message, MessageKey, OFFERS, OUTBOX, PROFILE_KEY, PROFILES, PROGRESS,
        Profiles, QUARANTINE, Quarantined, Queued, SETTINGS_KEY, Settings, Way,
        transfers::{DOWNLOADS, FETCH_LIMITS, LOCATIONS, QUESTIONS, SHARES, UPLOADS, question_of},
    },
};
use crate::{
    api::types::{Direction, MessageQuery},
    db::{Cursor, Db},
};

/// Messages are read one by one if they are at most one in so many; else it is quicker to read all and leave some out.
const FEW: usize = 8;

/// How much of either way's end decides which message is the last: farther apart they hardly come in.
const END: usize = 32;

/// How many conversations are summarized at a time: commits wait meanwhile.
const AT_A_TIME: usize = 64;

/// A message with its packets.
pub(super) type Row = (MessageKey, Message, Map<String, Value>);

/// Reads everything that the agent holds in memory.
pub(super) async fn load(db: &Db) -> anyhow::Result<Stored> {
    Rows::read(db).await?.decode()
}

/// Keys with their values, in the order of keys.
pub(super) type Table = Vec<(Vec<u8>, Vec<u8>)>;

/// The rows that the agent's state is made of, as they were read.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) settings: Option<Vec<u8>>,
    pub(super) contacts: Table,
    pub(super) keys: Table,
    pub(super) progress: Table,
    pub(super) outbox: Table,
    pub(super) invitations: Table,
    pub(super) mailboxes: Table,
    pub(super) quarantine: Table,
    pub(super) mids: Table,
    pub(super) heard: Table,
    pub(super) profiles: Table,
    pub(super) own_profile: Option<Vec<u8>>,
    pub(super) offers: Table,
    pub(super) uploads: Table,
    pub(super) shares: Table,
    pub(super) downloads: Table,
    pub(super) locations: Table,
    pub(super) questions: Table,
    pub(super) fetch_limits: Table,
    /// The last key of [`MESSAGE_IDS`].
    pub(super) last_message_id: Option<Vec<u8>>,
}

impl Rows {
    async fn read(db: &Db) -> anyhow::Result<Self> {
        Ok(Self {
            settings: db.get(AGENT, SETTINGS_KEY).await?,
            contacts: db.scan(CONTACTS, &[]).await?,
            keys: db.scan(KEYS, &[]).await?,
            progress: db.scan(PROGRESS, &[]).await?,
            outbox: db.scan(OUTBOX, &[]).await?,
            invitations: db.scan(INVITATIONS, &[]).await?,
            mailboxes: db.scan(MAILBOXES, &[]).await?,
            quarantine: db.scan(QUARANTINE, &[]).await?,
            mids: db.scan(MIDS, &[]).await?,
            heard: db.scan(HEARD, &[]).await?,
            profiles: db.scan(PROFILES, &[]).await?,
            own_profile: db.get(AGENT, PROFILE_KEY).await?,
            offers: db.scan(OFFERS, &[]).await?,
            uploads: db.scan(UPLOADS, &[]).await?,
            shares: db.scan(SHARES, &[]).await?,
            downloads: db.scan(DOWNLOADS, &[]).await?,
            locations: db.scan(LOCATIONS, &[]).await?,
            questions: db.scan(QUESTIONS, &[]).await?,
            fetch_limits: db.scan(FETCH_LIMITS, &[]).await?,
            last_message_id: db.last_key(MESSAGE_IDS).await?,
        })
    }

    /// Decodes the rows, wherever they were read.
    ///
    /// # Errors
    /// If a row is damaged, or a newer program wrote it.
    pub(super) fn decode(self) -> anyhow::Result<Stored> {
        let mut queued = Vec::new();
        for (key, row) in self.outbox {
            queued.push((cid_of(&key)?, decode::<Queued>(&row)?));
        }
        let mut progress = BTreeMap::new();
        for (key, row) in self.progress {
            progress.insert(cid_of(&key)?, decode(&row)?);
        }
        let mut keys = BTreeMap::new();
        for (key, row) in self.keys {
            keys.insert(cid_of(&key)?, decode::<Keys>(&row)?.0);
        }
        let mut quarantine = BTreeMap::new();
        for (key, row) in self.quarantine {
            let Quarantined { received, msg_c } = decode(&row)?;
            quarantine.insert(number(key)?, InQuarantine { received, bytes: msg_c.len() });
        }
        let mut mids = BTreeMap::new();
        for (key, row) in self.mids {
            let mid = key.get(4..).and_then(|mid| mid.try_into().ok()).context(DAMAGED)?;
            mids.insert((cid_of(&key)?, MessageId::from_bytes(mid)), UnixMillis(number(row)?));
        }
        let mut heard = BTreeMap::new();
        for (key, row) in self.heard {
            heard.insert(cid_of(&key)?, UnixMillis(number(row)?));
        }
        let mut profiles = BTreeMap::new();
        for (key, row) in self.profiles {
            profiles.insert(cid_of(&key)?, decode::<Profiles>(&row)?);
        }
        let mut offers = BTreeMap::new();
        for (key, row) in self.offers {
            let text = String::from_utf8(row).context(DAMAGED)?;
            offers.insert(cid_of(&key)?, text.parse().context(DAMAGED)?);
        }
        let mut fetch_limits = BTreeMap::new();
        for (key, row) in self.fetch_limits {
            fetch_limits.insert(cid_of(&key)?, number(row)?);
        }
        let transfers = Transfers {
            uploads: by_id(self.uploads)?,
            shares: by_id(self.shares)?,
            downloads: by_id(self.downloads)?,
            located: by_id(self.locations)?,
            questions: self.questions.iter().filter_map(|(key, _)| Some((question_of(key)?, None))).collect(),
        };
        // A file that is being stored has its number already.
        let reserved = transfers.uploads.keys().next_back().copied().unwrap_or_default();
        let last_message_id = self.last_message_id.map_or(Ok(0), number)?.max(reserved);
        Ok(Stored {
            settings: self.settings.map_or(Ok(Settings::default()), |row| decode(&row))?,
            contacts: all(&self.contacts)?,
            keys,
            progress,
            queued,
            invitations: all(&self.invitations)?,
            mailboxes: all(&self.mailboxes)?,
            last_message_id,
            quarantine,
            mids,
            heard,
            profiles,
            offers,
            own_profile: self.own_profile.map(|row| decode(&row)).transpose()?,
            fetch_limits,
            transfers,
        })
    }
}

/// Reads the messages that a query asks for: contact by contact; each way in the order of numbers, both merged by id.
pub(super) async fn select(db: &Db, query: MessageQuery) -> anyhow::Result<Vec<Row>> {
    let prefix = query.cid.map(|cid| cid.to_be_bytes().to_vec()).unwrap_or_default();
    let way = query.direction.map(|direction| match direction {
        Direction::In => Way::In,
        Direction::Out => Way::Out,
    });
    let wanted = |(key, message): &(MessageKey, Message)| {
        way.is_none_or(|way| key.way == way) && query.since.is_none_or(|since| message.id > since)
    };
    let all = messages(db, &prefix).await?;
    let count = all.len();
    let found: Vec<_> = all.into_iter().filter(wanted).collect();
    let are_most = found.len().saturating_mul(FEW) > count;
    let mut packets = read_packets(db, are_most.then(|| Cursor::new(BODIES, &prefix)), &found).await?;
    let row = |(key, message)| Some((key, message, packets.remove(&key)?));
    Ok(merge(found).into_iter().filter_map(row).collect())
}

/// Reads a part of a conversation: all of it without packets, and the packets of the part.
pub(super) async fn page(db: &Db, page: Page) -> anyhow::Result<Vec<Row>> {
    let all = merge(messages(db, &page.cid.to_be_bytes()).await?);
    let ids: Vec<u64> = all.iter().map(|(_, message)| message.id).collect();
    let mut rows = Vec::new();
    for (key, message) in all.get(page.range(&ids)).unwrap_or_default() {
        rows.push((*key, message.clone(), packets(db, &key.encode()).await?));
    }
    Ok(rows)
}

/// What the list of conversations shows of one.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The last message as the conversation's order has it: what came in late stands where its number says.
    pub(super) last: Option<Row>,
    /// How many came in after the one that was read last.
    pub(super) unread: u64,
    /// The text that is being written.
    pub(super) draft: String,
}

/// Summarizes conversations, each given by its contact and the number of the message that was read last.
pub(super) async fn summarize(
    db: &Db,
    conversations: &[(u32, MessageNumber)],
) -> anyhow::Result<BTreeMap<u32, Summary>> {
    let mut summaries = BTreeMap::new();
    for (key, text) in db.scan(DRAFTS, &[]).await? {
        let draft = String::from_utf8_lossy(&text).into_owned();
        summaries.insert(cid_of(&key)?, Summary { draft, ..Summary::default() });
    }
    for some in conversations.chunks(AT_A_TIME) {
        let mut lasts = Vec::new();
        for ((cid, read), ends) in some.iter().zip(ends(db, some).await?) {
            let heard = ends.iter().filter(|(key, _)| key.way == Way::In).map(|(key, _)| key.number).max();
            if heard.is_some_and(|number| number > *read) {
                summaries.entry(*cid).or_default().unread = count_unread(db, *cid, *read).await?;
            }
            lasts.extend(merge(ends).pop());
        }
        let keys: Vec<_> = lasts.iter().map(|(key, _)| key.encode()).collect();
        for ((key, message), packets) in lasts.into_iter().zip(db.get_each(BODIES, &keys).await?) {
            // Between the two reads it may have been removed with its contact.
            let Some(packets) = packets else { continue };
            let packets = serde_json::from_slice(&packets).context(DAMAGED)?;
            summaries.entry(key.cid).or_default().last = Some((key, message, packets));
        }
    }
    Ok(summaries)
}

/// Reads the ends of conversations, both ways of each.
async fn ends(
    db: &Db,
    conversations: &[(u32, MessageNumber)],
) -> anyhow::Result<Vec<Vec<(MessageKey, Message)>>> {
    let ways = conversations.iter().flat_map(|(cid, _)| [Way::In, Way::Out].map(|way| way_prefix(*cid, way)));
    let read = db.last_of_each(MESSAGES, &ways.collect::<Vec<_>>(), END).await?;
    let decoded =
        |(key, row): &(Vec<u8>, Vec<u8>)| Ok((MessageKey::decode(key).context(DAMAGED)?, decode(row)?));
    read.chunks(2).map(|both| both.iter().flatten().map(decoded).collect()).collect()
}

/// Counts what came in from a contact after the message that was read last.
async fn count_unread(db: &Db, cid: u32, read: MessageNumber) -> anyhow::Result<u64> {
    let read = MessageKey { cid, way: Way::In, number: read };
    db.count_after(MESSAGES, &way_prefix(cid, Way::In), &read.encode()).await
}

/// Finds the newest messages whose text, or whose file's name, contains `wanted`, in capitals or not, the newest first.
pub(super) async fn search(
    db: &Db,
    wanted: &str,
    cid: Option<u32>,
    limit: usize,
) -> anyhow::Result<Vec<Row>> {
    let prefix = cid.map(|cid| cid.to_be_bytes().to_vec()).unwrap_or_default();
    let wanted = wanted.to_lowercase();
    let mut newest: BTreeMap<u64, Row> = BTreeMap::new();
    let mut cursor = Cursor::new(BODIES, &prefix);
    while let Some((key, body)) = db.next_value(&mut cursor).await? {
        let packets: Map<String, Value> = serde_json::from_slice(&body).context(DAMAGED)?;
        let text = packets.get(BASIC).and_then(Value::as_str);
        let file = packets.get(FILE).and_then(|file| file.get("name")).and_then(Value::as_str);
        if !text.into_iter().chain(file).any(|text| text.to_lowercase().contains(&wanted)) {
            continue;
        }
        // Between the two reads it may have been removed with its contact.
        let Some(row) = db.get(MESSAGES, &key).await? else { continue };
        let message: Message = decode(&row)?;
        newest.insert(message.id, (MessageKey::decode(&key).context(DAMAGED)?, message, packets));
        if newest.len() > limit {
            newest.pop_first();
        }
    }
    Ok(newest.into_values().rev().collect())
}

/// Reads the packets of messages in the order of keys: along the cursor if there is one, else each by itself.
async fn read_packets(
    db: &Db,
    mut cursor: Option<Cursor>,
    messages: &[(MessageKey, Message)],
) -> anyhow::Result<BTreeMap<MessageKey, Map<String, Value>>> {
    let mut read = BTreeMap::new();
    for (key, _) in messages {
        let row = key.encode();
        let packets = match &mut cursor {
            Some(cursor) => loop {
                let (found, body) = db.next_value(cursor).await?.context(DAMAGED)?;
                if found >= row {
                    ensure!(found == row, DAMAGED);
                    break serde_json::from_slice(&body).context(DAMAGED)?;
                }
            },
            None => packets(db, &row).await?,
        };
        read.insert(*key, packets);
    }
    Ok(read)
}

/// Reads messages without their packets, in the order of keys.
pub(super) async fn messages(db: &Db, prefix: &[u8]) -> anyhow::Result<Vec<(MessageKey, Message)>> {
    let rows = db.scan(MESSAGES, prefix).await?;
    rows.iter().map(|(key, row)| Ok((MessageKey::decode(key).context(DAMAGED)?, decode(row)?))).collect()
}

/// Reads one message by its id.
pub(super) async fn message(db: &Db, id: u64) -> anyhow::Result<Option<Row>> {
    let Some(key) = db.get(MESSAGE_IDS, &id.to_be_bytes()).await? else { return Ok(None) };
    let row = db.get(MESSAGES, &key).await?.context(DAMAGED)?;
    Ok(Some((MessageKey::decode(&key).context(DAMAGED)?, decode(&row)?, packets(db, &key).await?)))
}

/// Reads the ids of the messages that bring files.
pub(super) async fn file_ids(db: &Db) -> anyhow::Result<Vec<u64>> {
    db.scan(FILES, &[]).await?.into_iter().map(|(key, _)| number(key)).collect()
}

/// Reads one message by its key.
pub(super) async fn message_at(db: &Db, key: MessageKey) -> anyhow::Result<Option<Row>> {
    let Some(row) = db.get(MESSAGES, &key.encode()).await? else { return Ok(None) };
    Ok(Some((key, decode(&row)?, packets(db, &key.encode()).await?)))
}

/// Reads the packets that a queued message carries for the other agent.
pub(super) async fn extras(db: &Db, key: &[u8]) -> anyhow::Result<Map<String, Value>> {
    let extras = db.get(EXTRAS, key).await?.context(DAMAGED)?;
    serde_json::from_slice(&extras).context(DAMAGED)
}

/// Reads the packets of a message.
pub(super) async fn packets(db: &Db, key: &[u8]) -> anyhow::Result<Map<String, Value>> {
    let body = db.get(BODIES, key).await?.context(DAMAGED)?;
    serde_json::from_slice(&body).context(DAMAGED)
}

/// Reads the messages in quarantine, oldest first.
pub(super) async fn quarantine(db: &Db) -> anyhow::Result<Vec<(u64, Quarantined)>> {
    let rows = db.scan(QUARANTINE, &[]).await?;
    rows.into_iter().map(|(key, row)| Ok((number(key)?, decode(&row)?))).collect()
}

const DAMAGED: &str = "a row of the database is damaged; restore a backup";

/// Merges the two ways of each contact by id without disturbing the order within a way.
fn merge(rows: Vec<(MessageKey, Message)>) -> Vec<(MessageKey, Message)> {
    let mut merged = Vec::with_capacity(rows.len());
    for conversation in rows.chunk_by(|(a, _), (b, _)| a.cid == b.cid) {
        let incoming = conversation.partition_point(|(key, _)| key.way == Way::In);
        let (incoming, outgoing) = conversation.split_at(incoming);
        let (mut incoming, mut outgoing) = (incoming.iter().peekable(), outgoing.iter().peekable());
        loop {
            let next = match (incoming.peek(), outgoing.peek()) {
                (Some((_, received)), Some((_, sent))) if sent.id < received.id => outgoing.next(),
                (Some(_), _) => incoming.next(),
                (None, _) => outgoing.next(),
            };
            match next {
                Some(row) => merged.push(row.clone()),
                None => break,
            }
        }
    }
    merged
}

/// The beginning of the keys of what went one way between here and a contact.
fn way_prefix(cid: u32, way: Way) -> Vec<u8> {
    let mut prefix = cid.to_be_bytes().to_vec();
    prefix.push(way as u8);
    prefix
}

fn by_id<T: Record>(rows: Table) -> anyhow::Result<BTreeMap<u64, T>> {
    rows.into_iter().map(|(key, row)| Ok((number(key)?, decode(&row)?))).collect()
}

fn all<T: Record>(rows: &Table) -> anyhow::Result<Vec<T>> {
    rows.iter().map(|(_, row)| decode(row)).collect()
}

fn number(key: Vec<u8>) -> anyhow::Result<u64> {
    key.try_into().ok().map(u64::from_be_bytes).context(DAMAGED)
}

fn cid_of(key: &[u8]) -> anyhow::Result<u32> {
    key.first_chunk::<4>().map(|cid| u32::from_be_bytes(*cid)).context(DAMAGED)
}

fn decode<T: Record>(row: &[u8]) -> anyhow::Result<T> {
    T::decode_record(row).context("the database holds a record that this program cannot read")
}

#[cfg(test)]
mod tests {
    use petmail_proto::channel::MessageNumber;

    use super::*;
    use crate::agent::records::Stage;

    fn row(cid: u32, way: Way, seqnum: u64, id: u64) -> (MessageKey, Message) {
        let key = MessageKey { cid, way, number: MessageNumber { epoch: 1, seqnum } };
        (key, Message { id, when: UnixMillis(0), state: Stage::Received, mid: None })
    }

    #[tokio::test]
    async fn the_last_message_is_the_one_at_the_end_of_the_conversation() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), None).await.unwrap();
        let read = MessageNumber { epoch: 1, seqnum: 1 };
        let summary = async |db| summarize(db, &[(1, read)]).await.unwrap().remove(&1);
        assert!(summary(&db).await.is_none());
        // The first that was written to this node came in after the second, and after an answer.
        for (way, seqnum, id) in [(Way::In, 2, 2), (Way::Out, 1, 5), (Way::In, 1, 9), (Way::Out, 2, 10)] {
            let (key, message) = row(1, way, seqnum, id);
            let put = |keyspace, value| crate::db::Write { keyspace, key: key.encode(), value: Some(value) };
            let writes = vec![put(MESSAGES, message.encode_record().unwrap()), put(BODIES, b"{}".to_vec())];
            db.commit(writes).await.unwrap();
            let Summary { last, unread, draft } = summary(&db).await.unwrap();
            let last = last.unwrap().1.id;
            assert_eq!((unread, draft.as_str()), (1, ""), "after {id}");
            let all = merge(messages(&db, &1_u32.to_be_bytes()).await.unwrap());
            assert_eq!(Some(last), all.last().map(|(_, message)| message.id), "after {id}");
        }
    }

    #[tokio::test]
    async fn few_messages_and_all_have_the_packets_that_are_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), None).await.unwrap();
        let mut writes = Vec::new();
        for id in 1..=40 {
            let (key, message) = row(1, if id % 3 == 0 { Way::Out } else { Way::In }, id, id);
            let mut put = |keyspace, value| {
                writes.push(crate::db::Write { keyspace, key: key.encode(), value: Some(value) });
            };
            put(MESSAGES, message.encode_record().unwrap());
            put(BODIES, format!("{{\"basic\":\"{id}\"}}").into_bytes());
        }
        db.commit(writes).await.unwrap();
        let query = |since, direction| MessageQuery {
            cid: Some(1),
            since: Some(since),
            direction,
            ..MessageQuery::default()
        };
        for (query, expected) in [
            (query(0, None), (1..=40).collect::<Vec<u64>>()),
            (query(0, Some(Direction::Out)), (1..=13).map(|third| third * 3).collect()),
            (query(37, None), vec![38, 39, 40]),
        ] {
            let rows = select(&db, query).await.unwrap();
            let ids: Vec<_> = rows.iter().map(|(_, message, _)| message.id).collect();
            assert_eq!(ids, expected);
            assert!(rows.iter().all(|(_, message, packets)| packets["basic"].as_str().unwrap().parse() == Ok(message.id)));
        }
        db.close().await;
    }

    #[test]
    fn both_ways_are_merged_by_id_and_each_keeps_its_order() {
        // The second incoming message arrived before the first: numbers decide within one way.
        let rows = vec![
            row(1, Way::In, 1, 5),
            row(1, Way::In, 2, 2),
            row(1, Way::Out, 1, 3),
            row(1, Way::Out, 2, 9),
            row(2, Way::Out, 1, 1),
        ];
        let ids: Vec<u64> = merge(rows).iter().map(|(_, message)| message.id).collect();
        assert_eq!(ids, [3, 5, 2, 9, 1]);
    }
}
