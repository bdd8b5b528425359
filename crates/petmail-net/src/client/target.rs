//! Where a client may connect: the guard on URLs that came from somebody else.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

use crate::{
    address::{Reach, reach},
    tls::Pin,
};

/// The longest base URL, in bytes: a host name has at most 253.
pub const MAX_URL_BYTES: usize = 512;

/// The longest link, in bytes: signed addresses are long.
const MAX_LINK_BYTES: usize = 2_048;

/// Which base URLs are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlPolicy {
    /// `https` to globally routable addresses, and onion services. For all URLs learnt from others.
    #[default]
    PublicOnly,
    /// Also private addresses, and `http` to these: for demonstrations and local networks
    /// (`--allow-private-transports`).
    AllowPrivate,
}

/// A server's base URL that has passed the guard: no user information, query or fragment, of bounded length, and with a
/// scheme and host that the policy allows. The addresses behind a host name are checked when connecting.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl {
    url: Url,
    host: String,
    rule: AddressRule,
}

/// Which addresses a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AddressRule {
    /// Globally routable.
    Global,
    /// Globally routable or private.
    GlobalOrPrivate,
    /// Private: the rule for names with plain HTTP.
    Private,
    /// None: an onion service is found by the proxy.
    Onion,
}

impl AddressRule {
    pub(super) fn permits(self, address: IpAddr) -> bool {
        match (self, reach(address)) {
            (Self::Onion, _) | (_, Reach::Nowhere) => false,
            (Self::Global, reach) => reach == Reach::Global,
            (Self::Private, reach) => reach == Reach::Private,
            (Self::GlobalOrPrivate, _) => true,
        }
    }
}

/// Why a URL is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// No URL with a host at all, or control characters, spaces or backslashes in it.
    #[error("it is no URL such as https://mail.example.org")]
    Malformed,
    /// User information, a query or a fragment.
    #[error("the URL contains more than scheme, host, port and path")]
    NotPlain,
    /// Neither `https`, nor `http` where that is allowed.
    #[error(
        "only https is allowed (http for .onion addresses, or for private ones with --allow-private-transports)"
    )]
    Scheme,
    /// Neither `wss` nor `ws`.
    #[error("a WebSocket address begins with wss:// or ws://")]
    WebSocketScheme,
    /// A private or otherwise not globally routable address, given or found behind the name.
    #[error("{0} is or leads to an address that is not public (see --allow-private-transports)")]
    PrivateAddress(String),
    /// A `.onion` address, but no proxy that could reach it.
    #[error("an .onion address needs a Tor proxy (see --socks5)")]
    OnionWithoutProxy,
}

impl TargetUrl {
    /// Checks `text`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(text: &str, policy: UrlPolicy) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        // The URL standard removes or repairs such characters; what was shown and what is used must be the same.
        if text.contains(|c: char| c.is_ascii_control() || c.is_whitespace() || c == '\\') {
            return Err(UrlError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(UrlError::NotPlain);
        }
        let rule = rule_for(&url, policy)?;
        let host = url.host_str().ok_or(UrlError::Malformed)?.to_owned();
        if let Some(address) = literal(&url)
            && !rule.permits(address)
        {
            return Err(UrlError::PrivateAddress(host));
        }
        Ok(Self { url, host, rule })
    }

    /// Checks a link, which may have a query, and returns it with the base URL of its server.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn of_link(text: &str, policy: UrlPolicy) -> Result<(Self, Url), UrlError> {
        if text.len() > MAX_LINK_BYTES {
            return Err(UrlError::TooLong);
        }
        if text.contains(|c: char| !c.is_ascii_graphic() || c == '\\') {
            return Err(UrlError::Malformed);
        }
        let link = Url::parse(text).map_err(|_| UrlError::Malformed)?;
        let mut base = link.clone();
        base.set_path("");
        base.set_query(None);
        Ok((Self::parse(base.as_str(), policy)?, link))
    }

    /// Returns the URL in its canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Returns the host, for messages to people.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the URL of `path`, which has no leading slash, below this base.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    pub(super) fn rule(&self) -> AddressRule {
        self.rule
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUrl({})", self.url)
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

