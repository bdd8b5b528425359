//! How much a client, and all clients together, can make the server do and keep.
//!
//! Owns the numbers and the rate meter. Must not know who applies them.

use std::time::Duration;

use petmail_net::seconds;
use petmail_proto::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// The bounds of the rendezvous protocol; those of the network are `petmail-net`'s.
///
/// A configuration file may set each under `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Messages a second that one connection may send on average; an exchange needs about ten in all.
    pub messages_per_second: u32,
    /// Messages that one connection may send at once.
    pub message_burst: u32,
    /// Messages that one mailbox keeps. At most 256: a mailbox must be deletable in one commit.
    pub messages_per_mailbox: usize,
    /// Bytes that one mailbox keeps. At most 4 MiB, for the same reason.
    pub mailbox_bytes: usize,
    /// Mailboxes kept in all; they are held in memory, at about a kilobyte each.
    pub mailboxes: usize,
    /// Mailboxes kept for one client address, so that no one address can fill the server.
    pub mailboxes_per_address: usize,
    /// Bytes of messages kept in all; they are held in memory.
    pub stored_bytes: usize,
    /// Connections from which on the server counts as busy; clients then have to work first, if that is set.
    pub busy_connections: usize,
    /// From the connection to its `bind`.
    #[serde(rename = "bind_timeout_seconds", with = "seconds")]
    pub bind_timeout: Duration,
    /// How often a silent connection is pinged.
    #[serde(rename = "ping_interval_seconds", with = "seconds")]
    pub ping_interval: Duration,
    /// How many pings in a row may stay unanswered; then the connection is dropped.
    pub unanswered_pings: u32,
    /// How long a client may take to receive one message; then the connection is dropped.
    #[serde(rename = "write_timeout_seconds", with = "seconds")]
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_second: 50,
            message_burst: 500,
            messages_per_mailbox: 256,
            mailbox_bytes: 4 << 20,
            mailboxes: 50_000,
            mailboxes_per_address: 10_000,
            stored_bytes: 256 << 20,
            busy_connections: 1_000,
            bind_timeout: Duration::from_secs(60),
            ping_interval: Duration::from_secs(30),
            unanswered_pings: 3,
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Whether the rows of the largest mailbox allowed fit into one batch of the store.
    pub(crate) fn mailbox_is_deletable(&self) -> bool {
        self.messages_per_mailbox <= 256 && self.mailbox_bytes <= 4 << 20
    }
}

/// Measures one connection's messages: a token bucket.
#[derive(Clone, Debug)]
pub(crate) struct RateMeter {
    per_second: f64,
    burst: f64,
    tokens: f64,
    updated: UnixMillis,
}

impl RateMeter {
    /// A full bucket.
    pub(crate) fn new(limits: &Limits, now: UnixMillis) -> Self {
        let burst = f64::from(limits.message_burst);
        Self { per_second: f64::from(limits.messages_per_second), burst, tokens: burst, updated: now }
    }

    /// Takes one token, if there is one.
    pub(crate) fn admit(&mut self, now: UnixMillis) -> bool {
        let gained = now.since(self.updated).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.updated = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let limits = Limits { messages_per_second: 2, message_burst: 3, ..Limits::default() };
        let start = UnixMillis(1_000_000);
        let mut meter = RateMeter::new(&limits, start);
        let admitted = |meter: &mut RateMeter, at| (0..10).filter(|_| meter.admit(at)).count();
        assert_eq!(admitted(&mut meter, start), 3);
        assert_eq!(admitted(&mut meter, start.plus(Duration::from_secs(1))), 2);
        assert_eq!(admitted(&mut meter, start.plus(Duration::from_secs(100))), 3);
    }
}
