//! A mailbox server on a real socket, and an owner and a sender who use it as a node would.

use std::path::Path;

use petmail_mailbox::{
    CancellationToken,
    admin::OfferRequest,
    basedir::Basedir,
    config::Settings,
    server::{Mailbox, Services},
};
use petmail_net::clock::unix_ms;
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    keys::RedeemToken,
    retrieval::{
        Answer, DeleteRequest, Entry, Event, EventReader, FetchAnswer, FetchRequest, RequestKey,
        seal_list_request,
    },
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
    token::SenderToken,
};
use rand_core::OsRng;
use reqwest::{Response, StatusCode, header};
use tokio::task::JoinHandle;

pub(crate) type Queue = petmail_mailbox::queue::embedded::EmbeddedQueue;

pub(crate) fn now() -> UnixMillis {
    UnixMillis(unix_ms())
}

/// A server in this process.
pub(crate) struct TestServer {
    pub(crate) base: String,
    pub(crate) services: std::sync::Arc<Services<Queue>>,
    pub(crate) shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl TestServer {
    /// Serves `dir`, making a server there first if there is none.
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, Settings::default()).await
    }

    pub(crate) async fn start_with(dir: &Path, settings: Settings) -> Self {
        let basedir = Basedir::new(dir);
        if !basedir.is_initialised() {
            basedir.init("http://127.0.0.1:1/post/box".parse().unwrap()).unwrap();
        }
        let settings = Settings { listen: Some("127.0.0.1:0".parse().unwrap()), ..settings };
        let mailbox = Mailbox::open(basedir, settings).await.unwrap();
        let services = std::sync::Arc::clone(mailbox.services());
        let shutdown = CancellationToken::new();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let running = mailbox.run(shutdown.clone(), |url| {
            sender.send(url.to_owned()).unwrap();
            Ok(())
        });
        let running = async { Box::pin(running).await.unwrap() };
        let running = tokio::spawn(running);
        let url = receiver.await.unwrap();
        Self { base: url.trim_end_matches('/').to_owned(), services, shutdown, running }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        drop(self.services);
        self.running.await.unwrap();
    }

    pub(crate) async fn offer(&self, request: OfferRequest) -> Offer {
        let offers = self.services.admin().mint_offers(&request, now()).await.unwrap().offers;
        offers[0].parse().unwrap()
    }

    pub(crate) async fn redeemed(&self) -> Owner {
        let offer = self.offer(OfferRequest::default()).await;
        Owner::redeem(&self.base, &offer).await
    }

    pub(crate) fn url(&self, endpoint: &str) -> String {
        format!("{}/{endpoint}", self.base)
    }
}

pub(crate) async fn post(url: String, body: impl Into<reqwest::Body>) -> Response {
    reqwest::Client::new().post(url).body(body).send().await.unwrap()
}

/// An account's owner.
pub(crate) struct Owner {
    pub(crate) base: String,
    pub(crate) keys: AccountKeys,
    pub(crate) record: AccountRecord,
    pub(crate) descriptor: Descriptor,
    pub(crate) offer: Offer,
}

impl Owner {
    pub(crate) async fn redeem(base: &str, offer: &Offer) -> Self {
        let keys = AccountKeys::generate(&mut OsRng);
        let descriptor = descriptor(base, offer).await;
        let body = redeem_body(&keys, &offer.token, offer, &descriptor);
        let response = post(format!("{base}/redeem"), body).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer = response.bytes().await.unwrap();
        let record = AccountRecord::open_answer(&answer, &descriptor.retrieval_key, &keys.answers).unwrap();
        Self { base: base.to_owned(), keys, record, descriptor, offer: offer.clone() }
    }

    pub(crate) fn contact_token(&self) -> SenderToken {
        let key = self.descriptor.token_key(self.record.kid).unwrap();
        self.record.token.for_contact(key, &mut OsRng).unwrap()
    }

    /// Seals a message whose msgC is filled with `byte`.
    pub(crate) fn seal(&self, bucket: Bucket, byte: u8) -> Vec<u8> {
        self.seal_with(&self.contact_token(), bucket, byte)
    }

    fn seal_with(&self, token: &SenderToken, bucket: Bucket, byte: u8) -> Vec<u8> {
        let key = self.descriptor.token_key(self.record.kid).unwrap();
        let token = token.for_message(key, &mut OsRng).unwrap();
        let msg_c = vec![byte; bucket.msg_c_bytes()];
        seal_delivery(&msg_c, &token, &self.descriptor.delivery_key, &mut OsRng).unwrap().into_bytes()
    }

