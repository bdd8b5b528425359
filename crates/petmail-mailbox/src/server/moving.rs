//! Moving a server to another address: it says where it went, takes nothing more, and its operator carries everything over.

use petmail_proto::{server::descriptor::MovedTo, time::UnixMillis};

use super::Services;
use crate::{
    admin::{AdminError, MoveRequest, Moved},
    identity::Identity,
    queue::QueueStore,
};

impl<Q: QueueStore> Services<Q> {
    /// Has the descriptor say where the server goes, at once. From then on nothing else is answered.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is changed then.
    pub async fn move_to(&self, request: &MoveRequest, now: UnixMillis) -> Result<Moved, AdminError> {
        let MoveRequest { to: url, no_pin } = request.clone();
        let identity = self.identity.get();
        if url == *identity.url() {
            return Err(AdminError::OutOfBounds("the server has this address already"));
        }
        let pin = self.pin.filter(|_| !no_pin);
        self.set_move(Some(MovedTo { url, identity: identity.public(), pin }), now).await
    }

    /// Takes that back: everything is answered again.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is changed then.
    pub async fn stay(&self, now: UnixMillis) -> Result<Moved, AdminError> {
        self.set_move(None, now).await
    }

    async fn set_move(&self, to: Option<MovedTo>, now: UnixMillis) -> Result<Moved, AdminError> {
        let _one_at_a_time = self.replacing_keys.lock().await;
        let before = self.identity.get();
        let moved = self.identity.replace(before.moving(to)).await?;
        if let Err(error) = self.sign_descriptor(now).await {
            // Who is refused here must be able to read where to go.
            self.identity.replace(Identity::clone(&before)).await?;
            return Err(error);
        }
        self.retrieval().end_streams();
        let (url, moved_to) = (moved.url().clone(), moved.moved_to().map(|moved| moved.url.clone()));
        match &moved_to {
            Some(to) => tracing::info!(%to, "the server has moved, and takes nothing more here"),
            None => tracing::info!("the server stays here"),
        }
        Ok(Moved { url, moved_to })
    }
}
