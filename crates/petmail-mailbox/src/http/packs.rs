//! The endpoints of the storage role: a ticket, questions about many packs, and one pack.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{Authorization, ContentRange, HeaderMapExt, authorization::Bearer};
use petmail_proto::{
    content::PackId,
    retrieval::{MAX_LOOK_UPS, PackState, StorageTicket, decode_look_up, encode_found},
};
use tower::ServiceExt;
use tower_http::services::ServeFile;

use super::{Body, OCTETS, Problem, Shared, now};
use crate::{
    packs::{Depositor, Packs, Part},
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
    Ok(match packs.put(from, part, now()).await? {
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
    let file = packs.find(&pack_id(&id)?).await?.ok_or(Problem::NotFound)?;
    let mut response =
        match ServeFile::new(file.path()).with_buf_chunk_size(READ_BYTES).oneshot(request).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        };
    // When it came is nobody's business, and a name never stands for other bytes.
    response.headers_mut().remove(header::LAST_MODIFIED);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
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

fn packs_of<Q: QueueStore>(services: &Services<Q>) -> Result<&Packs, Problem> {
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
}
