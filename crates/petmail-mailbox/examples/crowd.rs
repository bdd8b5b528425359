//! A mailbox server with many accounts, for measurements. `cargo xtask bench` runs it.
//!
//! `crowd fill BASEDIR ACCOUNTS MESSAGES DUE FILE` gives the stopped server in BASEDIR so many accounts, and the first of them so
//! many messages of 4 KiB; DUE (0 or 1) says whether their time is over. FILE lists the accounts: retrieval token and token.
//!
//! `crowd streams BASE-URL OFFER CERTIFICATE FILE FIRST COUNT PROTOCOL` opens the event streams of some of the accounts over
//! connections of their own, by `h2`, as nodes do, or `http/1.1`; says `open` once each has had its first event, and keeps them
//! open until a line comes on standard input.
#![expect(clippy::print_stdout, reason = "its output is for programs and people")]

use std::{error::Error, io::Write, path::Path, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use petmail_mailbox::{
    basedir::Basedir,
    identity::Identity,
    queue::{
        Account, AccountSecrets, QueueStore,
        embedded::EmbeddedQueue,
        exported::{Exported, ExportedDigest, ExportedMessage},
    },
};
use petmail_net::{clock, program::prepare_process};
use petmail_proto::{
    delivery::{Bucket, MsgADigest},
    keys::{AccountPublicKey, AccountVerifyingKey, RetrievalToken, SymmetricKey},
    retrieval::{MessageNumber, seal_list_request},
    server::{
        account::{AccountId, AccountState, Quota},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
    token::SlotElement,
};
use rand_core::{OsRng, RngCore};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

type Failed = Box<dyn Error + Send + Sync>;

/// A retrieval token and a token.
const LISTED_BYTES: usize = 32 + 64;
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How many records are taken in at a time.
const SOME: usize = 512;
/// How many streams are opened at a time.
const AT_ONCE: usize = 64;
const USAGE: &str = "usage: crowd fill BASEDIR ACCOUNTS MESSAGES DUE FILE | crowd streams BASE-URL OFFER CERTIFICATE FILE FIRST COUNT PROTOCOL";

#[tokio::main]
async fn main() -> Result<(), Failed> {
    prepare_process();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", basedir, accounts, messages, due, file] => {
            let due = *due == "1";
            fill(Path::new(basedir), accounts.parse()?, messages.parse()?, due, Path::new(file)).await
        }
        ["streams", base, offer, certificate, file, first, count, protocol] => {
            let listed = std::fs::read(file)?;
            let listed = listed.chunks(LISTED_BYTES).skip(first.parse()?).take(count.parse()?);
            streams(base, &offer.parse()?, &std::fs::read(certificate)?, listed, protocol).await
        }
        _ => Err(USAGE.into()),
    }
}

async fn fill(basedir: &Path, accounts: u32, messages: u32, due: bool, file: &Path) -> Result<(), Failed> {
    let basedir = Basedir::new(basedir);
    let identity = Identity::load(&basedir.identity_file())?;
    let queue = EmbeddedQueue::open(&basedir.queue_dir(), None).await?;
    let mut list = std::io::BufWriter::new(std::fs::File::create(file)?);
    let mut some = Vec::new();
    let mut first = None;
    for _ in 0..accounts {
        let account = account(&identity)?;
        first.get_or_insert(account.id);
        list.write_all(account.secrets.retrieval_token.expose_bytes())?;
        list.write_all(account.token.as_bytes())?;
        some.push(Exported::Account(Box::new(account)));
        if some.len() >= SOME {
            queue.import(std::mem::take(&mut some)).await?;
        }
    }
    queue.import(std::mem::take(&mut some)).await?;
    let account = first.ok_or("there has to be an account")?;
    let now = UnixMillis(clock::unix_ms());
    let expiry = if due { now.minus(Duration::from_secs(60)) } else { now.plus(RETENTION) };
    for number in 0..messages {
        let number = MessageNumber(number.into());
        let msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
        let message = ExportedMessage { account, number, received: now, is_former_slot: false, msg_c };
        let digest = MsgADigest::from_bytes(random());
        some.push(Exported::Message(message));
        some.push(Exported::Digest(ExportedDigest { digest, expiry, account, number }));
        if some.len() >= SOME {
            queue.import(std::mem::take(&mut some)).await?;
        }
    }
    queue.import(some).await?;
    queue.close().await;
    Ok(list.flush()?)
}

