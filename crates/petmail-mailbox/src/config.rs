//! Configuration: flags win over environment variables, those over the file; unknown keys in the file are refused.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, builder::FalseyValueParser};
use petmail_net::{
    address::AddressRange,
    server::{Limits, Peers},
    tls::{AcmeSettings, TlsMode, acme::LETS_ENCRYPT},
};
use petmail_proto::base_url::BaseUrl;
use petmail_store::EngineKind;
use serde::Deserialize;

use crate::basedir::Basedir;

mod blobs;

pub use self::blobs::{Blobs, BlobsError};

/// How the server is served; every setting may also stand in `config.toml`, under the same name.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Address and port to listen on [default: the port of the server's URL; on loopback if the URL is]
    #[arg(long, value_name = "ADDR:PORT", env = "PETMAIL_MAILBOX_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "PETMAIL_MAILBOX_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "PETMAIL_MAILBOX_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Use the certificate that `init` made; offers carry its pin [default if the URL is https]
    #[arg(long, conflicts_with_all = ["tls_cert", "plain_http"], env = "PETMAIL_MAILBOX_SELF_SIGNED")]
    pub self_signed: bool,
    /// No TLS: for loopback, behind a reverse proxy, and for onion services [default if the URL is http]
    #[arg(long, conflicts_with = "tls_cert", env = "PETMAIL_MAILBOX_PLAIN_HTTP")]
    pub plain_http: bool,
    /// Get a certificate of a public authority, and renew it: the authority reaches the URL's host at port 443
    #[arg(
        long,
        conflicts_with_all = ["tls_cert", "self_signed", "plain_http"],
        value_parser = FalseyValueParser::new(),
        env = "PETMAIL_MAILBOX_ACME"
    )]
    pub acme: bool,
    /// Whom the authority may write to
    #[arg(long, value_name = "MAIL", env = "PETMAIL_MAILBOX_ACME_CONTACT")]
    pub acme_contact: Option<String>,
    /// The authority's directory [default: Let's Encrypt]
    #[arg(long, value_name = "URL", env = "PETMAIL_MAILBOX_ACME_DIRECTORY")]
    pub acme_directory: Option<String>,
    /// Certificate that vouches for the authority's own server, PEM [default: those that this system trusts]
    #[arg(long, value_name = "FILE", env = "PETMAIL_MAILBOX_ACME_ROOT")]
    pub acme_root: Option<PathBuf>,
    /// Reverse proxy whose X-Forwarded-For is believed; may be repeated
    #[arg(
        long,
        value_name = "ADDR[/PREFIX]",
        value_delimiter = ',',
        value_parser = AddressRange::from_str,
        env = "PETMAIL_MAILBOX_TRUSTED_PROXY"
    )]
    pub trusted_proxy: Vec<AddressRange>,
    /// Name clients' addresses in log lines
    #[arg(long, value_parser = FalseyValueParser::new(), env = "PETMAIL_MAILBOX_LOG_ADDRESSES")]
    pub log_addresses: bool,
    /// Serve metrics there, for Prometheus [default: only where administration happens]
    #[arg(long, value_name = "ADDR:PORT", env = "PETMAIL_MAILBOX_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// Engine for a new store: sled or redb [default: sled]
    #[arg(long, value_name = "ENGINE", value_parser = EngineKind::from_str, env = "PETMAIL_MAILBOX_STORE")]
    #[serde(deserialize_with = "engine")]
    pub store: Option<EngineKind>,
    /// Where stored files are kept: fs for the server's folder, s3://KEY-ID@BUCKET/PREFIX?endpoint=URL, or a WebDAV, sftp: or file: URL [default: fs]
    #[arg(long, value_name = "fs|URL", value_parser = Blobs::from_str, env = "PETMAIL_MAILBOX_BLOBS")]
    pub blobs: Option<Blobs>,
    /// The file with the secret of the account there [default: the environment variable PETMAIL_MAILBOX_BLOBS_SECRET]
    #[arg(long, value_name = "FILE", env = "PETMAIL_MAILBOX_BLOBS_SECRET_FILE")]
    pub blobs_secret_file: Option<PathBuf>,
    /// The bounds on connections and requests, in the file only
    #[arg(skip)]
    pub network: Limits,
    /// Where administration happens, in the file (a flag of every command)
    #[arg(skip)]
    pub admin_listen: Option<AdminListen>,
}

fn engine<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<EngineKind>, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Where administration happens. Whoever reaches it is the operator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AdminListen {
    /// A socket file of mode 0600.
    Unix(PathBuf),
    /// A port of this machine, open to all of its users.
    Loopback(SocketAddr),
}

/// The text says no place for administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("administration listens on unix:PATH or on a loopback ADDR:PORT")]
pub struct ParseAdminListenError;

impl FromStr for AdminListen {
    type Err = ParseAdminListenError;

    fn from_str(text: &str) -> Result<Self, ParseAdminListenError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ParseAdminListenError),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .ok()
                .filter(|address: &SocketAddr| address.ip().is_loopback())
                .map(Self::Loopback)
                .ok_or(ParseAdminListenError),
        }
    }
}

impl TryFrom<String> for AdminListen {
    type Error = ParseAdminListenError;

    fn try_from(text: String) -> Result<Self, ParseAdminListenError> {
        text.parse()
    }
}

