//! What the operator can set: on the command line, in the environment, in a TOML file; in this order of precedence.
//!
//! Owns the names, the defaults and the checks. Must not know how any of it is carried out.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use jiff::{Span, SpanRelativeTo};
use petmail_net::address::AddressRange;
use petmail_net::server;
use petmail_net::tls::{AcmeSettings, TlsMode, acme::LETS_ENCRYPT};
use petmail_proto::invitation::hashcash::MAX_BITS;
use petmail_proto::invitation::wormhole::AppId;
use serde::Deserialize;
use thiserror::Error;

use crate::limits::Limits;
use crate::state::Policy;

/// Where the server listens unless told otherwise: magic-wormhole's port, this machine only.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// How long an unfinished exchange is kept unless told otherwise; the life of an invitation.
const DEFAULT_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// The folder in the basedir for certificates that the server gets itself.
const ACME_DIR: &str = "acme";

/// The configuration file in the basedir, if there is one.
const CONFIG_FILE: &str = "config.toml";

/// A length of time as people write it: `24h`, `7d`, `90m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = || ConfigError::Period(text.to_owned());
        let span: Span = text.parse().map_err(|_| bad())?;
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
        let length = Duration::try_from(length).map_err(|_| bad())?;
        if length.is_zero() { Err(bad()) } else { Ok(Self(length)) }
    }
}

impl TryFrom<String> for Period {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

/// The settings as given; each may be missing.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:4000]
    #[arg(long, value_name = "ADDR:PORT", env = "PETMAIL_RENDEZVOUS_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// PEM file with the certificate chain
    #[arg(long, value_name = "FILE", env = "PETMAIL_RENDEZVOUS_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key
    #[arg(long, value_name = "FILE", env = "PETMAIL_RENDEZVOUS_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Make a certificate at first start and keep it; clients have to know its pin
    #[arg(long, env = "PETMAIL_RENDEZVOUS_SELF_SIGNED", value_parser = FalseyValueParser::new(), conflicts_with = "tls_cert")]
    pub self_signed: bool,
    /// No TLS: for loopback (where it is the default), behind a proxy, or an onion service
    #[arg(long, env = "PETMAIL_RENDEZVOUS_PLAIN_HTTP", value_parser = FalseyValueParser::new(), conflicts_with_all = ["tls_cert", "self_signed"])]
    pub plain_http: bool,
    /// Get a certificate of a public authority, and renew it: the authority reaches the domain at port 443
    #[arg(long, env = "PETMAIL_RENDEZVOUS_ACME", value_parser = FalseyValueParser::new(), requires = "acme_domain", conflicts_with_all = ["tls_cert", "self_signed", "plain_http"])]
    pub acme: bool,
    /// The name that the certificate is for
    #[arg(long, value_name = "NAME", env = "PETMAIL_RENDEZVOUS_ACME_DOMAIN")]
    pub acme_domain: Option<String>,
    /// Whom the authority may write to
    #[arg(long, value_name = "MAIL", env = "PETMAIL_RENDEZVOUS_ACME_CONTACT")]
    pub acme_contact: Option<String>,
    /// The authority's directory [default: Let's Encrypt]
    #[arg(long, value_name = "URL", env = "PETMAIL_RENDEZVOUS_ACME_DIRECTORY")]
    pub acme_directory: Option<String>,
    /// Certificate that vouches for the authority's own server, PEM [default: those that this system trusts]
    #[arg(long, value_name = "FILE", env = "PETMAIL_RENDEZVOUS_ACME_ROOT")]
    pub acme_root: Option<PathBuf>,
    /// Reverse proxy whose X-Forwarded-For is believed; may be repeated
    #[arg(long, value_name = "ADDR[/PREFIX]", env = "PETMAIL_RENDEZVOUS_TRUSTED_PROXY", value_delimiter = ',', value_parser = AddressRange::from_str)]
    pub trusted_proxy: Vec<AddressRange>,
    /// Name clients' addresses in log lines
    #[arg(long, env = "PETMAIL_RENDEZVOUS_LOG_ADDRESSES", value_parser = FalseyValueParser::new())]
    pub log_addresses: bool,
    /// Serve metrics there, for Prometheus [default: only on the administration socket]
    #[arg(long, value_name = "ADDR:PORT", env = "PETMAIL_RENDEZVOUS_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// News that every client shows to its user
    #[arg(long, value_name = "TEXT", env = "PETMAIL_RENDEZVOUS_MOTD")]
    pub motd: Option<String>,
    /// Ask clients for a hashcash stamp of this many bits (1 to 24)
    #[arg(long, value_name = "BITS", env = "PETMAIL_RENDEZVOUS_HASHCASH")]
    pub hashcash: Option<u32>,
    /// Ask for a stamp of this many bits while the server is busy (1 to 24)
    #[arg(long, value_name = "BITS", env = "PETMAIL_RENDEZVOUS_HASHCASH_WHEN_BUSY")]
    pub hashcash_when_busy: Option<u32>,
    /// Serve only this application; may be repeated [default: all]
    #[arg(long, value_name = "ID", num_args = 1.., env = "PETMAIL_RENDEZVOUS_ALLOW_APPID", value_delimiter = ',')]
    pub allow_appid: Vec<String>,
    /// How long an unfinished exchange is kept while nobody works on it [default: 24h]
    #[arg(long, value_name = "PERIOD", env = "PETMAIL_RENDEZVOUS_EXPIRE")]
    pub expire: Option<Period>,
    /// Tell clients the nameplates in use when they ask
    #[arg(long, env = "PETMAIL_RENDEZVOUS_ALLOW_LIST", value_parser = FalseyValueParser::new())]
    pub allow_list: bool,
    /// Bounds of what clients may do
    #[arg(skip)]
    pub limits: Limits,
    /// Bounds of the network side
    #[arg(skip)]
    pub network: server::Limits,
}

