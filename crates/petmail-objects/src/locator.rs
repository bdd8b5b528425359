//! An account as one URL, for programs that are set up by flags: everything but the secret.

use std::{collections::BTreeMap, str::FromStr};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{Account, ServiceKind};

/// The text names no account at a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocatorError {
    /// Its form is none of those that there are.
    #[error(
        "name the place as s3://KEY-ID@BUCKET[/PREFIX][?endpoint=URL&region=NAME], https://[USER@]HOST/FOLDER for WebDAV, sftp://USER@HOST[:PORT]/FOLDER[?key=FILE], or file:///FOLDER"
    )]
    Form,
    /// It has a password in it.
    #[error("a secret does not belong in the URL: everybody on this machine would see it")]
    Secret,
}

/// Takes an account from a URL; its secret is for the caller to add, and its options are checked when it is opened.
impl FromStr for Account {
    type Err = LocatorError;

    fn from_str(text: &str) -> Result<Self, LocatorError> {
        let url = Url::parse(text).map_err(|_| LocatorError::Form)?;
        if url.password().is_some() {
            return Err(LocatorError::Secret);
        }
        if url.fragment().is_some() {
            return Err(LocatorError::Form);
        }
        let (user, path) = (decoded(url.username())?, decoded(url.path())?);
        let host = url.host_str().unwrap_or_default();
        let (kind, options) = match url.scheme() {
            "s3" => {
                let prefix = path.trim_start_matches('/').to_owned();
                let named = [("bucket", host.to_owned()), ("access_key_id", user), ("prefix", prefix)];
                (ServiceKind::S3, options(&url, &["endpoint", "region"], named)?)
            }
            "https" | "http" => {
                let mut plain = url.clone();
                plain.set_username("").map_err(|()| LocatorError::Form)?;
                let named = [("url", plain.into()), ("username", user)];
                (ServiceKind::Webdav, options(&url, &[], named)?)
            }
            "sftp" => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let named = [("host", format!("ssh://{host}{port}")), ("user", user), ("folder", path)];
                (ServiceKind::Sftp, options(&url, &["key", "known_hosts"], named)?)
            }
            "file" if host.is_empty() => (ServiceKind::Fs, options(&url, &[], [("path", path)])?),
            _ => return Err(LocatorError::Form),
        };
        Ok(Self { kind, options, secret: None })
    }
}

/// The options that the URL names by its parts, and those in its query; empty ones are left out.
fn options<const N: usize>(
    url: &Url,
    allowed: &[&str],
    named: [(&str, String); N],
) -> Result<BTreeMap<String, String>, LocatorError> {
    let mut options = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        if ["secret", "password"].iter().any(|word| name.contains(word)) {
            return Err(LocatorError::Secret);
        }
        if !allowed.contains(&&*name) {
            return Err(LocatorError::Form);
        }
        options.insert(name.into_owned(), value.into_owned());
    }
    options.extend(named.map(|(name, value)| (name.to_owned(), value)));
    options.retain(|_, value| !value.is_empty());
    Ok(options)
}

fn decoded(part: &str) -> Result<String, LocatorError> {
    percent_decode_str(part).decode_utf8().map(Into::into).map_err(|_| LocatorError::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(ServiceKind, Vec<(String, String)>), LocatorError> {
        let account: Account = text.parse()?;
        assert_eq!(account.secret, None);
        Ok((account.kind, account.options.into_iter().collect()))
    }

    fn is(
        kind: ServiceKind,
        options: &[(&str, &str)],
    ) -> Result<(ServiceKind, Vec<(String, String)>), LocatorError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok((kind, options.iter().map(owned).collect()))
    }

    #[test]
    fn each_kind_has_a_url() {
        assert_eq!(
            parsed("s3://AKIA@petmail/of/mail?endpoint=http://127.0.0.1:9000&region=eu-1"),
            is(
                ServiceKind::S3,
                &[
                    ("access_key_id", "AKIA"),
                    ("bucket", "petmail"),
                    ("endpoint", "http://127.0.0.1:9000"),
                    ("prefix", "of/mail"),
                    ("region", "eu-1")
                ]
            )
        );
        assert_eq!(
            parsed("https://ann%40x@dav.example.org/files/a%20b"),
            is(ServiceKind::Webdav, &[("url", "https://dav.example.org/files/a%20b"), ("username", "ann@x")])
        );
        assert_eq!(
            parsed("sftp://ann@nas:2222/srv/a%20b?key=/home/ann/key"),
            is(
                ServiceKind::Sftp,
                &[
                    ("folder", "/srv/a b"),
                    ("host", "ssh://nas:2222"),
                    ("key", "/home/ann/key"),
                    ("user", "ann")
                ]
            )
        );
        assert_eq!(parsed("file:///mnt/nas"), is(ServiceKind::Fs, &[("path", "/mnt/nas")]));
    }

    #[test]
    fn secrets_and_other_texts_are_refused() {
        for text in [
            "s3://AKIA:secret@petmail",
            "https://ann:secret@dav.example.org/",
            "s3://AKIA@petmail?secret_access_key=x",
        ] {
            assert_eq!(parsed(text), Err(LocatorError::Secret), "{text}");
        }
        for text in [
            "",
            "petmail",
            "/mnt/nas",
            "ftp://nas/files",
            "file://nas/files",
            "s3://AKIA@petmail?acl=public",
            "https://dav.example.org/?x=y",
            "https://dav.example.org/#x",
        ] {
            assert_eq!(parsed(text), Err(LocatorError::Form), "{text}");
        }
    }
}
