//! How the agent speaks with servers: descriptors, redeeming, delivering, listing, fetching, deleting.
//!
//! Composes `petmail-proto`'s messages with `petmail-net`'s clients; decides nothing about the agent's state. Deliveries
//! and retrieval use clients of their own, and each contact and each account its own connections.

mod moves;
pub(crate) mod storage;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use petmail_net::{
    client::{
        ClientError, ClientSettings, DeliveryClient, Opened, Owner, RetrievalClient, StorageClient, Target,
        TargetUrl, UrlPolicy,
    },
    ws::{self, WsSettings},
};
use petmail_proto::{
    base_url::BaseUrl,
    channel::record::TransportRecord,
    keys::{AccountSecretKey, CertificatePin, ServerIdentityKey},
    outbox::Outcome,
    retrieval::{
        DeleteRequest, DeleteToken, EventReader, FetchAnswer, FetchRequest, FetchToken, MAX_EVENT_BYTES,
        seal_list_request,
    },
    server::{
        account::{AccountRecord, MAX_ACCOUNT_RECORD_BYTES},
        descriptor::{Descriptor, MAX_DESCRIPTOR_BYTES},
        mint::MintTerms,
        offer::RedeemTokenHash,
    },
    time::UnixMillis,
    token::TokenKeyId,
};
use rand_core::OsRng;

pub(crate) use self::moves::Place;
use crate::agent::{
    core::{Ended, Offer, Packets},
    error::{CommandError, Fault},
    records::{Account, Mailbox, Rekeying},
};

/// The status of a server that has another address now.
const MOVED: u16 = 421;

/// An event in base64, with its line's name.
const MAX_EVENT_TEXT_BYTES: usize = MAX_EVENT_BYTES / 3 * 4 + 64;

/// What is read of an answer that should be empty.
const MAX_EMPTY_ANSWER_BYTES: usize = 4_096;

/// Why something could not be done with a server, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetworkError {
    /// No connection, or no usable answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server's descriptor is not acceptable.
    #[error("{0}")]
    Descriptor(#[from] petmail_proto::server::descriptor::DescriptorError),
    /// The server refuses.
    #[error("{0}")]
    Refused(String),
    /// The server says what it must not.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(String),
    /// Another program has opened the mailbox's event stream.
    #[error("another program uses this mailbox; was the node copied?")]
    Superseded,
    /// This machine's clock is wrong; the server's time came back.
    #[error("the clock of this computer differs from the server's by {} s; set it right", .0.abs() / 1_000)]
    Clock(i64),
}

/// The clients, and what is known of servers.
#[derive(Debug)]
pub(crate) struct Network {
    delivery: DeliveryClient,
    retrieval: RetrievalClient,
    deposits: StorageClient,
    readings: StorageClient,
    settings: ClientSettings,
    policy: UrlPolicy,
    /// Where the mailbox inside this node listens: its public address need not be reachable from here.
    local_mailbox: Option<SocketAddr>,
    descriptors: Mutex<HashMap<ServerIdentityKey, Known>>,
    /// Where servers went, each step.
    moves: Mutex<HashMap<Place, Place>>,
}

/// What is known of a server.
#[derive(Debug)]
struct Known {
    /// The greatest serial seen: an older descriptor is a replay, or the server was set back.
    serial: u64,
    /// The descriptor in use; none if it may have changed.
    descriptor: Option<Arc<Descriptor>>,
}

/// A server as a record names it.
#[derive(Clone, Copy, Debug)]
struct Server<'a> {
    url: &'a BaseUrl,
    identity: &'a ServerIdentityKey,
    pin: Option<CertificatePin>,
    is_local: bool,
}

impl<'a> Server<'a> {
    fn of_mailbox(mailbox: &'a Mailbox) -> Self {
        Self { url: &mailbox.url, identity: &mailbox.server, pin: mailbox.pin, is_local: mailbox.is_local }
    }

