//! The vault: the key that encrypts the database and the files, in a file of the basedir that a passphrase unlocks.
//!
//! Whether a database is encrypted, and with which key, is said by the label of its store, which changes with all rows at
//! once. The file `vault` is written before the store gets the label, and removed after it has lost it: whenever a process
//! is killed, the store is either plain, and a leftover file means nothing, or has its key in the file. No opening of a
//! database removes the file: who lost the database and finds it again needs it.
//! Specification: `docs/protocol/at-rest.md`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use petmail_net::program::write_private_file;
use petmail_proto::at_rest::{
    DataKey, DataKeyId, HeaderError, Passphrase, Purpose, WrappedKey, WrongPassphrase,
};
use petmail_store::{Label, OpenError};
use rand_core::OsRng;

use crate::{
    basedir::{Basedir, remove_if_present},
    db,
};

/// The key of an encrypted node.
#[derive(Clone, Debug)]
pub struct Vault {
    id: DataKeyId,
    key: Arc<DataKey>,
}

/// The key of an encrypted node, which waits for its passphrase.
#[derive(Clone, Debug)]
pub struct LockedVault {
    wrapped: WrappedKey,
}

/// Why a vault cannot be unlocked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The file is gone.
    #[error("{} is missing, and without it nothing in the database can be read", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is no vault that this program knows.
    #[error("cannot use {}: {source}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: HeaderError,
    },
    /// The file has the key of another database.
    #[error("{} belongs to another database than the one beside it", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The database is not understood.
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl LockedVault {
    /// Finds the vault of the node in `basedir`; none if the node is not encrypted.
    ///
    /// # Errors
    /// The database is encrypted, and its key cannot be read.
    pub fn find(basedir: &Basedir) -> Result<Option<Self>, VaultError> {
        let Some(label) = petmail_store::label(&db::store_dir(basedir.path()))? else { return Ok(None) };
        let path = vault_file(basedir.path());
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => VaultError::Missing { path: path.clone() },
            _ => VaultError::Read { path: path.clone(), source },
        })?;
        let wrapped = WrappedKey::decode(Purpose::Vault, &bytes)
            .map_err(|source| VaultError::Unusable { path: path.clone(), source })?;
        if label_of(&wrapped.id()) != label {
            return Err(VaultError::Foreign { path });
        }
        Ok(Some(Self { wrapped }))
    }

    /// Unlocks the vault. Takes about 0.2 s and 64 MiB.
    ///
    /// # Errors
    /// The passphrase is wrong.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Vault, VaultError> {
        let key = self.wrapped.unwrap(passphrase).map_err(|WrongPassphrase| VaultError::WrongPassphrase)?;
        Ok(Vault { id: self.wrapped.id(), key: Arc::new(key) })
    }
}

impl Vault {
    /// What the store of an encrypted database is labelled with.
    pub(crate) fn label(&self) -> Label {
        label_of(&self.id)
    }

    /// Encrypts a value for a place.
    pub(crate) fn seal(&self, place: &[u8], value: &[u8]) -> Vec<u8> {
        self.key.seal(place, value, &mut OsRng)
    }

    /// Decrypts a value of a place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.key.open(place, sealed).context("the database is damaged; restore a backup")
    }

    fn generate() -> Self {
        Self { id: DataKeyId::generate(&mut OsRng), key: Arc::new(DataKey::generate(&mut OsRng)) }
    }

    /// Writes the file `vault`, durably.
    fn store(&self, basedir: &Path, passphrase: &Passphrase) -> anyhow::Result<()> {
        let wrapped = WrappedKey::wrap(Purpose::Vault, self.id, &self.key, passphrase, &mut OsRng);
        write_private_file(&vault_file(basedir), &wrapped.encode()).context("cannot write the file vault")
    }
}

/// Encrypts the node in `basedir`, whose lock the caller holds. Until it is done, the node is as it was.
///
/// # Errors
/// Something cannot be read or written.
pub async fn encrypt(basedir: &Basedir, passphrase: &Passphrase) -> anyhow::Result<Vault> {
    let vault = Vault::generate();
    vault.store(basedir.path(), passphrase)?;
    let encrypted = db::rewrite(basedir.path(), None, Some(vault.clone())).await;
    if encrypted.is_err() && is_plain(basedir) {
        remove_file(basedir.path())?;
    }
    encrypted.map(|()| vault)
}

/// Changes the passphrase of the node in `basedir`, whose lock the caller holds. The key stays.
///
/// # Errors
/// The file cannot be written; the old passphrase then holds.
pub fn change(basedir: &Basedir, vault: &Vault, passphrase: &Passphrase) -> anyhow::Result<()> {
    vault.store(basedir.path(), passphrase)
}

/// Decrypts the node in `basedir`, whose lock the caller holds. Until it is done, the node is as it was.
///
/// # Errors
/// Something cannot be read or written.
pub async fn decrypt(basedir: &Basedir, vault: Vault) -> anyhow::Result<()> {
    db::rewrite(basedir.path(), Some(vault), None).await?;
    remove_file(basedir.path())
}

fn is_plain(basedir: &Basedir) -> bool {
    matches!(petmail_store::label(&db::store_dir(basedir.path())), Ok(None))
}

fn remove_file(basedir: &Path) -> anyhow::Result<()> {
    remove_if_present(&vault_file(basedir)).context("cannot remove the file vault, which is no longer needed")
}

fn vault_file(basedir: &Path) -> PathBuf {
    basedir.join("vault")
}

fn label_of(id: &DataKeyId) -> Label {
    let text = format!("vault-{}", data_encoding::HEXLOWER.encode(id.as_bytes()));
    text.parse().expect("hexadecimal digits make a label")
}

#[cfg(test)]
impl Vault {
    /// A vault whose key is known.
    pub(crate) fn of_bytes(id: u8, key: u8) -> Self {
        Self { id: DataKeyId::from_bytes([id; 16]), key: Arc::new(DataKey::from_bytes([key; 32])) }
    }
}

#[cfg(test)]
mod tests;
