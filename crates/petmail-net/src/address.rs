//! Addresses of the network: who a client is for the limits, and which addresses a learnt name may lead to.
//! Knows neither servers nor clients. Source: IANA's special-purpose address registries (RFC 6890 and its updates).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::Deserialize;

/// Where a request came from, by its socket. `X-Forwarded-For` is believed only of a proxy that the operator trusts; the
/// port is 0 then.
///
/// The server puts it into every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddr {
    /// Over the network.
    Network(SocketAddr),
    /// Over a Unix socket of this machine, where the file's mode is the guard.
    Local,
}

impl ClientAddr {
    /// Returns the group that the limits count this client in; none for local clients, which are not counted.
    #[must_use]
    pub fn group(&self) -> Option<AddressGroup> {
        match self {
            Self::Network(address) => Some(AddressGroup::of(address.ip())),
            Self::Local => None,
        }
    }
}

/// One client for the purposes of limits: an IPv4 address, or an IPv6 /64, since whoever has one address of a /64 has
/// all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressGroup(IpAddr);

impl AddressGroup {
    /// Returns the group of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))),
        }
    }
}

impl fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => write!(f, "{v4}"),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// An address, or all addresses with one prefix: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AddressRange(IpNet);

/// The text names no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range of addresses is ADDR or ADDR/PREFIX, such as 127.0.0.1 or 10.0.0.0/8")]
pub struct AddressRangeError;

impl AddressRange {
    /// Tells whether `address` is in the range; an IPv4-mapped IPv6 address is the IPv4 address inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let address = || text.parse().map(|address: IpAddr| address.into()).ok();
        text.parse().ok().or_else(address).map(Self).ok_or(AddressRangeError)
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressRangeError;

    fn try_from(text: String) -> Result<Self, AddressRangeError> {
        text.parse()
    }
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere on the internet.
    Global,
    /// This machine or its own networks: loopback, private, link-local, unique local, carrier-grade NAT.
    Private,
    /// No host at all: unspecified, multicast, broadcast, documentation, reserved, or a tunnel that hides another address.
    Nowhere,
}

/// Returns how far `address` reaches. IPv4-mapped IPv6 addresses are judged by the IPv4 address inside.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [10 | 127, ..] | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => {
            Reach::Private
        }
        [0 | 224.., ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Nowhere,
        _ => Reach::Global,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local() {
        return Reach::Private;
    }
    match address.segments() {
        // Protocol assignments (Teredo among them), documentation, 6to4, documentation again.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Reach::Nowhere
        }
        [0x2000..=0x3fff, ..] => Reach::Global,
        _ => Reach::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach_of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn private_addresses_are_told_from_global_ones() {
        for private in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.10.0",
            "100.127.255.255",
            "fc00::1",
            "fdff::1",
            "fe80::1",
        ] {
            assert_eq!(reach_of(private), Reach::Private, "{private}");
        }
        for global in
            ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]
        {
            assert_eq!(reach_of(global), Reach::Global, "{global}");
        }
    }

    #[test]
    fn addresses_of_no_host_are_recognised() {
        for nowhere in [
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "2001:0:7f00:1::",
            "::127.0.0.1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(reach_of(nowhere), Reach::Nowhere, "{nowhere}");
        }
    }

    #[test]
    fn ranges_hold_what_they_name() {
        let holds = |range: &str, address: &str| {
            range.parse::<AddressRange>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(holds("10.1.2.3/8", "10.9.9.9") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("::1", "127.0.0.1"));
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0.1:80", "/8", "10.0.0.0/"] {
            assert_eq!(bad.parse::<AddressRange>(), Err(AddressRangeError), "{bad}");
        }
    }

    #[test]
    fn limits_count_ipv6_by_64_and_mapped_ipv4_as_ipv4() {
        let group = |text: &str| AddressGroup::of(text.parse().unwrap());
        assert_eq!(group("2001:db8:1:2::1"), group("2001:db8:1:2:ffff::9"));
        assert_ne!(group("2001:db8:1:2::1"), group("2001:db8:1:3::1"));
        assert_eq!(group("::ffff:192.0.2.1"), group("192.0.2.1"));
        assert_ne!(group("192.0.2.1"), group("192.0.2.2"));
        assert_eq!(group("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }
}