/// How connections are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsChoice {
    /// By a certificate that a public authority vouches for.
    Certificate {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// By the certificate that `init` made.
    SelfSigned,
    /// By a certificate of a public authority that the server gets itself.
    Acme {
        /// Whom the authority may write to.
        contact: Option<String>,
        /// The authority's directory.
        directory: String,
        /// What vouches for the authority's own server.
        root: Option<PathBuf>,
    },
    /// By whoever stands in front of the server, or not at all.
    PlainHttp,
}

impl TlsChoice {
    /// Returns a stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Certificate { .. } => "certificate",
            Self::SelfSigned => "self-signed",
            Self::Acme { .. } => "acme",
            Self::PlainHttp => "plain-http",
        }
    }

    /// Returns what the server loop needs to know.
    #[must_use]
    pub fn mode(&self, basedir: &Basedir, url: &BaseUrl) -> TlsMode {
        match self {
            Self::Certificate { cert, key } => TlsMode::CertFiles { cert: cert.clone(), key: key.clone() },
            Self::SelfSigned => {
                TlsMode::SelfSigned { dir: basedir.path().to_owned(), names: vec![host(url)] }
            }
            Self::Acme { contact, directory, root } => TlsMode::Acme(AcmeSettings {
                domain: host(url),
                contact: contact.clone(),
                directory: directory.clone(),
                root: root.clone(),
                dir: basedir.acme_dir(),
            }),
            Self::PlainHttp => TlsMode::PlainHttp,
        }
    }
}

/// Why the configuration file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is no TOML, or holds an unknown key or a wrong value.
    #[error("{}: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// Its settings exclude each other.
    #[error("{}: {reason}", .path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Which.
        reason: &'static str,
    },
}

impl Settings {
    /// Reads a configuration file; a missing one sets nothing.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Io { path: path.to_owned(), source }),
        };
        let settings: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
        let contradiction = |reason| ConfigError::Contradiction { path: path.to_owned(), reason };
        if settings.tls_cert.is_some() != settings.tls_key.is_some() {
            return Err(contradiction("tls-cert and tls-key belong together"));
        }
        let ways = [settings.tls_cert.is_some(), settings.self_signed, settings.plain_http, settings.acme];
        if ways.into_iter().filter(|chosen| *chosen).count() > 1 {
            return Err(contradiction("choose one of tls-cert, acme, self-signed and plain-http"));
        }
        Ok(settings)
    }

    /// Returns these settings, completed by those of the file. How connections are protected is one setting.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        let tls = if self.tls().is_some() { self.clone() } else { file.clone() };
        Self {
            listen: self.listen.or(file.listen),
            tls_cert: tls.tls_cert,
            tls_key: tls.tls_key,
            self_signed: tls.self_signed,
            plain_http: tls.plain_http,
            acme: tls.acme,
            acme_contact: self.acme_contact.or(file.acme_contact),
            acme_directory: self.acme_directory.or(file.acme_directory),
            acme_root: self.acme_root.or(file.acme_root),
            trusted_proxy: if self.trusted_proxy.is_empty() {
                file.trusted_proxy
            } else {
                self.trusted_proxy
            },
            log_addresses: self.log_addresses || file.log_addresses,
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            store: self.store.or(file.store),
            blobs: self.blobs.or(file.blobs),
            blobs_secret_file: self.blobs_secret_file.or(file.blobs_secret_file),
            network: file.network,
            admin_listen: self.admin_listen.or(file.admin_listen),
        }
    }

    /// Returns who speaks for others, and whether addresses are logged.
    #[must_use]
    pub fn peers(&self) -> Peers {
        Peers { trusted_proxies: self.trusted_proxy.clone(), log_addresses: self.log_addresses }
    }

    /// Returns how connections are protected, if that is set.
    #[must_use]
    pub fn tls(&self) -> Option<TlsChoice> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsChoice::Certificate { cert: cert.clone(), key: key.clone() }),
            _ if self.acme => Some(TlsChoice::Acme {
                contact: self.acme_contact.clone(),
                directory: self.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
                root: self.acme_root.clone(),
            }),
            _ if self.self_signed => Some(TlsChoice::SelfSigned),
            _ if self.plain_http => Some(TlsChoice::PlainHttp),
            _ => None,
        }
    }
}

/// Returns what protects connections if nothing is set.
#[must_use]
pub fn default_tls(url: &BaseUrl) -> TlsChoice {
    if url.is_https() { TlsChoice::SelfSigned } else { TlsChoice::PlainHttp }
}

/// Returns where to listen if nothing is set: the URL's port, on the loopback address that it names, else on all.
#[must_use]
pub fn default_listen(url: &BaseUrl) -> SocketAddr {
    let host = host(url);
    let loopback = host.parse().ok().filter(IpAddr::is_loopback);
    let loopback = loopback.or((host == "localhost").then_some(Ipv4Addr::LOCALHOST.into()));
    SocketAddr::new(loopback.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port(url))
}

/// Returns the host of a base URL, an IPv6 address without its brackets.
#[must_use]
pub fn host(url: &BaseUrl) -> String {
    let authority = authority(url);
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address.to_owned(),
        None => authority.split_once(':').map_or(authority, |(host, _)| host).to_owned(),
    }
}

fn port(url: &BaseUrl) -> u16 {
    let after_host = authority(url).rsplit_once(':').map_or("", |(_, port)| port);
    after_host.parse().unwrap_or(if url.is_https() { 443 } else { 80 })
}

fn authority(url: &BaseUrl) -> &str {
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(authority, _)| authority)
}

#[cfg(test)]
mod tests;
