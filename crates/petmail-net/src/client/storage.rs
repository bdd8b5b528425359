//! Packs on their way to and from storage servers. Source: `docs/protocol/storage.md`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headers::{ContentRange, HeaderMapExt};
use reqwest::{Method, RequestBuilder, Response, header};
use tokio::time::timeout;

use super::{Answer, ClientError, ClientSettings, Owner, Pools, Target, octets, read_answer, retry_after};

/// What is read of an answer to a pack.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Which part of a pack a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    /// Where it begins, in bytes.
    pub first: u64,
    /// How long the whole is, in bytes; more than `first`.
    pub total: u64,
}

/// What a server says of a part of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReceipt {
    /// The status code.
    pub status: u16,
    /// How long the server asks to wait, at most a day.
    pub retry_after: Option<Duration>,
    /// Where the next part begins, in bytes.
    pub offset: Option<u64>,
}

/// Speaks with storage servers. Packs are large and networks may be slow: what counts is that bytes keep coming.
#[derive(Debug)]
pub struct StorageClient {
    pools: Pools,
}

impl StorageClient {
    /// Makes a client for what own accounts store.
    #[must_use]
    pub fn for_deposits(settings: ClientSettings) -> Self {
        Self { pools: Pools::new("deposits", settings) }
    }

    /// Makes a client for what contacts have stored.
    #[must_use]
    pub fn for_readings(settings: ClientSettings) -> Self {
        Self { pools: Pools::new("readings", settings) }
    }

    /// Posts `body` to `path` below the target's base URL, with a ticket if there is one, and returns the whole answer.
    ///
    /// # Errors
    /// No answer came, it is longer than `max_bytes`, or the target is not allowed. Every status is `Ok`.
    pub async fn post(
        &self,
        account: Owner,
        target: &Target,
        (path, ticket): (&str, Option<&str>),
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Answer, ClientError> {
        let request = octets(self.request(Method::POST, account, target, path, ticket)?).body(body);
        let request = request.timeout(self.pools.settings().request_timeout);
        read_answer(target, self.pools.send(target, request).await?, max_bytes).await
    }

    /// Puts a part of what belongs to `path`.
    ///
    /// # Errors
    /// No answer came, or the target is not allowed. Every status is `Ok`.
    pub async fn put(
        &self,
        account: Owner,
        target: &Target,
        (path, ticket): (&str, &str),
        part: PartOf,
        body: Bytes,
    ) -> Result<PartReceipt, ClientError> {
        let mut headers = header::HeaderMap::new();
        let end = part.first.saturating_add(body.len() as u64);
        if let Ok(range) = ContentRange::bytes(part.first..end, part.total) {
            headers.typed_insert(range);
        }
        let request = self.request(Method::PUT, account, target, path, Some(ticket))?;
        let limit = self.pools.settings().upload_timeout;
        let request = octets(request).headers(headers).body(body).timeout(limit);
        let response = self.pools.send(target, request).await?;
        let offset = response.headers().get("upload-offset");
        let offset = offset.and_then(|offset| offset.to_str().ok()?.parse().ok());
        let Answer { status, retry_after, .. } = read_answer(target, response, MAX_ANSWER_BYTES).await?;
        Ok(PartReceipt { status, retry_after, offset })
    }

    /// Deletes what belongs to `path`; returns the status.
    ///
    /// # Errors
    /// No answer came, or the target is not allowed. Every status is `Ok`.
    pub async fn delete(
        &self,
        account: Owner,
        target: &Target,
        (path, ticket): (&str, &str),
    ) -> Result<u16, ClientError> {
        let request = self.request(Method::DELETE, account, target, path, Some(ticket))?;
        let request = request.timeout(self.pools.settings().request_timeout);
        let response = self.pools.send(target, request).await?;
        Ok(read_answer(target, response, MAX_ANSWER_BYTES).await?.status)
    }

    /// Gets what belongs to `path`, as long as bytes keep coming.
    ///
    /// # Errors
    /// No answer came, it is longer than `max_bytes`, bytes stopped coming, or the target is not allowed. Every status is `Ok`.
    pub async fn read(
        &self,
        reader: Owner,
        target: &Target,
        path: &str,
        max_bytes: usize,
    ) -> Result<Answer, ClientError> {
        let idle = self.pools.settings().request_timeout;
        let late = |_| ClientError::timed_out(target.host());
        let request = self.request(Method::GET, reader, target, path, None)?;
        let response = timeout(idle, self.pools.send(target, request)).await.map_err(late)??;
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let body = read_patiently(target, response, max_bytes, idle).await?;
        Ok(Answer { status, retry_after, body })
    }

    fn request(
        &self,
        method: Method,
        owner: Owner,
        target: &Target,
        path: &str,
        ticket: Option<&str>,
    ) -> Result<RequestBuilder, ClientError> {
        let request = self.pools.client(owner, target)?.request(method, target.url().endpoint(path));
        Ok(match ticket {
            Some(ticket) => request.bearer_auth(ticket),
            None => request,
        })
    }
}

async fn read_patiently(
    target: &Target,
    mut response: Response,
    max_bytes: usize,
    idle: Duration,
) -> Result<Bytes, ClientError> {
    let too_large = || ClientError::TooLarge { host: target.host().to_owned(), max_bytes };
    let declared = response.content_length().unwrap_or_default();
    let declared = usize::try_from(declared).ok().filter(|length| *length <= max_bytes);
    let mut body = BytesMut::with_capacity(declared.ok_or_else(too_large)?);
    loop {
        let read =
            timeout(idle, response.chunk()).await.map_err(|_| ClientError::timed_out(target.host()))?;
        let Some(chunk) = read.map_err(|error| ClientError::from_http(target.host(), &error))? else {
            return Ok(body.freeze());
        };
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}
