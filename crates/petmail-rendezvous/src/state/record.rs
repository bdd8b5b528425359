//! What of the state is durable, and its bytes.
//!
//! Owns the rows: their keys, their versioned JSON, and the splitting of a message's body, because the store refuses
//! values above 32 KiB. Must not know the rules by which rows come and go.
//!
//! | table | key | value |
//! |---|---|---|
//! | nameplates | appid, nameplate | [`NameplateRow`] |
//! | mailboxes | appid, mailbox | [`MailboxRow`] |
//! | messages | appid, mailbox, sequence number, 0 | [`MessageRow`] |
//! | messages | appid, mailbox, sequence number, 1 … | a piece of the body |
//!
//! Each part of a key has its length (16 bits, big-endian) in front; numbers are big-endian, so that a mailbox's
//! messages lie together and in order.

use std::collections::BTreeMap;

use petmail_proto::invitation::wormhole::{
    AppId, Body, MailboxId, Nameplate, Phase, RequestId, ServerFrame, ServerMessage, Side,
};
use petmail_proto::time::UnixMillis;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The version of all rows that this program writes.
const VERSION: u8 = 1;

/// The most bytes of a body in one row; below the store's bound for values.
const PIECE_BYTES: usize = 32_000;

/// The three kinds of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Which mailbox a nameplate leads to, and for whom.
    Nameplates,
    /// Who uses a mailbox, and since when it is quiet.
    Mailboxes,
    /// What the two sides told each other.
    Messages,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nameplates, Self::Mailboxes, Self::Messages];
}

/// One write: with a value it puts, without one it deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// What, if anything.
    pub value: Option<Vec<u8>>,
}

/// A mailbox's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The application, whose mailboxes no other application sees.
    pub app: AppId,
    /// The mailbox.
    pub mailbox: MailboxId,
}

/// A nameplate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameplateRow {
    v: u8,
    /// Where it leads.
    pub(crate) mailbox: MailboxId,
    /// Each side that ever claimed it, and whether it still does.
    pub(crate) sides: BTreeMap<Side, bool>,
}

/// A mailbox, its messages aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MailboxRow {
    v: u8,
    /// When somebody last did something here.
    pub(crate) updated: UnixMillis,
    /// The nameplate that leads here, as long as one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nameplate: Option<Nameplate>,
    /// Each side that ever opened it, and whether it still has it open.
    pub(crate) sides: BTreeMap<Side, bool>,
}

/// A message, its body aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MessageRow {
    v: u8,
    side: Side,
    phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<RequestId>,
    received: UnixMillis,
    /// How many pieces the body has.
    pieces: u16,
}

/// A stored row that this program cannot read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The key has not the parts that its table's keys have.
    #[error("a key of {0:?} is malformed")]
    Key(Table),
    /// The value is not what this table holds.
    #[error("a value of {0:?} is malformed")]
    Value(Table, #[source] serde_json::Error),
    /// The row was written by a newer version of the program.
    #[error("a value of {table:?} has version {found}, newer than {VERSION}")]
    Version {
        /// Where.
        table: Table,
        /// The row's version.
        found: u64,
    },
    /// A message lacks a piece of its body, or its mailbox.
    #[error("a message is incomplete")]
    Incomplete,
}

impl NameplateRow {
    pub(crate) fn new(mailbox: MailboxId) -> Self {
        Self { v: VERSION, mailbox, sides: BTreeMap::new() }
    }
}

impl MailboxRow {
    pub(crate) fn new(nameplate: Option<Nameplate>, now: UnixMillis) -> Self {
        Self { v: VERSION, updated: now, nameplate, sides: BTreeMap::new() }
    }
}

pub(crate) fn put_nameplate(app: &AppId, nameplate: &Nameplate, row: &NameplateRow) -> Change {
    put(Table::Nameplates, nameplate_key(app, nameplate), row)
}

pub(crate) fn delete_nameplate(app: &AppId, nameplate: &Nameplate) -> Change {
    Change { table: Table::Nameplates, key: nameplate_key(app, nameplate), value: None }
}

pub(crate) fn put_mailbox(place: &Place, row: &MailboxRow) -> Change {
    put(Table::Mailboxes, place_key(place), row)
}

pub(crate) fn delete_mailbox(place: &Place) -> Change {
    Change { table: Table::Mailboxes, key: place_key(place), value: None }
}

/// The rows of one message.
pub(crate) fn put_message(place: &Place, sequence: u64, frame: &ServerFrame) -> Vec<Change> {
    let ServerMessage::Message { side, phase, body } = &frame.message else { return Vec::new() };
    let pieces = body.as_bytes().chunks(PIECE_BYTES);
    let row = MessageRow {
        v: VERSION,
        side: side.clone(),
        phase: phase.clone(),
        id: frame.id.clone(),
        received: frame.server_rx.map_or(UnixMillis(0), from_seconds),
        pieces: piece_count(body),
    };
    let head = put(Table::Messages, message_key(place, sequence, 0), &row);
    let tail = (1..).zip(pieces).map(|(number, piece)| Change {
        table: Table::Messages,
        key: message_key(place, sequence, number),
        value: Some(piece.to_vec()),
    });
    std::iter::once(head).chain(tail).collect()
}

