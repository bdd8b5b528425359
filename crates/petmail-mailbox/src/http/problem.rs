//! What a client is told when something is not done: one place that maps every reason to status, code and text.

use axum::{
    extract::rejection::{BytesRejection, JsonRejection},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};

use petmail_objects::ObjectError;

use crate::{
    accounts::AccountsError,
    admin::AdminError,
    deliver::DeliveryError,
    packs::PackError,
    queue::{DeliverError, MintError, QueueError, RedeemError, RekeyError},
    retrieve::RetrieveError,
};

/// How many seconds a client should wait when the server is busy.
const RETRY_AFTER_SECONDS: u32 = 2;
/// How many seconds it should wait when the disk is full: somebody has to make room.
const FULL_RETRY_AFTER_SECONDS: u32 = 20;

/// How many seconds it should wait when a mailbox is full: its owner makes room by fetching.
const MAILBOX_FULL_RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request is not answered as wished. Senders go by the status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The body is nothing that this server can open.
    Malformed,
    /// The body is larger than the endpoint takes.
    TooLarge,
    /// The token leads to no account.
    UnknownToken,
    /// The offer was not made here.
    UnknownOffer,
    /// The offer was redeemed with another key.
    OfferUsed,
    /// The offer's time is over.
    OfferExpired,
    /// The key owns an account already.
    KeyInUse,
    /// No account for this key or retrieval token.
    UnknownAccount,
    /// A newer generation of secrets is in use.
    StaleGeneration,
    /// The account gives no mailboxes.
    NotProvider,
    /// The account has given as much as it may.
    GivenAll,
    /// The terms of an offer are out of bounds.
    Terms,
    /// Another offer has this hash.
    OfferTaken,
    /// A fetch or delete token, or a ticket, is forged or too old.
    BadTicket,
    /// There is no ticket.
    NoTicket,
    /// A list request of a known account, refused; only its owner can read why.
    Refused(Vec<u8>),
    /// The mailbox takes no more.
    Full,
    /// The account may store no more packs.
    StorageFull,
    /// Another part of the pack is to come next: where it begins.
    PackOffset(u32),
    /// The bytes are not those that the pack's name stands for.
    WrongPack,
    /// The disk of the server is full.
    DiskFull,
    /// The server has another address now.
    Moved,
    /// Too much at once.
    Busy,
    /// The store failed.
    Store,
    /// The operator's numbers make no sense.
    OutOfBounds(&'static str),
    /// The operator's request is not declared to be JSON.
    NotJson,
    /// The operator's request is no JSON, or not what the endpoint takes.
    BadArguments(String),
    /// The server has as many keys as it may; the text says until when.
    TooManyKeys(String),
    /// The operator's request may be a web page's.
    ForeignHost,
    /// The operator names an account that is not there.
    NoSuchAccount,
    /// No such endpoint.
    NotFound,
    /// The endpoint is there, but not with this method.
    MethodNotAllowed,
}

