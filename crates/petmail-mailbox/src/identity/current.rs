//! The identity that a running server has now: it changes when keys are replaced, and when old ones end.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Identity, IdentityError};

/// An identity with its file. Whoever works with it asks anew for each request.
#[derive(Debug)]
pub struct CurrentIdentity {
    path: PathBuf,
    now: RwLock<Arc<Identity>>,
}

impl CurrentIdentity {
    /// Reads the file.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(path: PathBuf) -> Result<Self, IdentityError> {
        let identity = Identity::load(&path)?;
        Ok(Self { path, now: RwLock::new(Arc::new(identity)) })
    }

    /// Returns the identity as it is now.
    #[must_use]
    pub fn get(&self) -> Arc<Identity> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes another identity to the file, and only then uses it.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; the identity stays what it was then.
    pub async fn replace(&self, identity: Identity) -> Result<Arc<Identity>, IdentityError> {
        let (path, identity) = (self.path.clone(), Arc::new(identity));
        let stored = Arc::clone(&identity);
        let store = move || stored.store(&path);
        tokio::task::spawn_blocking(store).await.map_err(io::Error::other)??;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&identity);
        Ok(identity)
    }
}
