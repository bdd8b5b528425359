//! Name resolution that lets only allowed addresses through, so that a learnt name cannot lead into the local network.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::AddressRule;

/// The system's resolver behind an [`AddressRule`].
#[derive(Debug)]
pub(super) struct GuardedResolver(pub(super) AddressRule);

/// The name leads, perhaps among others, to an address that the rule forbids.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not allowed")]
pub(super) struct Forbidden;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            // One forbidden address spoils the name: an honest public name has none.
            if !found.iter().all(|address| rule.permits(address.ip())) {
                return Err(Forbidden.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