/// The settings, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything that the server keeps lies.
    pub basedir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it protects connections.
    pub tls: TlsMode,
    /// What clients may do.
    pub policy: Policy,
    /// Bounds of the network side.
    pub network: server::Limits,
    /// Who speaks for others, and whether addresses are logged.
    pub peers: server::Peers,
    /// Where metrics are served beside the administration socket.
    pub metrics_listen: Option<SocketAddr>,
}

/// Settings that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a length of time.
    #[error("{0:?} is no length of time such as 24h or 7d")]
    Period(String),
    /// The configuration file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("{}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<toml::de::Error>,
    },
    /// Neither TLS nor its absence was chosen, on an address that others can reach.
    #[error(
        "choose --tls-cert and --tls-key, --acme, --self-signed, or --plain-http for {0}, which others can reach"
    )]
    NoTlsMode(SocketAddr),
    /// Two ways to protect connections were chosen.
    #[error(
        "tls-cert with tls-key, acme, self-signed and plain-http exclude each other, and the first two belong together"
    )]
    TlsModes,
    /// It is not said whom the certificate is for.
    #[error("acme needs acme-domain: the name by which others reach this server")]
    NoAcmeDomain,
    /// The number of bits makes no sense.
    #[error("hashcash takes 1 to {MAX_BITS} bits")]
    HashcashBits,
    /// An appid is not one.
    #[error("allow-appid: {0}")]
    AppId(#[from] petmail_proto::invitation::wormhole::FieldError),
    /// The limits of a mailbox exceed what can be deleted in one commit.
    #[error("limits: a mailbox may keep at most 256 messages and 4194304 bytes")]
    MailboxLimits,
}

impl Settings {
    /// Completes these settings by the basedir's configuration file, if there is one, and the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] says which setting cannot be used.
    pub fn resolve(self, basedir: PathBuf) -> Result<Config, ConfigError> {
        let settings = self.or(read_file(&basedir.join(CONFIG_FILE))?);
        let listen = settings.listen.unwrap_or(DEFAULT_LISTEN);
        let tls = settings.tls_mode(listen, &basedir)?;
        let network = settings.network.clone();
        let peers = server::Peers {
            trusted_proxies: settings.trusted_proxy.clone(),
            log_addresses: settings.log_addresses,
        };
        let metrics_listen = settings.metrics_listen;
        Ok(Config { tls, policy: settings.policy()?, basedir, listen, network, peers, metrics_listen })
    }

