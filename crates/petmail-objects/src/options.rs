//! What there is to say about each kind of service.

use std::collections::BTreeMap;

use crate::{Account, ServiceKind};

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

    /// Returns what a secret would be, if there may be one.
    #[must_use]
    pub const fn possible_secret(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("secret access key"),
            Self::Webdav => Some("password"),
            Self::Sftp | Self::Fs => None,
        }
    }

    /// Returns what the secret is, if there has to be one.
    #[must_use]
    pub fn secret(self, options: &BTreeMap<String, String>) -> Option<&'static str> {
        let has_one = self != Self::Webdav || options.contains_key("username");
        self.possible_secret().filter(|_| has_one)
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
}
