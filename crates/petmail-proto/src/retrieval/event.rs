//! What a server answers to a list request: events, or a refusal; one of them to a poll, any number on a stream.
//!
//! An answer is nonce ‖ secretbox(symmetric key, plaintext). Events: `"e1"` ‖ number u64 ‖ request key ‖ more u8 ‖ count
//! u32 ‖ entries; an entry: fetch token ‖ delete token ‖ length u32 ‖ inline u8 ‖ msgC if inline. Refusals: `"r1"` ‖ request
//! key ‖ server's time u64 ‖ reason u8.

use crypto_secretbox::{
    XSalsa20Poly1305,
    aead::{Aead, AeadCore, KeyInit},
};
use rand_core::CryptoRngCore;

use super::{
    DeleteToken, FetchToken, RequestKey, RetrievalError,
    request::{bounded_count, checked_count},
};
use crate::{
    delivery::Bucket,
    keys::SymmetricKey,
    time::UnixMillis,
    wire::{Reader, Writer},
};

/// The longest msgC that an event carries itself; longer ones are fetched.
pub const MAX_INLINE_BYTES: usize = Bucket::Kib64.msg_c_bytes();
/// The most entries in one event.
pub const MAX_ENTRIES: usize = 64;
/// The longest answer, in bytes: any three inline messages fit.
pub const MAX_EVENT_BYTES: usize = 256 << 10;

const PREFIX_EVENT: &[u8; 2] = b"e1";
const PREFIX_REFUSAL: &[u8; 2] = b"r1";
const NONCE_BYTES: usize = 24;
const OVERHEAD_BYTES: usize = NONCE_BYTES + 16 + 2 + 8 + 32 + 1 + 4;
const ENTRY_BYTES: usize = 73 + 73 + 4 + 1;

/// One message in a mailbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Fetches the message.
    pub fetch: FetchToken,
    /// Deletes it.
    pub delete: DeleteToken,
    /// The length of its msgC, in bytes.
    pub length: u32,
    /// The msgC itself, unless it is longer than [`MAX_INLINE_BYTES`].
    pub message: Option<Vec<u8>>,
}

impl core::fmt::Debug for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Entry({} bytes)", self.length)
    }
}

impl Entry {
    /// Returns how many bytes the entry takes in an event.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        ENTRY_BYTES.saturating_add(self.message.as_ref().map_or(0, Vec::len))
    }

    fn write(&self, frame: Writer) -> Writer {
        let frame = frame.fixed(self.fetch.as_bytes()).fixed(self.delete.as_bytes()).u32(self.length);
        match &self.message {
            Some(message) => frame.u8(1).fixed(message),
            None => frame.u8(0),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, RetrievalError> {
        let fetch = FetchToken::from_bytes(reader.array()?);
        let delete = DeleteToken::from_bytes(reader.array()?);
        let length = reader.u32()?;
        let message = match reader.u8()? {
            0 => None,
            1 => Some(reader.bytes(inline_length(length)?)?.to_vec()),
            _ => return Err(RetrievalError::Malformed),
        };
        Ok(Self { fetch, delete, length, message })
    }

    fn is_sound(&self) -> bool {
        let Ok(length) = usize::try_from(self.length) else { return false };
        length <= Bucket::Kib256.msg_c_bytes()
            && self
                .message
                .as_ref()
                .is_none_or(|message| message.len() == length && length <= MAX_INLINE_BYTES)
    }
}

fn inline_length(length: u32) -> Result<usize, RetrievalError> {
    usize::try_from(length).ok().filter(|length| *length <= MAX_INLINE_BYTES).ok_or(RetrievalError::TooLarge)
}

/// One event: some of the messages in the mailbox, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts the events of a stream, from 0; a poll's answer has 0.
    pub number: u64,
    /// The messages; none in an event that only says that the mailbox is empty.
    pub entries: Vec<Entry>,
    /// Whether messages wait that are not shown yet: more events follow, or the poll is repeated after deleting these.
    pub more: bool,
}

/// Why a server does not answer a list request of a known account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The request's time is more than [`LIST_WINDOW`](super::LIST_WINDOW) from the server's.
    Clock,
    /// The request is from before the server's start.
    BeforeStart,
    /// The request was seen before.
    Replayed,
}

impl RefusalReason {
    const fn code(self) -> u8 {
        match self {
            Self::Clock => 1,
            Self::BeforeStart => 2,
            Self::Replayed => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Clock),
            2 => Some(Self::BeforeStart),
            3 => Some(Self::Replayed),
            _ => None,
        }
    }
}

/// A refusal that is certainly the server's, with its time: a client whose clock is wrong asks again with that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The server's time.
    pub server_time: UnixMillis,
    /// Why.
    pub reason: RefusalReason,
}

/// What a list request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Messages.
    Event(Event),
    /// Nothing; ask otherwise.
    Refused(Refusal),
}