    /// Each setting from here, else from there.
    fn or(self, file: Self) -> Self {
        let has_tls = self.tls_cert.is_some() || self.self_signed || self.plain_http || self.acme;
        let tls = if has_tls { &self } else { &file };
        Self {
            tls_cert: tls.tls_cert.clone(),
            tls_key: tls.tls_key.clone(),
            self_signed: tls.self_signed,
            plain_http: tls.plain_http,
            acme: tls.acme,
            acme_domain: self.acme_domain.or(file.acme_domain),
            acme_contact: self.acme_contact.or(file.acme_contact),
            acme_directory: self.acme_directory.or(file.acme_directory),
            acme_root: self.acme_root.or(file.acme_root),
            listen: self.listen.or(file.listen),
            trusted_proxy: if self.trusted_proxy.is_empty() {
                file.trusted_proxy
            } else {
                self.trusted_proxy
            },
            log_addresses: self.log_addresses || file.log_addresses,
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            motd: self.motd.or(file.motd),
            hashcash: self.hashcash.or(file.hashcash),
            hashcash_when_busy: self.hashcash_when_busy.or(file.hashcash_when_busy),
            allow_appid: if self.allow_appid.is_empty() { file.allow_appid } else { self.allow_appid },
            expire: self.expire.or(file.expire),
            allow_list: self.allow_list || file.allow_list,
            limits: file.limits,
            network: file.network,
        }
    }

    fn tls_mode(&self, listen: SocketAddr, basedir: &Path) -> Result<TlsMode, ConfigError> {
        if self.acme {
            let others = self.tls_cert.is_some() || self.tls_key.is_some() || self.self_signed;
            return match &self.acme_domain {
                Some(domain) if !others && !self.plain_http => Ok(TlsMode::Acme(AcmeSettings {
                    domain: domain.clone(),
                    contact: self.acme_contact.clone(),
                    directory: self.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
                    root: self.acme_root.clone(),
                    dir: basedir.join(ACME_DIR),
                })),
                Some(_) => Err(ConfigError::TlsModes),
                None => Err(ConfigError::NoAcmeDomain),
            };
        }
        let names = || vec![listen.ip().to_string(), "localhost".to_owned()];
        match (&self.tls_cert, &self.tls_key, self.self_signed, self.plain_http) {
            (Some(cert), Some(key), false, false) => {
                Ok(TlsMode::CertFiles { cert: cert.clone(), key: key.clone() })
            }
            (None, None, true, false) => Ok(TlsMode::SelfSigned { dir: basedir.to_owned(), names: names() }),
            (None, None, false, true) => Ok(TlsMode::PlainHttp),
            (None, None, false, false) if listen.ip().is_loopback() => Ok(TlsMode::PlainHttp),
            (None, None, false, false) => Err(ConfigError::NoTlsMode(listen)),
            _ => Err(ConfigError::TlsModes),
        }
    }

    fn policy(self) -> Result<Policy, ConfigError> {
        let asked = [self.hashcash, self.hashcash_when_busy];
        if asked.into_iter().flatten().any(|bits| !(1..=MAX_BITS).contains(&bits)) {
            return Err(ConfigError::HashcashBits);
        }
        if !self.limits.mailbox_is_deletable() {
            return Err(ConfigError::MailboxLimits);
        }
        let allowed: Result<BTreeSet<_>, _> = self.allow_appid.into_iter().map(AppId::new).collect();
        Ok(Policy {
            motd: self.motd,
            hashcash_bits: self.hashcash,
            busy_hashcash_bits: self.hashcash_when_busy,
            allowed_appids: allowed?,
            allow_list: self.allow_list,
            retention: self.expire.map_or(DEFAULT_RETENTION, |Period(length)| length),
            limits: self.limits,
        })
    }
}

