//! How programs talk to servers that others named: kinds of HTTP client that never share a connection.
//!
//! [`DeliveryClient`] brings messages to contacts' servers, [`RetrievalClient`] speaks with the servers of own accounts,
//! [`StorageClient`] brings packs to the latter and fetches them from either. All keep one connection pool for each (owner, target), so that neither a connection nor a TLS session tells a server
//! that two contacts or two accounts are one person's. No redirects, no cookies, no proxy but the configured one.
//!
//! Source: `docs/protocol/`, "Network hygiene".

mod error;
mod events;
mod pool;
mod resolve;
mod service;
mod storage;
mod target;
pub(crate) mod tls;

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, Response, header};

pub use self::{
    error::ClientError,
    events::{EventStream, ServerEvent},
    service::service_client,
    storage::{PartOf, PartReceipt, Read, StorageClient},
    target::{MAX_URL_BYTES, Target, TargetUrl, UrlError, UrlPolicy},
};
pub(crate) use self::{error::reason_of, tls::client_config};
use self::{events::read_events, pool::Pools};

/// How much of a delivery's answer is read, only to keep the connection usable.
const MAX_DISCARDED_BYTES: usize = 16 * 1024;

/// How long that reading may take: the answer itself is known already.
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A server that asks for a longer pause is asked again after this one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How a client behaves towards all its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// A SOCKS5 proxy (Tor) that all connections go through, names unresolved.
    pub socks5: Option<SocksProxy>,
    /// From the first packet to a usable connection, TLS included. Default 20 s.
    pub connect_timeout: Duration,
    /// From the request to the end of its answer; for event streams to its head. Default 60 s.
    pub request_timeout: Duration,
    /// From the request that brings a part of a pack, 2 MiB at most, to the end of its answer. Default 240 s.
    pub upload_timeout: Duration,
    /// How long an event stream may be silent; longer than the server's keep-alive. Default 75 s.
    pub stream_idle_timeout: Duration,
    /// How long unused connections, and what is kept for a target, stay; shorter than servers keep them. Default 60 s.
    pub pool_idle_timeout: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            socks5: None,
            connect_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(60),
            upload_timeout: Duration::from_secs(240),
            stream_idle_timeout: Duration::from_secs(75),
            pool_idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The address of a SOCKS5 proxy, `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocksProxy(String);

impl SocksProxy {
    /// Takes `HOST:PORT`; the host may be a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// The text is not of that form.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let url = url::Url::parse(&format!("socks5h://{text}")).map_err(|_| UrlError::Malformed)?;
        let plain = url.host().is_some() && url.port().is_some_and(|port| port > 0);
        if !plain || text.contains(['@', '/', '?', '#']) || url.as_str() != format!("socks5h://{text}") {
            return Err(UrlError::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocksProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a connection belongs to, as a number that the caller keeps stable: a contact for deliveries, an account for
/// retrieval. Connections of different owners are never shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// All that is believed of the answer to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The status code.
    pub status: u16,
    /// How long the server asks to wait, at most a day.
    pub retry_after: Option<Duration>,
}

/// The answer of an own account's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long the server asks to wait, at most a day.
    pub retry_after: Option<Duration>,
    /// The body, at most as long as the caller allowed.
    pub body: Bytes,
}

/// What came of the wish for an event stream.
#[derive(Debug)]
pub enum Opened {
    /// The stream is open.
    Stream(EventStream),
    /// The server gave an ordinary answer instead.
    Answer(Answer),
}

/// Brings messages to the servers of contacts.
#[derive(Debug)]
pub struct DeliveryClient {
    pools: Pools,
}

impl DeliveryClient {
    /// Makes a client without any connection.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self { pools: Pools::new("delivery", settings) }
    }

    /// Posts `body` to `path` below the target's base URL. Of the answer only the status and `Retry-After` are used.
    ///
    /// # Errors
    /// No answer came, or the target is not allowed. Every status is `Ok`.
    pub async fn deliver(
        &self,
        contact: Owner,
        target: &Target,
        path: &str,
        body: Bytes,
    ) -> Result<Receipt, ClientError> {
        let request = self.pools.client(contact, target)?.post(target.url().endpoint(path)).body(body);
        let request = request.timeout(self.pools.settings().request_timeout);
        let response = self.pools.send(target, octets(request)).await?;
        let receipt = Receipt { status: response.status().as_u16(), retry_after: retry_after(&response) };
        // Success or not changes nothing: an unread answer only costs the connection.
        let discarded = read_body(target, response, MAX_DISCARDED_BYTES);
        drop(tokio::time::timeout(DISCARD_TIME, discarded).await);
        Ok(receipt)
    }

    /// As [`RetrievalClient::get`], for a contact's server.
    ///
    /// # Errors
    /// As there.
    pub async fn get(
        &self,
        contact: Owner,
        target: &Target,
        path: &str,
        max_bytes: usize,
    ) -> Result<Bytes, ClientError> {
        get(&self.pools, contact, target, path, max_bytes).await
    }
}

/// Speaks with the servers of own accounts.
#[derive(Debug)]
pub struct RetrievalClient {
    pools: Pools,
}

impl RetrievalClient {
    /// Makes a client without any connection.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self { pools: Pools::new("retrieval", settings) }
    }

    /// Posts `body` to `path` below the target's base URL and returns the whole answer.
    ///
    /// # Errors
    /// No answer came, it is longer than `max_bytes`, or the target is not allowed. Every status is `Ok`.
    pub async fn post(
        &self,
        account: Owner,
        target: &Target,
        path: &str,
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Answer, ClientError> {
        let request = self.pools.client(account, target)?.post(target.url().endpoint(path)).body(body);
        let request = request.timeout(self.pools.settings().request_timeout);
        read_answer(target, self.pools.send(target, octets(request)).await?, max_bytes).await
    }

    /// Posts `body` as [`RetrievalClient::post`] does and asks for an event stream. `max_bytes` bounds each event, or
    /// the ordinary answer that came instead.
    ///
    /// # Errors
    /// As for [`RetrievalClient::post`]; what happens to the stream later comes as its last item.
    pub async fn open_events(
        &self,
        account: Owner,
        target: &Target,
        path: &str,
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Opened, ClientError> {
        let request = self.pools.client(account, target)?.post(target.url().endpoint(path)).body(body);
        let request = octets(request).header(header::ACCEPT, "text/event-stream");
        let settings = self.pools.settings();
        let limit = settings.request_timeout;
        let head = async {
            let response = self.pools.send(target, request).await?;
            if is_event_stream(&response) {
                let idle = settings.stream_idle_timeout;
                return Ok(Opened::Stream(read_events(target.host(), response, max_bytes, idle)));
            }
            read_answer(target, response, max_bytes).await.map(Opened::Answer)
        };
        tokio::time::timeout(limit, head).await.unwrap_or_else(|_| Err(ClientError::timed_out(target.host())))
    }

    /// Gets the document at `path` below the target's base URL.
    ///
    /// # Errors
    /// No answer came, its status is not 200, it is longer than `max_bytes`, or the target is not allowed.
    pub async fn get(
        &self,
        account: Owner,
        target: &Target,
        path: &str,
        max_bytes: usize,
    ) -> Result<Bytes, ClientError> {
        get(&self.pools, account, target, path, max_bytes).await
    }
}

async fn get(
    pools: &Pools,
    owner: Owner,
    target: &Target,
    path: &str,
    max_bytes: usize,
) -> Result<Bytes, ClientError> {
    let request = pools.client(owner, target)?.get(target.url().endpoint(path));
    let response = pools.send(target, request.timeout(pools.settings().request_timeout)).await?;
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    if status != 200 {
        return Err(ClientError::Status { host: target.host().to_owned(), status, retry_after });
    }
    read_body(target, response, max_bytes).await
}

fn octets(request: RequestBuilder) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, "application/octet-stream")
}

async fn read_answer(target: &Target, response: Response, max_bytes: usize) -> Result<Answer, ClientError> {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let body = read_body(target, response, max_bytes).await?;
    Ok(Answer { status, retry_after, body })
}

async fn read_body(target: &Target, mut response: Response, max_bytes: usize) -> Result<Bytes, ClientError> {
    let too_large = || ClientError::TooLarge { host: target.host().to_owned(), max_bytes };
    if response.content_length().is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| ClientError::from_http(target.host(), &e))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    response.status() == 200
        && content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
