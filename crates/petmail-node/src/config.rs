//! The node's configuration, `config.toml` in the basedir: what it may say, its defaults, and the commented file that
//! `create-node` writes. Knows nothing of the command line. Source: `docs/operating.md`, "The node's configuration".

mod change;
mod template;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use url::Url;

pub(crate) use self::change::{ChangeError, change};

/// The rendezvous server of magic-wormhole's authors, open to everybody.
const PUBLIC_RENDEZVOUS: &str = "ws://relay.magic-wormhole.io:4000/v1";

/// Longest display name in bytes: it travels in every introduction, and a peer refuses longer ones.
pub const MAX_NAME_BYTES: usize = 256;

/// The rendezvous server of a node whose owner names none: the packager's choice, else the public one.
#[must_use]
pub fn default_rendezvous() -> &'static str {
    option_env!("PETMAIL_DEFAULT_RENDEZVOUS").unwrap_or(PUBLIC_RENDEZVOUS)
}

/// Tells whether the rendezvous server at `url` is known to forget codes when both people are away.
#[must_use]
pub fn forgets_codes(url: &str) -> bool {
    url == PUBLIC_RENDEZVOUS
}

/// What a node's owner has chosen. Every key is optional; unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name that new contacts are sent; may be empty.
    pub name: String,
    /// The rendezvous server, `ws://` or `wss://`.
    pub rendezvous: String,
    /// Where the control API listens: a loopback address. Port 0 is chosen once, at the first start.
    pub listen: SocketAddr,
    /// How much is given up for less to be observed.
    pub privacy: Privacy,
    /// Whether contacts are told what was read.
    pub read_receipts: bool,
    /// Whether each mailbox of a contact gets a copy of a message, and not only the first that works.
    pub copies_everywhere: bool,
    /// Whether mailbox addresses learnt from contacts may lead into this machine's own networks.
    pub allow_private_transports: bool,
    /// Where fetched files go unless somebody says otherwise, an absolute path; the user's folder for downloads if none.
    pub download_folder: Option<String>,
    /// The SOCKS5 proxy (Tor) that every connection goes through, `HOST:PORT`.
    pub socks5: Option<String>,
    /// The mailbox that runs inside the node, for owners with a reachable address.
    pub local_mailbox: Option<LocalMailbox>,
}

/// How much is given up for less to be observed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// Acknowledgements follow within seconds.
    #[default]
    Normal,
    /// Acknowledgements are delayed more, so that they say less about when a person reads.
    High,
}

/// A mailbox that runs inside the node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalMailbox {
    /// The name or address under which the contacts reach this machine.
    pub hostname: String,
    /// Where the mailbox listens. Port 0 is chosen once, at the first start.
    #[serde(default = "default_mailbox_listen")]
    pub listen: SocketAddr,
}

/// Returns where a local mailbox listens unless its owner says otherwise: every address, a port of the system's choice.
#[must_use]
pub fn default_mailbox_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            rendezvous: default_rendezvous().to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            privacy: Privacy::Normal,
            read_receipts: false,
            copies_everywhere: false,
            allow_private_transports: false,
            download_folder: None,
            socks5: None,
            local_mailbox: None,
        }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, has an unknown key, or a value that makes no sense.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text =
            fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| LoadError::Content { path: path.to_owned(), source })
    }

    /// Reads and checks the text of a configuration file.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| explain(text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// Returns the text of a configuration file that says this, every key explained.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        template::render(self)
    }

    /// Returns where fetched files go unless somebody says otherwise; empty if the system has no place for them.
    #[must_use]
    pub fn downloads(&self) -> String {
        let usual = || {
            let folder = dirs::download_dir().or_else(|| Some(dirs::home_dir()?.join("Downloads")))?;
            folder.into_os_string().into_string().ok()
        };
        self.download_folder.clone().or_else(usual).unwrap_or_default()
    }

    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// A value makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_name(&self.name)?;
        check_rendezvous(&self.rendezvous)?;
        if !self.listen.ip().is_loopback() {
            return Err(ConfigError::NotLoopback(self.listen.ip()));
        }
        if let Some(folder) = &self.download_folder
            && !Path::new(folder).is_absolute()
        {
            return Err(ConfigError::DownloadFolder(folder.clone()));
        }
        if let Some(proxy) = &self.socks5 {
            check_host_port(proxy)?;
        }
        match &self.local_mailbox {
            Some(mailbox) => check_hostname(&mailbox.hostname),
            None => Ok(()),
        }
    }
}

