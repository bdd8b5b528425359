//! The address of a server as it stands in offers, descriptors and channel records.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest base URL, in bytes: a DNS name of 253 bytes fits, with a short path.
pub const MAX_BASE_URL_BYTES: usize = 300;

/// The base URL of a server: `http` or `https`, a host, optionally a port and a path; no trailing slash.
///
/// This is the syntax only. Whether a program may connect there (public addresses, no plain HTTP) is decided where
/// connections are made.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(String);

/// Why a text is no [`BaseUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// Longer than [`MAX_BASE_URL_BYTES`].
    #[error("the server address is longer than {MAX_BASE_URL_BYTES} bytes")]
    TooLong,
    /// Neither `https://` nor `http://`.
    #[error("a server address begins with https:// (or http://)")]
    Scheme,
    /// No host, or a character that has no place in a base URL: user names, queries and fragments are refused.
    #[error(
        "the server address is malformed; it should look like https://mail.example.org or https://example.org:8443/path"
    )]
    Malformed,
}

impl BaseUrl {
    /// Returns the address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether the address asks for TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Returns the address of an endpoint: `/` and `endpoint` appended.
    #[must_use]
    pub fn endpoint(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.0)
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        if text.len() > MAX_BASE_URL_BYTES {
            return Err(BaseUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::Scheme)?;
        if !matches!(scheme, "https" | "http") {
            return Err(BaseUrlError::Scheme);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (authority, path) =
            rest.split_once('/').map_or((rest, None), |(start, path)| (start, Some(path)));
        if is_authority(authority) && path.is_none_or(is_path) {
            Ok(Self(format!("{scheme}://{rest}")))
        } else {
            Err(BaseUrlError::Malformed)
        }
    }
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => !host.is_empty() && host.chars().all(address),
        None => !host.is_empty() && host.chars().all(name),
    };
    host_is_good && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    path.split('/').all(|part| !part.is_empty() && part.chars().all(plain) && part != "." && part != "..")
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;

    fn try_from(text: String) -> Result<Self, BaseUrlError> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_parse() {
        for text in [
            "https://mail.example.org",
            "https://mail.example.org:8443/petmail",
            "http://127.0.0.1:80/a/b",
            "https://[::1]:9",
            "https://[::1]",
            "http://abcdefghij.onion",
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().as_str(), text);
        }
        assert_eq!("https://a.b/".parse::<BaseUrl>().unwrap().endpoint("list"), "https://a.b/list");
    }

    #[test]
    fn bad_addresses_are_refused() {
        for text in [
            "https://",
            "https:///x",
            "https://u@h",
            "https://h?q",
            "https://h#f",
            "https://h:0",
            "https://h:70000",
            "https://h/../x",
            "https://h//x",
            "https://h//",
            "https://h/x//",
            "https://H",
            "https://h\n",
            "https://[]",
            "https://h:",
            "https://a b",
            "https://[::1",
            "https://h/%2e",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(BaseUrlError::Malformed), "{text}");
        }
        for text in ["", "ftp://h", "h", "HTTPS://h"] {
            assert_eq!(text.parse::<BaseUrl>(), Err(BaseUrlError::Scheme), "{text}");
        }
        assert_eq!(format!("https://{}", "a".repeat(300)).parse::<BaseUrl>(), Err(BaseUrlError::TooLong));
    }
}
