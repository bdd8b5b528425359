//! How the agent speaks with storage servers: tickets, questions about packs, and packs there and back.
//! Specification: `docs/protocol/storage.md`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use petmail_net::client::{Answer, ClientError, Owner, PartOf, Target, TargetUrl, UrlPolicy, service_client};
use petmail_objects::{ObjectError, Way};
use petmail_proto::{
    content::{Link, MAX_PACK_BYTES, PackId, StoragePlace},
    keys::SymmetricKey,
    retrieval::{
        MAX_LOOK_UPS, PackState, RequestKey, StorageAnswer, StorageGrant, StorageTicket, decode_found,
        encode_look_up, seal_list_request,
    },
    time::UnixMillis,
};
use rand_core::OsRng;

use super::{Network, NetworkError, Server, now, refusal_text, retrieval_owner};
use crate::agent::records::{Account, Mailbox};

/// The longest part of a pack in one request, in bytes.
pub(crate) const MAX_PART_BYTES: usize = 2 << 20;

/// The longest answer to a request for a ticket, in bytes.
const MAX_GRANT_BYTES: usize = 512;

/// The longest answer to a question about packs, in bytes.
const MAX_FOUND_BYTES: usize = 6 + 4 * MAX_LOOK_UPS;

/// The longest answer to a request for a pack, in bytes.
const MOST: usize = MAX_PACK_BYTES as usize;

/// Why something could not be stored or fetched, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StorageError {
    /// It may go better later.
    #[error("{reason}")]
    Unavailable { reason: String, retry_after: Option<Duration> },
    /// The ticket is not good any more.
    #[error("the storage server asks for another ticket")]
    Ticket,
    /// The server keeps no files, or none of this account.
    #[error("the server keeps no files for you")]
    NoStorage,
    /// There is no more room.
    #[error("the storage is full")]
    Full,
    /// It is not there.
    #[error("it is not there any more")]
    Gone,
    /// The service does not let this account do that, or is set up in another way.
    #[error("{0}")]
    Refused(String),
    /// What came is not what was stored.
    #[error("the storage server returned something else than was stored there")]
    Damaged,
}

impl StorageError {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self::Unavailable { reason: reason.to_string(), retry_after: None }
    }
}

impl From<ClientError> for StorageError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::TooLarge { .. } => Self::Damaged,
            other => Self::because(other),
        }
    }
}

impl From<ObjectError> for StorageError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Refused(reason) => Self::Refused(reason),
            ObjectError::Full => Self::Full,
            ObjectError::Gone => Self::Gone,
            other => Self::because(other),
        }
    }
}

impl From<NetworkError> for StorageError {
    fn from(error: NetworkError) -> Self {
        Self::because(error)
    }
}

/// What a server says of a part that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// All of the pack is on its disk.
    Stored,
    /// The next part begins there.
    Next(u32),
    /// The bytes were not those of the pack: all of it has to be sent again.
    Wrong,
}

/// A part of a pack.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) id: PackId,
    pub(crate) offset: u32,
    pub(crate) total: u32,
    pub(crate) bytes: Bytes,
}

impl Network {
    /// Asks for a ticket to store with.
    pub(crate) async fn storage_grant(
        &self,
        mailbox: &Mailbox,
        account: &Account,
    ) -> Result<StorageGrant, StorageError> {
        let (answer, opened) = self.ask_grant(mailbox, account, now()).await?;
        if let Ok(StorageAnswer::Refused(refusal)) = opened {
            // The clocks differ: the server's counts.
            let (answer, opened) = self.ask_grant(mailbox, account, refusal.server_time).await?;
            return granted(&answer, opened);
        }
        granted(&answer, opened)
    }

    async fn ask_grant(
        &self,
        mailbox: &Mailbox,
        account: &Account,
        time: UnixMillis,
    ) -> Result<(Answer, Result<StorageAnswer, ()>), StorageError> {
        let target = self.deposit_target(mailbox)?;
        let descriptor = self.own_descriptor(mailbox, Server::of_mailbox(mailbox)).await?;
        if !descriptor.is_storage() {
            return Err(StorageError::NoStorage);
        }
        let (request, key) =
            seal_list_request(time, &account.record.retrieval_token, &descriptor.retrieval_key, &mut OsRng)
                .map_err(StorageError::because)?;
        let asked = self.deposits.post(
            retrieval_owner(mailbox),
            &target,
            ("storage", None),
            request.into(),
            MAX_GRANT_BYTES,
        );
        let answer = asked.await?;
        let opened = open(&answer.body, &key, &account.record.symmetric_key);
        Ok((answer, opened))
    }

    /// Asks how far packs are stored: at most [`MAX_LOOK_UPS`].
    pub(crate) async fn look_up_packs(
        &self,
        mailbox: &Mailbox,
        ticket: &StorageTicket,
        packs: &[PackId],
    ) -> Result<Vec<PackState>, StorageError> {
        let question = encode_look_up(packs).map_err(StorageError::because)?;
        let target = self.deposit_target(mailbox)?;
        let ticket = ticket.to_string();
        let asked = self.deposits.post(
            retrieval_owner(mailbox),
            &target,
            ("packs", Some(&ticket)),
            question.into(),
            MAX_FOUND_BYTES,
        );
        let answer = asked.await?;
        match answer.status {
            200 => decode_found(&answer.body, packs.len()).map_err(StorageError::because),
            status => Err(refused(status, answer.retry_after)),
        }
    }

