//! Messages from one node to the other: how soon one is shown, and how long a thousand take.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::disk;
use super::figures::{Times, milliseconds, row, seconds, show};
use super::machine::now;
use super::people::People;

const ONE_BY_ONE: usize = 300;
const AT_ONCE: usize = 1_000;

/// A message is committed three times on its way: by the sender, the mailbox server and the receiver.
const COMMITS: u32 = 3;

/// Sends a message, waits until the other node shows it, sends the next.
pub(super) fn one_by_one(people: &People, dir: &Path) -> Result<()> {
    let (mut alice, bob) = (people.alice()?, people.bob()?.events()?);
    let cid = contact(&mut alice)?;
    let (mut queued, mut shown) = (Vec::new(), Vec::new());
    for number in 0..ONE_BY_ONE {
        let text = format!("one by one: {number}");
        let begun = now();
        alice.ask("send-basic", &json!({ "cid": cid, "text": text }))?;
        queued.push(begun.elapsed());
        shown.push(bob.wait_for("in", "received", &text)? - begun);
    }
    let flush = disk::flushes(dir)?;
    let shown: Times = shown.into_iter().collect();
    let rest = shown.median().saturating_sub(flush.median() * COMMITS);
    let mut rows = vec![row(["", "p50", "p99"])];
    for (name, times) in [
        ("send → shown at the other node", &shown),
        ("of it: send → durable in the outbox", &queued.into_iter().collect()),
        ("one `fdatasync` after 1 KiB", &flush),
    ] {
        rows.push(vec![name.to_owned(), milliseconds(times.median()), milliseconds(times.percentile(99))]);
    }
    rows.push(row(["send → shown without 3 `fdatasync`", &milliseconds(rest), ""]));
    show("One message", &rows);
    Ok(())
}

/// Sends as fast as the node takes messages.
pub(super) fn all_at_once(people: &People) -> Result<()> {
    let (mut alice, sent, shown) = (people.alice()?, people.alice()?.events()?, people.bob()?.events()?);
    let cid = contact(&mut alice)?;
    let before = people.cpu_times()?;
    let begun = now();
    for number in 0..AT_ONCE {
        alice.ask("send-basic", &json!({ "cid": cid, "text": text(number) }))?;
    }
    let queued = begun.elapsed();
    // Messages leave and arrive in order, so the last one tells of all.
    let last = text(AT_ONCE - 1);
    let sent = sent.wait_for("out", "sent", &last)? - begun;
    let shown = shown.wait_for("in", "received", &last)? - begun;
    let after = people.cpu_times()?;
    let mut rows = vec![row(["1,000 messages", "seconds"])];
    for (name, time) in
        [("until all are queued", queued), ("until all are sent", sent), ("until all are shown", shown)]
    {
        rows.push(row([name, &seconds(time)]));
    }
    for ((name, before), after) in people.names().zip(before).zip(after) {
        rows.push(vec![format!("CPU of {name}"), seconds(after - before)]);
    }
    show("A thousand messages", &rows);
    Ok(())
}

fn text(number: usize) -> String {
    format!("at once: {number}")
}

/// Returns the newest contact.
fn contact(client: &mut super::api::Client) -> Result<Value> {
    let book = client.ask("addressbook", &json!({}))?;
    let contacts = book.get("contacts").and_then(Value::as_array).context("no address book")?;
    contacts.last().and_then(|contact| contact.get("cid")).cloned().context("no contact")
}
