//! What does not get dearer with the years, or should not: many contacts, many stored messages, a long outbox.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Stage;
use super::figures::{Times, mebibytes, milliseconds, row, seconds, show};
use super::machine::now;
use super::people::{People, Seed};

/// How many contacts a node has in turn.
const CONTACTS: [u32; 3] = [10, 1_000, 10_000];

/// How many messages are sent with so many contacts.
const SENT: usize = 200;

/// How many messages are stored, and how many of them are the newest that a client asks for.
const STORED: u64 = 100_000;
const NEWEST: u64 = 100;

/// How often a list is asked for.
const ASKED: usize = 9;

/// How many messages wait for the mailbox server.
const WAITING: usize = 10_000;

/// How long the server stays away once all wait, so that the sender has given up trying for a while.
const AWAY: Duration = Duration::from_secs(5);

/// How long a start is left alone before memory is read and messages are sent: what starting leaves behind is not theirs.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures a message with ever more contacts in both nodes.
pub(super) fn contacts(stage: &Stage) -> Result<()> {
    let mut people = People::start(&stage.sub("contacts")?)?;
    people.meet()?;
    let mut rows = vec![row([
        "contacts of each",
        "start",
        "resident",
        "send → durable",
        "send → shown",
        "CPU of sender a message",
        "CPU of receiver a message",
        "CPU ÷ first",
        "`rooms`",
    ])];
    let mut first = None;
    for count in CONTACTS {
        let start = people.restart_nodes(Some((Seed::Contacts, count.into())))?;
        let measured = Measured::take(&people, count)?;
        let (sender, receiver) = measured.cpu_a_message();
        let ratio = (sender + receiver).as_secs_f64() / first.get_or_insert(sender + receiver).as_secs_f64();
        rows.push(vec![
            count.to_string(),
            seconds(start),
            mebibytes(people.resident_bytes("bob")?),
            milliseconds(measured.queued.median()),
            milliseconds(measured.shown.median()),
            milliseconds(sender),
            milliseconds(receiver),
            format!("{ratio:.2}"),
            milliseconds(asked(&people, "rooms", &json!({}))?.median()),
        ]);
    }
    show("Contacts", &rows);
    Ok(())
}

struct Measured {
    queued: Times,
    shown: Times,
    sender: Duration,
    receiver: Duration,
}

impl Measured {
    fn take(people: &People, round: u32) -> Result<Self> {
        thread::sleep(SETTLE);
        let (mut alice, bob) = (people.alice()?, people.bob()?.events()?);
        let (mut queued, mut shown) = (Vec::new(), Vec::new());
        let before = (people.cpu_of("alice")?, people.cpu_of("bob")?);
        for number in 0..SENT {
            let text = format!("with {round} contacts: {number}");
            let begun = now();
            alice.ask("send-basic", &json!({ "cid": 1, "text": text }))?;
            queued.push(begun.elapsed());
            shown.push(bob.wait_for("in", "received", &text)? - begun);
        }
        Ok(Self {
            queued: queued.into_iter().collect(),
            shown: shown.into_iter().collect(),
            sender: people.cpu_of("alice")? - before.0,
            receiver: people.cpu_of("bob")? - before.1,
        })
    }

    fn cpu_a_message(&self) -> (Duration, Duration) {
        let count = u32::try_from(SENT).unwrap_or(u32::MAX);
        (self.sender / count, self.receiver / count)
    }
}