    fn of_transport(transport: &'a TransportRecord) -> Self {
        Self { url: &transport.url, identity: &transport.server, pin: transport.pin, is_local: false }
    }
}

/// A server that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probe<'a> {
    /// The server of one of the node's mailboxes.
    Mailbox(&'a Mailbox),
    /// A server where a contact receives.
    Transport {
        /// The contact.
        cid: u32,
        /// Where it receives.
        transport: &'a TransportRecord,
    },
}

/// An open event stream of a mailbox.
#[derive(Debug)]
pub(crate) struct MailboxStream {
    pub(crate) events: petmail_net::client::EventStream,
    pub(crate) reader: EventReader,
}

impl Network {
    /// Makes the clients; nothing is connected yet.
    pub(crate) fn new(
        settings: ClientSettings,
        policy: UrlPolicy,
        local_mailbox: Option<SocketAddr>,
    ) -> Self {
        Self {
            delivery: DeliveryClient::new(settings.clone()),
            deposits: StorageClient::for_deposits(settings.clone()),
            readings: StorageClient::for_readings(settings.clone()),
            retrieval: RetrievalClient::new(settings.clone()),
            settings,
            policy,
            local_mailbox,
            descriptors: Mutex::default(),
            moves: Mutex::default(),
        }
    }

    /// Redeems an offer with the keys that were stored for it.
    pub(crate) async fn redeem(&self, mailbox: &Mailbox) -> Result<Account, CommandError> {
        self.try_redeem(mailbox).await.map_err(|error| match error {
            NetworkError::Refused(reason) => {
                CommandError::new(Fault::Conflict, reason, "ask the provider for a new offer")
            }
            other => CommandError::new(
                Fault::Unavailable,
                other.to_string(),
                "nothing is lost: accept the offer again when the server can be reached",
            ),
        })
    }

    async fn try_redeem(&self, mailbox: &Mailbox) -> Result<Account, NetworkError> {
        let server = Server::of_mailbox(mailbox);
        let descriptor = self.own_descriptor(mailbox, server).await?;
        let request = mailbox
            .keys
            .seal_redeem(&mailbox.redeem_token, &mailbox.server, &descriptor.retrieval_key, &mut OsRng)
            .map_err(|error| NetworkError::Nonsense(error.to_string()))?;
        let target = self.target(server)?;
        let owner = retrieval_owner(mailbox);
        let answer = self
            .retrieval
            .post(owner, &target, "redeem", request.into(), MAX_ACCOUNT_RECORD_BYTES + 64)
            .await?;
        match answer.status {
            200 => {}
            404 => return Err(NetworkError::Refused("the server does not know this offer".into())),
            410 => {
                return Err(NetworkError::Refused(
                    "the offer was already used by someone else, or has expired".into(),
                ));
            }
            status => {
                self.forget_descriptor(&mailbox.server);
                return Err(NetworkError::Nonsense(format!("status {status}")));
            }
        }
        open_account(&answer.body, &descriptor, &mailbox.keys.answers)
    }

    /// Makes an offer for somebody else, out of what an account may give.
    pub(crate) async fn mint(
        &self,
        mailbox: &Mailbox,
        offer: RedeemTokenHash,
        terms: MintTerms,
    ) -> Result<(), CommandError> {
        let conflict = |problem: &str, hint: &str| Err(CommandError::new(Fault::Conflict, problem, hint));
        match self.try_mint(mailbox, offer, terms).await {
            Ok(204) => Ok(()),
            Ok(400) => conflict(
                "the mailbox server gives no such mailbox",
                "messages cannot be kept for longer than in your own mailbox there, and not every server stores files; choose less",
            ),
            Ok(403 | 404) => conflict(
                "the operator of the mailbox server lets you give no mailboxes, or no more",
                "ask the operator",
            ),
            Ok(409) => conflict(
                "that is more than you may still give; offers that nobody has used count until they expire",
                "choose a smaller mailbox, or ask the operator for more",
            ),
            Ok(status) => unavailable(&NetworkError::Refused(refusal_text(status))),
            Err(error) => unavailable(&error),
        }
    }

