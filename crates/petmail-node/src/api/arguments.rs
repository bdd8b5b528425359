//! The arguments of a command: one JSON object in the request's body, or nothing at all.

use axum::{
    body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;

use super::problem::Refusal;

/// Largest request body in bytes: a longest text with every byte escaped (`\u0001`) takes six times its length.
pub const MAX_BODY_BYTES: usize = 512 * 1024;

/// A command's arguments. An empty body counts as `{}`.
#[derive(Debug)]
pub(super) struct Arguments<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Arguments<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let bytes = body::to_bytes(body, MAX_BODY_BYTES).await.map_err(refuse_body)?;
        if bytes.is_empty() {
            return parse(b"{}");
        }
        if !declares_json(&parts.headers) {
            return Err(Refusal::NotJson);
        }
        parse(&bytes)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<Arguments<T>, Refusal> {
    // To serde an array is a struct as well, its fields by position.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::BadArguments("the body is no JSON object".to_owned()));
    }
    serde_json::from_slice(bytes).map(Arguments).map_err(|error| Refusal::BadArguments(error.to_string()))
}

fn declares_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

fn refuse_body(error: axum::Error) -> Refusal {
    if error.into_inner().is::<LengthLimitError>() { Refusal::TooLarge } else { Refusal::Interrupted }
}
