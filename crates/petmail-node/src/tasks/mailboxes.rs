//! Keeps the event stream of every mailbox open, takes in what it brings, and deletes it there afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use data_encoding::BASE64;
use futures::StreamExt;
use petmail_net::CancellationToken;
use petmail_proto::{
    outbox::backoff,
    retrieval::{Answer, Entry},
};
use rand_core::OsRng;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::rival::Rival;
use crate::{
    agent::{Agent, error::Fault, records::Mailbox},
    network::{MailboxStream, NetworkError},
};

/// The longest pause between attempts to connect: shorter than for deliveries, since people wait for messages.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How often the server is asked how the account is, and whether the server has new keys, if it does not say so by itself:
/// well below the shortest time that replaced keys stay good.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(12 * 3_600);

/// How many messages are taken in at a time. Each may push 64 small ones out of the quarantine or acknowledge some, and all
/// of that has to fit into one commit.
const MAX_TAKEN_IN: usize = 8;

pub(super) async fn run(agent: Agent, shutdown: CancellationToken) {
    let mut streams = JoinSet::new();
    let mut known = BTreeMap::new();
    let mut redeeming = BTreeSet::new();
    loop {
        for mailbox in agent.unfinished_offers().await {
            if redeeming.insert(mailbox.id) {
                streams.spawn(finish_redeem(agent.clone(), mailbox, shutdown.clone()));
            }
        }
        // With new secrets the stream is opened anew.
        let present = agent.redeemed_mailboxes().await;
        known.retain(|mailbox, stream: &mut AbortHandle| {
            let stays = present.contains(mailbox);
            if !stays {
                stream.abort();
            }
            stays
        });
        for (id, generation) in present {
            let open = || streams.spawn(keep_open(agent.clone(), id, shutdown.clone()));
            known.entry((id, generation)).or_insert_with(open);
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = agent.mailboxes_changed() => {}
        }
    }
    streams.shutdown().await;
}

async fn finish_redeem(agent: Agent, mailbox: Mailbox, shutdown: CancellationToken) {
    for failures in 0.. {
        match agent.finish_redeem(&mailbox).await {
            Ok(()) => return,
            Err(error) if error.fault == Fault::Conflict => {
                tracing::warn!(mailbox = mailbox.id, %error, "an offer is refused");
                return match agent.offer_refused(mailbox.id, error.to_string()).await {
                    Ok(()) => {}
                    Err(error) => tracing::error!(%error, "a refused offer cannot be noted"),
                };
            }
            Err(error) => {
                tracing::debug!(mailbox = mailbox.id, %error, "an offer is not redeemed yet");
                if let Err(error) = agent.set_mailbox_health(mailbox.id, Err(error.to_string())).await {
                    tracing::error!(%error, "the state of a mailbox cannot be noted");
                }
            }
        }
        if !pause(failures, MAX_PAUSE, &shutdown).await {
            return;
        }
    }
}

async fn keep_open(agent: Agent, id: u32, shutdown: CancellationToken) {
    let (mut failures, mut clock_offset, mut rival) = (0, 0, Rival::default());
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = follow(&agent, id, clock_offset, &mut failures) => ended,
        };
        let Err(error) = ended else { continue };
        tracing::debug!(mailbox = id, %error, "the event stream ended");
        if let Err(error) = agent.set_mailbox_health(id, Err(error.to_string())).await {
            tracing::error!(%error, "the state of a mailbox cannot be noted");
        }
        let shortest = match error {
            NetworkError::Clock(offset) if offset != clock_offset && failures == 0 => {
                clock_offset = offset;
                failures = 1;
                continue;
            }
            NetworkError::Superseded => {
                agent.set_superseded(id);
                rival.superseded(Instant::now())
            }
            _ => Duration::ZERO,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(shortest.max(backoff(failures, &mut OsRng).min(MAX_PAUSE))) => {}
        }
        failures = failures.saturating_add(1);
    }
}

