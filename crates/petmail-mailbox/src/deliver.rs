//! Deliveries: opens what senders post and puts it into the queue. Knows the outer layers of a message and the queue, not
//! HTTP, and nothing of who sends. Specification: Delivery, first paragraph.

use std::sync::Arc;

use petmail_proto::{
    delivery::{Delivery, MsgADigest, OpenError, msg_a_digest, open_delivery},
    time::UnixMillis,
    token::{BadToken, SlotId},
};

use crate::{
    identity::{CurrentIdentity, Identity},
    queue::{DeliverError, Delivered, QueueStore},
    work::{Interrupted, to_the_end},
};

/// Why a delivery is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// It does not open: the sender's fault, or it is for another server.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its token is no pair of group elements.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] DeliverError),
    /// The program is stopping.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Takes deliveries.
#[derive(Debug)]
pub struct Deliveries<Q> {
    queue: Arc<Q>,
    identity: Arc<CurrentIdentity>,
}

/// An opened delivery, with the slots that its token leads to: one for each of the server's token keys.
struct Opened {
    digest: MsgADigest,
    slots: Vec<SlotId>,
    msg_c: Vec<u8>,
}

impl<Q: QueueStore> Deliveries<Q> {
    /// Works on `queue` for the server `identity`.
    pub const fn new(queue: Arc<Q>, identity: Arc<CurrentIdentity>) -> Self {
        Self { queue, identity }
    }

    /// Stores a message; it is on disk when this returns.
    ///
    /// # Errors
    /// [`DeliveryError`]; nothing is stored then.
    pub async fn deliver(&self, msg_a: bytes::Bytes, now: UnixMillis) -> Result<Delivered, DeliveryError> {
        let Opened { digest, slots, msg_c } = open(&msg_a, &self.identity.get())?;
        let queue = Arc::clone(&self.queue);
        Ok(to_the_end(async move { queue.deliver(&slots, digest, msg_c, now).await }).await??)
    }
}

fn open(msg_a: &[u8], identity: &Identity) -> Result<Opened, DeliveryError> {
    let Delivery { token, msg_c } = open_delivery(msg_a, identity.delivery_keys())?;
    let slots: Result<_, _> = identity.token_keys().iter().map(|key| key.key.open(&token)).collect();
    Ok(Opened { digest: msg_a_digest(msg_a), slots: slots?, msg_c })
}
