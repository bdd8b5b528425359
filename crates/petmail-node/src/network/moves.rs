//! Following servers to where they have moved, by their own signed word.
//!
//! A server that moves says so in its descriptor. Nobody goes there before the server at the new address has shown, with the
//! key that was named, that it is the one. Specification: Servers, accounts, offers.

use bytes::Bytes;
use petmail_mailbox::config::host;
use petmail_proto::{
    base_url::BaseUrl,
    channel::record::TransportRecord,
    keys::{CertificatePin, ServerIdentityKey},
    server::descriptor::{Descriptor, MAX_DESCRIPTOR_BYTES, MovedTo},
};

use super::{Network, NetworkError, Owner, Server, now, retrieval_owner};
use crate::agent::records::Mailbox;

/// How often a server may have moved since it was last heard of.
const MAX_HOPS: usize = 3;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) url: BaseUrl,
    pub(crate) identity: ServerIdentityKey,
    pub(crate) pin: Option<CertificatePin>,
}

/// Who asks: owners and senders have clients of their own.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Owner(Owner),
    Sender(Owner),
}

impl Place {
    fn of(server: Server<'_>) -> Self {
        Self { url: server.url.clone(), identity: *server.identity, pin: server.pin }
    }

    /// Whether a transport leads there.
    pub(crate) fn is_of(&self, transport: &TransportRecord) -> bool {
        (&self.url, &self.identity, &self.pin) == (&transport.url, &transport.server, &transport.pin)
    }

    pub(super) const fn server(&self) -> Server<'_> {
        Server { url: &self.url, identity: &self.identity, pin: self.pin, is_local: false }
    }
}

impl Network {
    /// Returns where the server of a mailbox has moved; `None` if it is where it was.
    ///
    /// # Errors
    /// [`NetworkError`] if it cannot be asked, or its new address does not answer as it should.
    pub(crate) async fn moved(&self, mailbox: &Mailbox) -> Result<Option<Place>, NetworkError> {
        if mailbox.is_local {
            return Ok(None);
        }
        let owner = retrieval_owner(mailbox);
        let here = Place::of(Server::of_mailbox(mailbox));
        let place = self.follow(here.clone(), Asker::Owner(owner)).await?;
        Ok((place != here).then_some(place))
    }

    /// Returns where a contact's mailbox server is now.
    pub(super) async fn their_place(
        &self,
        owner: Owner,
        transport: &TransportRecord,
    ) -> Result<Place, NetworkError> {
        self.follow(Place::of(Server::of_transport(transport)), Asker::Sender(owner)).await
    }

    async fn ask_place(&self, asker: Asker, place: &Place) -> Result<Bytes, NetworkError> {
        let target = self.target(place.server())?;
        let said = match asker {
            Asker::Owner(owner) => self.retrieval.get(owner, &target, "server", MAX_DESCRIPTOR_BYTES).await?,
            Asker::Sender(owner) => self.delivery.get(owner, &target, "server", MAX_DESCRIPTOR_BYTES).await?,
        };
        Ok(said)
    }

    /// Goes from where a server was to where it is; asks only what is not known.
    async fn follow(&self, from: Place, asker: Asker) -> Result<Place, NetworkError> {
        let mut place = from;
        for _ in 0..=MAX_HOPS {
            if let Some(next) = self.moves().get(&place).cloned() {
                place = next;
                continue;
            }
            if self.known_descriptor(&place.identity).is_some() {
                return Ok(place);
            }
            let said = self.ask_place(asker, &place).await?;
            let descriptor = Descriptor::verify(&said, &place.identity, now())?;
            let Some(moved) = descriptor.moved_to else {
                self.learn_descriptor(&place.identity, &said)?;
                return Ok(place);
            };
            let next = next_place(&place, moved)?;
            let said = self.ask_place(asker, &next).await?;
            let descriptor = Descriptor::verify(&said, &next.identity, now())?;
            if descriptor.url != next.url {
                return Err(NetworkError::Nonsense(
                    "the server says that it has moved, but at its new address it gives another one"
                        .to_owned(),
                ));
            }
            if descriptor.moved_to.is_none() {
                self.learn_descriptor(&next.identity, &said)?;
            }
            tracing::info!("a mailbox server has moved");
            self.moves().insert(place, next.clone());
            place = next;
        }
        Err(NetworkError::Refused("the server has moved too often".to_owned()))
    }
}

fn next_place(place: &Place, moved: MovedTo) -> Result<Place, NetworkError> {
    let MovedTo { url, identity, pin } = moved;
    if place.url.is_https() && !url.is_https() && !host(&url).ends_with(".onion") {
        return Err(NetworkError::Refused(
            "the server says that it has moved to an address that is not protected".to_owned(),
        ));
    }
    Ok(Place { url, identity, pin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_address_is_not_left_for_an_unprotected_one() {
        let identity = ServerIdentityKey::from_bytes([1; 32]);
        let goes = |from: &str, to: &str| {
            let place = Place { url: from.parse().unwrap(), identity, pin: None };
            next_place(&place, MovedTo { url: to.parse().unwrap(), identity, pin: None }).is_ok()
        };
        assert!(goes("https://a.example", "https://b.example/mail"));
        assert!(goes("http://a.example", "http://b.example"));
        assert!(goes("https://a.example", "http://abc.onion"));
        assert!(!goes("https://a.example", "http://b.example"));
        assert!(!goes("https://a.example", "http://onion.example"));
    }
}