    async fn try_mint(
        &self,
        mailbox: &Mailbox,
        offer: RedeemTokenHash,
        terms: MintTerms,
    ) -> Result<u16, NetworkError> {
        let server = Server::of_mailbox(mailbox);
        let descriptor = self.own_descriptor(mailbox, server).await?;
        let request = mailbox
            .keys
            .seal_mint(offer, terms, &mailbox.server, &descriptor.retrieval_key, &mut OsRng)
            .map_err(|error| NetworkError::Nonsense(error.to_string()))?;
        let (owner, target) = (retrieval_owner(mailbox), self.target(server)?);
        let answer =
            self.retrieval.post(owner, &target, "mint", request.into(), MAX_EMPTY_ANSWER_BYTES).await?;
        Ok(answer.status)
    }

    /// Asks how an account is: for the secrets that it has.
    pub(crate) async fn account(
        &self,
        mailbox: &Mailbox,
        account: &Account,
    ) -> Result<Account, NetworkError> {
        let (generation, keys) = (account.record.generation, mailbox.keys.clone());
        self.rekey(mailbox, &Rekeying { generation, keys, new_slot: false }).await
    }

    /// Replaces the secrets of an account, so that no copy of this node can use them any more.
    pub(crate) async fn rekey(
        &self,
        mailbox: &Mailbox,
        rekeying: &Rekeying,
    ) -> Result<Account, NetworkError> {
        let server = Server::of_mailbox(mailbox);
        let descriptor = self.own_descriptor(mailbox, server).await?;
        let Rekeying { generation, keys, new_slot } = rekeying;
        let key = &descriptor.retrieval_key;
        let request = mailbox
            .keys
            .seal_rekey(*generation, keys, *new_slot, &mailbox.server, key, &mut OsRng)
            .map_err(|error| NetworkError::Nonsense(error.to_string()))?;
        let asked = self.ask(mailbox, "rekey", request, MAX_ACCOUNT_RECORD_BYTES + 64).await;
        let account = asked.and_then(|answer| open_account(&answer, &descriptor, &keys.answers));
        // The server may have replaced its keys meanwhile.
        account.inspect_err(|_| self.forget_descriptor(server.identity))
    }

    /// Reads the descriptor of a mailbox's server anew, and returns the token key that it uses now.
    pub(crate) async fn newest_token_key(
        &self,
        mailbox: &Mailbox,
    ) -> Result<Option<TokenKeyId>, NetworkError> {
        self.forget_descriptor(&mailbox.server);
        let descriptor = self.own_descriptor(mailbox, Server::of_mailbox(mailbox)).await?;
        Ok(descriptor.token_keys.first().map(|key| key.kid))
    }

    /// Offers one message to one mailbox of a contact, sealed for this attempt. Says what was wrong if it was not taken.
    pub(crate) async fn deliver(&self, offer: &Offer, packets: Packets) -> Ended {
        match self.try_deliver(offer, packets).await {
            Ok(()) => Ended { outcome: Outcome::Taken, trouble: None },
            Err(NotTaken { reason, retry_after, is_full }) => {
                Ended { outcome: Outcome::Failed { retry_after, is_full }, trouble: Some(reason) }
            }
        }
    }