/// Makes an event, at the server.
///
/// # Errors
/// [`RetrievalError::TooLarge`] over [`MAX_ENTRIES`] or [`MAX_EVENT_BYTES`], or if an entry's length is wrong.
pub fn seal_event(
    event: &Event,
    request_key: &RequestKey,
    key: &SymmetricKey,
    rng: &mut impl CryptoRngCore,
) -> Result<Vec<u8>, RetrievalError> {
    let count = checked_count(event.entries.len(), MAX_ENTRIES)?;
    if !event.entries.iter().all(Entry::is_sound) {
        return Err(RetrievalError::TooLarge);
    }
    let start = Writer::new()
        .fixed(PREFIX_EVENT)
        .u64(event.number)
        .fixed(request_key.as_bytes())
        .u8(u8::from(event.more))
        .u32(count);
    let plaintext = event.entries.iter().fold(start, |frame, entry| entry.write(frame)).finish();
    let sealed = seal(&plaintext, key, rng);
    if sealed.len() > MAX_EVENT_BYTES { Err(RetrievalError::TooLarge) } else { Ok(sealed) }
}

impl Event {
    /// Tells whether one more entry fits into an event that has `count` entries of `bytes` encoded bytes together.
    #[must_use]
    pub fn has_room(count: usize, bytes: usize, entry: &Entry) -> bool {
        count < MAX_ENTRIES
            && OVERHEAD_BYTES.saturating_add(bytes).saturating_add(entry.encoded_bytes()) <= MAX_EVENT_BYTES
    }
}

/// Makes a refusal, at the server.
pub fn seal_refusal(
    refusal: Refusal,
    request_key: &RequestKey,
    key: &SymmetricKey,
    rng: &mut impl CryptoRngCore,
) -> Vec<u8> {
    let plaintext = Writer::new()
        .fixed(PREFIX_REFUSAL)
        .fixed(request_key.as_bytes())
        .u64(refusal.server_time.0)
        .u8(refusal.reason.code());
    seal(&plaintext.finish(), key, rng)
}

/// Reads the answers to one list request, in order. A server, or whoever plays one, can leave out nothing between two
/// events, show none twice, and pass off no answer to another request.
#[derive(Clone, Debug)]
pub struct EventReader {
    request_key: RequestKey,
    key: SymmetricKey,
    next: u64,
}

impl EventReader {
    /// Starts at the first answer.
    #[must_use]
    pub const fn new(request_key: RequestKey, key: SymmetricKey) -> Self {
        Self { request_key, key, next: 0 }
    }

    /// Opens the next answer.
    ///
    /// # Errors
    /// [`RetrievalError`]; after one the request must be made anew.
    pub fn open(&mut self, bytes: &[u8]) -> Result<Answer, RetrievalError> {
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(RetrievalError::TooLarge);
        }
        let plaintext = open(bytes, &self.key)?;
        let mut reader = Reader::new(&plaintext);
        match &reader.array()? {
            PREFIX_EVENT => self.event(reader).map(Answer::Event),
            PREFIX_REFUSAL => self.refusal(reader).map(Answer::Refused),
            _ => Err(RetrievalError::Malformed),
        }
    }

    fn event(&mut self, mut reader: Reader<'_>) -> Result<Event, RetrievalError> {
        let number = reader.u64()?;
        self.check_request(&mut reader)?;
        let more = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(RetrievalError::Malformed),
        };
        let count = bounded_count(&mut reader, MAX_ENTRIES)?;
        let entries: Vec<_> = (0..count).map(|_| Entry::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        if !entries.iter().all(Entry::is_sound) {
            return Err(RetrievalError::TooLarge);
        }
        if number != self.next {
            return Err(RetrievalError::OutOfOrder { expected: self.next, found: number });
        }
        self.next = self.next.saturating_add(1);
        Ok(Event { number, entries, more })
    }

    fn refusal(&self, mut reader: Reader<'_>) -> Result<Refusal, RetrievalError> {
        self.check_request(&mut reader)?;
        let server_time = UnixMillis(reader.u64()?);
        let reason = RefusalReason::from_code(reader.u8()?).ok_or(RetrievalError::Malformed)?;
        reader.finish()?;
        Ok(Refusal { server_time, reason })
    }

    fn check_request(&self, reader: &mut Reader<'_>) -> Result<(), RetrievalError> {
        let echoed = RequestKey::from_bytes(reader.array()?);
        if echoed == self.request_key { Ok(()) } else { Err(RetrievalError::OtherRequest) }
    }
}

pub(super) fn seal(plaintext: &[u8], key: &SymmetricKey, rng: &mut impl CryptoRngCore) -> Vec<u8> {
    let nonce = XSalsa20Poly1305::generate_nonce(rng);
    let sealed = XSalsa20Poly1305::new(key.expose_bytes().into())
        .encrypt(&nonce, plaintext)
        .expect("the cipher takes any message that fits into memory");
    [nonce.as_slice(), &sealed].concat()
}

pub(super) fn open(bytes: &[u8], key: &SymmetricKey) -> Result<Vec<u8>, RetrievalError> {
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(RetrievalError::DoesNotOpen)?;
    let cipher = XSalsa20Poly1305::new(key.expose_bytes().into());
    cipher.decrypt(nonce.into(), sealed).map_err(|_| RetrievalError::DoesNotOpen)
}