/// Deletes what [`put_message`] wrote.
pub(crate) fn delete_message(place: &Place, sequence: u64, frame: &ServerFrame) -> Vec<Change> {
    let ServerMessage::Message { body, .. } = &frame.message else { return Vec::new() };
    let rows = 0..=piece_count(body);
    let keys = rows.map(|number| message_key(place, sequence, number));
    keys.map(|key| Change { table: Table::Messages, key, value: None }).collect()
}

pub(crate) fn read_nameplate(
    key: &[u8],
    value: &[u8],
) -> Result<(AppId, Nameplate, NameplateRow), RecordError> {
    let bad_key = || RecordError::Key(Table::Nameplates);
    let [app, nameplate] = split_key(key).ok_or_else(bad_key)?;
    let app = text(app).and_then(|app| AppId::new(app).ok()).ok_or_else(bad_key)?;
    let nameplate = text(nameplate).and_then(|name| Nameplate::new(name).ok()).ok_or_else(bad_key)?;
    Ok((app, nameplate, read(Table::Nameplates, value)?))
}

pub(crate) fn read_mailbox(key: &[u8], value: &[u8]) -> Result<(Place, MailboxRow), RecordError> {
    let parts = split_key(key).ok_or(RecordError::Key(Table::Mailboxes))?;
    let place = read_place(parts).ok_or(RecordError::Key(Table::Mailboxes))?;
    Ok((place, read(Table::Mailboxes, value)?))
}

/// Puts messages together from their rows, which must come in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    current: Option<(Place, u64, MessageRow, Vec<u8>, u16)>,
}

impl MessageReader {
    /// Takes the next row; returns a message once its last row has come.
    pub(crate) fn row(
        &mut self,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<(Place, u64, ServerFrame)>, RecordError> {
        let bad_key = || RecordError::Key(Table::Messages);
        let [app, mailbox, sequence, number] = split_key(key).ok_or_else(bad_key)?;
        let place = read_place([app, mailbox]).ok_or_else(bad_key)?;
        let sequence = u64::from_be_bytes(sequence.try_into().map_err(|_| bad_key())?);
        let number = u16::from_be_bytes(number.try_into().map_err(|_| bad_key())?);
        let mut message = match self.current.take() {
            None if number == 0 => (place, sequence, read(Table::Messages, value)?, Vec::new(), 0),
            Some((at, seq, row, mut bytes, seen)) if (&at, seq, seen + 1) == (&place, sequence, number) => {
                bytes.extend_from_slice(value);
                (at, seq, row, bytes, number)
            }
            _ => return Err(RecordError::Incomplete),
        };
        if message.4 < message.2.pieces {
            self.current = Some(message);
            return Ok(None);
        }
        let body = Body::new(std::mem::take(&mut message.3)).map_err(|_| RecordError::Incomplete)?;
        let frame = message_frame(message.2.side, message.2.phase, body, message.2.id, message.2.received);
        Ok(Some((message.0, message.1, frame)))
    }

    /// Ends the reading.
    pub(crate) fn finish(self) -> Result<(), RecordError> {
        if self.current.is_some() { Err(RecordError::Incomplete) } else { Ok(()) }
    }
}

/// The message as it goes to every client that has the mailbox open.
pub(crate) fn message_frame(
    side: Side,
    phase: Phase,
    body: Body,
    id: Option<RequestId>,
    received: UnixMillis,
) -> ServerFrame {
    let message = ServerMessage::Message { side, phase, body };
    ServerFrame { id, server_rx: Some(seconds(received)), ..ServerFrame::from(message) }
}

/// Unix time as the protocol has it.
#[expect(clippy::cast_precision_loss, reason = "milliseconds stay exact for 285,000 years")]
pub(crate) fn seconds(time: UnixMillis) -> f64 {
    time.0 as f64 / 1000.0
}

fn from_seconds(seconds: f64) -> UnixMillis {
    let duration = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    // Rounded: the float may lie just below its millisecond.
    UnixMillis(0).plus(duration + std::time::Duration::from_micros(500))
}

fn piece_count(body: &Body) -> u16 {
    u16::try_from(body.as_bytes().len().div_ceil(PIECE_BYTES)).unwrap_or(u16::MAX)
}

fn put(table: Table, key: Vec<u8>, row: &impl Serialize) -> Change {
    let value = serde_json::to_vec(row).expect("a row has no map with keys other than strings");
    Change { table, key, value: Some(value) }
}

fn read<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    let version: Version = serde_json::from_slice(value).map_err(|e| RecordError::Value(table, e))?;
    if version.v > u64::from(VERSION) {
        return Err(RecordError::Version { table, found: version.v });
    }
    serde_json::from_slice(value).map_err(|e| RecordError::Value(table, e))
}

