//! `petmail-mailbox`.

use std::time::SystemTime;

use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_proto::delivery::{Bucket, MAX_MSG_A_BYTES, seal_delivery};
use petmail_proto::retrieval::{Answer, EventReader, RequestKey, seal_list_request};
use petmail_proto::server::account::{AccountKeys, AccountRecord};
use petmail_proto::server::descriptor::Descriptor;
use petmail_proto::server::offer::Offer;
use petmail_proto::time::UnixMillis;
use rand_core::OsRng;
use serde_json::Value;

use super::hostile::{CONFIDENTIAL, IMPATIENT, abuse_socket, check_log, dawdle, random, raw};

const ENDPOINTS: [&str; 6] = ["redeem", "rekey", "deliver", "list", "fetch", "delete"];

/// A server with one account, and whoever owns that.
struct Setting {
    server: MailboxServer,
    http: reqwest::Client,
    offer: Offer,
    descriptor: Descriptor,
    record: AccountRecord,
    /// How many requests were refused so far.
    refused: usize,
}

impl Setting {
    async fn new(server: MailboxServer) -> Self {
        // A connection of its own for each request: the impatient server hangs up on those that wait for the next one.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let offer: Offer = server.offer().parse().unwrap();
        let bytes = http.get(format!("{}/server", server.url())).send().await.unwrap().bytes().await.unwrap();
        let descriptor = Descriptor::verify(&bytes, &offer.identity, now()).unwrap();
        let keys = AccountKeys::generate(&mut OsRng);
        let key = &descriptor.retrieval_key;
        let request = keys.seal_redeem(&offer.token, &offer.identity, key, &mut OsRng).unwrap();
        let answer = http.post(format!("{}/redeem", server.url())).body(request).send().await.unwrap();
        let record = AccountRecord::open_answer(&answer.bytes().await.unwrap(), key, &keys.answers).unwrap();
        Self { server, http, offer, descriptor, record, refused: 0 }
    }

