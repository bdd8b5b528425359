//! One HTTP client, with its own connections and TLS sessions, for each (owner, target).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use data_encoding::HEXLOWER;
use reqwest::{Client, Proxy, RequestBuilder, Response, redirect};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{ClientError, ClientSettings, Owner, SocksProxy, Target, UrlError, client_config, reason_of};
use super::{resolve::GuardedResolver, target::AddressRule};
use crate::tls::{HTTP_1_1, alpn};

/// Targets kept at once: many more than a person has contacts in a minute, few enough to bound the memory.
const MAX_POOLS: usize = 256;

/// How often a silent HTTP/2 connection with open requests is asked whether it lives, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The clients in use, by owner and target.
pub(super) struct Pools {
    /// `delivery` or `retrieval`: keeps the two kinds apart at the proxy as well.
    kind: &'static str,
    settings: ClientSettings,
    /// The protocols offered inside TLS, best first.
    protocols: Vec<Vec<u8>>,
    clients: Mutex<HashMap<(Owner, Target), Pooled>>,
}

struct Pooled {
    client: Client,
    last_used: Instant,
}

impl Pools {
    pub(super) fn new(kind: &'static str, settings: ClientSettings) -> Self {
        Self { kind, settings, protocols: alpn(), clients: Mutex::default() }
    }

    /// Clients for large bodies: each request in flight has a connection of its own. Over HTTP/2 they would share one, and so one core's
    /// encryption, and the pace of the slowest.
    pub(super) fn for_bulk(kind: &'static str, settings: ClientSettings) -> Self {
        Self { protocols: vec![HTTP_1_1.to_vec()], ..Self::new(kind, settings) }
    }

    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Returns the client for `owner` and `target`; forgets those unused for long.
    pub(super) fn client(&self, owner: Owner, target: &Target) -> Result<Client, ClientError> {
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = self.settings.pool_idle_timeout;
        clients.retain(|_, pooled| now.duration_since(pooled.last_used) < idle);
        let key = (owner, target.clone());
        if let Some(pooled) = clients.get_mut(&key) {
            pooled.last_used = now;
            return Ok(pooled.client.clone());
        }
        if clients.len() >= MAX_POOLS {
            forget_oldest(&mut clients);
        }
        let client = self.build(owner, target)?;
        clients.insert(key, Pooled { client: client.clone(), last_used: now });
        Ok(client)
    }

    /// Sends `request`, made with a client of this pool for `target`, and returns the head of the answer.
    pub(super) async fn send(
        &self,
        target: &Target,
        request: RequestBuilder,
    ) -> Result<Response, ClientError> {
        let host = target.host();
        let response = request.send().await.map_err(|e| ClientError::from_http(host, &e))?;
        // The resolver has let only allowed addresses through; this looks at the socket itself. A proxy's address says
        // nothing about the target's.
        if self.settings.socks5.is_none() {
            let peer = response.remote_addr().map(|peer| peer.ip());
            if !peer.is_some_and(|peer| target.url().rule().permits(peer)) {
                return Err(UrlError::PrivateAddress(host.to_owned()).into());
            }
        }
        Ok(response)
    }

    fn build(&self, owner: Owner, target: &Target) -> Result<Client, ClientError> {
        let unusable = |reason| ClientError::Tls { host: target.host().to_owned(), reason };
        let tls =
            client_config(target.pins(), self.protocols.clone()).map_err(|e| unusable(e.to_string()))?;
        let builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .tls_backend_preconfigured(tls)
            .connect_timeout(self.settings.connect_timeout)
            .pool_idle_timeout(self.settings.pool_idle_timeout)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        let rule = target.url().rule();
        let builder = match &self.settings.socks5 {
            Some(proxy) => builder.proxy(self.proxy(proxy, owner, target)?),
            None if rule == AddressRule::Onion => return Err(UrlError::OnionWithoutProxy.into()),
            None => builder.dns_resolver(GuardedResolver(rule)),
        };
        builder.build().map_err(|e| unusable(reason_of(&e)))
    }

    /// The proxy with credentials of the pair's own: Tor builds a circuit for each.
    fn proxy(&self, proxy: &SocksProxy, owner: Owner, target: &Target) -> Result<Proxy, ClientError> {
        let digest = Sha256::digest(target.url().as_str());
        let user = format!("{}-{:x}", self.kind, owner.0);
        Proxy::all(format!("socks5h://{proxy}"))
            .map(|to| to.basic_auth(&user, &HEXLOWER.encode(&digest)))
            .map_err(|e| ClientError::unreachable(proxy.as_str(), reason_of(&e)))
    }
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pools")
            .field("kind", &self.kind)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn forget_oldest(clients: &mut HashMap<(Owner, Target), Pooled>) {
    let oldest = clients.iter().min_by_key(|(_, pooled)| pooled.last_used).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        clients.remove(&key);
    }
}
