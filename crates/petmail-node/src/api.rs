//! The control API: the only way into a running node, for the command line, the control panel and scripts.
//!
//! Owns who may ask (token, Host, Origin), how commands and answers look as JSON, and where it listens. Knows no rule of
//! the agent's: it asks [`crate::agent`] and says what that says. Source: `docs/api/README.md`.

mod arguments;
mod backup;
mod check;
mod codes;
mod events;
mod files;
mod guard;
pub(crate) mod lives;
mod opener;
mod passphrase;
mod problem;
mod routes;
mod settings;
pub mod token;
pub mod types;

use std::{fs, io, net::SocketAddr, num::NonZeroU32, sync::Arc};

use axum::middleware;
use petmail_net::{
    CancellationToken,
    program::write_private_file,
    server::{BindError, Limits, Server},
    tls::TlsMode,
};
use tokio::sync::{Mutex, mpsc};
use url::Url;

pub use self::{
    arguments::MAX_BODY_BYTES,
    check::{MAX_PETNAME_BYTES, MAX_TEXT_BYTES, check_text},
    problem::Problem,
};
use self::{
    guard::Guard,
    lives::{Lives, Ordered, Orders},
    opener::Openers,
    token::{ApiToken, TokenError},
};
use crate::{agent::Agent, basedir::Basedir, config::Config};

/// The control API, bound to its address and known to the command line, but not yet answering.
#[derive(Debug)]
pub struct ApiServer {
    basedir: Basedir,
    server: Server,
    base_url: String,
    token: ApiToken,
}

/// What the handlers share, whatever the node is doing.
#[derive(Clone, Debug)]
struct Desk {
    basedir: Basedir,
    base_url: Arc<str>,
    shutdown: CancellationToken,
    token: Arc<ApiToken>,
    openers: Arc<Openers>,
    port: u16,
    orders: Orders,
}

/// What the handlers share while the node runs.
#[derive(Clone, Debug)]
struct Shared {
    desk: Desk,
    agent: Agent,
    /// Ends with the agent.
    life: CancellationToken,
    /// A backup that is to be restored.
    upload: Arc<Mutex<Option<fs::File>>>,
}

impl ApiServer {
    /// Binds the configured address and writes the base URL into the basedir, whose lock the caller holds. Port 0 means
    /// the port of the last start, or, if there was none or it is taken, one of the system's choice.
    ///
    /// # Errors
    /// The access token is missing, the address cannot be bound, or the base URL cannot be written.
    pub async fn bind(basedir: &Basedir, config: &Config) -> Result<Self, StartError> {
        let token = ApiToken::load(&basedir.token_file())?;
        let server = bind_kept_port(config.listen, kept_port(basedir)).await?;
        let base_url = format!("http://{}", server.local_addr());
        write_private_file(&basedir.baseurl_file(), format!("{base_url}\n").as_bytes())
            .map_err(StartError::BaseUrl)?;
        Ok(Self { basedir: basedir.clone(), server, base_url, token })
    }

    /// Returns the base URL, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Answers requests until `shutdown` is cancelled, which the `stop` command does too. Returns the serving with what
    /// decides what is answered, and the orders that come in.
    pub(crate) fn serve(
        self,
        shutdown: CancellationToken,
    ) -> (impl Future<Output = ()>, Lives, mpsc::Receiver<Ordered>) {
        let token = Arc::new(self.token);
        let address = self.server.local_addr();
        let guard = Guard::new(Arc::clone(&token), address);
        let (orders, ordered) = Orders::new();
        let lives = Lives::new(Desk {
            basedir: self.basedir,
            base_url: self.base_url.into(),
            shutdown: shutdown.clone(),
            token,
            openers: Arc::default(),
            port: address.port(),
            orders,
        });
        let router = lives.router().layer(middleware::from_fn_with_state(guard, guard::check));
        (self.server.serve(router, shutdown), lives, ordered)
    }
}

/// Returns the base URL that the node at `basedir` had at its last start.
///
/// # Errors
/// It has never been started, or the file cannot be read.
pub fn last_base_url(basedir: &Basedir) -> io::Result<String> {
    fs::read_to_string(basedir.baseurl_file()).map(|text| text.trim_end().to_owned())
}

fn kept_port(basedir: &Basedir) -> Option<u16> {
    Url::parse(&last_base_url(basedir).ok()?).ok()?.port()
}

async fn bind_kept_port(listen: SocketAddr, kept: Option<u16>) -> Result<Server, BindError> {
    if let (0, Some(port)) = (listen.port(), kept) {
        match Server::bind(SocketAddr::new(listen.ip(), port), &TlsMode::PlainHttp, limits()).await {
            Err(error) => tracing::warn!(%error, "the port of the last start is taken; taking another"),
            bound => return bound,
        }
    }
    Server::bind(listen, &TlsMode::PlainHttp, limits()).await
}

/// The bounds of the control API. Everybody on this machine shares one address, the owner's scripts among them, so the
/// rate is higher than a public server's. Bodies are bounded after the token is checked, with an answer in JSON.
fn limits() -> Limits {
    let defaults = Limits::default();
    Limits {
        requests_per_second_per_address: times_ten(defaults.requests_per_second_per_address),
        request_burst_per_address: times_ten(defaults.request_burst_per_address),
        max_body_bytes: usize::MAX,
        ..defaults
    }
}

fn times_ten(count: NonZeroU32) -> NonZeroU32 {
    const TEN: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
    count.saturating_mul(TEN)
}

/// Why the control API could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The access token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The base URL cannot be written for the command line.
    #[error("cannot write the base URL: {0}")]
    BaseUrl(#[source] io::Error),
}
