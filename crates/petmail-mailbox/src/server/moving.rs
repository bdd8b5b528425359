//! Moving a server to another address: it says where it went, takes nothing more, and its operator carries everything over.

use petmail_proto::{server::descriptor::MovedTo, time::UnixMillis};

use super::Services;
use crate::{
    admin::{AdminError, MoveRequest, Moved},
    queue::QueueStore,
};

impl<Q: QueueStore> Services<Q> {
    /// Has the descriptor say where the server went, at once; or that it stays after all. From then on nothing but the
    /// descriptor is answered, or everything again.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is changed then.
    pub async fn move_to(&self, request: &MoveRequest, now: UnixMillis) -> Result<Moved, AdminError> {
        let _one_at_a_time = self.replacing_keys.lock().await;
        let identity = self.identity.get();
        if request.to.as_ref() == Some(identity.url()) {
            return Err(AdminError::OutOfBounds("the server has this address already"));
        }
        let pin = self.pin.filter(|_| !request.no_pin);
        let to = request.to.clone().map(|url| MovedTo { url, identity: identity.public(), pin });
        self.identity.replace(identity.moving(to)).await?;
        self.sign_descriptor(now).await?;
        self.retrieval().end_streams();
        match &request.to {
            Some(url) => tracing::info!(%url, "the server has moved, and takes nothing more here"),
            None => tracing::info!("the server stays here"),
        }
        Ok(Moved { url: identity.url().clone(), moved_to: request.to.clone() })
    }
}
