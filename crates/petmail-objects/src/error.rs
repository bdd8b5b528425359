//! What can go wrong at a service.

use std::{error::Error as _, io};

use opendal::ErrorKind;

/// Why a service did not do something; the texts are for people, and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// It may go better later.
    #[error("{0}")]
    Unavailable(String),
    /// The service does not let this account do that, or is set up in another way.
    #[error("{0}")]
    Refused(String),
    /// There is no more room.
    #[error("the service has no more room")]
    Full,
    /// It is not there.
    #[error("it is not there")]
    Gone,
}

impl From<opendal::Error> for ObjectError {
    fn from(error: opendal::Error) -> Self {
        let refused = || {
            Self::Refused(
                "the service refuses the account, or does not let it do that: look at the name, the secret and its rights"
                    .to_owned(),
            )
        };
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
        if matches!(io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return Self::Full;
        }
        match (error.kind(), status(&error)) {
            (_, Some(507)) => Self::Full,
            (ErrorKind::NotFound, _) => Self::Gone,
            (ErrorKind::PermissionDenied, _) | (_, Some(401 | 403)) => refused(),
            (ErrorKind::ConfigInvalid | ErrorKind::Unsupported, _) => Self::Refused(short(&error)),
            (_, Some(status)) => Self::Unavailable(format!("the service answers with status {status}")),
            _ => Self::Unavailable(short(&error)),
        }
    }
}

/// The status of an HTTP answer: opendal has it among what it says for developers only.
fn status(error: &opendal::Error) -> Option<u16> {
    let text = error.to_string();
    let (_, rest) = text.split_once("status: ")?;
    rest.get(..3)?.parse().ok()
}

/// What happened, without the context: that may hold addresses that are signed.
fn short(error: &opendal::Error) -> String {
    let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
    format!("{}{source}", error.message()).chars().filter(|c| !c.is_control()).take(300).collect()
}
