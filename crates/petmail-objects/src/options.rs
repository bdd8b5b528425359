//! What there is to say about each kind of service, and what opens it.

use std::{collections::BTreeMap, path::Path};

use opendal::{Operator, services};
use petmail_net::client::{TargetUrl, UrlPolicy};

use crate::{Account, ObjectError, ServiceKind, Way};

/// An option of a kind of service.
struct Known {
    name: &'static str,
    is_needed: bool,
    what: &'static str,
}

const fn needed(name: &'static str, what: &'static str) -> Known {
    Known { name, is_needed: true, what }
}

const fn allowed(name: &'static str, what: &'static str) -> Known {
    Known { name, is_needed: false, what }
}

const S3: &[Known] = &[
    needed("bucket", "the bucket's name"),
    needed("access_key_id", "the name of the key"),
    allowed("endpoint", "the service's URL; Amazon's, unless told otherwise"),
    allowed("region", "as the service names it; us-east-1 unless told otherwise"),
    allowed("prefix", "a folder in the bucket"),
];
const WEBDAV: &[Known] = &[needed("url", "the folder's URL"), allowed("username", "the account")];
const SFTP: &[Known] = &[
    needed("host", "ssh://HOST or ssh://HOST:PORT"),
    needed("user", "the account"),
    needed("folder", "an absolute path there"),
    allowed("key", "the file of the private key, on this machine; without it ssh chooses"),
    allowed("known_hosts", "`strict`, or `add` to trust the host's key when it is first seen"),
];
const FS: &[Known] = &[needed("path", "an absolute path")];

impl ServiceKind {
    fn known(self) -> &'static [Known] {
        match self {
            Self::S3 => S3,
            Self::Webdav => WEBDAV,
            Self::Sftp => SFTP,
            Self::Fs => FS,
        }
    }

    /// Returns what the secret is, if there has to be one.
    #[must_use]
    pub fn secret(self, options: &BTreeMap<String, String>) -> Option<&'static str> {
        match self {
            Self::S3 => Some("secret access key"),
            Self::Webdav if options.contains_key("username") => Some("password"),
            Self::Webdav | Self::Sftp | Self::Fs => None,
        }
    }

    /// Returns what to call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Webdav => "webdav",
            Self::Sftp => "sftp",
            Self::Fs => "fs",
        }
    }
}