    pub(crate) async fn deliver(&self, bucket: Bucket, byte: u8) -> StatusCode {
        post(format!("{}/deliver", self.base), self.seal(bucket, byte)).await.status()
    }

    /// Delivers with a token that a contact has from before.
    pub(crate) async fn deliver_with(&self, token: &SenderToken, bucket: Bucket, byte: u8) -> StatusCode {
        post(format!("{}/deliver", self.base), self.seal_with(token, bucket, byte)).await.status()
    }

    pub(crate) fn list_request(&self, time: UnixMillis) -> (Vec<u8>, RequestKey) {
        seal_list_request(time, &self.record.retrieval_token, &self.descriptor.retrieval_key, &mut OsRng)
            .unwrap()
    }

    pub(crate) fn reader(&self, key: RequestKey) -> EventReader {
        EventReader::new(key, self.record.symmetric_key.clone())
    }

    pub(crate) async fn poll(&self) -> Event {
        let (body, key) = self.list_request(now());
        let response = post(format!("{}/list", self.base), body).await;
        assert_eq!(response.status(), StatusCode::OK);
        match self.reader(key).open(&response.bytes().await.unwrap()).unwrap() {
            Answer::Event(event) => event,
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) async fn open_stream(&self) -> OpenStream {
        let (body, key) = self.list_request(now());
        let request = reqwest::Client::new().post(format!("{}/list", self.base)).body(body);
        let response = request.header(header::ACCEPT, "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        OpenStream { response, buffer: String::new(), reader: self.reader(key) }
    }

    pub(crate) async fn fetch(&self, entries: &[Entry]) -> Response {
        let request = FetchRequest { tokens: entries.iter().map(|entry| entry.fetch).collect() };
        post(format!("{}/fetch", self.base), request.encode().unwrap()).await
    }

    pub(crate) async fn fetched(&self, entries: &[Entry]) -> Vec<Option<Vec<u8>>> {
        let response = self.fetch(entries).await;
        assert_eq!(response.status(), StatusCode::OK);
        FetchAnswer::decode(&response.bytes().await.unwrap()).unwrap().messages
    }

    pub(crate) async fn delete(&self, entries: &[Entry]) -> StatusCode {
        let request = DeleteRequest { tokens: entries.iter().map(|entry| entry.delete).collect() };
        post(format!("{}/delete", self.base), request.encode().unwrap()).await.status()
    }

    /// Goes on with the secrets that the server gave for `new` keys. What is known of the server is asked anew.
    pub(crate) async fn take_rekeyed(&mut self, new: AccountKeys, answer: &[u8]) {
        let key = &self.descriptor.retrieval_key;
        self.record = AccountRecord::open_answer(answer, key, &new.answers).unwrap();
        self.descriptor = descriptor(&self.base, &self.offer).await;
        self.keys = new;
    }

    pub(crate) fn rekey_body(&self, generation: u64, new: &AccountKeys, new_slot: bool) -> Vec<u8> {
        let server = &self.offer.identity;
        let key = &self.descriptor.retrieval_key;
        self.keys.seal_rekey(generation, new, new_slot, server, key, &mut OsRng).unwrap()
    }
}

pub(crate) async fn descriptor(base: &str, offer: &Offer) -> Descriptor {
    let response = reqwest::get(format!("{base}/server")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    Descriptor::verify(&response.bytes().await.unwrap(), &offer.identity, now()).unwrap()
}

pub(crate) fn redeem_body(
    keys: &AccountKeys,
    token: &RedeemToken,
    offer: &Offer,
    descriptor: &Descriptor,
) -> Vec<u8> {
    keys.seal_redeem(token, &offer.identity, &descriptor.retrieval_key, &mut OsRng).unwrap()
}

/// An open event stream, read block by block.
pub(crate) struct OpenStream {
    response: Response,
    buffer: String,
    pub(crate) reader: EventReader,
}

impl OpenStream {
    /// Returns the next block that is no comment; `None` at the end.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                if !block.starts_with(':') {
                    return Some(block);
                }
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        let block = self.block().await.expect("the stream goes on");
        let data = block.strip_prefix("data: ").unwrap();
        let bytes = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
        match self.reader.open(&bytes).unwrap() {
            Answer::Event(event) => event,
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
}
