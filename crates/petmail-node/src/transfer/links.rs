//! Links to the packs of a file, for those who cannot ask its storage for anything: `docs/protocol/content.md`, "Links".

use bytes::Bytes;
use petmail_proto::content::{LinkedPlace, ManifestChunk, PackId, PackLinks, PackWriter};

use super::{Depot, Stopped};
use crate::agent::{
    Agent,
    records::transfers::{StoredChunk, StoredPack},
};

/// Stores links to packs in a pack of its own, and returns the link of that; none if readers need none. They are good for
/// [`LINK_LIFE`](super::service::LINK_LIFE).
///
/// # Errors
/// [`Stopped`]: the storage refuses.
pub(super) async fn publish(
    agent: &Agent,
    depot: &Depot,
    id: u64,
    packs: &[PackId],
) -> Result<Option<LinkedPlace>, Stopped> {
    let Some(links) = depot.explained(depot.links(packs).await).await? else { return Ok(None) };
    let list = PackLinks::from_iter(links).encode().map_err(Stopped::because)?;
    let sealed = agent.content_secret().seal(&list);
    let mut writer = PackWriter::new();
    let (place, _) = writer.add(&sealed);
    let Some(pack) = writer.take() else { return Ok(None) };
    let bytes = u32::try_from(pack.bytes.len()).unwrap_or(u32::MAX);
    depot.explained(depot.store(pack.id, &Bytes::from(pack.bytes)).await).await?;
    let (offset, length) = (place.offset, sealed.length);
    let chunks = vec![StoredChunk { hash: sealed.hash, offset, length }];
    let noted = agent.note_pack(depot.place(), id, &pack.id, &StoredPack { bytes, chunks }).await;
    noted.map_err(Stopped::because)?;
    let signed = depot.explained(depot.links(&[pack.id]).await).await?;
    let link = signed.and_then(|links| links.into_iter().next());
    let list = ManifestChunk { pack: pack.id, offset, length, hash: sealed.hash, key: sealed.key };
    Ok(link.map(|(_, link)| LinkedPlace { link, list }))
}