/// Follows the stream until it ends; success means that the server ended it in good order.
async fn follow(agent: &Agent, id: u32, clock_offset: i64, failures: &mut u32) -> Result<(), NetworkError> {
    let gone = |error: crate::agent::error::CommandError| NetworkError::Refused(error.to_string());
    let mut mailbox = agent.mailbox(id).await.map_err(gone)?;
    if let Some(place) = agent.network().moved(&mailbox).await? {
        mailbox = agent.move_mailbox(id, place).await.map_err(gone)?;
    }
    let mailbox = agent.rekey(mailbox).await?;
    let Some(account) = mailbox.account.as_ref() else { return Ok(()) };
    let mut stream = agent.network().open_stream(&mailbox, account, clock_offset).await?;
    let mut is_looked_up = false;
    let mut look_up = tokio::time::interval(LOOK_UP_INTERVAL);
    look_up.reset();
    loop {
        let event = tokio::select! {
            event = stream.events.next() => event,
            _ = look_up.tick() => {
                look_up_account(agent, &mailbox).await;
                continue;
            }
        };
        let Some(event) = event else { break };
        let event = event?;
        if event.name == "account" {
            look_up_account(agent, &mailbox).await;
            continue;
        }
        if event.name == "superseded" {
            return Err(NetworkError::Superseded);
        }
        let entries = open_event(&mut stream, &event.data)?;
        agent.set_mailbox_health(id, Ok(())).await.map_err(gone)?;
        *failures = 0;
        take_in(agent, &mailbox, entries).await?;
        if !std::mem::replace(&mut is_looked_up, true) {
            look_up_account(agent, &mailbox).await;
        }
    }
    Err(NetworkError::Refused("the server ended the connection".to_owned()))
}

/// Messages come in without it: a failure is only noted.
async fn look_up_account(agent: &Agent, mailbox: &Mailbox) {
    if let Err(error) = agent.refresh_account(mailbox).await {
        tracing::debug!(mailbox = mailbox.id, %error, "the state of an account is not known");
    }
}

fn open_event(stream: &mut MailboxStream, data: &[u8]) -> Result<Vec<Entry>, NetworkError> {
    let bytes = BASE64.decode(data).map_err(|error| NetworkError::Nonsense(error.to_string()))?;
    match stream.reader.open(&bytes) {
        Ok(Answer::Event(event)) => Ok(event.entries),
        Ok(Answer::Refused(_)) => Err(NetworkError::Nonsense("a refusal within a stream".to_owned())),
        Err(error) => Err(NetworkError::Nonsense(error.to_string())),
    }
}

/// Stores messages in one commit, and only then deletes them at the server. One that does not delete, because its disk is
/// full, keeps nobody from the rest of the event.
async fn take_in(agent: &Agent, mailbox: &Mailbox, entries: Vec<Entry>) -> Result<(), NetworkError> {
    let mut rest = entries.as_slice();
    let mut ended = Ok(());
    while !rest.is_empty() {
        let (batch, messages) = next_batch(agent, mailbox, rest).await?;
        agent.receive(messages).await.map_err(|error| NetworkError::Refused(error.to_string()))?;
        if ended.is_ok() {
            let tokens = batch.iter().map(|entry| entry.delete).collect();
            ended = agent.network().delete(mailbox, tokens).await;
        }
        rest = rest.get(batch.len()..).unwrap_or_default();
    }
    ended
}

/// Takes entries that carry their messages from the front, or fetches the first few that do not; the order stays.
async fn next_batch<'a>(
    agent: &Agent,
    mailbox: &Mailbox,
    entries: &'a [Entry],
) -> Result<(&'a [Entry], Vec<Vec<u8>>), NetworkError> {
    let inline = entries.iter().take_while(|entry| entry.message.is_some()).count().min(MAX_TAKEN_IN);
    if inline > 0 {
        let batch = entries.get(..inline).unwrap_or_default();
        return Ok((batch, batch.iter().filter_map(|entry| entry.message.clone()).collect()));
    }
    let absent = entries.iter().take_while(|entry| entry.message.is_none()).count().min(MAX_TAKEN_IN);
    let batch = entries.get(..absent).unwrap_or_default();
    let messages = agent.network().fetch(mailbox, batch.iter().map(|entry| entry.fetch).collect()).await?;
    Ok((batch, messages.into_iter().flatten().collect()))
}

/// Waits before another attempt; false if the node stops meanwhile.
async fn pause(failures: u32, longest: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(backoff(failures, &mut OsRng).min(longest)) => true,
    }
}
