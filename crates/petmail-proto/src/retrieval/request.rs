//! List, fetch and delete requests, and the answer to a fetch.

use core::time::Duration;

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::{DeleteToken, FetchToken, RefusalReason, RetrievalError};
use crate::{
    delivery::Bucket,
    keys::{RetrievalPublicKey, RetrievalSecretKey, RetrievalToken, macros},
    time::UnixMillis,
    wire::{Reader, Writer},
};

/// How far a list request's time may be from the server's, either way. Within it the server remembers request keys.
pub const LIST_WINDOW: Duration = Duration::from_secs(300);
/// The length of a list request, in bytes.
pub const LIST_REQUEST_BYTES: usize = 2 + 8 + 32 + 48;
/// The most tokens in one fetch request: the answer stays below 4.1 MiB.
pub const MAX_FETCH_TOKENS: usize = 16;
/// The most tokens in one delete request: it stays below 19 KiB and one store batch.
pub const MAX_DELETE_TOKENS: usize = 256;

const PREFIX_LIST: &[u8; 2] = b"l1";
const PREFIX_FETCH: &[u8; 2] = b"f1";
const PREFIX_DELETE: &[u8; 2] = b"x1";
const PREFIX_MESSAGES: &[u8; 2] = b"m1";
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

macros::public_bytes! {
    /// Names one list request: the ephemeral key of its sealed box. Answers echo it, and no two requests have the same.
    RequestKey, 32
}

/// Makes a list request. The key it returns is what answers must echo: hand it to an
/// [`EventReader`](super::EventReader).
///
/// # Errors
/// [`RetrievalError::BadKey`] if the server's retrieval key is invalid.
pub fn seal_list_request(
    now: UnixMillis,
    token: &RetrievalToken,
    key: &RetrievalPublicKey,
    rng: &mut impl CryptoRngCore,
) -> Result<(Vec<u8>, RequestKey), RetrievalError> {
    let plaintext =
        Zeroizing::new(Writer::new().fixed(PREFIX_LIST).u64(now.0).fixed(token.expose_bytes()).finish());
    let sealed = key.seal(&plaintext, rng).map_err(|_| RetrievalError::BadKey)?;
    let request_key = request_key(&sealed)?;
    Ok((sealed, request_key))
}

/// A list request, opened. Whether its time and key are fresh is not known yet.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// When the client says that it asked.
    pub time: UnixMillis,
    /// Finds the account.
    pub token: RetrievalToken,
    /// What the answer echoes.
    pub request_key: RequestKey,
}

impl ListRequest {
    /// Opens a request, at the server.
    ///
    /// # Errors
    /// [`RetrievalError::DoesNotOpen`], [`RetrievalError::Malformed`].
    pub fn open(bytes: &[u8], keys: &[RetrievalSecretKey]) -> Result<Self, RetrievalError> {
        let opened = keys.iter().find_map(|key| key.open_sealed(bytes).ok());
        let plaintext = Zeroizing::new(opened.ok_or(RetrievalError::DoesNotOpen)?);
        let mut reader = Reader::new(&plaintext);
        reader.expect(PREFIX_LIST)?;
        let time = UnixMillis(reader.u64()?);
        let token = RetrievalToken::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { time, token, request_key: request_key(bytes)? })
    }

    /// Checks the request's time. A server forgets request keys when it stops, so nothing from before `started` is good.
    ///
    /// # Errors
    /// [`RefusalReason`].
    pub fn check_time(&self, started: UnixMillis, now: UnixMillis) -> Result<(), RefusalReason> {
        let apart = now.since(self.time).max(self.time.since(now));
        if apart > LIST_WINDOW {
            Err(RefusalReason::Clock)
        } else if self.time < started {
            Err(RefusalReason::BeforeStart)
        } else {
            Ok(())
        }
    }
}

fn request_key(sealed: &[u8]) -> Result<RequestKey, RetrievalError> {
    sealed.first_chunk().copied().map(RequestKey::from_bytes).ok_or(RetrievalError::DoesNotOpen)
}

/// Asks for messages that a list did not carry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// One for each message, at most [`MAX_FETCH_TOKENS`].
    pub tokens: Vec<FetchToken>,
}

impl FetchRequest {
    /// The longest request, in bytes.
    pub const MAX_BYTES: usize = 6 + 73 * MAX_FETCH_TOKENS;