impl Problem {
    /// Returns the status, a stable code, and a text for people.
    const fn parts(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "the request is malformed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is too large"),
            Self::UnknownToken => (StatusCode::NOT_FOUND, "unknown-token", "the token is unknown here"),
            Self::UnknownOffer => (StatusCode::NOT_FOUND, "unknown-offer", "this server made no such offer"),
            Self::OfferUsed => (StatusCode::GONE, "offer-used", "the offer is already used by someone else"),
            Self::OfferExpired => (StatusCode::GONE, "offer-expired", "the offer has expired"),
            Self::KeyInUse => (StatusCode::CONFLICT, "key-in-use", "the key already owns an account here"),
            Self::UnknownAccount => (StatusCode::FORBIDDEN, "unknown-account", "no such account"),
            Self::StaleGeneration => {
                (StatusCode::CONFLICT, "stale-generation", "newer secrets are in use already")
            }
            Self::NotProvider => {
                (StatusCode::FORBIDDEN, "not-provider", "this account may not give mailboxes")
            }
            Self::GivenAll => (StatusCode::CONFLICT, "given-all", "this account has given as much as it may"),
            Self::Terms => (
                StatusCode::BAD_REQUEST,
                "terms",
                "an offer gives some room, for a day at least, and not for longer than the account that gives",
            ),
            Self::OfferTaken => (StatusCode::CONFLICT, "offer-taken", "there is such an offer already"),
            Self::BadTicket => {
                (StatusCode::FORBIDDEN, "bad-ticket", "a token is invalid or expired; list again")
            }
            Self::NoTicket => (StatusCode::UNAUTHORIZED, "no-ticket", "this takes a ticket, from `storage`"),
            Self::Refused(_) => (StatusCode::CONFLICT, "refused", ""),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "full", "the mailbox takes no more"),
            Self::StorageFull => (
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                "the account may store no more; delete something",
            ),
            Self::PackOffset(_) => (
                StatusCode::CONFLICT,
                "pack-offset",
                "another part of the pack comes next; Upload-Offset says where",
            ),
            Self::WrongPack => (
                StatusCode::BAD_REQUEST,
                "wrong-pack",
                "the bytes are not those that the name stands for; send all of them again",
            ),
            Self::DiskFull => {
                (StatusCode::INSUFFICIENT_STORAGE, "disk-full", "the server's disk is full; try again later")
            }
            Self::Moved => (
                StatusCode::MISDIRECTED_REQUEST,
                "moved",
                "this server has another address now; its descriptor says which",
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "the server is busy; try again"),
            Self::Store => (StatusCode::SERVICE_UNAVAILABLE, "store", "the server cannot store anything now"),
            Self::OutOfBounds(text) => (StatusCode::BAD_REQUEST, "out-of-bounds", text),
            Self::NotJson => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "the content type is application/json")
            }
            Self::BadArguments(text) => (StatusCode::BAD_REQUEST, "bad-arguments", text.as_str()),
            Self::TooManyKeys(text) => (StatusCode::CONFLICT, "too-many-keys", text.as_str()),
            Self::ForeignHost => (
                StatusCode::FORBIDDEN,
                "foreign-host",
                "only requests for this machine's loopback are answered",
            ),
            Self::NoSuchAccount => (StatusCode::NOT_FOUND, "no-such-account", "there is no such account"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "no such endpoint"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "the endpoint does not take this method")
            }
        }
    }

    /// Returns how many seconds a client should wait, if waiting helps.
    const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Busy | Self::Store => Some(RETRY_AFTER_SECONDS),
            Self::Full | Self::StorageFull => Some(MAILBOX_FULL_RETRY_AFTER_SECONDS),
            Self::DiskFull => Some(FULL_RETRY_AFTER_SECONDS),
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, text) = self.parts();
        let retry_after = self.retry_after();
        tracing::info!(code, "request refused");
        let body = format!("{code}: {text}\n");
        if self == Self::NoTicket {
            return (status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        if let Self::PackOffset(next) = self {
            return (status, [(HeaderName::from_static("upload-offset"), next.to_string())], body)
                .into_response();
        }
        if let Self::Refused(answer) = self {
            return (status, [(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response();
        }
        match retry_after {
            Some(seconds) => (status, [(header::RETRY_AFTER, seconds)], body).into_response(),
            None => (status, body).into_response(),
        }
    }
}

impl From<PackError> for Problem {
    fn from(error: PackError) -> Self {
        match error {
            PackError::BadPart => Self::Malformed,
            PackError::Offset(next) => Self::PackOffset(next),
            PackError::WrongBytes => Self::WrongPack,
            PackError::Full => Self::StorageFull,
            PackError::Busy => Self::Busy,
            PackError::DiskFull(_) => Self::DiskFull,
            PackError::Service(ObjectError::Full) => {
                tracing::error!("the storage service has no more room");
                Self::DiskFull
            }
            PackError::Service(error) => {
                tracing::warn!(%error, "the storage service");
                Self::Busy
            }
            PackError::Failed(reason) => {
                tracing::error!(reason, "packs");
                Self::Store
            }
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { Self::TooLarge } else { Self::Malformed }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::NotJson,
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            other => Self::BadArguments(other.body_text()),
        }
    }
}

/// What is the server's own fault is told to the operator, and nothing of it to the client.
fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a request failed");
    Problem::Store
}

/// A full disk is noted once, by who watches it, and not for every request.
impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::DiskFull(_) => Self::DiskFull,
            error @ QueueError::Failed(_) => internal(error),
        }
    }
}

impl From<DeliveryError> for Problem {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Open(_) | DeliveryError::Token(_) => Self::Malformed,
            DeliveryError::Queue(DeliverError::UnknownSlot) => Self::UnknownToken,
            DeliveryError::Queue(DeliverError::Full) => Self::Full,
            DeliveryError::Queue(DeliverError::Busy) => Self::Busy,
            DeliveryError::Queue(DeliverError::Queue(error)) => error.into(),
            DeliveryError::Interrupted(error) => internal(error),
        }
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Request(_) => Self::Malformed,
            AccountsError::Redeem(RedeemError::UnknownOffer) => Self::UnknownOffer,
            AccountsError::Redeem(RedeemError::Expired) => Self::OfferExpired,
            AccountsError::Redeem(RedeemError::UsedByAnother) => Self::OfferUsed,
            AccountsError::Redeem(RedeemError::KeyInUse) => Self::KeyInUse,
            AccountsError::Rekey(RekeyError::UnknownAccount) => Self::UnknownAccount,
            AccountsError::Rekey(RekeyError::StaleGeneration) => Self::StaleGeneration,
            AccountsError::Rekey(RekeyError::KeyInUse) => Self::KeyInUse,
            AccountsError::Mint(MintError::UnknownAccount) => Self::UnknownAccount,
            AccountsError::Mint(MintError::NotProvider) => Self::NotProvider,
            AccountsError::Mint(MintError::Exhausted) => Self::GivenAll,
            AccountsError::Mint(MintError::TooLong) | AccountsError::Terms => Self::Terms,
            AccountsError::Mint(MintError::Taken) => Self::OfferTaken,
            AccountsError::Queue(error)
            | AccountsError::Mint(MintError::Queue(error))
            | AccountsError::Redeem(RedeemError::Queue(error))
            | AccountsError::Rekey(RekeyError::Queue(error)) => error.into(),
            AccountsError::NoTokenKey | AccountsError::Interrupted(_) => internal(error),
        }
    }
}