fn nameplate_key(app: &AppId, nameplate: &Nameplate) -> Vec<u8> {
    join_key(&[app.as_str().as_bytes(), nameplate.as_str().as_bytes()])
}

fn place_key(place: &Place) -> Vec<u8> {
    join_key(&[place.app.as_str().as_bytes(), place.mailbox.as_str().as_bytes()])
}

fn message_key(place: &Place, sequence: u64, piece: u16) -> Vec<u8> {
    let (app, mailbox) = (place.app.as_str().as_bytes(), place.mailbox.as_str().as_bytes());
    join_key(&[app, mailbox, &sequence.to_be_bytes(), &piece.to_be_bytes()])
}

fn join_key(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        let length = u16::try_from(part.len()).expect("the parts' types bound them to 128 bytes");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}

/// Splits a key into exactly `N` parts.
fn split_key<const N: usize>(mut key: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = [&[][..]; N];
    for part in &mut parts {
        let (length, rest) = key.split_first_chunk::<2>()?;
        (*part, key) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    }
    key.is_empty().then_some(parts)
}

fn read_place([app, mailbox]: [&[u8]; 2]) -> Option<Place> {
    Some(Place { app: AppId::new(text(app)?).ok()?, mailbox: MailboxId::new(text(mailbox)?).ok()? })
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> Place {
        Place { app: AppId::new("app").unwrap(), mailbox: MailboxId::new("box").unwrap() }
    }

    fn frame(body: Vec<u8>) -> ServerFrame {
        let (side, phase) = (Side::new("a").unwrap(), Phase::new("pake").unwrap());
        let id = Some(RequestId::new("1f").unwrap());
        message_frame(side, phase, Body::new(body).unwrap(), id, UnixMillis(1_700_000_000_123))
    }

    /// The bytes of version 1, as they stand in people's stores.
    #[test]
    fn rows_keep_their_bytes() {
        let app = AppId::new("app").unwrap();
        let mut nameplate = NameplateRow::new(MailboxId::new("box").unwrap());
        nameplate.sides.insert(Side::new("a").unwrap(), true);
        let change = put_nameplate(&app, &Nameplate::new("4").unwrap(), &nameplate);
        assert_eq!(change.key, b"\0\x03app\0\x014");
        assert_eq!(change.value.unwrap(), br#"{"v":1,"mailbox":"box","sides":{"a":true}}"#);

        let row = MailboxRow::new(Some(Nameplate::new("4").unwrap()), UnixMillis(5));
        let change = put_mailbox(&place(), &row);
        assert_eq!(change.key, b"\0\x03app\0\x03box");
        assert_eq!(change.value.unwrap(), br#"{"v":1,"updated":5,"nameplate":"4","sides":{}}"#);

        let changes = put_message(&place(), 7, &frame(vec![1, 2]));
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].key, b"\0\x03app\0\x03box\0\x08\0\0\0\0\0\0\0\x07\0\x02\0\0");
        let head = br#"{"v":1,"side":"a","phase":"pake","id":"1f","received":1700000000123,"pieces":1}"#;
        assert_eq!(changes[0].value.as_deref().unwrap(), head);
        assert_eq!(changes[1].key, b"\0\x03app\0\x03box\0\x08\0\0\0\0\0\0\0\x07\0\x02\0\x01");
        assert_eq!(changes[1].value.as_deref().unwrap(), [1, 2]);
    }

    #[test]
    fn a_newer_version_is_refused() {
        let key = place_key(&place());
        let error = read_mailbox(&key, br#"{"v":2,"updated":5,"sides":{}}"#).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 2, .. }));
    }

    #[test]
    fn a_missing_piece_is_noticed() {
        let changes = put_message(&place(), 1, &frame(vec![0; 40_000]));
        let mut reader = MessageReader::default();
        assert!(reader.row(&changes[0].key, changes[0].value.as_deref().unwrap()).unwrap().is_none());
        assert!(matches!(reader.finish(), Err(RecordError::Incomplete)));
        let mut reader = MessageReader::default();
        let orphan = reader.row(&changes[1].key, changes[1].value.as_deref().unwrap());
        assert!(matches!(orphan, Err(RecordError::Incomplete)));
    }

    proptest! {
        #[test]
        fn messages_survive_storage(length in 0..=Body::MAX_BYTES, millis in 0..4_102_444_800_000_u64) {
            let mut message = frame(vec![7; length]);
            message.server_rx = Some(seconds(UnixMillis(millis)));
            let mut reader = MessageReader::default();
            let mut read = None;
            for change in put_message(&place(), 3, &message) {
                prop_assert!(read.is_none());
                let value = change.value.unwrap();
                prop_assert!(value.len() <= 32 * 1024);
                read = reader.row(&change.key, &value).unwrap();
            }
            prop_assert_eq!(read, Some((place(), 3, message)));
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn reading_never_panics(key: Vec<u8>, value: Vec<u8>) {
            prop_assert!(read_nameplate(&key, &value).is_err());
            prop_assert!(read_mailbox(&key, &value).is_err());
            prop_assert!(MessageReader::default().row(&key, &value).is_err());
        }
    }
}