    /// Encodes the request.
    ///
    /// # Errors
    /// [`RetrievalError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, RetrievalError> {
        let count = checked_count(self.tokens.len(), MAX_FETCH_TOKENS)?;
        let start = Writer::new().fixed(PREFIX_FETCH).u32(count);
        Ok(self.tokens.iter().fold(start, |frame, token| frame.fixed(token.as_bytes())).finish())
    }

    /// Decodes a request, at the server.
    ///
    /// # Errors
    /// [`RetrievalError::Malformed`], [`RetrievalError::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RetrievalError> {
        let mut reader = Reader::new(bytes);
        reader.expect(PREFIX_FETCH)?;
        let count = bounded_count(&mut reader, MAX_FETCH_TOKENS)?;
        let tokens =
            (0..count).map(|_| reader.array().map(FetchToken::from_bytes)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { tokens })
    }
}

/// Asks to delete messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// One for each message, at most [`MAX_DELETE_TOKENS`].
    pub tokens: Vec<DeleteToken>,
}

impl DeleteRequest {
    /// The longest request, in bytes.
    pub const MAX_BYTES: usize = 6 + 73 * MAX_DELETE_TOKENS;

    /// Encodes the request.
    ///
    /// # Errors
    /// [`RetrievalError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, RetrievalError> {
        let count = checked_count(self.tokens.len(), MAX_DELETE_TOKENS)?;
        let start = Writer::new().fixed(PREFIX_DELETE).u32(count);
        Ok(self.tokens.iter().fold(start, |frame, token| frame.fixed(token.as_bytes())).finish())
    }

    /// Decodes a request, at the server.
    ///
    /// # Errors
    /// [`RetrievalError::Malformed`], [`RetrievalError::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RetrievalError> {
        let mut reader = Reader::new(bytes);
        reader.expect(PREFIX_DELETE)?;
        let count = bounded_count(&mut reader, MAX_DELETE_TOKENS)?;
        let tokens =
            (0..count).map(|_| reader.array().map(DeleteToken::from_bytes)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { tokens })
    }
}

/// The messages asked for, in the order of their tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// Each msgC; `None` if the message is gone.
    pub messages: Vec<Option<Vec<u8>>>,
}

impl FetchAnswer {
    /// The longest answer, in bytes.
    pub const MAX_BYTES: usize = 6 + (5 + Bucket::Kib256.msg_c_bytes()) * MAX_FETCH_TOKENS;

    /// Encodes the answer, at the server.
    ///
    /// # Errors
    /// [`RetrievalError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, RetrievalError> {
        let count = checked_count(self.messages.len(), MAX_FETCH_TOKENS)?;
        let start = Writer::new().fixed(PREFIX_MESSAGES).u32(count);
        let frame = self.messages.iter().fold(start, |frame, message| match message {
            Some(message) => frame.u8(PRESENT).variable(message),
            None => frame.u8(ABSENT),
        });
        Ok(frame.finish())
    }

    /// Decodes the answer.
    ///
    /// # Errors
    /// [`RetrievalError::Malformed`], [`RetrievalError::TooLarge`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RetrievalError> {
        let mut reader = Reader::new(bytes);
        reader.expect(PREFIX_MESSAGES)?;
        let count = bounded_count(&mut reader, MAX_FETCH_TOKENS)?;
        let messages = (0..count).map(|_| optional_message(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { messages })
    }
}

fn optional_message(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, RetrievalError> {
    match reader.u8()? {
        ABSENT => Ok(None),
        PRESENT => Ok(Some(reader.variable(Bucket::Kib256.msg_c_bytes())?.to_vec())),
        _ => Err(RetrievalError::Malformed),
    }
}

pub(super) fn checked_count(count: usize, max: usize) -> Result<u32, RetrievalError> {
    if count > max {
        Err(RetrievalError::TooLarge)
    } else {
        u32::try_from(count).map_err(|_| RetrievalError::TooLarge)
    }
}

pub(super) fn bounded_count(reader: &mut Reader<'_>, max: usize) -> Result<usize, RetrievalError> {
    let count = usize::try_from(reader.u32()?).map_err(|_| RetrievalError::TooLarge)?;
    if count > max { Err(RetrievalError::TooLarge) } else { Ok(count) }
}
