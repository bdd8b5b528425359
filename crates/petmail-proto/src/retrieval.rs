//! Retrieval: how an account's owner lists, fetches and deletes its messages.
//!
//! Owns the requests, the answers and the tokens, on both sides. Must not know queues, HTTP or what a msgC holds.
//! Specification: Retrieval.
//!
//! Nothing here identifies an account twice to anybody but its server, so that plain HTTP to an onion service suffices.

mod event;
mod request;
mod storage;
mod ticket;

pub use event::{
    Answer, Entry, Event, EventReader, MAX_ENTRIES, MAX_EVENT_BYTES, MAX_INLINE_BYTES, Refusal,
    RefusalReason, seal_event, seal_refusal,
};
pub use request::{
    DeleteRequest, FetchAnswer, FetchRequest, LIST_REQUEST_BYTES, LIST_WINDOW, ListRequest,
    MAX_DELETE_TOKENS, MAX_FETCH_TOKENS, RequestKey, seal_list_request,
};
pub use storage::{
    MAX_LOOK_UPS, PackState, StorageAnswer, StorageGrant, decode_found, decode_look_up, encode_found,
    encode_look_up,
};
pub use ticket::{
    DeleteToken, FetchToken, MessageNumber, StorageTicket, TICKET_LIFE, TicketError, TicketKey,
};

use thiserror::Error;

use crate::wire::WireError;

/// Why a request or an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// Damaged, forged, or for other keys.
    #[error("the box does not open")]
    DoesNotOpen,
    /// It opens, but holds no such message of this version.
    #[error("the message is malformed or of an unknown version")]
    Malformed,
    /// The key that it is for is of low order or not canonical.
    #[error("the other side's key is invalid")]
    BadKey,
    /// More tokens, entries or bytes than one message may hold.
    #[error("the message is larger than allowed")]
    TooLarge,
    /// The answer belongs to another request.
    #[error("the answer belongs to another request")]
    OtherRequest,
    /// An event is missing or comes again: the stream must be opened anew.
    #[error("the event stream has number {found} where {expected} should follow")]
    OutOfOrder {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
}

impl From<WireError> for RetrievalError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::TooLarge => Self::TooLarge,
            WireError::Truncated
            | WireError::TrailingBytes
            | WireError::Malformed
            | WireError::UnknownVersion { .. } => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