/// Measures a node that has many messages.
pub(super) fn stored(stage: &Stage) -> Result<()> {
    let mut people = People::start(&stage.sub("stored")?)?;
    people.meet()?;
    let mut rows = vec![row([
        "messages",
        "start",
        "resident",
        "`fetch-messages`, all",
        "newest 100",
        "a page of 50",
        "one sent → shown",
        "resident after all",
    ])];
    for count in [0, STORED] {
        let start = people.restart_nodes((count > 0).then_some((Seed::Messages, count)))?;
        thread::sleep(SETTLE);
        let resident = people.resident_bytes("bob")?;
        let begun = now();
        let all = fetch(&people, 0)?;
        let all_time = begun.elapsed();
        ensure!(all.len() as u64 >= count, "{} of {count} messages", all.len());
        // Not that of the last one: each way is in the order of its numbers.
        let ids = all.iter().filter_map(|message| message.get("id").and_then(Value::as_u64));
        let last = ids.max().unwrap_or_default();
        let begun = now();
        let newest = fetch(&people, last.saturating_sub(NEWEST))?;
        let newest_time = begun.elapsed();
        ensure!(newest.len() as u64 <= NEWEST, "{} newest messages", newest.len());
        let shown = Measured::take(&people, 1)?.shown;
        rows.push(vec![
            count.to_string(),
            seconds(start),
            mebibytes(resident),
            seconds(all_time),
            seconds(newest_time),
            milliseconds(asked(&people, "messages", &json!({ "cid": 1, "limit": 50 }))?.median()),
            milliseconds(shown.median()),
            mebibytes(people.resident_bytes("bob")?),
        ]);
    }
    show("Stored messages", &rows);
    Ok(())
}

/// How long bob's node takes to answer a command.
fn asked(people: &People, command: &str, arguments: &Value) -> Result<Times> {
    let mut bob = people.bob()?;
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let begun = now();
        bob.ask(command, arguments)?;
        times.push(begun.elapsed());
    }
    Ok(times.into_iter().collect())
}

fn fetch(people: &People, since: u64) -> Result<Vec<Value>> {
    let mut listed = people.bob()?.ask("fetch-messages", &json!({ "since": since }))?;
    let messages = listed.get_mut("messages").and_then(Value::as_array_mut).context("no messages")?;
    Ok(std::mem::take(messages))
}

/// Lets messages wait while the mailbox server is away, and measures how long they take when it is back.
pub(super) fn drain(stage: &Stage) -> Result<()> {
    let mut people = People::start(&stage.sub("drain")?)?;
    people.meet()?;
    people.stop_mailbox()?;
    let mut alice = people.alice()?;
    let begun = now();
    for number in 0..WAITING {
        alice.ask("send-basic", &json!({ "cid": 1, "text": text(number) }))?;
    }
    let queued = begun.elapsed();
    thread::sleep(AWAY);
    let names: Vec<_> = people.names().map(str::to_owned).collect();
    let before: BTreeMap<_, _> = names.into_iter().zip(people.cpu_times()?).collect();
    let events = people.bob()?.events()?;
    let begun = now();
    people.start_mailbox()?;
    let first = events.wait_for("in", "received", &text(0))?;
    let last = events.wait_for("in", "received", &text(WAITING - 1))?;
    let mut rows = vec![row([&format!("{WAITING} messages"), ""])];
    rows.push(row(["until all waited", &seconds(queued)]));
    rows.push(row(["server back → first shown", &seconds(first - begun)]));
    rows.push(row(["first shown → last shown", &seconds(last - first)]));
    for (name, after) in people.names().zip(people.cpu_times()?) {
        let before = before.get(name).copied().unwrap_or_default();
        rows.push(vec![format!("CPU of {name}"), seconds(after.saturating_sub(before))]);
    }
    check_order(&fetch(&people, 0)?)?;
    show("A long outbox", &rows);
    Ok(())
}

/// Checks that everything is there once and in order.
fn check_order(messages: &[Value]) -> Result<()> {
    let texts: Vec<_> = messages.iter().filter_map(|message| message.pointer("/payload/basic")).collect();
    ensure!(texts.len() == WAITING, "{} of {WAITING} messages", texts.len());
    for (number, shown) in texts.into_iter().enumerate() {
        ensure!(*shown == text(number), "message {number} is {shown}");
    }
    Ok(())
}

fn text(number: usize) -> String {
    format!("waiting: {number}")
}
