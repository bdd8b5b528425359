//! Who may ask: every request passes here before any route is looked at.
//!
//! The token keeps other users and pages out. Host and Origin are checked because a browser can be led to send requests
//! to a loopback address under another name (DNS rebinding) or from a foreign page. No cookies: nothing is sent by itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{problem::Refusal, token::ApiToken};

/// Where everything needs the token.
const COMMANDS: &str = "/api/v1";

/// Nothing served here is framed, kept in a cache, or read by other origins. No answer runs scripts; the panel's page says
/// itself what it may do.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// The checks of one server.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    token: Arc<ApiToken>,
    address: SocketAddr,
}

impl Guard {
    /// Guards a server that is bound to `address`.
    pub(super) fn new(token: Arc<ApiToken>, address: SocketAddr) -> Self {
        Self { token, address }
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        if is_command(request.uri()) && !self.carries_token(request.headers()) {
            return Err(Refusal::Unauthorized);
        }
        if !host(request).is_some_and(|authority| self.is_this_node(&authority)) {
            return Err(Refusal::ForeignHost);
        }
        if !request.headers().get_all(header::ORIGIN).iter().all(|origin| self.is_own_origin(origin)) {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(())
    }

    fn carries_token(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
        match value.as_bytes().split_at_checked("Bearer ".len()) {
            Some((scheme, token)) => scheme.eq_ignore_ascii_case(b"Bearer ") && self.token.matches(token),
            None => false,
        }
    }

    /// Tells whether `authority` is a loopback name or address with the port that is bound.
    fn is_this_node(&self, authority: &Authority) -> bool {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        loopback
            && !authority.as_str().contains('@')
            && authority.port_u16().unwrap_or(80) == self.address.port()
    }

    fn is_own_origin(&self, origin: &HeaderValue) -> bool {
        let Ok(uri) = Uri::try_from(origin.as_bytes()) else { return false };
        uri.scheme_str() == Some("http")
            && uri.authority().is_some_and(|authority| self.is_this_node(authority))
    }
}

/// Answers instead of the routes when the guard refuses.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

fn is_command(uri: &Uri) -> bool {
    uri.path().strip_prefix(COMMANDS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the host that the request is for: HTTP/2 says it in the target, HTTP/1 in one header.
fn host(request: &Request) -> Option<Authority> {
    let mut named = request.headers().get_all(header::HOST).iter();
    match (request.uri().authority(), named.next(), named.next()) {
        (Some(authority), None, None) => Some(authority.clone()),
        (None, Some(value), None) => Authority::try_from(value.as_bytes()).ok(),
        (Some(authority), Some(value), None) if authority.as_str().as_bytes() == value.as_bytes() => {
            Some(authority.clone())
        }
        _ => None,
    }
}
