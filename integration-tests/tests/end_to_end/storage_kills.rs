//! A storage server that is killed while packs come in: what it acknowledged is there, and what had begun goes on.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, SystemTime};

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::command;
use petmail_proto::content::{ContentSecret, Pack, PackWriter};
use petmail_proto::retrieval::{
    PackState, StorageAnswer, StorageTicket, decode_found, encode_look_up, seal_list_request,
};
use petmail_proto::server::account::{AccountKeys, AccountRecord};
use petmail_proto::server::descriptor::Descriptor;
use petmail_proto::server::offer::Offer;
use petmail_proto::time::UnixMillis;
use rand_core::OsRng;
use reqwest::{Client, StatusCode, header};
use tokio::runtime::Runtime;

/// How often the server is killed, unless the environment says otherwise.
const ROUNDS: usize = 12;
const PART: usize = 200_000;

#[expect(clippy::disallowed_methods, reason = "requests carry the real time")]
fn now() -> UnixMillis {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixMillis(now.as_millis().try_into().unwrap())
}

/// The owner of an account that stores packs.
struct Owner {
    http: Client,
    base: String,
    record: AccountRecord,
    descriptor: Descriptor,
}

/// The server does not answer as it does while it runs.
#[derive(Debug)]
struct Away(String);

impl Away {
    fn because(error: impl std::fmt::Debug) -> Self {
        Self(format!("{error:?}"))
    }
}

impl Owner {
    async fn redeem(base: String, offer: &Offer) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        let descriptor = http.get(format!("{base}/server")).send().await.unwrap().bytes().await.unwrap();
        let descriptor = Descriptor::verify(&descriptor, &offer.identity, now()).unwrap();
        let keys = AccountKeys::generate(&mut OsRng);
        let body =
            keys.seal_redeem(&offer.token, &offer.identity, &descriptor.retrieval_key, &mut OsRng).unwrap();
        let answer =
            http.post(format!("{base}/redeem")).body(body).send().await.unwrap().bytes().await.unwrap();
        let record = AccountRecord::open_answer(&answer, &descriptor.retrieval_key, &keys.answers).unwrap();
        Self { http, base, record, descriptor }
    }

    async fn ticket(&self) -> Result<StorageTicket, Away> {
        let key = &self.descriptor.retrieval_key;
        let (body, request) =
            seal_list_request(now(), &self.record.retrieval_token, key, &mut OsRng).unwrap();
        let answer = self
            .http
            .post(format!("{}/storage", self.base))
            .body(body)
            .send()
            .await
            .map_err(Away::because)?;
        let answer = answer.bytes().await.map_err(Away::because)?;
        match StorageAnswer::open(&answer, &request, &self.record.symmetric_key) {
            Ok(StorageAnswer::Granted(grant)) => Ok(grant.ticket),
            other => Err(Away::because(other)),
        }
    }

    async fn state(&self, ticket: &StorageTicket, pack: &Pack) -> Result<PackState, Away> {
        let request = self.http.post(format!("{}/packs", self.base)).bearer_auth(ticket);
        let answer = request.body(encode_look_up(&[pack.id]).unwrap()).send().await.map_err(Away::because)?;
        let answer = answer.bytes().await.map_err(Away::because)?;
        decode_found(&answer, 1).map_err(Away::because)?.pop().ok_or_else(|| Away::because("no state"))
    }

    /// Sends what is missing of a pack; it is stored when this succeeds. Returns how many bytes were sent.
    async fn upload(&self, ticket: &StorageTicket, pack: &Pack) -> Result<usize, Away> {
        let mut sent = 0;
        while let PackState::Arriving(offset) = self.state(ticket, pack).await? {
            let from = usize::try_from(offset).unwrap();
            let to = pack.bytes.len().min(from + PART);
            let range = format!("bytes {from}-{}/{}", to - 1, pack.bytes.len());
            let put = self.http.put(format!("{}/packs/{}", self.base, pack.id)).bearer_auth(ticket);
            let part = pack.bytes.get(from..to).unwrap().to_vec();
            let answer =
                put.header(header::CONTENT_RANGE, range).body(part).send().await.map_err(Away::because)?;
            sent += to - from;
            match answer.status() {
                StatusCode::CREATED => return Ok(sent),
                StatusCode::ACCEPTED => {}
                status => return Err(Away::because(status)),
            }
        }
        Ok(sent)
    }
}

fn packs(chance: &mut Chance) -> Vec<Pack> {
    let (secret, mut writer) = (ContentSecret::generate(&mut OsRng), PackWriter::new());
    let mut packs = Vec::new();
    for index in 0..30_u32 {
        let length = 100_000 + usize::try_from(chance.below(1_500_000)).unwrap();
        let content: Vec<u8> = index.to_be_bytes().into_iter().cycle().take(length).collect();
        writer.add(&secret.seal(&content));
        packs.extend(writer.take());
    }
    packs
}

#[test]
fn a_killed_server_has_every_pack_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = MailboxServer::start(&dir.path().join("server"), Scheme::PlainHttp);
    let mut offer = command("petmail-mailbox");
    offer.args(["offer", "--storage-quota", "1GB", "-d"]).arg(server.basedir());
    let offer: Offer = Outcome::of(&mut offer).text().lines().last().unwrap().parse().unwrap();
    let mut chance = Chance::from_env(ROUNDS);
    println!("PETMAIL_KILL_SEED={}", chance.seed);
    let runtime = Runtime::new().unwrap();
    let owner = runtime.block_on(Owner::redeem(server.url(), &offer));
    let packs = packs(&mut chance);
    let (mut stored, mut sent) = (0, 0);
    for round in 0..chance.rounds {
        let life = Duration::from_millis(chance.below(400));
        let uploads = async {
            let ticket = owner.ticket().await?;
            while let Some(pack) = packs.get(stored) {
                sent += owner.upload(&ticket, pack).await?;
                stored += 1;
            }
            Ok::<_, Away>(())
        };
        // Some lives end in the midst of a part, some in the midst of putting a pack in its place.
        runtime.block_on(async {
            tokio::select! {
                _ = uploads => {}
                () = tokio::time::sleep(life) => server.kill(),
            }
        });
        server.restart();
        runtime.block_on(async {
            let ticket = owner.ticket().await.unwrap();
            for pack in packs.iter().take(stored) {
                assert_eq!(owner.state(&ticket, pack).await.unwrap(), PackState::Stored, "round {round}");
                let got = owner.http.get(format!("{}/packs/{}", owner.base, pack.id)).send().await.unwrap();
                assert_eq!(got.bytes().await.unwrap(), pack.bytes, "round {round}");
            }
        });
    }
    runtime.block_on(async {
        let ticket = owner.ticket().await.unwrap();
        for pack in packs.iter().skip(stored) {
            sent += owner.upload(&ticket, pack).await.map_err(|Away(why)| why).unwrap();
        }
    });
    // Each life can have lost what it was just writing, and no more.
    let all: usize = packs.iter().map(|pack| pack.bytes.len()).sum();
    assert!(sent <= all + chance.rounds * 2 * PART, "{sent} bytes were sent for {all}");
}