    /// Brings a part of a pack.
    pub(crate) async fn put_part(
        &self,
        mailbox: &Mailbox,
        ticket: &StorageTicket,
        part: Part,
    ) -> Result<Put, StorageError> {
        let target = self.deposit_target(mailbox)?;
        let (path, ticket) = (pack_path(&part.id), ticket.to_string());
        let place = PartOf { first: part.offset.into(), total: part.total.into() };
        let put = self.deposits.put(retrieval_owner(mailbox), &target, (&path, &ticket), place, part.bytes);
        let receipt = put.await?;
        let next = receipt.offset.and_then(|offset| u32::try_from(offset).ok());
        match (receipt.status, next.filter(|next| *next < part.total)) {
            (201, _) => Ok(Put::Stored),
            (202 | 409, Some(next)) => Ok(Put::Next(next)),
            (400, _) => Ok(Put::Wrong),
            (status, _) => Err(refused(status, receipt.retry_after)),
        }
    }

    /// Deletes a pack; one that is gone already is no error.
    pub(crate) async fn delete_pack(
        &self,
        mailbox: &Mailbox,
        ticket: &StorageTicket,
        id: &PackId,
    ) -> Result<(), StorageError> {
        let target = self.deposit_target(mailbox)?;
        let (path, ticket) = (pack_path(id), ticket.to_string());
        match self.deposits.delete(retrieval_owner(mailbox), &target, (&path, &ticket)).await? {
            204 => Ok(()),
            status => Err(refused(status, None)),
        }
    }

    /// Fetches a pack that a contact has named, or the rest of it if some of it is kept. Whether its bytes are the right ones is not
    /// known yet.
    pub(crate) async fn read_pack(
        &self,
        cid: u32,
        place: &StoragePlace,
        id: &PackId,
        kept: &mut BytesMut,
    ) -> Result<(), StorageError> {
        let target = self.reading_target(place)?;
        let url = target.url().endpoint(&pack_path(id));
        let read = self.readings.read(Owner(u64::from(cid)), &target, url, kept, MOST).await?;
        match read.status {
            200 => Ok(()),
            404 | 410 => Err(StorageError::Gone),
            status => Err(refused(status, read.retry_after)),
        }
    }

    /// Fetches a pack by a link that a contact has named; as [`read_pack`](Self::read_pack).
    pub(crate) async fn read_link(
        &self,
        cid: u32,
        link: &Link,
        kept: &mut BytesMut,
    ) -> Result<(), StorageError> {
        let (url, link) = TargetUrl::of_link(link.expose(), self.policy).map_err(ClientError::Refused)?;
        let target = Target::new(url, Vec::new());
        let read = self.readings.read(Owner(u64::from(cid)), &target, link, kept, MOST).await?;
        match read.status {
            200 => Ok(()),
            // Services refuse links whose time is over.
            401 | 403 | 404 | 410 => Err(StorageError::Gone),
            status => Err(refused(status, read.retry_after)),
        }
    }

    /// Returns how services that this node's owner has chosen are reached.
    pub(crate) fn service_way(&self) -> Result<Way, StorageError> {
        Ok(Way {
            client: service_client(&self.settings)?,
            has_proxy: self.settings.socks5.is_some(),
            may_be_private: self.policy == UrlPolicy::AllowPrivate,
        })
    }

    fn reading_target(&self, place: &StoragePlace) -> Result<Target, StorageError> {
        let url = TargetUrl::parse(place.url.as_str(), self.policy).map_err(ClientError::Refused)?;
        let pins = place.pin.map(|pin| petmail_net::tls::Pin::from_bytes(*pin.as_bytes()));
        Ok(Target::new(url, pins.into_iter().collect()))
    }

    /// A ticket would be seen on an open line.
    fn deposit_target(&self, mailbox: &Mailbox) -> Result<Target, StorageError> {
        let is_onion = petmail_mailbox::config::host(&mailbox.url).ends_with(".onion");
        if !mailbox.url.is_https() && !is_onion {
            return Err(StorageError::NoStorage);
        }
        Ok(self.target(Server::of_mailbox(mailbox))?)
    }
}

fn open(body: &[u8], request: &RequestKey, key: &SymmetricKey) -> Result<StorageAnswer, ()> {
    StorageAnswer::open(body, request, key).map_err(drop)
}

fn granted(answer: &Answer, opened: Result<StorageAnswer, ()>) -> Result<StorageGrant, StorageError> {
    match (answer.status, opened) {
        (200, Ok(StorageAnswer::Granted(grant))) => Ok(grant),
        (200, _) => Err(StorageError::because("the storage server's answer makes no sense")),
        (409, _) => Err(StorageError::because("the clock of this computer is wrong; set it right")),
        // It does not know the account.
        (403, _) => Err(StorageError::NoStorage),
        (status, _) => Err(refused(status, answer.retry_after)),
    }
}

fn refused(status: u16, retry_after: Option<Duration>) -> StorageError {
    match status {
        401 | 403 => StorageError::Ticket,
        404 => StorageError::NoStorage,
        507 => StorageError::Full,
        status => StorageError::Unavailable {
            reason: refusal_text(status).replace("mailbox server", "storage server"),
            retry_after,
        },
    }
}

fn pack_path(id: &PackId) -> String {
    format!("packs/{id}")
}
