//! The endpoints of the storage role: a ticket, questions about many packs, and one pack.

use std::{ops::Bound, sync::Arc};

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{
    AcceptRanges, Authorization, ContentLength, ContentRange, HeaderMapExt, Range, authorization::Bearer,
};
use petmail_objects::{ObjectError, Objects};
use petmail_proto::{
    content::PackId,
    retrieval::{MAX_LOOK_UPS, PackState, StorageTicket, decode_look_up, encode_found},
};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{Body, OCTETS, Problem, Shared, now};
use crate::{
    packs::{Depositor, PackError, Packs, Part, Stored},
    queue::QueueStore,
    server::Services,
};

/// The longest part of a pack in one request, in bytes.
pub(super) const MAX_PART_BYTES: usize = 2 << 20;

/// The longest question about packs, in bytes.
pub(super) const MAX_LOOK_UP_BYTES: usize = 6 + 32 * MAX_LOOK_UPS;

/// How much of a pack is read from the disk at a time, in bytes.
const READ_BYTES: usize = 1 << 20;

/// Where the next part of a pack begins.
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Gives the owner of an account a ticket.
pub(super) async fn grant<Q: QueueStore>(
    State(services): Shared<Q>,
    body: Body,
) -> Result<Response, Problem> {
    let packs = packs_of(&services)?;
    let used = |account: &_| packs.used_bytes(account);
    Ok((OCTETS, services.retrieval().grant_storage(&body?, used, now()).await?).into_response())
}

/// Tells how far packs are stored.
pub(super) async fn look_up<Q: QueueStore>(
    State(services): Shared<Q>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let packs = packs_of(&services)?;
    let from = depositor(&services, &headers).await?;
    let ids = decode_look_up(&body?).map_err(|_| Problem::Malformed)?;
    let states = packs.look_up(from, &ids, now()).await?;
    Ok((OCTETS, encode_found(&states)).into_response())
}

/// Takes a pack, or a part of one.
pub(super) async fn put<Q: QueueStore>(
    State(services): Shared<Q>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let packs = packs_of(&services)?;
    let from = depositor(&services, &headers).await?;
    let bytes = body?;
    let (offset, total) = place(&headers, bytes.len())?;
    let part = Part { id: pack_id(&id)?, offset, total, bytes };
    // It is seen to its end, though nobody may wait any more.
    let packs = Arc::clone(packs);
    let put = tokio::spawn(async move { packs.put(from, part, now()).await });
    let put = put.await.unwrap_or_else(|error| Err(PackError::Failed(error.to_string())));
    Ok(match put? {
        PackState::Stored => StatusCode::CREATED.into_response(),
        PackState::Arriving(next) => {
            (StatusCode::ACCEPTED, [(UPLOAD_OFFSET, next.to_string())]).into_response()
        }
    })
}

/// Hands out a pack, or a range of it, to whoever knows its name.
pub(super) async fn read<Q: QueueStore>(
    State(services): Shared<Q>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let packs = packs_of(&services)?;
    let id = pack_id(&id)?;
    let (range, is_head) = (request.headers().typed_get(), request.method() == Method::HEAD);
    let mut found = packs.find(&id).await?.ok_or(Problem::NotFound)?;
    let mut response = Problem::NotFound.into_response();
    if let Stored::File(path) = &found {
        response = match ServeFile::new(path).with_buf_chunk_size(READ_BYTES).oneshot(request).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        };
        if response.status() == StatusCode::NOT_FOUND {
            // It may have moved to the service at this moment.
            found = packs.find(&id).await?.ok_or(Problem::NotFound)?;
        }
    }
    if let Stored::Object(objects, length) = &found {
        response = read_object(objects, &id, *length, range, is_head).await?;
    }
    // When it came is nobody's business, and a name never stands for other bytes.
    response.headers_mut().remove(header::LAST_MODIFIED);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Hands out what a service keeps. Whoever reads does not meet the service, and the service not them.
