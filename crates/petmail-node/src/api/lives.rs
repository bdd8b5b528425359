//! What the API answers with while the node's process goes from one life to the next: locked, open, and closed for as long
//! as its database is written anew. And what the owner may order of the process.

use std::{
    convert::Infallible,
    fs::File,
    io::BufReader,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use petmail_net::CancellationToken;
use petmail_proto::at_rest::Passphrase;
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt;

use super::{Desk, Shared, problem::Refusal, routes};
use crate::{
    agent::{
        Agent,
        error::{CommandError, Fault},
    },
    backup::BackupReader,
    vault::Vault,
};

/// How many orders wait for one that is being carried out.
const MAX_ORDERS: usize = 4;

/// What the owner wants of the process rather than of the agent. Passphrases have been checked.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open the locked node.
    Unlock(Vault),
    /// Encrypt the database.
    Encrypt(Passphrase),
    /// Decrypt the database.
    Decrypt,
    /// Put a backup in place of the empty database.
    Restore(BackupReader<BufReader<File>>),
}

/// An order with whom to tell how it went.
pub(crate) type Ordered = (Order, oneshot::Sender<Result<(), CommandError>>);

/// Where orders go.
#[derive(Clone, Debug)]
pub(super) struct Orders(mpsc::Sender<Ordered>);

impl Orders {
    pub(super) fn new() -> (Self, mpsc::Receiver<Ordered>) {
        let (sender, receiver) = mpsc::channel(MAX_ORDERS);
        (Self(sender), receiver)
    }

    /// Has an order carried out; the node is in its next life when this returns.
    pub(super) async fn give(&self, order: Order) -> Result<(), Refusal> {
        let (tell, told) = oneshot::channel();
        let full = |_| Refusal::Busy;
        self.0.try_send((order, tell)).map_err(full)?;
        let ended =
            |_| CommandError::new(Fault::Internal, "the node has ended", "its log says why; start it again");
        Ok(told.await.map_err(ended)??)
    }
}

/// The API of a process, through all its lives.
#[derive(Clone, Debug)]
pub(crate) struct Lives {
    desk: Desk,
    current: Arc<RwLock<Router>>,
}

impl Lives {
    /// Begins closed.
    pub(super) fn new(desk: Desk) -> Self {
        let current = Arc::new(RwLock::new(routes::closed(desk.clone())));
        Self { desk, current }
    }

    /// The node waits for its passphrase.
    pub(crate) fn lock(&self, display_name: &str) {
        self.show(routes::locked(self.desk.clone(), display_name));
    }

    /// The node runs, until `life` is cancelled.
    pub(crate) fn open(&self, agent: Agent, life: CancellationToken) {
        self.show(routes::open(Shared { desk: self.desk.clone(), agent, life, upload: Arc::default() }));
    }

    /// The node's database is in nobody's hands but the process's.
    pub(crate) fn close(&self) {
        self.show(routes::closed(self.desk.clone()));
    }

    /// The router that answers as the present life does.
    pub(super) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    fn show(&self, router: Router) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = router;
    }
}

async fn answer(State(lives): State<Lives>, request: Request) -> Result<Response, Infallible> {
    let current = lives.current.read().unwrap_or_else(PoisonError::into_inner).clone();
    current.oneshot(request).await
}