    async fn post(&self, endpoint: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let url = format!("{}/{endpoint}", self.server.url());
        let answer = self.http.post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap().to_vec())
    }

    /// Posts what has to be refused with this status.
    async fn refuses(&mut self, status: u16, endpoint: &str, body: Vec<u8>) {
        let length = body.len();
        let (answered, text) = self.post(endpoint, body).await;
        let text = String::from_utf8_lossy(&text);
        assert_eq!(answered, status, "{endpoint} with {length} bytes: {text}");
        assert!(!text.contains(CONFIDENTIAL), "{text}");
        self.refused += 1;
    }

    /// A message to this account, sealed for the server of `sealed_for`.
    fn message(&self, sealed_for: &Descriptor) -> Vec<u8> {
        let key = self.descriptor.token_key(self.record.kid).unwrap();
        let sender = self.record.token.for_contact(key, &mut OsRng).unwrap();
        let token = sender.for_message(key, &mut OsRng).unwrap();
        let msg_c = vec![7; Bucket::Kib4.msg_c_bytes()];
        seal_delivery(&msg_c, &token, &sealed_for.delivery_key, &mut OsRng).unwrap().into_bytes()
    }

    fn list_request(&self, sealed_for: &Descriptor) -> (Vec<u8>, RequestKey) {
        let token = &self.record.retrieval_token;
        seal_list_request(now(), token, &sealed_for.retrieval_key, &mut OsRng).unwrap()
    }

    fn read(&self, key: RequestKey, answer: &[u8]) -> Answer {
        EventReader::new(key, self.record.symmetric_key.clone()).open(answer).unwrap()
    }

    async fn waiting(&self) -> usize {
        let (request, key) = self.list_request(&self.descriptor);
        let (status, answer) = self.post("list", request).await;
        assert_eq!(status, 200);
        match self.read(key, &answer) {
            Answer::Event(event) => event.entries.len(),
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    /// What the operator sees, but for the store's own housekeeping.
    fn state(&self) -> (Vec<Value>, [Value; 3]) {
        let status = self.server.run(&["status", "--json"]).json().remove(0);
        (self.server.accounts(), ["accounts", "messages", "message_bytes"].map(|name| status[name].clone()))
    }
}

#[expect(clippy::disallowed_methods, reason = "requests carry the real time")]
fn now() -> UnixMillis {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis(now.as_millis().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_server_under_fire() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name| MailboxServer::start_with(&dir.path().join(name), Scheme::PlainHttp, IMPATIENT);
    let other = Setting::new(start("other")).await;
    let mut setting = Setting::new(start("server")).await;
    let message = setting.message(&setting.descriptor);
    assert_eq!(setting.post("deliver", message.clone()).await.0, 204);
    let before = setting.state();

    nonsense(&mut setting).await;
    halves(&mut setting, message.clone()).await;
    of_another_server(&mut setting, &other).await;
    used_offer(&mut setting).await;
    replayed_list(&mut setting).await;
    wrong_methods(&mut setting).await;
    abuse_socket(setting.server.address());
    slow(&mut setting);

    assert_eq!(setting.post("deliver", message).await.0, 204, "a repeat is taken, and stored once");
    assert_eq!(setting.state(), before);
    assert_eq!(setting.waiting().await, 1);
    let log = setting.server.stop();
    check_log(&log);
    assert_eq!(log.matches("request refused").count(), setting.refused, "one line each: {log}");
    check_log(&other.server.stop());
}

async fn nonsense(setting: &mut Setting) {
    for endpoint in ENDPOINTS {
        for length in [0, 1, 48, 90] {
            setting.refuses(400, endpoint, random(length)).await;
        }
        setting.refuses(400, endpoint, CONFIDENTIAL.into()).await;
        setting.refuses(413, endpoint, CONFIDENTIAL.repeat(MAX_MSG_A_BYTES / 10 + 1).into()).await;
    }
    setting.refuses(404, &format!("{CONFIDENTIAL}?{CONFIDENTIAL}"), CONFIDENTIAL.into()).await;
}

async fn halves(setting: &mut Setting, mut message: Vec<u8>) {
    message.pop();
    setting.refuses(400, "deliver", message).await;
    let (mut list, _) = setting.list_request(&setting.descriptor);
    list.pop();
    setting.refuses(400, "list", list).await;
}

async fn of_another_server(setting: &mut Setting, other: &Setting) {
    // Everything for the other server, and then the other's tokens sealed for this one.
    setting.refuses(400, "deliver", other.message(&other.descriptor)).await;
    setting.refuses(400, "list", other.list_request(&other.descriptor).0).await;
    let token = other.message(&setting.descriptor);
    setting.refuses(404, "deliver", token).await;
    let (list, _) = other.list_request(&setting.descriptor);
    setting.refuses(403, "list", list).await;
}

async fn used_offer(setting: &mut Setting) {
    let (keys, offer) = (AccountKeys::generate(&mut OsRng), &setting.offer);
    let key = &setting.descriptor.retrieval_key;
    let request = keys.seal_redeem(&offer.token, &offer.identity, key, &mut OsRng).unwrap();
    setting.refuses(410, "redeem", request).await;
}

async fn replayed_list(setting: &mut Setting) {
    let (request, key) = setting.list_request(&setting.descriptor);
    assert_eq!(setting.post("list", request.clone()).await.0, 200);
    let (status, answer) = setting.post("list", request).await;
    assert_eq!(status, 409);
    assert!(matches!(setting.read(key, &answer), Answer::Refused(_)));
    setting.refused += 1;
}

async fn wrong_methods(setting: &mut Setting) {
    for endpoint in ENDPOINTS {
        let url = format!("{}/{endpoint}?{CONFIDENTIAL}", setting.server.url());
        assert_eq!(setting.http.get(url).send().await.unwrap().status(), 405);
        setting.refused += 1;
    }
}

/// Neither a head nor a body may come drop by drop for ever.
fn slow(setting: &mut Setting) {
    let address = setting.server.address();
    dawdle(address);
    let head =
        format!("POST /deliver HTTP/1.1\r\nhost: {address}\r\ncontent-length: 4096\r\n\r\n{CONFIDENTIAL}");
    let answer = raw(address, head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    setting.refused += 1;
}
