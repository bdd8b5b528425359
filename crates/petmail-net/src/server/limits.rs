//! The bounds of a server: every number that keeps one client, or all together, from taking the machine.
//! Source: `docs/operating.md`, "Limits".

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use crate::seconds;

/// The bounds of a server. In a configuration file every key is optional, and unknown keys are refused.
///
/// "Per address" means per IPv4 address or IPv6 /64: of the socket, or as a proxy tells it that [`Peers`](super::Peers)
/// names. Behind another proxy or an onion service all clients share one address: raise these bounds there.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's queue. Default 4,096.
    pub max_connections: NonZeroU32,
    /// Connections open at once from one address; further ones are closed unanswered. Default 512.
    pub max_connections_per_address: NonZeroU32,
    /// Requests a second from one address, on average; further ones get 429. Default 200.
    pub requests_per_second_per_address: NonZeroU32,
    /// Requests that one address may send at once after a pause. Default 1,000.
    pub request_burst_per_address: NonZeroU32,
    /// Requests being answered at once; further ones get 503. Streams count until their head is sent. Default 4,096.
    pub max_requests_in_flight: NonZeroU32,
    /// Requests of one address being answered at once; further ones get 429. Default 512.
    pub max_requests_in_flight_per_address: NonZeroU32,
    /// Largest request body in bytes; larger ones get 413. Routes may ask for less. Default 2 MiB: a part of a pack.
    pub max_body_bytes: usize,
    /// Header lines of a request. Default 64.
    pub max_headers: usize,
    /// Bytes of a request's head, at least 8,192. Default 16 KiB.
    pub max_header_bytes: u32,
    /// Requests at once on one HTTP/2 connection. Default 128.
    pub max_http2_streams: u32,
    /// From the connection to the end of the TLS handshake. Default 10 s.
    #[serde(rename = "handshake_timeout_seconds", with = "seconds")]
    pub handshake_timeout: Duration,
    /// From the handshake, or the previous answer on HTTP/1, to the end of a request's head. Default 10 s.
    #[serde(rename = "header_timeout_seconds", with = "seconds")]
    pub header_timeout: Duration,
    /// From a request's head to the end of its body; slower bodies get 408. Default 60 s.
    #[serde(rename = "body_timeout_seconds", with = "seconds")]
    pub body_timeout: Duration,
    /// From a request's head to the head of its answer; then 503. Event streams live on. Default 90 s.
    #[serde(rename = "request_timeout_seconds", with = "seconds")]
    pub request_timeout: Duration,
    /// How long an HTTP/2 connection may stay open without a request. Default 75 s.
    #[serde(rename = "idle_timeout_seconds", with = "seconds")]
    pub idle_timeout: Duration,
    /// How long the peer may leave sent bytes unacknowledged (Linux only). Default 60 s.
    #[serde(rename = "write_timeout_seconds", with = "seconds")]
    pub write_timeout: Duration,
    /// How often an HTTP/2 peer is pinged. Default 20 s.
    #[serde(rename = "http2_ping_interval_seconds", with = "seconds")]
    pub http2_ping_interval: Duration,
    /// How long the answer to such a ping may take. Default 10 s.
    #[serde(rename = "http2_ping_timeout_seconds", with = "seconds")]
    pub http2_ping_timeout: Duration,
    /// How long running requests may take to end once the server stops; then they are cut. Default 10 s.
    #[serde(rename = "drain_timeout_seconds", with = "seconds")]
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: count(4_096),
            max_connections_per_address: count(512),
            requests_per_second_per_address: count(200),
            request_burst_per_address: count(1_000),
            max_requests_in_flight: count(4_096),
            max_requests_in_flight_per_address: count(512),
            max_body_bytes: 2 * 1024 * 1024,
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            max_http2_streams: 128,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(90),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            http2_ping_interval: Duration::from_secs(20),
            http2_ping_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

const fn count(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}
