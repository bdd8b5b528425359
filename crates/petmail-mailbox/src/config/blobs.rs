//! Where packs are kept.

use std::{env, fs, io, path::PathBuf, str::FromStr};

use petmail_net::client::{ClientError, ClientSettings, service_client};
use petmail_objects::{Account, LocatorError, ObjectError, Objects, Secret, Way};
use serde::Deserialize;

use super::Settings;

/// Where the secret of the account is, if no file has it.
const SECRET_VARIABLE: &str = "PETMAIL_MAILBOX_BLOBS_SECRET";

/// The longest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4_096;

/// Where packs are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Blobs {
    /// In the server's folder.
    #[default]
    Folder,
    /// At a service; without its secret.
    Service(Account),
}

impl FromStr for Blobs {
    type Err = LocatorError;

    fn from_str(text: &str) -> Result<Self, LocatorError> {
        if text == "fs" { Ok(Self::Folder) } else { text.parse().map(Self::Service) }
    }
}

impl TryFrom<String> for Blobs {
    type Error = LocatorError;

    fn try_from(text: String) -> Result<Self, LocatorError> {
        text.parse()
    }
}

/// Why the service for packs cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobsError {
    /// The file with the secret cannot be read.
    #[error("cannot read the secret for --blobs in {}: {source}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no secret, and there has to be one.
    #[error(
        "--blobs: the account needs a {0}: write it into a file and name that by --blobs-secret-file, or set PETMAIL_MAILBOX_BLOBS_SECRET"
    )]
    NoSecret(&'static str),
    /// What was set is wrong.
    #[error("--blobs: {0}")]
    Object(#[from] ObjectError),
    /// There are no certificates.
    #[error("--blobs: {0}")]
    Client(#[from] ClientError),
}

impl Settings {
    /// Opens the service for packs; none if they stay in the server's folder. Nobody is asked yet.
    ///
    /// # Errors
    /// [`BlobsError`].
    pub fn open_blobs(&self) -> Result<Option<Objects>, BlobsError> {
        let Some(Blobs::Service(account)) = &self.blobs else { return Ok(None) };
        let mut account = account.clone();
        if let Some(what) = account.kind.secret(&account.options) {
            account.secret = Some(self.blobs_secret()?.ok_or(BlobsError::NoSecret(what))?);
        }
        let client = service_client(&ClientSettings::default())?;
        let way = Way { client, has_proxy: false, may_be_private: true };
        Ok(Some(Objects::open(&account, &way)?))
    }

    fn blobs_secret(&self) -> Result<Option<Secret>, BlobsError> {
        let Some(path) = &self.blobs_secret_file else {
            return Ok(env::var(SECRET_VARIABLE).ok().map(Secret::new));
        };
        let cannot = |source| BlobsError::Secret { path: path.clone(), source };
        if fs::metadata(path).map_err(cannot)?.len() > MAX_SECRET_BYTES {
            return Err(cannot(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(cannot)?);
        Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_in_a_file_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let blobs_secret_file = Some(dir.path().join("secret"));
        let blobs = Some("s3://AKIA@petmail/mail?endpoint=http://127.0.0.1:9".parse().unwrap());
        let settings =
            Settings { blobs, blobs_secret_file: blobs_secret_file.clone(), ..Settings::default() };
        let error = settings.open_blobs().unwrap_err().to_string();
        assert!(error.contains("cannot read the secret"), "{error}");
        fs::write(blobs_secret_file.as_ref().unwrap(), "the secret\n").unwrap();
        assert_eq!(settings.blobs_secret().unwrap(), Some(Secret::new("the secret".to_owned())));
        let objects = settings.open_blobs().unwrap().unwrap();
        assert_eq!(objects.address(), "http://127.0.0.1:9/petmail");
        assert!(!format!("{settings:?}{objects:?}").contains("the secret"));
        fs::write(blobs_secret_file.as_ref().unwrap(), vec![b'x'; 5_000]).unwrap();
        assert!(settings.open_blobs().is_err());
        let settings = Settings { blobs_secret_file: None, ..settings };
        let error = settings.open_blobs().unwrap_err().to_string();
        assert!(
            error.contains("needs a secret access key:") && error.contains("--blobs-secret-file"),
            "{error}"
        );
        assert!("s3://AKIA:secret@petmail".parse::<Blobs>().is_err());
        assert!(Settings::default().open_blobs().unwrap().is_none());
        assert_eq!("fs".parse(), Ok(Blobs::Folder));
    }
}
