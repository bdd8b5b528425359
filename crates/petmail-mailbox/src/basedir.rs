//! The folder that holds a server: where each file is, and how a new one is made.

use std::{
    io,
    path::{Path, PathBuf},
};

use petmail_net::{
    program::{create_private_dir, write_private_file},
    tls::{TlsError, ensure_self_signed},
};
use petmail_proto::{base_url::BaseUrl, keys::CertificatePin};
use rand_core::OsRng;

use crate::{
    config::{TlsChoice, host},
    identity::{Identity, IdentityError},
};

/// A server's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basedir(PathBuf);

/// Why a server cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is one already.
    #[error("{} already holds a mailbox server", .0.display())]
    Exists(PathBuf),
    /// What an import has left there may be half of a server.
    #[error("an import into {} was interrupted", .0.display())]
    HalfImported(PathBuf),
    /// The folder cannot be made or written.
    #[error("cannot make {}: {source}", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The keys cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate cannot be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Basedir {
    /// Names the folder; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes a server for clients that reach it at `url`: its keys and, for https, a self-signed certificate that `serve`
    /// uses unless it is given another.
    ///
    /// # Errors
    /// [`InitError`]; an existing server is never touched.
    pub fn init(&self, url: BaseUrl) -> Result<Identity, InitError> {
        self.init_as(url, None)
    }

    /// As [`init`](Self::init), for a server with these roles only.
    ///
    /// # Errors
    /// [`InitError`]; an existing server is never touched.
    pub fn init_as(&self, url: BaseUrl, roles: Option<Vec<String>>) -> Result<Identity, InitError> {
        if self.is_initialised() {
            return Err(InitError::Exists(self.0.clone()));
        }
        if self.is_half_imported() {
            return Err(InitError::HalfImported(self.0.clone()));
        }
        create_private_dir(&self.0).map_err(|source| InitError::Io { path: self.0.clone(), source })?;
        if url.is_https() {
            ensure_self_signed(&self.0, &[host(&url)])?;
        }
        let identity = Identity::generate(url, &mut OsRng);
        let identity = match roles {
            Some(roles) => identity.with_roles(roles),
            None => identity,
        };
        identity.store(&self.identity_file())?;
        Ok(identity)
    }

    /// Gives the server another role. It must not run; tells whether it did not have the role.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing is changed then.
    pub fn add_role(&self, role: &str) -> Result<bool, IdentityError> {
        let identity = Identity::load(&self.identity_file())?;
        if identity.roles().iter().any(|had| had == role) {
            return Ok(false);
        }
        let roles = identity.roles().iter().cloned().chain([role.to_owned()]).collect();
        identity.with_roles(roles).store(&self.identity_file())?;
        Ok(true)
    }

    /// Tells whether `init` has been here.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.identity_file().exists()
    }

    /// Returns the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the server's keys are.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.0.join("server.json")
    }

    /// Where the operator may configure it.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Where administration happens unless configured otherwise.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    /// Where the certificates are that the server gets itself.
    #[must_use]
    pub fn acme_dir(&self) -> PathBuf {
        self.0.join("acme")
    }

    /// Where accounts and messages are.
    #[must_use]
    pub fn queue_dir(&self) -> PathBuf {
        self.0.join("queue")
    }

    /// Where packs are.
    #[must_use]
    pub fn packs_dir(&self) -> PathBuf {
        self.0.join("packs")
    }

    /// Where an import makes a server before it moves it to its place.
    #[must_use]
    pub fn import_dir(&self) -> PathBuf {
        self.0.join(".import")
    }

    /// Tells whether an import was interrupted here.
    #[must_use]
    pub fn is_half_imported(&self) -> bool {
        !self.is_initialised() && self.import_dir().exists()
    }

    /// Tells whether a server can be imported here: nothing is lost by it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn can_import(&self) -> io::Result<bool> {
        if self.is_half_imported() {
            return Ok(true);
        }
        let entries = match self.0.read_dir() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            if name != "config.toml" && name != "lock" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the pin that offers need if the server is served with `tls`, making the certificate if it is missing.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn pin(&self, tls: &TlsChoice, url: &BaseUrl) -> Result<Option<CertificatePin>, TlsError> {
        if *tls != TlsChoice::SelfSigned {
            return Ok(None);
        }
        let pin = ensure_self_signed(&self.0, &[host(url)])?;
        Ok(Some(CertificatePin::from_bytes(*pin.as_bytes())))
    }

    /// Remembers how the server was last served, for offers that are made while it is stopped.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remember_tls(&self, tls: &TlsChoice) -> io::Result<()> {
        write_private_file(&self.tls_file(), tls.name().as_bytes())
    }

    /// Tells whether the server was last served with its self-signed certificate; `None` if it was never served.
    #[must_use]
    pub fn was_self_signed(&self) -> Option<bool> {
        let name = std::fs::read_to_string(self.tls_file()).ok()?;
        Some(name == TlsChoice::SelfSigned.name())
    }

    fn tls_file(&self) -> PathBuf {
        self.0.join("last-tls")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path().join("mailbox"));
        assert!(!basedir.is_initialised());
        let url: BaseUrl = "https://127.0.0.1:8443".parse().unwrap();
        let identity = basedir.init(url.clone()).unwrap();
        assert!(matches!(basedir.init(url.clone()), Err(InitError::Exists(_))));
        assert_eq!(Identity::load(&basedir.identity_file()).unwrap().public(), identity.public());
        let pin = basedir.pin(&TlsChoice::SelfSigned, &url).unwrap();
        assert!(pin.is_some());
        assert_eq!(basedir.pin(&TlsChoice::SelfSigned, &url).unwrap(), pin);
        assert_eq!(basedir.pin(&TlsChoice::PlainHttp, &url).unwrap(), None);
    }

    #[test]
    fn how_it_was_served_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path());
        assert_eq!(basedir.was_self_signed(), None);
        basedir.remember_tls(&TlsChoice::SelfSigned).unwrap();
        assert_eq!(basedir.was_self_signed(), Some(true));
        basedir.remember_tls(&TlsChoice::PlainHttp).unwrap();
        assert_eq!(basedir.was_self_signed(), Some(false));
    }
}
