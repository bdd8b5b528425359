//! More than the server can take: what is new is shed with a clear answer, what was accepted ends well.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use futures::{StreamExt, stream};
use petmail_mailbox::{admin::OfferRequest, config::Settings};
use petmail_net::{program::prepare_process, server::Limits};
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    retrieval::{Answer, EventReader, seal_list_request},
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
};
use rand_core::{OsRng, RngCore};
use reqwest::{Client, Response, StatusCode, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{TestServer, now, redeem_body};

/// How many owners wait at once.
const STREAMS: usize = 1_000;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

async fn start(dir: &std::path::Path, network: Limits) -> TestServer {
    TestServer::start_with(dir, Settings { network, ..Settings::default() }).await
}

fn client_at(address: &str) -> Client {
    Client::builder().local_address(address.parse::<IpAddr>().unwrap()).build().unwrap()
}

fn retry_after(response: &Response) -> u64 {
    response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap()
}

async fn raw(server: &TestServer) -> TcpStream {
    let authority = server.base.strip_prefix("http://").unwrap().split('/').next().unwrap();
    TcpStream::connect(authority).await.unwrap()
}

/// An owner who shares its connections with others.
struct Waiter {
    record: AccountRecord,
    reader: Option<EventReader>,
    response: Option<Response>,
    buffer: String,
}

impl Waiter {
    async fn redeem(http: &Client, base: &str, descriptor: &Descriptor, offer: &Offer) -> Self {
        let keys = AccountKeys::generate(&mut OsRng);
        let body = redeem_body(&keys, &offer.token, offer, descriptor);
        let response = http.post(format!("{base}/redeem")).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let answer = response.bytes().await.unwrap();
        let record = AccountRecord::open_answer(&answer, &descriptor.retrieval_key, &keys.answers).unwrap();
        Self { record, reader: None, response: None, buffer: String::new() }
    }

    async fn open_stream(&mut self, http: &Client, base: &str, descriptor: &Descriptor) {
        let token = &self.record.retrieval_token;
        let (body, key) = seal_list_request(now(), token, &descriptor.retrieval_key, &mut OsRng).unwrap();
        let request = http.post(format!("{base}/list")).body(body);
        let response = request.header(header::ACCEPT, "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        self.reader = Some(EventReader::new(key, self.record.symmetric_key.clone()));
        self.response = Some(response);
        assert_eq!(self.next_message().await, None, "the first event lists an empty mailbox");
    }

    /// Delivers a message that begins with `number`.
    async fn deliver(&self, http: &Client, base: &str, descriptor: &Descriptor, number: u64) {
        let key = descriptor.token_key(self.record.kid).unwrap();
        let token = self.record.token.for_contact(key, &mut OsRng).unwrap();
        let token = token.for_message(key, &mut OsRng).unwrap();
        let mut msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
        msg_c[..8].copy_from_slice(&number.to_be_bytes());
        let msg_a = seal_delivery(&msg_c, &token, &descriptor.delivery_key, &mut OsRng).unwrap();
        let posted = http.post(format!("{base}/deliver")).body(msg_a.into_bytes()).send().await.unwrap();
        assert_eq!(posted.status(), StatusCode::NO_CONTENT);
    }

    /// Returns the number of the message in the next event; `None` if it has none.
    async fn next_message(&mut self) -> Option<u64> {
        let block = loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                if block.starts_with("data: ") {
                    break block;
                }
                continue;
            }
            let chunk = self.response.as_mut().unwrap().chunk().await.unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        };
        let bytes = data_encoding::BASE64.decode(block.strip_prefix("data: ").unwrap().as_bytes()).unwrap();
        match self.reader.as_mut().unwrap().open(&bytes).unwrap() {
            Answer::Event(event) => event
                .entries
                .first()
                .map(|entry| u64::from_be_bytes(*entry.message.as_ref().unwrap().first_chunk().unwrap())),
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
}

/// Every owner waits with a connection of its own while messages arrive for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_streams_each_get_their_message() {
    prepare_process();
    let dir = tempfile::tempdir().unwrap();
    let plenty = count(1_000_000);
    let server = start(
        dir.path(),
        Limits {
            max_connections_per_address: count(3_000),
            requests_per_second_per_address: plenty,
            request_burst_per_address: plenty,
            ..Limits::default()
        },
    )
    .await;
    let request = OfferRequest { count: 500, ..OfferRequest::default() };
    let mut offers = Vec::new();
    for _ in 0..STREAMS / 500 {
        let minted = server.services.admin().mint_offers(&request, now()).await.unwrap().offers;
        offers.extend(minted.iter().map(|text| text.parse::<Offer>().unwrap()));
    }
    let descriptor = crate::support::descriptor(&server.base, &offers[0]).await;
    let (http, base, descriptor) = (&Client::new(), server.base.as_str(), &descriptor);
    let waiters = stream::iter(offers).map(|offer| async move {
        let mut waiter = Waiter::redeem(http, base, descriptor, &offer).await;
        waiter.open_stream(http, base, descriptor).await;
        waiter
    });
    let mut waiters: Vec<Waiter> = waiters.buffer_unordered(64).collect().await;
    assert_eq!(server.services.retrieval().open_streams(), STREAMS);
    let deliveries = stream::iter(&waiters).zip(stream::iter(0..));
    deliveries.for_each_concurrent(64, |(waiter, n)| waiter.deliver(http, base, descriptor, n)).await;
    let numbers = stream::iter(&mut waiters).then(Waiter::next_message).map(Option::unwrap);
    let numbers: Vec<u64> = numbers.collect().await;
    let expected: Vec<u64> = (0..).take(STREAMS).collect();
    assert_eq!(numbers, expected, "each stream has its own message");
    server.stop().await;
    for waiter in &mut waiters {
        let end = waiter.response.as_mut().unwrap().chunk().await;
        assert!(matches!(end, Ok(None)), "the stream ends in good order: {end:?}");
    }
}

#[tokio::test]
async fn a_flood_of_bad_tokens_costs_only_its_own_address() {
    let dir = tempfile::tempdir().unwrap();
    let network = Limits {
        request_burst_per_address: count(40),
        requests_per_second_per_address: count(1),
        ..Limits::default()
    };
    let server = start(dir.path(), network).await;
    let owner = server.redeemed().await;
    let flood = client_at("127.0.0.3");
    let message = owner.seal(Bucket::Kib4, 1);
    let (list, _) = owner.list_request(now());
    let mut refused = 0;
    for n in 0..100 {
        let (endpoint, like) = if n % 2 == 0 { ("deliver", &message) } else { ("list", &list) };
        let mut body = vec![0; like.len()];
        OsRng.fill_bytes(&mut body);
        let response = flood.post(server.url(endpoint)).body(body).send().await.unwrap();
        match response.status() {
            StatusCode::BAD_REQUEST => assert_eq!(refused, 0, "once refused, always refused"),
            StatusCode::TOO_MANY_REQUESTS => {
                assert!(retry_after(&response) >= 1);
                refused += 1;
            }
            other => panic!("{other}"),
        }
        if refused == 20 {
            break;
        }
    }
    assert_eq!(refused, 20);
    let other = client_at("127.0.0.2");
    let posted = other.post(server.url("deliver")).body(message).send().await.unwrap();
    assert_eq!(posted.status(), StatusCode::NO_CONTENT);
    let listed = other.post(server.url("list")).body(list).send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn what_is_new_is_shed_and_what_was_accepted_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let network = Limits { max_requests_in_flight: count(2), ..Limits::default() };
    let server = start(dir.path(), network).await;
    let owner = server.redeemed().await;
    let mut accepted = Vec::new();
    for byte in [1, 2] {
        let message = owner.seal(Bucket::Kib4, byte);
        let mut connection = raw(&server).await;
        let head = format!(
            "POST /post/box/deliver HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            message.len()
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body: the request is under way.
        let mut go_on = [0; 25];
        connection.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        accepted.push((connection, message));
    }
    for path in ["server", "deliver"] {
        let response = Client::new().post(server.url(path)).body("x").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(retry_after(&response) >= 1);
    }
    for (mut connection, message) in accepted {
        connection.write_all(&message).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    assert_eq!(owner.poll().await.entries.len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn slow_clients_keep_nobody_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let soon = Duration::from_millis(200);
    let network = Limits { header_timeout: soon, body_timeout: soon, ..Limits::default() };
    let server = start(dir.path(), network).await;
    let owner = server.redeemed().await;
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut connection = raw(&server).await;
        let part = match n % 2 {
            0 => "POST /post/box/deliver HTTP/1.1\r\nhost: x\r\nx-slow: ",
            _ => {
                "POST /post/box/deliver HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4096\r\n\r\nab"
            }
        };
        connection.write_all(part.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    assert_eq!(owner.deliver(Bucket::Kib4, 1).await, StatusCode::NO_CONTENT);
    for mut connection in slow {
        let mut rest = String::new();
        connection.read_to_string(&mut rest).await.unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
    }
    assert_eq!(owner.poll().await.entries.len(), 1);
    server.stop().await;
}
