//! What monitoring is told of a server's connections and requests. Routes are named by their template, never by the path
//! that was asked for. Source: `docs/operating.md`, "Monitoring".

use std::time::{Duration, Instant};

use axum::{extract::MatchedPath, http::StatusCode};
use metrics::{Gauge, counter, gauge, histogram};

use crate::clock;

const CONNECTIONS: &str = "petmail_net_connections";
const CONNECTIONS_REFUSED: &str = "petmail_net_connections_refused_total";
const REQUESTS: &str = "petmail_net_requests_total";
const REQUEST_SECONDS: &str = "petmail_net_request_seconds";
const REQUESTS_REFUSED: &str = "petmail_net_requests_refused_total";

/// Why a connection came to nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoConnection {
    /// The system gave none: out of file descriptors, mostly.
    Accept,
    /// Its address has too many.
    Address,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake took too long.
    HandshakeTimeout,
}

impl NoConnection {
    const ALL: [Self; 4] = [Self::Accept, Self::Address, Self::Handshake, Self::HandshakeTimeout];

    const fn reason(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Address => "address",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake-timeout",
        }
    }
}

/// Why a request was not answered by its handler.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoAnswer {
    /// Its address asks too often.
    Rate,
    /// Its address has too many requests open.
    Address,
    /// All together have too many open.
    Busy,
    /// The handler took too long.
    Timeout,
    /// The body took too long.
    BodyTimeout,
}

impl NoAnswer {
    const ALL: [Self; 5] = [Self::Rate, Self::Address, Self::Busy, Self::Timeout, Self::BodyTimeout];

    const fn reason(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Address => "address",
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::BodyTimeout => "body-timeout",
        }
    }
}

/// Counts for one server, or not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    is_on: bool,
}

impl Meter {
    /// Counts nothing.
    pub(super) const OFF: Self = Self { is_on: false };

    /// Counts, and shows at once what it will count.
    pub(super) fn on() -> Self {
        gauge!(CONNECTIONS).increment(0.0);
        for cause in NoConnection::ALL {
            counter!(CONNECTIONS_REFUSED, "reason" => cause.reason()).increment(0);
        }
        for cause in NoAnswer::ALL {
            counter!(REQUESTS_REFUSED, "reason" => cause.reason()).increment(0);
        }
        Self { is_on: true }
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn connected(self) -> Option<Connected> {
        self.is_on.then(Connected::begin)
    }

    pub(super) fn not_connected(self, cause: NoConnection) {
        if self.is_on {
            counter!(CONNECTIONS_REFUSED, "reason" => cause.reason()).increment(1);
        }
    }

    pub(super) fn not_answered(self, cause: NoAnswer) {
        if self.is_on {
            counter!(REQUESTS_REFUSED, "reason" => cause.reason()).increment(1);
        }
    }

    /// Returns what counts a request once it is answered.
    pub(super) fn asked(self, route: Option<&MatchedPath>) -> Option<Asked> {
        let route = || route.map_or("none", MatchedPath::as_str).to_owned();
        self.is_on.then(|| Asked { route: route(), begin: clock::now() })
    }
}

/// A connection that is open.
pub(super) struct Connected(Gauge);

impl Connected {
    fn begin() -> Self {
        let gauge = gauge!(CONNECTIONS);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A request that is being answered.
pub(super) struct Asked {
    route: String,
    begin: Instant,
}

impl Asked {
    /// The answer's head is made.
    pub(super) fn answered(self, status: StatusCode) {
        let took: Duration = clock::now().saturating_duration_since(self.begin);
        counter!(REQUESTS, "route" => self.route.clone(), "status" => class(status)).increment(1);
        histogram!(REQUEST_SECONDS, "route" => self.route).record(took.as_secs_f64());
    }
}

const fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}