impl Account {
    /// Checks its options.
    ///
    /// # Errors
    /// What is wrong with them, and which there are, for people.
    pub fn check(&self) -> Result<(), String> {
        let known = self.kind.known();
        let list = || {
            known
                .iter()
                .map(|option| format!("{} ({})", option.name, option.what))
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(foreign) =
            self.options.keys().find(|name| known.iter().all(|option| option.name != *name))
        {
            return Err(format!("{} has no option {foreign}; it has: {}", self.kind.name(), list()));
        }
        let is_there = |option: &Known| self.options.get(option.name).is_some_and(|value| !value.is_empty());
        if let Some(missing) = known.iter().find(|option| option.is_needed && !is_there(option)) {
            return Err(format!("{} needs the option {} ({})", self.kind.name(), missing.name, missing.what));
        }
        match (self.kind.secret(&self.options), &self.secret) {
            (Some(what), None) => Err(format!("{} needs a {what}", self.kind.name())),
            (None, Some(_)) => Err(format!("{} takes no secret with these options", self.kind.name())),
            _ => Ok(()),
        }
    }
}

/// Opens a service, and returns its address, for people.
///
/// # Errors
/// [`ObjectError::Refused`]: an option is wrong.
pub(crate) fn open(account: &Account, way: &Way) -> Result<(Operator, String), ObjectError> {
    account.check().map_err(ObjectError::Refused)?;
    let option = |name: &str| account.options.get(name).map_or("", String::as_str);
    let secret = account.secret.as_ref().map_or("", |secret| secret.expose());
    let is_private = way.may_be_private;
    let (built, address) = match account.kind {
        ServiceKind::S3 => {
            let region = if option("region").is_empty() { "us-east-1" } else { option("region") };
            let endpoint = match option("endpoint") {
                "" => format!("https://s3.{region}.amazonaws.com"),
                given => given.to_owned(),
            };
            check_url(&endpoint, is_private)?;
            let s3 = services::S3::default().endpoint(&endpoint).region(region).bucket(option("bucket"));
            let s3 = s3.root(&format!("/{}", option("prefix"))).access_key_id(option("access_key_id"));
            // Nothing but what was given counts: not this machine's environment, and not its cloud.
            let s3 = s3.secret_access_key(secret).disable_config_load().disable_ec2_metadata();
            let address = format!("{}/{}", endpoint.trim_end_matches('/'), option("bucket"));
            (Operator::new(s3), address)
        }
        ServiceKind::Webdav => {
            check_url(option("url"), is_private)?;
            let webdav = services::Webdav::default().endpoint(option("url"));
            let webdav = if option("username").is_empty() {
                webdav
            } else {
                webdav.username(option("username")).password(secret)
            };
            (Operator::new(webdav), option("url").to_owned())
        }
        ServiceKind::Sftp => {
            let strategy = if option("known_hosts").is_empty() { "strict" } else { option("known_hosts") };
            if !["strict", "add"].contains(&strategy) {
                return Err(ObjectError::Refused("known_hosts is strict or add".to_owned()));
            }
            check_ssh(option("host"), option("user"), option("folder"), option("key"))?;
            if way.has_proxy {
                return Err(ObjectError::Refused(
                    "ssh would go around the proxy that this node is set to: use another kind of service"
                        .to_owned(),
                ));
            }
            let sftp = services::Sftp::default().endpoint(option("host")).user(option("user"));
            let sftp = sftp.root(option("folder")).known_hosts_strategy(strategy);
            let sftp = if option("key").is_empty() { sftp } else { sftp.key(option("key")) };
            (Operator::new(sftp), format!("{}@{}:{}", option("user"), option("host"), option("folder")))
        }
        ServiceKind::Fs => {
            let path = Path::new(option("path"));
            if !path.is_absolute() || !path.is_dir() {
                return Err(ObjectError::Refused(format!(
                    "{} is no folder with an absolute path",
                    path.display()
                )));
            }
            (Operator::new(services::Fs::default().root(option("path"))), option("path").to_owned())
        }
    };
    let operator = built.map_err(|error| ObjectError::Refused(error.to_string()))?;
    Ok((operator, address))
}

/// Secrets would be seen on an open line.
fn check_url(url: &str, may_be_private: bool) -> Result<(), ObjectError> {
    let parsed = TargetUrl::parse(url, UrlPolicy::AllowPrivate);
    if parsed.is_ok() && (may_be_private || url.starts_with("https://")) {
        return Ok(());
    }
    Err(ObjectError::Refused(format!(
        "{url} is no address of a service: it begins with https://, and has no user name, query or fragment in it"
    )))
}

/// What `ssh` gets is nothing that it could take for an option.
fn check_ssh(host: &str, user: &str, folder: &str, key: &str) -> Result<(), ObjectError> {
    let refused = |what: &str| Err(ObjectError::Refused(what.to_owned()));
    let is_plain = |text: &str| {
        !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c))
    };
    if !host.strip_prefix("ssh://").is_some_and(|host| !host.is_empty() && is_plain(host)) {
        return refused("the host is ssh://HOST or ssh://HOST:PORT");
    }
    if !is_plain(user) {
        return refused("the user is the name of an account");
    }
    if !folder.starts_with('/') || !(key.is_empty() || key.starts_with('/')) {
        return refused("folder and key are absolute paths");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn service(kind: ServiceKind, options: &[(&str, &str)], secret: Option<&str>) -> Account {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Account { kind, options, secret: secret.map(|secret| Secret::new(secret.to_owned())) }
    }

    #[test]
    fn what_is_missing_or_foreign_is_named() {
        use ServiceKind::{Fs, S3, Sftp, Webdav};
        let s3 = [("bucket", "b"), ("access_key_id", "k")];
        for (good, problem) in [
            (service(S3, &s3, Some("s")), None),
            (service(S3, &s3, None), Some("needs a secret access key")),
            (service(S3, &s3[..1], Some("s")), Some("needs the option access_key_id")),
            (
                service(S3, &[("bucket", ""), ("access_key_id", "k")], Some("s")),
                Some("needs the option bucket"),
            ),
            (service(S3, &[s3[0], s3[1], ("bukket", "x")], Some("s")), Some("no option bukket")),
            (service(Webdav, &[("url", "u")], None), None),
            (service(Webdav, &[("url", "u"), ("username", "n")], None), Some("needs a password")),
            (service(Webdav, &[("url", "u")], Some("s")), Some("takes no secret")),
            (service(Sftp, &[("host", "h"), ("user", "u"), ("folder", "f")], None), None),
            (service(Sftp, &[("host", "h"), ("folder", "f")], None), Some("needs the option user")),
            (service(Fs, &[("path", "p")], None), None),
        ] {
            match (good.check(), problem) {
                (Ok(()), None) => {}
                (Err(said), Some(problem)) => assert!(said.contains(problem), "{said}"),
                (said, _) => panic!("{good:?}: {said:?}"),
            }
            assert!(!format!("{good:?}").contains("\"s\""));
        }
    }

    #[test]
    fn nothing_is_taken_for_an_option_of_ssh() {
        assert_eq!(check_ssh("ssh://nas.example.org:2222", "ann", "/srv", "/home/ann/key"), Ok(()));
        assert_eq!(check_ssh("ssh://[fe80::1]", "ann_b", "/srv", ""), Ok(()));
        for (host, user, folder, key) in [
            ("nas", "ann", "/srv", ""),
            ("ssh://", "ann", "/srv", ""),
            ("ssh://-oProxyCommand=x", "ann", "/srv", ""),
            ("ssh://nas -v", "ann", "/srv", ""),
            ("ssh://nas", "-l", "/srv", ""),
            ("ssh://nas", "ann@x", "/srv", ""),
            ("ssh://nas", "ann", "srv", ""),
            ("ssh://nas", "ann", "/srv", "-oX"),
        ] {
            assert!(check_ssh(host, user, folder, key).is_err(), "{host} {user} {folder} {key}");
        }
    }

    #[test]
    fn secrets_do_not_go_over_an_open_line() {
        for (url, may_be_private, is_good) in [
            ("https://dav.example.org/files", false, true),
            ("https://192.168.0.2/files", false, true),
            ("http://192.168.0.2/files", false, false),
            ("http://192.168.0.2/files", true, true),
            ("http://1.1.1.1/files", true, false),
            ("ftp://dav.example.org/files", true, false),
            ("https://ann:secret@dav.example.org/files", true, false),
        ] {
            assert_eq!(check_url(url, may_be_private).is_ok(), is_good, "{url}");
        }
    }
}
