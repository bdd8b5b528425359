//! Why a request has no answer, in words that a person can act on.

use std::{error::Error, io, iter, time::Duration};

use rustls::CertificateError;

use super::{UrlError, resolve::Forbidden};
use crate::tls::PinMismatch;

/// Why a request has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection: the server is away, its name unknown, or the network down.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// The server.
        host: String,
        /// The innermost cause.
        reason: String,
    },
    /// The server did not prove that it is who it should be, by the authorities.
    #[error("{host} could not prove its identity: {reason}")]
    Tls {
        /// The server.
        host: String,
        /// What TLS found.
        reason: String,
    },
    /// The server's certificate is not the pinned one.
    #[error(
        "{host} showed another certificate than the one known from its offer: it was replaced, or this is somebody else"
    )]
    PinMismatch {
        /// The server.
        host: String,
    },
    /// The URL is one that must not be connected to.
    #[error("refused to connect: {0}")]
    Refused(#[from] UrlError),
    /// The server answered with another status than the one needed.
    #[error("{host} answered with status {status}")]
    Status {
        /// The server.
        host: String,
        /// The status.
        status: u16,
        /// How long the server asks to wait, at most a day.
        retry_after: Option<Duration>,
    },
    /// The answer, or an event of a stream, is longer than allowed.
    #[error("the answer of {host} is longer than {max_bytes} bytes")]
    TooLarge {
        /// The server.
        host: String,
        /// The bound.
        max_bytes: usize,
    },
    /// The server took too long, or a stream was silent for too long.
    #[error("{host} took too long")]
    TimedOut {
        /// The server.
        host: String,
    },
    /// The connection broke, or the answer is no proper HTTP.
    #[error("the connection to {host} broke: {reason}")]
    Broken {
        /// The server.
        host: String,
        /// The innermost cause.
        reason: String,
    },
}

impl ClientError {
    pub(crate) fn unreachable(host: &str, reason: impl ToString) -> Self {
        Self::Unreachable { host: host.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn timed_out(host: &str) -> Self {
        Self::TimedOut { host: host.to_owned() }
    }

    pub(crate) fn broken(host: &str, reason: impl ToString) -> Self {
        Self::Broken { host: host.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn from_http(host: &str, error: &reqwest::Error) -> Self {
        if let Some(known) = Self::from_cause(host, error) {
            return known;
        }
        if error.is_timeout() {
            return Self::timed_out(host);
        }
        if error.is_connect() {
            return Self::unreachable(host, reason_of(error));
        }
        Self::broken(host, reason_of(error))
    }

    /// Recognises the causes that are more than a broken connection.
    pub(crate) fn from_cause(host: &str, error: &(dyn Error + 'static)) -> Option<Self> {
        causes(error).find_map(|cause| {
            if cause.is::<Forbidden>() {
                return Some(Self::Refused(UrlError::PrivateAddress(host.to_owned())));
            }
            cause.downcast_ref().map(|error| Self::from_tls(host, error))
        })
    }

    fn from_tls(host: &str, error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other))
                if other.0.is::<PinMismatch>() =>
            {
                Self::PinMismatch { host: host.to_owned() }
            }
            other => Self::Tls { host: host.to_owned(), reason: other.to_string() },
        }
    }
}

/// Returns the innermost cause in words; the outer ones only say that something failed.
pub(crate) fn reason_of(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The chain of causes, `error` first. An `io::Error` hides the error that it carries from [`Error::source`].
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        carried.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}