    async fn try_deliver(&self, offer: &Offer, packets: Packets) -> Result<(), NotTaken> {
        let owner = Owner(u64::from(offer.cid));
        let place =
            self.their_place(owner, &offer.transport).await.map_err(|error| NotTaken::unsent(&error))?;
        let server = place.server();
        let target = self.target(server).map_err(|error| NotTaken::unsent(&error))?;
        let kid = offer.transport.kid;
        // A contact may have a token for a key that is newer than what is known of its server.
        if self.known_descriptor(server.identity).is_some_and(|known| known.token_key(kid).is_none()) {
            self.forget_descriptor(server.identity);
        }
        let descriptor =
            self.their_descriptor(owner, server, &target).await.map_err(|error| NotTaken::unsent(&error))?;
        let key = descriptor.token_key(kid);
        let key = key.ok_or_else(|| NotTaken::unsent(&"their mailbox server has retired their address"))?;
        let msg_a = offer
            .sealing
            .seal(&offer.transport, key, &descriptor.delivery_key, packets)
            .map_err(|error| NotTaken::unsent(&error))?;
        let sent = self.delivery.deliver(owner, &target, "deliver", msg_a.into_bytes().into()).await;
        let receipt = sent.map_err(|error| NotTaken::unsent(&error))?;
        if receipt.status == 204 {
            return Ok(());
        }
        // Its keys may have changed: ask for the descriptor again before the next attempt.
        self.forget_descriptor(server.identity);
        Err(NotTaken {
            reason: refusal_text(receipt.status),
            retry_after: receipt.retry_after,
            is_full: receipt.status == 507,
        })
    }

    /// Opens the event stream of a mailbox. `clock_offset` is what must be added to this machine's clock, in ms.
    pub(crate) async fn open_stream(
        &self,
        mailbox: &Mailbox,
        account: &Account,
        clock_offset: i64,
    ) -> Result<MailboxStream, NetworkError> {
        let server = Server::of_mailbox(mailbox);
        let descriptor = self.own_descriptor(mailbox, server).await?;
        let now = UnixMillis(now().0.saturating_add_signed(clock_offset));
        let (request, request_key) =
            seal_list_request(now, &account.record.retrieval_token, &descriptor.retrieval_key, &mut OsRng)
                .map_err(|error| NetworkError::Nonsense(error.to_string()))?;
        let mut reader = EventReader::new(request_key, account.record.symmetric_key.clone());
        let target = self.target(server)?;
        let owner = retrieval_owner(mailbox);
        let opened =
            self.retrieval.open_events(owner, &target, "list", request.into(), MAX_EVENT_TEXT_BYTES).await?;
        let answer = match opened {
            Opened::Stream(events) => return Ok(MailboxStream { events, reader }),
            Opened::Answer(answer) => answer,
        };
        self.forget_descriptor(server.identity);
        match (answer.status, reader.open(&answer.body)) {
            (_, Ok(petmail_proto::retrieval::Answer::Refused(refusal))) => {
                let offset = i64::try_from(refusal.server_time.0).unwrap_or(i64::MAX);
                Err(NetworkError::Clock(offset.saturating_sub(i64::try_from(now_ms()).unwrap_or(i64::MAX))))
            }
            (403, _) => Err(NetworkError::Refused(
                "the server does not know this account any more; was a backup of this node restored elsewhere? \
                 Only one copy of a node may run"
                    .into(),
            )),
            (status, _) => Err(NetworkError::Refused(refusal_text(status))),
        }
    }

    /// Fetches messages that an event did not carry itself; one that is gone is none.
    pub(crate) async fn fetch(
        &self,
        mailbox: &Mailbox,
        tokens: Vec<FetchToken>,
    ) -> Result<Vec<Option<Vec<u8>>>, NetworkError> {
        let nonsense = |error: &dyn std::fmt::Display| NetworkError::Nonsense(error.to_string());
        let count = tokens.len();
        let request = FetchRequest { tokens }.encode().map_err(|error| nonsense(&error))?;
        let answer = self.ask(mailbox, "fetch", request, FetchAnswer::MAX_BYTES).await?;
        let messages = FetchAnswer::decode(&answer).map_err(|error| nonsense(&error))?.messages;
        if messages.len() == count { Ok(messages) } else { Err(nonsense(&"another number of messages")) }
    }

    /// Deletes messages that this node has stored.
    pub(crate) async fn delete(
        &self,
        mailbox: &Mailbox,
        tokens: Vec<DeleteToken>,
    ) -> Result<(), NetworkError> {
        let request =
            DeleteRequest { tokens }.encode().map_err(|error| NetworkError::Nonsense(error.to_string()))?;
        self.ask(mailbox, "delete", request, MAX_EMPTY_ANSWER_BYTES).await.map(drop)
    }