fn rule_for(url: &Url, policy: UrlPolicy) -> Result<AddressRule, UrlError> {
    if url.port() == Some(0) {
        return Err(UrlError::Malformed);
    }
    let onion = url.domain().is_some_and(|name| name.trim_end_matches('.').ends_with(".onion"));
    match (url.scheme(), policy) {
        ("https" | "http", _) if onion => Ok(AddressRule::Onion),
        ("https", UrlPolicy::PublicOnly) => Ok(AddressRule::Global),
        ("https", UrlPolicy::AllowPrivate) => Ok(AddressRule::GlobalOrPrivate),
        ("http", UrlPolicy::AllowPrivate) => Ok(AddressRule::Private),
        _ => Err(UrlError::Scheme),
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

/// A server to connect to: its base URL, and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    url: TargetUrl,
    pins: Vec<Pin>,
}

impl Target {
    /// A server recognised by one of `pins`, or by the authorities that this system trusts if there are none.
    #[must_use]
    pub fn new(url: TargetUrl, pins: Vec<Pin>) -> Self {
        Self { url, pins }
    }

    /// Returns the base URL.
    #[must_use]
    pub fn url(&self) -> &TargetUrl {
        &self.url
    }

    pub(super) fn host(&self) -> &str {
        self.url.host()
    }

    pub(super) fn pins(&self) -> &[Pin] {
        &self.pins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(text: &str) -> Result<TargetUrl, UrlError> {
        TargetUrl::parse(text, UrlPolicy::PublicOnly)
    }

    fn private(text: &str) -> Result<TargetUrl, UrlError> {
        TargetUrl::parse(text, UrlPolicy::AllowPrivate)
    }

    #[test]
    fn endpoints_lie_below_the_base() {
        for (base, expected) in [
            ("https://mail.example.org", "https://mail.example.org/server"),
            ("https://mail.example.org/", "https://mail.example.org/server"),
            ("https://mail.example.org:8443/a/b", "https://mail.example.org:8443/a/b/server"),
            ("http://expyuzz4wqqyqhjn.onion/x/", "http://expyuzz4wqqyqhjn.onion/x/server"),
        ] {
            assert_eq!(public(base).unwrap().endpoint("server").as_str(), expected);
        }
    }

    #[test]
    fn unusual_urls_are_refused() {
        let long = format!("https://example.org/{}", "a".repeat(MAX_URL_BYTES));
        for (text, error) in [
            ("", UrlError::Malformed),
            ("mail.example.org", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https://example.org:0", UrlError::Malformed),
            ("https://exam\tple.org", UrlError::Malformed),
            (" https://example.org", UrlError::Malformed),
            ("https:\\\\example.org", UrlError::Malformed),
            ("https://me@example.org", UrlError::NotPlain),
            ("https://:word@example.org", UrlError::NotPlain),
            ("https://example.org?", UrlError::NotPlain),
            ("https://example.org/#a", UrlError::NotPlain),
            ("http://example.org", UrlError::Scheme),
            ("ftp://example.org", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            (&long, UrlError::TooLong),
        ] {
            assert_eq!(public(text), Err(error), "{text}");
        }
    }

    #[test]
    fn private_literals_need_permission_in_any_notation() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "10.0.0.1",
            "169.254.169.254",
            "192.168.0.1",
            "100.64.10.0",
            "[fc00::1]",
            "[fe80::1]",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
        ] {
            let url = format!("https://{host}:8443/");
            assert!(matches!(public(&url), Err(UrlError::PrivateAddress(_))), "{host}");
            assert!(private(&url).is_ok(), "{host}");
            assert!(private(&url.replace("https", "http")).is_ok(), "{host}");
        }
    }

    #[test]
    fn permission_for_private_addresses_is_no_permission_for_everything() {
        for url in ["https://0.0.0.0/", "https://[::]/", "https://224.0.0.1/", "https://255.255.255.255/"] {
            assert!(matches!(private(url), Err(UrlError::PrivateAddress(_))), "{url}");
        }
        assert!(matches!(private("http://1.1.1.1/"), Err(UrlError::PrivateAddress(_))));
    }

    #[test]
    fn a_link_is_held_against_the_same_rules() {
        let of = |text: &str| TargetUrl::of_link(text, UrlPolicy::PublicOnly);
        let (base, link) = of("https://s3.example.org:9000/bucket/pack?X-Signature=a%2Fb").unwrap();
        assert_eq!(base.as_str(), "https://s3.example.org:9000/");
        assert_eq!(link.as_str(), "https://s3.example.org:9000/bucket/pack?X-Signature=a%2Fb");
        for (bad, error) in [
            ("http://s3.example.org/pack", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https://127.0.0.1/pack?a=b", UrlError::PrivateAddress("127.0.0.1".to_owned())),
            ("https://user@s3.example.org/pack", UrlError::NotPlain),
            ("https://s3.example.org/pack#part", UrlError::NotPlain),
            ("https://s3.example.org/a b", UrlError::Malformed),
            ("https://s3.example.org\\@127.0.0.1/", UrlError::Malformed),
            ("pack", UrlError::Malformed),
        ] {
            assert_eq!(of(bad).map(drop), Err(error), "{bad}");
        }
        assert_eq!(
            of(&format!("https://s3.example.org/{}", "a".repeat(2_048))).map(drop),
            Err(UrlError::TooLong)
        );
    }
}