fn explain(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    ConfigError::Toml { line: before.split('\n').count(), message: error.message().to_owned() }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(ConfigError::Name);
    }
    Ok(())
}

fn check_rendezvous(text: &str) -> Result<(), ConfigError> {
    let refused = || ConfigError::Rendezvous(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "ws" | "wss") || url.host().is_none() || !plain {
        return Err(refused());
    }
    Ok(())
}

fn check_host_port(text: &str) -> Result<(), ConfigError> {
    let refused = || ConfigError::Socks5(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
    let port: u16 = port.parse().map_err(|_| refused())?;
    if port == 0 || url::Host::parse(host).is_err() {
        return Err(refused());
    }
    Ok(())
}

fn check_hostname(text: &str) -> Result<(), ConfigError> {
    match url::Host::parse(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(ConfigError::Hostname(text.to_owned())),
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}: {source}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfigError,
    },
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No TOML, an unknown key, or a value of the wrong kind.
    #[error("line {line}: {message}")]
    Toml {
        /// Where, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The display name is too long or would disturb a terminal.
    #[error("the name has more than {MAX_NAME_BYTES} bytes or a control character")]
    Name,
    /// The rendezvous server's address is none.
    #[error("`{0}` is no rendezvous address of the form ws://HOST[:PORT]/v1 or wss://HOST[:PORT]/v1")]
    Rendezvous(String),
    /// The control API would be open to the network, without encryption.
    #[error("the control API listens on loopback addresses only, and {0} is none")]
    NotLoopback(IpAddr),
    /// The folder for fetched files is relative to nothing.
    #[error("`{0}` is no absolute path of a folder")]
    DownloadFolder(String),
    /// The proxy's address is none.
    #[error("`{0}` is no proxy address of the form HOST:PORT")]
    Socks5(String),
    /// The local mailbox's name is no host name.
    #[error("`{0}` is no host name or address")]
    Hostname(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_file_says_what_was_chosen() {
        let chosen = Config {
            name: "Zoë \"Z\" \\ 🐈".to_owned(),
            rendezvous: "wss://rendezvous.example/v1".to_owned(),
            listen: "[::1]:4321".parse().unwrap(),
            privacy: Privacy::High,
            read_receipts: true,
            copies_everywhere: true,
            allow_private_transports: true,
            download_folder: Some("/home/zoë/new".to_owned()),
            socks5: Some("127.0.0.1:9050".to_owned()),
            local_mailbox: Some(LocalMailbox {
                hostname: "home.example".to_owned(),
                listen: "0.0.0.0:8443".parse().unwrap(),
            }),
        };
        assert_eq!(Config::parse(&chosen.to_commented_toml()).unwrap(), chosen);
        assert_eq!(Config::parse(&Config::default().to_commented_toml()).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_written_file_names_every_key() {
        let text = Config::default().to_commented_toml();
        let full = Config {
            download_folder: Some("/d".to_owned()),
            socks5: Some("h:1".to_owned()),
            local_mailbox: Some(LocalMailbox { hostname: "h".to_owned(), listen: default_mailbox_listen() }),
            ..Config::default()
        };
        let table = toml::Table::try_from(&full).unwrap();
        for key in table.keys() {
            assert!(text.contains(&format!("{key} = ")) || text.contains(&format!("[{key}]")), "{key}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for text in
            ["colour = \"red\"", "[local_mailbox]\nhostname = \"h\"\ncolour = 1", "[colour]\nred = true"]
        {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains("colour"), "{error}");
        }
        let error = Config::parse("name = \"\"\n\ncolour = 1\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: unknown field"), "{error}");
    }

    #[test]
    fn senseless_values_are_refused() {
        for text in [
            "name = \"a\\nb\"",
            "rendezvous = \"https://rendezvous.example/v1\"",
            "rendezvous = \"relay\"",
            "rendezvous = \"ws://user:word@rendezvous.example/v1\"",
            "listen = \"192.0.2.1:80\"",
            "listen = \"0.0.0.0:0\"",
            "listen = \"localhost\"",
            "privacy = \"extreme\"",
            "download_folder = \"Downloads\"",
            "socks5 = \"127.0.0.1\"",
            "socks5 = \"127.0.0.1:0\"",
            "socks5 = \"a b:9050\"",
            "[local_mailbox]\nhostname = \"a b\"",
            "[local_mailbox]\nlisten = \"0.0.0.0:1\"",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        let long = Config { name: "x".repeat(MAX_NAME_BYTES + 1), ..Config::default() };
        assert!(matches!(long.check(), Err(ConfigError::Name)));
    }
}