    async fn ask(
        &self,
        mailbox: &Mailbox,
        path: &str,
        request: Vec<u8>,
        max_bytes: usize,
    ) -> Result<bytes::Bytes, NetworkError> {
        let target = self.target(Server::of_mailbox(mailbox))?;
        let answer =
            self.retrieval.post(retrieval_owner(mailbox), &target, path, request.into(), max_bytes).await?;
        if answer.status == MOVED {
            self.forget_descriptor(&mailbox.server);
        }
        match answer.status {
            200 | 204 => Ok(answer.body),
            status => Err(NetworkError::Refused(refusal_text(status))),
        }
    }

    /// Looks whether a server can be reached, is the one that it should be, and still has the key for the token.
    pub(crate) async fn probe(&self, probe: Probe<'_>, patience: Duration) -> Result<(), NetworkError> {
        let probed = tokio::time::timeout(patience, self.try_probe(probe));
        probed.await.unwrap_or_else(|_| Err(NetworkError::Refused("it does not answer in time".to_owned())))
    }

    async fn try_probe(&self, probe: Probe<'_>) -> Result<(), NetworkError> {
        let (descriptor, kid) = match probe {
            Probe::Mailbox(mailbox) => {
                self.forget_descriptor(&mailbox.server);
                let descriptor = self.own_descriptor(mailbox, Server::of_mailbox(mailbox)).await?;
                (descriptor, mailbox.account.as_ref().map(|account| account.record.kid))
            }
            Probe::Transport { cid, transport } => {
                self.forget_descriptor(&transport.server);
                let owner = Owner(u64::from(cid));
                let place = self.their_place(owner, transport).await?;
                let server = place.server();
                let target = self.target(server)?;
                let descriptor = self.their_descriptor(owner, server, &target).await?;
                (descriptor, Some(transport.kid))
            }
        };
        if kid.is_some_and(|kid| descriptor.token_key(kid).is_none()) {
            return Err(NetworkError::Refused("the server has retired the address there".to_owned()));
        }
        Ok(())
    }

    /// Looks whether the rendezvous server can be reached and says something.
    pub(crate) async fn probe_rendezvous(&self, url: &str, patience: Duration) -> Result<(), NetworkError> {
        let settings = WsSettings {
            socks5: self.settings.socks5.clone(),
            isolation: ("doctor".to_owned(), "0".to_owned()),
            connect_timeout: patience,
            ..WsSettings::default()
        };
        let mut socket = ws::connect(url, &settings).await?;
        let heard = tokio::time::timeout(patience, socket.next()).await;
        match heard {
            Ok(Some(Ok(_))) => Ok(()),
            _ => Err(NetworkError::Refused("it is reached, but says nothing".to_owned())),
        }
    }

    async fn own_descriptor(
        &self,
        mailbox: &Mailbox,
        server: Server<'_>,
    ) -> Result<Arc<Descriptor>, NetworkError> {
        if let Some(known) = self.known_descriptor(server.identity) {
            return Ok(known);
        }
        let target = self.target(server)?;
        let got =
            self.retrieval.get(retrieval_owner(mailbox), &target, "server", MAX_DESCRIPTOR_BYTES).await?;
        self.learn_descriptor(server.identity, &got)
    }

    async fn their_descriptor(
        &self,
        owner: Owner,
        server: Server<'_>,
        target: &Target,
    ) -> Result<Arc<Descriptor>, NetworkError> {
        if let Some(known) = self.known_descriptor(server.identity) {
            return Ok(known);
        }
        let got = self.delivery.get(owner, target, "server", MAX_DESCRIPTOR_BYTES).await?;
        self.learn_descriptor(server.identity, &got)
    }