fn account(identity: &Identity) -> Result<Account, Failed> {
    let rng = &mut OsRng;
    let key = identity.newest_token_key().ok_or("the server has a token key")?;
    let slot = SlotElement::generate(rng);
    let token = slot.seal(&key.key.public_key(), rng)?;
    Ok(Account {
        id: AccountId::generate(rng),
        owner: AccountVerifyingKey::from_bytes(random()),
        answer_key: AccountPublicKey::from_bytes(random()),
        generation: 0,
        secrets: AccountSecrets {
            retrieval_token: RetrievalToken::generate(rng),
            symmetric_key: SymmetricKey::generate(rng),
        },
        slot,
        token,
        kid: key.kid,
        quota: Quota { bytes: 1 << 40, messages: 1 << 30 },
        retention_seconds: RETENTION.as_secs(),
        state: AccountState::Active,
        created: UnixMillis(clock::unix_ms()),
        slot_generation: 0,
        former_slots: Vec::new(),
        notices: Vec::new(),
        provider_total: None,
        given_by: None,
        storage_bytes: 0,
    })
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

async fn streams<'a>(
    base: &str,
    offer: &Offer,
    certificate: &[u8],
    listed: impl Iterator<Item = &'a [u8]>,
    protocol: &str,
) -> Result<(), Failed> {
    let base = base.trim_end_matches('/');
    let client = reqwest::Certificate::from_pem(certificate)?;
    let client = reqwest::Client::builder().tls_certs_only([client]).build()?;
    let bytes = client.get(format!("{base}/server")).send().await?.bytes().await?;
    let descriptor = Descriptor::verify(&bytes, &offer.identity, UnixMillis(clock::unix_ms()))?;
    drop(client);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let config = Arc::new(config);
    let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut opening = Vec::new();
    for account in listed {
        let token = account.first_chunk().ok_or("the list is cut off")?;
        let now = UnixMillis(clock::unix_ms());
        let token = RetrievalToken::from_bytes(*token);
        let (body, _) = seal_list_request(now, &token, &descriptor.retrieval_key, &mut OsRng)?;
        let permit = Arc::clone(&room).acquire_owned().await?;
        let (config, authority) = (Arc::clone(&config), base.trim_start_matches("https://").to_owned());
        opening.push(tokio::spawn(async move {
            let opened = open(config, &authority, body).await;
            drop(permit);
            opened
        }));
    }
    let mut open = Vec::new();
    for stream in opening {
        open.push(stream.await??);
    }
    println!("open");
    std::io::stdin().read_line(&mut String::new())?;
    drop(open);
    Ok(())
}

/// A stream that is open for as long as this is kept.
struct Open {
    _body: Incoming,
    _connection: JoinSet<()>,
}

/// Opens one stream, and reads until its first event is there.
async fn open(config: Arc<ClientConfig>, authority: &str, body: Vec<u8>) -> Result<Open, Failed> {
    let (host, _) = authority.rsplit_once(':').ok_or("the URL has no port")?;
    let socket = TcpStream::connect(authority).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let tls = TlsConnector::from(config).connect(name, socket).await?;
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let request = Request::post(format!("https://{authority}/list"))
        .header(header::HOST, authority)
        .header(header::ACCEPT, "text/event-stream")
        .body(Full::new(Bytes::from(body)))?;
    let mut connection = JoinSet::new();
    let io = TokioIo::new(tls);
    let response = if is_h2 {
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
        connection.spawn(async move { driver.await.unwrap_or_default() });
        sender.send_request(request).await?
    } else {
        let (mut sender, driver) = http1::handshake(io).await?;
        connection.spawn(async move { driver.await.unwrap_or_default() });
        sender.send_request(request).await?
    };
    if response.status() != 200 {
        return Err(format!("the stream is refused: {}", response.status()).into());
    }
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"data:") {
        let frame = body.frame().await.ok_or("the stream ended")??;
        seen.extend(frame.into_data().unwrap_or_default());
    }
    Ok(Open { _body: body, _connection: connection })
}
