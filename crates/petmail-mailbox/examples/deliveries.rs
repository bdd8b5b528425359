//! Measures durable deliveries: `deliveries BASE-URL OFFER COUNT SENDERS CERTIFICATE [ACCOUNTS]`, against a server with
//! `--self-signed`, whose certificate is `tls-cert.pem` in its basedir. ACCOUNTS is a list that `crowd` made: each message goes
//! to another of them, else all to the account of the offer.
//!
//! Redeems the offer, seals COUNT messages of 4 KiB (room for 1 KiB of text), says `sealed`, and waits for a line on standard
//! input: whoever counts the server's CPU time starts there. Then posts them over SENDERS connections that are kept alive, and
//! prints seconds as JSON. The server's limits per address have to be raised for it. `cargo xtask bench` runs it.
#![expect(clippy::print_stdout, reason = "its output is for programs and people")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use petmail_net::clock;
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
    token::{AccountToken, SenderToken},
};
use rand_core::OsRng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: deliveries BASE-URL OFFER COUNT SENDERS CERTIFICATE");
    let (base, offer, count, senders) = (next()?, next()?, next()?.parse()?, next()?.parse()?);
    let certificate = std::fs::read(next()?)?;
    let crowd = next().ok().map(std::fs::read).transpose()?.unwrap_or_default();
    let messages = Arc::new(seal(&base, &offer.parse()?, count, &certificate, &crowd).await?);
    let mut connections = Vec::new();
    for _ in 0..senders {
        connections.push(connect(&base, &certificate).await?);
    }
    println!("sealed");
    std::io::stdin().read_line(&mut String::new())?;
    let started = clock::now();
    let senders: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(first, connection)| {
            let messages = Arc::clone(&messages);
            tokio::spawn(async move { send(connection, messages.iter().skip(first).step_by(senders)).await })
        })
        .collect();
    let mut times = Vec::new();
    for sender in senders {
        times.extend(sender.await??);
    }
    report(started, times);
    Ok(())
}

async fn seal(
    base: &str,
    offer: &Offer,
    count: u32,
    certificate: &[u8],
    crowd: &[u8],
) -> Result<Vec<Vec<u8>>, Failed> {
    let base = base.trim_end_matches('/');
    let certificate = reqwest::Certificate::from_pem(certificate)?;
    let client = reqwest::Client::builder().tls_certs_only([certificate]).build()?;
    let bytes = client.get(format!("{base}/server")).send().await?.bytes().await?;
    let descriptor = Descriptor::verify(&bytes, &offer.identity, UnixMillis(clock::unix_ms()))?;
    let keys = AccountKeys::generate(&mut OsRng);
    let body = keys.seal_redeem(&offer.token, &offer.identity, &descriptor.retrieval_key, &mut OsRng)?;
    let answer = client.post(format!("{base}/redeem")).body(body).send().await?;
    let answer = answer.error_for_status()?.bytes().await?;
    let record = AccountRecord::open_answer(&answer, &descriptor.retrieval_key, &keys.answers)?;
    let key = descriptor.token_key(record.kid).ok_or("the descriptor lacks the account's token key")?;
    // A retrieval token, which is not needed here, and a token.
    let listed =
        crowd.chunks(32 + 64).filter_map(|account| Some(AccountToken::from_bytes(*account.last_chunk()?)));
    let listed: Vec<_> = listed.take(usize::try_from(count)?).collect();
    let tokens = if listed.is_empty() { vec![record.token] } else { listed };
    let senders: Result<Vec<_>, _> = tokens.iter().map(|token| token.for_contact(key, &mut OsRng)).collect();
    let senders = senders?;
    let msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
    let seal = |(_, sender): (u32, &SenderToken)| {
        let token = sender.for_message(key, &mut OsRng)?;
        Ok(seal_delivery(&msg_c, &token, &descriptor.delivery_key, &mut OsRng)?.into_bytes())
    };
    (0..count).zip(senders.iter().cycle()).map(seal).collect()
}

async fn connect(base: &str, certificate: &[u8]) -> Result<TlsStream<TcpStream>, Failed> {
    let authority = base.trim_start_matches("https://").trim_end_matches('/');
    let (host, _) = authority.rsplit_once(':').ok_or("the URL has no port")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(authority).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned())?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, socket).await?)
}

/// Posts one message after the other, and returns how long each took.
async fn send(
    mut connection: TlsStream<TcpStream>,
    messages: impl Iterator<Item = &Vec<u8>>,
) -> Result<Vec<Duration>, Failed> {
    let mut answer = vec![0; 4_096];
    let mut times = Vec::new();
    for message in messages {
        let begun = clock::now();
        let head = format!("POST /deliver HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", message.len());
        connection.write_all(&[head.as_bytes(), message].concat()).await?;
        let length = connection.read(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        if !answer.starts_with(b"HTTP/1.1 204") {
            return Err(String::from_utf8_lossy(answer).into_owned().into());
        }
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn report(started: Instant, mut times: Vec<Duration>) {
    let seconds = started.elapsed().as_secs_f64();
    times.sort_unstable();
    let percentile =
        |percent: usize| times.get(times.len() * percent / 100).map_or(0.0, Duration::as_secs_f64);
    println!("{{\"seconds\": {seconds}, \"p50\": {}, \"p99\": {}}}", percentile(50), percentile(99));
}