    fn known_descriptor(&self, identity: &ServerIdentityKey) -> Option<Arc<Descriptor>> {
        let descriptor = self.descriptors().get(identity)?.descriptor.clone()?;
        Some(descriptor).filter(|descriptor| now() < descriptor.not_after)
    }

    fn learn_descriptor(
        &self,
        identity: &ServerIdentityKey,
        bytes: &[u8],
    ) -> Result<Arc<Descriptor>, NetworkError> {
        let descriptor = Arc::new(Descriptor::verify(bytes, identity, now())?);
        if descriptor.moved_to.is_some() {
            return Err(NetworkError::Refused(refusal_text(MOVED)));
        }
        let mut known = self.descriptors();
        descriptor.check_serial(known.get(identity).map_or(0, |known| known.serial))?;
        let learnt = Known { serial: descriptor.serial, descriptor: Some(Arc::clone(&descriptor)) };
        known.insert(*identity, learnt);
        Ok(descriptor)
    }

    fn forget_descriptor(&self, identity: &ServerIdentityKey) {
        if let Some(known) = self.descriptors().get_mut(identity) {
            known.descriptor = None;
        }
    }

    fn moves(&self) -> MutexGuard<'_, HashMap<Place, Place>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn descriptors(&self) -> MutexGuard<'_, HashMap<ServerIdentityKey, Known>> {
        self.descriptors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self, server: Server<'_>) -> Result<Target, NetworkError> {
        let url = match self.local_mailbox.filter(|_| server.is_local) {
            Some(address) => TargetUrl::parse(&format!("https://{address}"), UrlPolicy::AllowPrivate),
            None => TargetUrl::parse(server.url.as_str(), self.policy),
        };
        let url = url.map_err(ClientError::Refused)?;
        let pins = server.pin.map(|pin| petmail_net::tls::Pin::from_bytes(*pin.as_bytes()));
        Ok(Target::new(url, pins.into_iter().collect()))
    }
}

fn unavailable(error: &NetworkError) -> Result<(), CommandError> {
    let hint = "try again when the mailbox server can be reached";
    Err(CommandError::new(Fault::Unavailable, error.to_string(), hint))
}

/// Opens what a server gave for an offer, or for a request for new secrets.
fn open_account(
    answer: &[u8],
    descriptor: &Descriptor,
    answers: &AccountSecretKey,
) -> Result<Account, NetworkError> {
    let nonsense = |error: &dyn std::fmt::Display| NetworkError::Nonsense(error.to_string());
    let record = AccountRecord::open_answer(answer, &descriptor.retrieval_key, answers)
        .map_err(|error| nonsense(&error))?;
    let token_key = descriptor.token_key(record.kid).copied();
    Ok(Account { token_key: token_key.ok_or_else(|| nonsense(&"its token key is missing"))?, record })
}

/// Why a mailbox did not take a message.
struct NotTaken {
    reason: String,
    retry_after: Option<Duration>,
    is_full: bool,
}

impl NotTaken {
    /// There was no answer, or the message never left.
    fn unsent(reason: &dyn std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), retry_after: None, is_full: false }
    }
}

/// What a refusing status means, in words.
fn refusal_text(status: u16) -> String {
    match status {
        404 => "the mailbox server does not know the address; if that stays so, invite them again".to_owned(),
        413 => "the mailbox server refuses messages of this size".to_owned(),
        MOVED => "the mailbox server has moved; its new address is being looked for".to_owned(),
        429 => "the mailbox server asks to slow down".to_owned(),
        503 => "the mailbox server is overloaded".to_owned(),
        507 => "the mailbox, or the disk of its server, is full".to_owned(),
        status => format!("the mailbox server answered with status {status}"),
    }
}

fn retrieval_owner(mailbox: &Mailbox) -> Owner {
    Owner(u64::from(mailbox.id))
}

fn now() -> UnixMillis {
    UnixMillis(now_ms())
}

fn now_ms() -> u64 {
    petmail_net::clock::unix_ms()
}
