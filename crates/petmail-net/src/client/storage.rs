//! Packs on their way to and from storage servers. Source: `docs/protocol/storage.md`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headers::{ContentRange, HeaderMapExt};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use tokio::time::timeout;
use url::Url;

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

/// What a server says when it is asked for a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The status code; 200 if all of it is there.
    pub status: u16,
    /// How long the server asks to wait, at most a day.
    pub retry_after: Option<Duration>,
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
        Self { pools: Pools::for_bulk("deposits", settings) }
    }

    /// Makes a client for what contacts have stored.
    #[must_use]
    pub fn for_readings(settings: ClientSettings) -> Self {
        Self { pools: Pools::for_bulk("readings", settings) }
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

    /// Gets what is at `url`, which is on the target's server, as long as bytes keep coming. `kept` is what an earlier attempt has brought of it: only the rest
    /// is asked for, and whatever comes is added, so that the next attempt can go on after an error. Returns the status: with 200
    /// all of it is there.
    ///
    /// # Errors
    /// No answer came, it is longer than `max_bytes`, bytes stopped coming, or the target is not allowed. Every status is `Ok`.
    pub async fn read(
        &self,
        reader: Owner,
        target: &Target,
        url: Url,
        kept: &mut BytesMut,
        max_bytes: usize,
    ) -> Result<Read, ClientError> {
        let idle = self.pools.settings().request_timeout;
        let late = |_| ClientError::timed_out(target.host());
        let mut request = self.pools.client(reader, target)?.get(url);
        if !kept.is_empty() {
            request = request.header(header::RANGE, format!("bytes={}-", kept.len()));
        }
        let response = timeout(idle, self.pools.send(target, request)).await.map_err(late)??;
        let (status, retry_after) = (response.status(), retry_after(&response));
        match status {
            StatusCode::PARTIAL_CONTENT if begins_at(&response, kept.len()) => {}
            StatusCode::OK => kept.clear(),
            // Nothing of it is of use: the next attempt begins anew.
            _ => {
                kept.clear();
                return Ok(Read { status: status.as_u16(), retry_after });
            }
        }
        read_on(target, response, kept, max_bytes, idle).await?;
        Ok(Read { status: StatusCode::OK.as_u16(), retry_after })
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

/// Tells whether an answer goes on where what is kept ends.
fn begins_at(response: &Response, kept: usize) -> bool {
    let range: Option<ContentRange> = response.headers().typed_get();
    range.and_then(|range| range.bytes_range()).is_some_and(|(first, _)| first == kept as u64)
}

async fn read_on(
    target: &Target,
    mut response: Response,
    kept: &mut BytesMut,
    max_bytes: usize,
    idle: Duration,
) -> Result<(), ClientError> {
    let too_large = || ClientError::TooLarge { host: target.host().to_owned(), max_bytes };
    let declared = response.content_length().unwrap_or_default();
    let room = max_bytes.saturating_sub(kept.len());
    kept.reserve(usize::try_from(declared).ok().filter(|length| *length <= room).ok_or_else(too_large)?);
    loop {
        let read =
            timeout(idle, response.chunk()).await.map_err(|_| ClientError::timed_out(target.host()))?;
        let Some(chunk) = read.map_err(|error| ClientError::from_http(target.host(), &error))? else {
            return Ok(());
        };
        if kept.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        kept.extend_from_slice(&chunk);
    }
}