/// What a server of this basedir would allow its clients, as far as its configuration file says.
///
/// # Errors
/// [`ConfigError`] says what is wrong with the file.
pub fn load_policy(basedir: &Path) -> Result<Policy, ConfigError> {
    read_file(&basedir.join(CONFIG_FILE))?.policy()
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
    };
    toml::from_str(&text)
        .map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(settings: Settings, file: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), file).unwrap();
        settings.resolve(dir.path().to_owned())
    }

    #[test]
    fn defaults() {
        let config = resolve(Settings::default(), "").unwrap();
        assert_eq!(config.listen, DEFAULT_LISTEN);
        assert_eq!(config.tls, TlsMode::PlainHttp);
        assert_eq!(config.policy.retention, Duration::from_secs(86_400));
        assert!(!config.policy.allow_list);
        assert!(config.policy.allowed_appids.is_empty());
    }

    /// The shipped example names every key, and its values are the defaults.
    #[test]
    fn the_example_is_the_defaults() {
        let text = include_str!("../../../deploy/petmail-rendezvous.toml");
        let uncommented: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("#! ").unwrap_or(line)).collect();
        let example: Settings = toml::from_str(&uncommented.join("\n")).unwrap();
        assert_eq!(example.limits, Limits::default());
        assert_eq!(example.network, server::Limits::default());
        assert_eq!(example.listen, Some(DEFAULT_LISTEN));
        assert_eq!(example.expire, Some(Period(DEFAULT_RETENTION)));
        let keys = |table: &toml::Table| table.keys().cloned().collect::<BTreeSet<_>>();
        let table: toml::Table = toml::from_str(&uncommented.join("\n")).unwrap();
        let limits = toml::Table::try_from(Limits::default()).unwrap();
        assert_eq!(keys(table["limits"].as_table().unwrap()), keys(&limits));
        let network = toml::Table::try_from(server::Limits::default()).unwrap();
        assert_eq!(keys(table["network"].as_table().unwrap()), keys(&network));
        let options = <Settings as Args>::augment_args(clap::Command::new("serve"));
        let options = options.get_arguments().filter_map(|it| it.get_long()).map(str::to_owned);
        let named = keys(&table).into_iter().filter(|key| key != "limits" && key != "network");
        assert_eq!(named.collect::<BTreeSet<_>>(), options.collect());
        resolve(Settings::default(), text).unwrap();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "motd = 'file'\nhashcash = 5\nhashcash-when-busy = 9\nallow-list = true\nexpire = '7d'\nallow-appid = ['a']\n\
                    trusted-proxy = ['::1', '10.0.0.0/8']\nlog-addresses = true\nmetrics-listen = '127.0.0.1:0'\n\
                    [limits]\nmailboxes = 3\n[network]\nmax_connections = 7\n";
        let flags = Settings { motd: Some("flag".to_owned()), ..Settings::default() };
        let config = resolve(flags, file).unwrap();
        assert_eq!(config.policy.motd.as_deref(), Some("flag"));
        assert_eq!(config.policy.hashcash_bits, Some(5));
        assert_eq!(config.policy.busy_hashcash_bits, Some(9));
        assert!(config.policy.allow_list);
        assert_eq!(config.policy.retention, Duration::from_secs(7 * 86_400));
        assert_eq!(config.policy.limits.mailboxes, 3);
        assert_eq!(config.network.max_connections.get(), 7);
        assert_eq!(config.policy.allowed_appids.len(), 1);
        assert_eq!(config.peers.trusted_proxies.len(), 2);
        assert!(config.peers.log_addresses && config.metrics_listen.is_some());
    }

    #[test]
    fn one_fault_each() {
        for file in [
            "colour = 'blue'",
            "[limits]\nmailboxen = 3",
            "[limits]\nmessages_per_mailbox = 257",
            "[limits]\nping_interval_seconds = 0",
            "hashcash = 0",
            "hashcash = 25",
            "hashcash-when-busy = 25",
            "expire = 'soon'",
            "expire = '0s'",
            "expire = '-1h'",
            "expire = '2 months'",
            "allow-appid = ['']",
            "trusted-proxy = ['proxy.example']",
            "metrics-listen = '9602'",
            "tls-cert = 'a'",
            "self-signed = true\nplain-http = true",
            "listen = '0.0.0.0:0'",
        ] {
            assert!(resolve(Settings::default(), file).is_err(), "{file}");
        }
        assert!(resolve(Settings::default(), "listen = '0.0.0.0:0'\nplain-http = true").is_ok());
    }
}
