//! Where a file is that was sent a while ago: links are good for some days only, and a server may have moved.

use petmail_proto::content::Location;

use super::{Depot, Stopped, links};
use crate::agent::{Agent, records::transfers::Share};

/// Finds out where a sent file is now; none if it is kept no longer.
///
/// # Errors
/// [`Stopped`]: that cannot be known at present.
pub(crate) async fn locate(agent: &Agent, id: u64, share: &Share) -> Result<Option<Location>, Stopped> {
    let opened =
        Depot::open(agent, share.mailbox, id).await.map_err(|error| Stopped::Refused(error.to_string()))?;
    // Left, or removed.
    let Some(depot) = opened else { return Ok(None) };
    let (_, stored) = agent.stored_file(id).await.map_err(Stopped::because)?;
    let outdated = stored.reference.linked.map(|linked| linked.list.pack);
    let mut packs = agent.packs_of(share.mailbox, id).await.map_err(Stopped::because)?;
    packs.retain(|pack| Some(*pack) != outdated);
    let missing = depot.explained(depot.missing(&packs).await).await?;
    if !missing.is_empty() {
        tracing::warn!(
            id,
            packs = missing.len(),
            "a storage server has lost packs of a file that a contact wants"
        );
        return Ok(None);
    }
    let linked = links::publish(agent, &depot, id, &packs).await?;
    if let Some(outdated) = outdated.filter(|_| linked.is_some()) {
        agent.forget_use(share.mailbox, &outdated, id).await.map_err(Stopped::because)?;
    }
    Ok(Some(Location { places: depot.server().into_iter().collect(), linked }))
}