async fn read_object(
    objects: &Objects,
    id: &PackId,
    length: u64,
    range: Option<Range>,
    is_head: bool,
) -> Result<Response, Problem> {
    let wanted = match range {
        None => None,
        Some(range) => {
            let Some(part) = first_range(&range, length) else {
                let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
                response.headers_mut().typed_insert(ContentRange::unsatisfied_bytes(length));
                return Ok(response);
            };
            Some(part)
        }
    };
    let part = wanted.clone().unwrap_or(0..length);
    let body = if is_head {
        axum::body::Body::empty()
    } else {
        let stream = objects.read(id, part.clone()).await.map_err(|error| {
            if error == ObjectError::Gone {
                tracing::error!(%id, "a pack is gone from the storage service");
                return Problem::NotFound;
            }
            PackError::from(error).into()
        })?;
        axum::body::Body::from_stream(stream)
    };
    let mut response = (OCTETS, body).into_response();
    let headers = response.headers_mut();
    headers.typed_insert(ContentLength(part.end.saturating_sub(part.start)));
    headers.typed_insert(AcceptRanges::bytes());
    if wanted.is_some() {
        if let Ok(range) = ContentRange::bytes(part, length) {
            headers.typed_insert(range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The first of the ranges that are asked for, within so many bytes; none if there is no such byte.
fn first_range(range: &Range, length: u64) -> Option<std::ops::Range<u64>> {
    let (start, end) = range.satisfiable_ranges(length).next()?;
    let end = match end {
        Bound::Included(last) => last.saturating_add(1).min(length),
        Bound::Excluded(end) => end.min(length),
        Bound::Unbounded => length,
    };
    let start = match start {
        Bound::Included(first) => first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    (start < end).then_some(start..end)
}

/// Deletes a pack of the owner's.
pub(super) async fn delete<Q: QueueStore>(
    State(services): Shared<Q>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let packs = packs_of(&services)?;
    let from = depositor(&services, &headers).await?;
    packs.delete(from.account, pack_id(&id)?, now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn packs_of<Q: QueueStore>(services: &Services<Q>) -> Result<&Arc<Packs>, Problem> {
    services.packs().ok_or(Problem::NotFound)
}

async fn depositor<Q: QueueStore>(services: &Services<Q>, headers: &HeaderMap) -> Result<Depositor, Problem> {
    let bearer = headers.typed_get::<Authorization<Bearer>>().ok_or(Problem::NoTicket)?;
    let ticket: StorageTicket = bearer.token().parse().map_err(|_| Problem::BadTicket)?;
    Ok(services.retrieval().depositor(&ticket, now()).await?)
}

fn pack_id(text: &str) -> Result<PackId, Problem> {
    text.parse().map_err(|_| Problem::NotFound)
}

/// Where a body belongs in its pack, and how long that is; without a Content-Range it is all of it.
fn place(headers: &HeaderMap, length: usize) -> Result<(u32, u32), Problem> {
    let length = u32::try_from(length).map_err(|_| Problem::TooLarge)?;
    if !headers.contains_key(header::CONTENT_RANGE) {
        return Ok((0, length));
    }
    let range: ContentRange = headers.typed_get().ok_or(Problem::Malformed)?;
    let ((first, last), total) = range.bytes_range().zip(range.bytes_len()).ok_or(Problem::Malformed)?;
    let is_exact = last.checked_sub(first).and_then(|apart| apart.checked_add(1)) == Some(length.into());
    let (first, total) = (u32::try_from(first).ok(), u32::try_from(total).ok());
    first.zip(total).filter(|_| is_exact).ok_or(Problem::Malformed)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn ranges_are_exact_or_refused() {
        let with = |value: &'static str| {
            HeaderMap::from_iter([(header::CONTENT_RANGE, HeaderValue::from_static(value))])
        };
        assert_eq!(place(&HeaderMap::new(), 7), Ok((0, 7)));
        assert_eq!(place(&with("bytes 3-9/20"), 7), Ok((3, 20)));
        for bad in [
            "bytes 3-9/*",
            "bytes */20",
            "bytes 3-8/20",
            "bytes 9-3/20",
            "bytes 0-18446744073709551615/20",
            "bytes 3-9/99999999999",
            "items 3-9/20",
            "3-9/20",
            "",
        ] {
            assert_eq!(place(&with(bad), 7), Err(Problem::Malformed), "{bad}");
        }
    }

    #[test]
    fn the_first_range_is_within_the_pack() {
        let first = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(value))]);
            headers.typed_get::<Range>().and_then(|range| first_range(&range, 100))
        };
        assert_eq!(first("bytes=0-9"), Some(0..10));
        assert_eq!(first("bytes=90-"), Some(90..100));
        assert_eq!(first("bytes=90-500"), Some(90..100));
        assert_eq!(first("bytes=-10"), Some(90..100));
        assert_eq!(first("bytes=7-7,20-30"), Some(7..8));
        for bad in ["bytes=100-", "bytes=100-200", "bytes=9-3", "items=0-9", "bytes=0-18446744073709551615x"]
        {
            assert_eq!(first(bad), None, "{bad}");
        }
    }
}
