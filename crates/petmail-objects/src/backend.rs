//! What speaks with a service: the library for most kinds, an SFTP client over `ssh` for one.

mod library;
mod sftp;
mod ssh;

use std::{ops::Range, path::Path, time::Duration};

use bytes::Bytes;
use futures::stream::BoxStream;
use opendal::services;
use petmail_net::client::{TargetUrl, UrlPolicy};

use self::{library::Library, sftp::Sftp, ssh::Destination};
use crate::{Account, ObjectError, ServiceKind, Way};

/// Bytes as they come.
pub(crate) type Incoming = BoxStream<'static, Result<Bytes, ObjectError>>;

/// Where an object is: a folder that ends with `/`, or nothing, and a name; below the folder or prefix that was chosen.
pub(crate) type ObjectPath = str;

/// An open service.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// S3, WebDAV and folders.
    Library(Library),
    /// SFTP.
    Sftp(Sftp),
}

impl Backend {
    /// Opens a service, and returns its address, for people; nobody is asked yet.
    ///
    /// # Errors
    /// [`ObjectError::Refused`]: an option is wrong.
    pub(crate) fn open(account: &Account, way: &Way) -> Result<(Self, String), ObjectError> {
        account.check().map_err(ObjectError::Refused)?;
        let option = |name: &str| account.options.get(name).map_or("", String::as_str);
        let secret = account.secret.as_ref().map_or("", |secret| secret.expose());
        let is_private = way.may_be_private;
        let library = |builder| Library::open(builder, way).map(Self::Library);
        match account.kind {
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
                Ok((library(opendal::Operator::new(s3))?, address))
            }
            ServiceKind::Webdav => {
                check_url(option("url"), is_private)?;
                let webdav = services::Webdav::default().endpoint(option("url"));
                let webdav = if option("username").is_empty() {
                    webdav
                } else {
                    webdav.username(option("username")).password(secret)
                };
                Ok((library(opendal::Operator::new(webdav))?, option("url").to_owned()))
            }
            ServiceKind::Sftp => {
                let destination = Destination::new(option)?;
                if way.has_proxy {
                    return Err(ObjectError::Refused(
                        "ssh would go around the proxy that this node is set to: use another kind of service"
                            .to_owned(),
                    ));
                }
                let folder = option("folder");
                let address = format!("{destination}{folder}");
                Ok((Self::Sftp(Sftp::new(destination, folder)), address))
            }
            ServiceKind::Fs => {
                let path = Path::new(option("path"));
                if !path.is_absolute() || !path.is_dir() {
                    return Err(ObjectError::Refused(format!(
                        "{} is no folder with an absolute path",
                        path.display()
                    )));
                }
                let folder = services::Fs::default().root(option("path"));
                Ok((library(opendal::Operator::new(folder))?, option("path").to_owned()))
            }
        }
    }

    /// Whether it signs links for others.
    pub(crate) fn has_links(&self) -> bool {
        match self {
            Self::Library(library) => library.has_links(),
            Self::Sftp(_) => false,
        }
    }

    /// Stores an object: whole, or not at all; what was there is replaced.
    pub(crate) async fn put(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), ObjectError> {
        match self {
            Self::Library(library) => library.put(path, bytes).await,
            Self::Sftp(sftp) => sftp.put(path, bytes).await,
        }
    }

    /// Returns an object's length, in bytes.
    pub(crate) async fn length(&self, path: &ObjectPath) -> Result<u64, ObjectError> {
        match self {
            Self::Library(library) => library.length(path).await,
            Self::Sftp(sftp) => sftp.length(path).await,
        }
    }

    /// Reads a part of an object, in bytes.
    pub(crate) async fn read(&self, path: &ObjectPath, part: Range<u64>) -> Result<Incoming, ObjectError> {
        match self {
            Self::Library(library) => library.read(path, part).await,
            Self::Sftp(sftp) => sftp.read(path, part).await,
        }
    }

    /// Deletes an object; one that is gone already is no error.
    pub(crate) async fn delete(&self, path: &ObjectPath) -> Result<(), ObjectError> {
        match self {
            Self::Library(library) => library.delete(path).await,
            Self::Sftp(sftp) => sftp.delete(path).await,
        }
    }

    /// Returns the names of what is in a folder; one that is not there has nothing in it.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let listed = match self {
            Self::Library(library) => library.list(folder).await,
            Self::Sftp(sftp) => sftp.list(folder).await,
        };
        match listed {
            Err(ObjectError::Gone) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Signs a link that is good for a time; see [`has_links`](Self::has_links).
    pub(crate) async fn sign(&self, path: &ObjectPath, life: Duration) -> Result<String, ObjectError> {
        match self {
            Self::Library(library) => library.sign(path, life).await,
            Self::Sftp(_) => Err(ObjectError::Refused("SFTP has no links".to_owned())),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
