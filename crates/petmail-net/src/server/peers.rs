//! Who a request is from, if a reverse proxy stands before the server.
//!
//! A proxy appends the address that it sees to `X-Forwarded-For`, so the list is read from its end, and only as far as
//! proxies that the operator trusts wrote it: what stands before that is the client's choice.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::address::{AddressRange, ClientAddr};

/// The header in which proxies tell for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Which peers speak for others, and whether anybody's address may be written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// Reverse proxies whose `X-Forwarded-For` is believed. Their connections are not counted by address.
    pub trusted_proxies: Vec<AddressRange>,
    /// Whether log lines about a request name its client's address.
    pub log_addresses: bool,
}

impl Peers {
    /// Tells whether `peer` is a proxy that speaks for others.
    pub(super) fn trusts(&self, peer: ClientAddr) -> bool {
        matches!(peer, ClientAddr::Network(address) if self.trusts_address(address.ip()))
    }

    /// Returns who asks: the last address in the header that is no trusted proxy's; the peer itself if it is not trusted, or
    /// says nothing that can be understood.
    pub(super) fn client(&self, peer: ClientAddr, headers: &HeaderMap) -> ClientAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        for entry in entries {
            match parse(entry.trim()) {
                Some(address) if self.trusts_address(address) => {}
                Some(address) => return ClientAddr::Network(SocketAddr::new(address, 0)),
                None => return peer,
            }
        }
        peer
    }

    fn trusts_address(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(address))
    }
}

/// Some proxies add the port.
fn parse(entry: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = entry.parse().ok();
    address.or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let peers = Peers {
            trusted_proxies: vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            log_addresses: false,
        };
        let line = |text: &&'static str| (FORWARDED_FOR.parse().unwrap(), HeaderValue::from_static(text));
        let headers = HeaderMap::from_iter(lines.iter().map(line));
        match peers.client(ClientAddr::Network(peer.parse().unwrap()), &headers) {
            ClientAddr::Network(address) => address.to_string(),
            ClientAddr::Local => "local".to_owned(),
        }
    }

    #[test]
    fn the_last_address_that_no_proxy_has_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1:0"),
            (&["6.6.6.6, 192.0.2.1, 10.0.0.9"], "192.0.2.1:0"),
            (&["6.6.6.6", "192.0.2.1,10.0.0.9"], "192.0.2.1:0"),
            (&["nonsense, 192.0.2.1"], "192.0.2.1:0"),
            (&["[2001:db8::1]:443"], "[2001:db8::1]:0"),
            (&["192.0.2.1:9"], "192.0.2.1:0"),
        ] {
            assert_eq!(client("127.0.0.1:5", lines), expected, "{lines:?}");
            assert_eq!(client("[::ffff:127.0.0.1]:5", lines), expected, "{lines:?}");
            assert_eq!(client("192.0.2.77:5", lines), "192.0.2.77:5", "not a proxy: {lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_the_proxys_own() {
        for lines in [&[][..], &[""], &["192.0.2.1, unknown"], &["192.0.2.1,"], &["10.0.0.1, 10.0.0.2"]] {
            assert_eq!(client("127.0.0.1:5", lines), "127.0.0.1:5", "{lines:?}");
        }
    }
}
