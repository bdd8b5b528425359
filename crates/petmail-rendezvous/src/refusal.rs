//! Why a client's message is refused.
//!
//! Owns the texts that clients see (magic-wormhole's, where it has one: clients look for `crowded` and `reclaimed`),
//! the short codes that the log shows instead, and which refusals end the connection. Must not know how a refusal
//! travels.

use thiserror::Error;

/// A refused message of a client; the text goes back to that client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The message is not a JSON object.
    #[error("a message must be a JSON object")]
    NotAnObject,
    /// The message has no `type`.
    #[error("missing 'type'")]
    MissingType,
    /// The `type` is none of the protocol's.
    #[error("unknown type")]
    UnknownType,
    /// A field is missing, of the wrong type, or out of bounds.
    #[error("{0}")]
    Malformed(String),
    /// The message is longer than the server takes.
    #[error("the message is longer than {0} bytes")]
    TooLong(usize),
    /// The client sends more messages than it may.
    #[error("too many messages, slow down")]
    TooFast,
    /// The client did not bind in time.
    #[error("no bind in time")]
    BindTimeout,
    /// The server wants a hashcash stamp first, and got none or a wrong one.
    #[error("permission denied: this server needs a valid hashcash stamp")]
    PermissionDenied,
    /// The operator allows other applications only.
    #[error("this server does not serve this appid")]
    AppIdNotAllowed,
    /// A message that needs a `bind` came before it.
    #[error("must bind first")]
    MustBind,
    /// A second `bind`.
    #[error("already bound")]
    AlreadyBound,
    /// A second `allocate`.
    #[error("you already allocated one, don't be greedy")]
    AllocatedTwice,
    /// No nameplate is free.
    #[error("unable to find a free nameplate-id")]
    NoFreeNameplate,
    /// A second `claim`.
    #[error("only one claim per connection")]
    ClaimedTwice,
    /// Two other sides have taken the nameplate or the mailbox.
    #[error("crowded")]
    Crowded,
    /// This side gave the nameplate back earlier.
    #[error("reclaimed")]
    Reclaimed,
    /// A second `release`.
    #[error("only one release per connection")]
    ReleasedTwice,
    /// The `release` names another nameplate than the `claim`.
    #[error("release and claim must use same nameplate")]
    ReleaseMismatch,
    /// A `release` that neither names a nameplate nor follows a `claim`.
    #[error("release without nameplate must follow claim")]
    ReleaseWithoutClaim,
    /// An `open` while a mailbox is open.
    #[error("only one open per connection")]
    OpenedTwice,
    /// An `add` without an open mailbox.
    #[error("must open mailbox before adding")]
    NotOpen,
    /// A second `close`.
    #[error("only one close per connection")]
    ClosedTwice,
    /// The `close` names another mailbox than the `open`.
    #[error("open and close must use same mailbox")]
    CloseMismatch,
    /// A `close` that neither names a mailbox nor follows an `open`.
    #[error("close without mailbox must follow open")]
    CloseWithoutOpen,
    /// The mailbox holds as much as a mailbox may.
    #[error("the mailbox is full")]
    MailboxFull,
    /// The server, or this client's share of it, holds as much as it may.
    #[error("the server is full, try again later")]
    ServerFull,
}

impl Refusal {
    /// Whether the connection ends after this refusal.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::NotAnObject
                | Self::TooLong(_)
                | Self::TooFast
                | Self::BindTimeout
                | Self::PermissionDenied
                | Self::AppIdNotAllowed
                | Self::ServerFull
        )
    }

    /// A short name for the log; unlike the text, it never contains anything that the client sent.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnObject => "not-an-object",
            Self::MissingType => "missing-type",
            Self::UnknownType => "unknown-type",
            Self::Malformed(_) => "malformed",
            Self::TooLong(_) => "too-long",
            Self::TooFast => "too-fast",
            Self::BindTimeout => "bind-timeout",
            Self::PermissionDenied => "permission-denied",
            Self::AppIdNotAllowed => "appid-not-allowed",
            Self::MustBind => "must-bind",
            Self::AlreadyBound => "already-bound",
            Self::AllocatedTwice => "allocated-twice",
            Self::NoFreeNameplate => "no-free-nameplate",
            Self::ClaimedTwice => "claimed-twice",
            Self::Crowded => "crowded",
            Self::Reclaimed => "reclaimed",
            Self::ReleasedTwice => "released-twice",
            Self::ReleaseMismatch => "release-mismatch",
            Self::ReleaseWithoutClaim => "release-without-claim",
            Self::OpenedTwice => "opened-twice",
            Self::NotOpen => "not-open",
            Self::ClosedTwice => "closed-twice",
            Self::CloseMismatch => "close-mismatch",
            Self::CloseWithoutOpen => "close-without-open",
            Self::MailboxFull => "mailbox-full",
            Self::ServerFull => "server-full",
        }
    }
}