impl From<RetrieveError> for Problem {
    fn from(error: RetrieveError) -> Self {
        match error {
            RetrieveError::Request(_) => Self::Malformed,
            RetrieveError::UnknownToken => Self::UnknownAccount,
            RetrieveError::Moved => Self::Moved,
            RetrieveError::Ticket(_) => Self::BadTicket,
            RetrieveError::Refused { answer, .. } => Self::Refused(answer),
            RetrieveError::Busy => Self::Busy,
            RetrieveError::Queue(error) => error.into(),
            RetrieveError::Interrupted(error) => internal(error),
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::OutOfBounds(text) => Self::OutOfBounds(text),
            AdminError::NoSuchAccount => Self::NoSuchAccount,
            AdminError::TooManyKeys(text) => Self::TooManyKeys(text),
            AdminError::Identity(_) | AdminError::Descriptor(_) => internal(error),
            AdminError::Queue(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::description;

    /// Names every problem after another one, so that the compiler asks for new ones.
    fn next(problem: &Problem) -> Option<Problem> {
        match problem {
            Problem::Malformed => Some(Problem::TooLarge),
            Problem::TooLarge => Some(Problem::UnknownToken),
            Problem::UnknownToken => Some(Problem::UnknownOffer),
            Problem::UnknownOffer => Some(Problem::OfferUsed),
            Problem::OfferUsed => Some(Problem::OfferExpired),
            Problem::OfferExpired => Some(Problem::KeyInUse),
            Problem::KeyInUse => Some(Problem::UnknownAccount),
            Problem::UnknownAccount => Some(Problem::StaleGeneration),
            Problem::StaleGeneration => Some(Problem::NotProvider),
            Problem::NotProvider => Some(Problem::GivenAll),
            Problem::GivenAll => Some(Problem::Terms),
            Problem::Terms => Some(Problem::OfferTaken),
            Problem::OfferTaken => Some(Problem::BadTicket),
            Problem::BadTicket => Some(Problem::NoTicket),
            Problem::NoTicket => Some(Problem::Refused(Vec::new())),
            Problem::Refused(_) => Some(Problem::Full),
            Problem::Full => Some(Problem::StorageFull),
            Problem::StorageFull => Some(Problem::PackOffset(0)),
            Problem::PackOffset(_) => Some(Problem::WrongPack),
            Problem::WrongPack => Some(Problem::DiskFull),
            Problem::DiskFull => Some(Problem::Moved),
            Problem::Moved => Some(Problem::Busy),
            Problem::Busy => Some(Problem::Store),
            Problem::Store => Some(Problem::OutOfBounds("")),
            Problem::OutOfBounds(_) => Some(Problem::NotJson),
            Problem::NotJson => Some(Problem::BadArguments(String::new())),
            Problem::BadArguments(_) => Some(Problem::ForeignHost),
            Problem::ForeignHost => Some(Problem::TooManyKeys(String::new())),
            Problem::TooManyKeys(_) => Some(Problem::NoSuchAccount),
            Problem::NoSuchAccount => Some(Problem::NotFound),
            Problem::NotFound => Some(Problem::MethodNotAllowed),
            Problem::MethodNotAllowed => None,
        }
    }

    #[test]
    fn every_status_is_described() {
        let public = description::statuses(include_str!("../../../../docs/api/mailbox.openapi.json"));
        let admin = description::statuses(include_str!("../../../../docs/api/mailbox-admin.openapi.json"));
        for problem in std::iter::successors(Some(Problem::Malformed), next) {
            let status = problem.parts().0.as_u16();
            assert!(public.contains(&status) || admin.contains(&status), "{problem:?}");
        }
    }

    #[test]
    fn who_is_to_try_again_is_told_when() {
        let mut told = 0;
        for problem in std::iter::successors(Some(Problem::Malformed), next) {
            let answer = problem.clone().into_response();
            if matches!(answer.status().as_u16(), 429 | 503 | 507) {
                let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                assert!(after.is_some_and(|text| text.parse::<u32>().is_ok_and(|it| it > 0)), "{problem:?}");
                told += 1;
            }
        }
        assert!(told >= 4, "{told}");
    }
}
