//! Measures durable deliveries: `deliveries BASE-URL OFFER COUNT SENDERS`, against a server with `--plain-http`.
//!
//! Redeems the offer, seals COUNT messages of 4 KiB before the clock starts, and posts them over SENDERS connections that
//! are kept alive. Prints the rate; read the server's own CPU time from the system. The server's limits per address have to
//! be raised for it.
#![expect(clippy::print_stdout, reason = "its output is for people")]

use std::{error::Error, sync::Arc};

use petmail_net::clock;
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
};
use rand_core::OsRng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: deliveries BASE-URL OFFER COUNT SENDERS");
    let (base, offer, count, senders) = (next()?, next()?, next()?.parse()?, next()?.parse()?);
    let authority = base.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let messages = Arc::new(seal(&base, &offer.parse()?, count).await?);
    let started = clock::now();
    let senders: Vec<_> = (0..senders)
        .map(|first| {
            let (messages, authority) = (Arc::clone(&messages), authority.clone());
            tokio::spawn(async move { send(&authority, messages.iter().skip(first).step_by(senders)).await })
        })
        .collect();
    for sender in senders {
        sender.await??;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} deliveries in {seconds:.2} s: {:.0}/s", f64::from(count) / seconds);
    Ok(())
}

async fn seal(base: &str, offer: &Offer, count: u32) -> Result<Vec<Vec<u8>>, Failed> {
    let base = base.trim_end_matches('/');
    let bytes = reqwest::get(format!("{base}/server")).await?.bytes().await?;
    let descriptor = Descriptor::verify(&bytes, &offer.identity, UnixMillis(clock::unix_ms()))?;
    let keys = AccountKeys::generate(&mut OsRng);
    let body = keys.seal_redeem(&offer.token, &offer.identity, &descriptor.retrieval_key, &mut OsRng)?;
    let answer = reqwest::Client::new().post(format!("{base}/redeem")).body(body).send().await?;
    let answer = answer.error_for_status()?.bytes().await?;
    let record = AccountRecord::open_answer(&answer, &descriptor.retrieval_key, &keys.answers)?;
    let key = descriptor.token_key(record.kid).ok_or("the descriptor lacks the account's token key")?;
    let sender = record.token.for_contact(key, &mut OsRng)?;
    let msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
    let seal = |_| {
        let token = sender.for_message(key, &mut OsRng)?;
        Ok(seal_delivery(&msg_c, &token, &descriptor.delivery_key, &mut OsRng)?.into_bytes())
    };
    (0..count).map(seal).collect()
}

async fn send(authority: &str, messages: impl Iterator<Item = &Vec<u8>>) -> Result<(), Failed> {
    let mut connection = TcpStream::connect(authority).await?;
    connection.set_nodelay(true)?;
    let mut answer = vec![0; 4_096];
    for message in messages {
        let head = format!("POST /deliver HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", message.len());
        connection.write_all(&[head.as_bytes(), message].concat()).await?;
        let length = connection.read(&mut answer).await?;
        let answer = answer.get(..length).unwrap_or_default();
        if !answer.starts_with(b"HTTP/1.1 204") {
            return Err(String::from_utf8_lossy(answer).into_owned().into());
        }
    }
    Ok(())
}
