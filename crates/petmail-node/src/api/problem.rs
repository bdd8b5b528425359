//! A refused request: the status, a stable code for programs, a problem line and a hint line for people.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::arguments::MAX_BODY_BYTES;
use crate::agent::error::{CommandError, Fault};

/// The body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, in one line.
    pub problem: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What kind of problem it is, for programs; documented in `docs/api/`.
    pub code: String,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not carry the access token.
    Unauthorized,
    /// It names a host that is not this server, so a browser may have been tricked into sending it.
    ForeignHost,
    /// It comes from a page of somebody else.
    ForeignOrigin,
    /// The opener token is used, too old or none, or comes from no page of this node or from another user.
    OpenerRefused,
    /// There is nothing at this path.
    NoSuchEndpoint,
    /// The path is there, but for another method.
    WrongMethod,
    /// The body is not declared to be JSON.
    NotJson,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive whole.
    Interrupted,
    /// The node waits for its passphrase.
    Locked,
    /// The node's database is being written anew.
    Busy,
    /// The body is not what this command takes.
    BadArguments(String),
    /// The agent refuses.
    Command(CommandError),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost | Self::ForeignOrigin | Self::OpenerRefused => StatusCode::FORBIDDEN,
            Self::NoSuchEndpoint => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Locked => StatusCode::LOCKED,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Interrupted | Self::BadArguments(_) => StatusCode::BAD_REQUEST,
            Self::Command(error) => match error.fault {
                Fault::BadRequest => StatusCode::BAD_REQUEST,
                Fault::NotFound => StatusCode::NOT_FOUND,
                Fault::Conflict => StatusCode::CONFLICT,
                Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Fault::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
                Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::ForeignHost => "foreign-host",
            Self::ForeignOrigin => "foreign-origin",
            Self::OpenerRefused => "opener-refused",
            Self::NoSuchEndpoint => "no-such-endpoint",
            Self::WrongMethod => "wrong-method",
            Self::NotJson => "not-json",
            Self::TooLarge => "too-large",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::BadArguments(_) => "bad-arguments",
            Self::Command(error) => match error.fault {
                Fault::BadRequest => "bad-request",
                Fault::NotFound => "not-found",
                Fault::Conflict => "conflict",
                Fault::Unavailable => "unavailable",
                Fault::DiskFull => "disk-full",
                Fault::Internal => "internal",
            },
        }
    }

    fn into_words(self) -> (String, String) {
        let (problem, hint) = match self {
            Self::Unauthorized => (
                "the access token is missing or wrong",
                "send `Authorization: Bearer TOKEN` with the token from the file api-token in the basedir",
            ),
            Self::ForeignHost => {
                ("the request names another host than this node", "use the base URL that `status` shows")
            }
            Self::ForeignOrigin => ("the request comes from a foreign page", ""),
            Self::OpenerRefused => (
                "this address of the control panel does not work any more",
                "each works once, for a minute: open Petmail again, or use `petmail-node open`",
            ),
            Self::NoSuchEndpoint => {
                ("there is nothing at this address", "see /api/openapi.json for what there is")
            }
            Self::WrongMethod => ("this address takes another method", "commands are sent by POST"),
            Self::NotJson => ("the body is not declared to be JSON", "send `Content-Type: application/json`"),
            Self::Locked => {
                ("the node is locked", "open it with its passphrase: `unlock`, or in the control panel")
            }
            Self::Busy => ("the node's database is being written anew", "wait a moment, then try again"),
            Self::Interrupted => ("the request's body did not arrive whole", "send it again"),
            Self::TooLarge => {
                return (format!("the request's body has more than {MAX_BODY_BYTES} bytes"), String::new());
            }
            Self::BadArguments(problem) => {
                return (problem, "see /api/openapi.json for what this command takes".to_owned());
            }
            Self::Command(error) => return (error.problem, error.hint),
        };
        (problem.to_owned(), hint.to_owned())
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let (problem, hint) = self.into_words();
        let mut response = (status, Json(Problem { problem, hint, code: code.to_owned() })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
