//! Reads the layouts that older versions of the program wrote. Each function knows every version but the present one.

use petmail_proto::{
    channel::{MessageNumber, window::Windows},
    keys::{MessageId, SealSeed},
    outbox::{Entry, Kind},
    time::UnixMillis,
    wire::{self, Record, WireError},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Message, Progress, Queued, Stage};

/// Version 1 of [`Progress`] in front of its windows.
#[derive(Deserialize)]
struct ProgressV1 {
    last_sent: MessageNumber,
    _sent: u64,
}

/// The length of [`ProgressV1`]: three fixed-width integers.
const PROGRESS_V1_HEAD_BYTES: usize = 24;

/// Version 1 of [`Queued`].
#[derive(Deserialize)]
struct QueuedV1 {
    number: MessageNumber,
    mid: MessageId,
    message: Option<u64>,
    announces_transports: bool,
    queued_at: UnixMillis,
}

/// Version 1 of [`Message`]; its states were the first three of today's.
#[derive(Deserialize)]
struct MessageV1 {
    id: u64,
    when: UnixMillis,
    state: Stage,
}

pub(super) fn progress(version: u16, body: &[u8]) -> Result<Progress, WireError> {
    known::<Progress>(version)?;
    let (head, windows) = body.split_at_checked(PROGRESS_V1_HEAD_BYTES).ok_or(WireError::Truncated)?;
    let ProgressV1 { last_sent, .. } = wire::decode(head)?;
    Ok(Progress { last_sent, windows: Windows::decode_v1(windows)?, ..Progress::default() })
}

pub(super) fn queued(version: u16, body: &[u8]) -> Result<Queued, WireError> {
    known::<Queued>(version)?;
    let QueuedV1 { number, mid, message, announces_transports, queued_at } = wire::decode(body)?;
    // The mid is secret until the message is opened, by the one who may know everything about it.
    let seed = SealSeed::from_bytes(Sha256::digest(mid.as_bytes()).into());
    let entry =
        Entry { number, mid, kind: Kind::Content, message, queued_at, bytes: 0, seed, deposits: Vec::new() };
    Ok(Queued { entry, unfrozen: Some(announces_transports) })
}

pub(super) fn message(version: u16, body: &[u8]) -> Result<Message, WireError> {
    known::<Message>(version)?;
    let MessageV1 { id, when, state } = wire::decode(body)?;
    Ok(Message { id, when, state, mid: None })
}

fn known<T: Record>(version: u16) -> Result<(), WireError> {
    if version == 1 { Ok(()) } else { Err(WireError::UnknownVersion { found: version, known: T::VERSION }) }
}
