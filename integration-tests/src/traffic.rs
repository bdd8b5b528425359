//! People who write all the time, and the check that what was accepted has arrived once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::chance::Chance;
use crate::node::{Node, has};
use crate::wait::eventually;

/// The longest pause between two texts of one writer: some ten a second, so that a queue never stays empty for long and
/// the check at the end stays short.
const LONGEST_PAUSE_MS: u64 = 150;

/// One text in so many is long.
const ONE_LONG_IN: u64 = 40;

/// A text that does not travel inside an event, but has to be fetched.
const LONG_TEXT_BYTES: usize = 65_000;

/// Writers who write to contact 1 of a node until they are stopped, whether the node runs or not.
#[derive(Debug)]
pub struct Writers {
    api: Arc<Mutex<Api>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

/// What people wrote.
#[derive(Debug, Default)]
pub struct Written {
    /// The node has said that it will deliver these.
    pub accepted: Vec<String>,
    /// The node did not answer: it may have them or not.
    pub unsure: Vec<String>,
}

impl Writers {
    /// Lets `count` people write through this node.
    ///
    /// # Panics
    /// If the node does not run.
    #[must_use]
    pub fn start(node: &Node, name: &str, count: usize, seed: u64) -> Self {
        let (api, stop) = (Arc::new(Mutex::new(node.api().clone())), Arc::new(AtomicBool::new(false)));
        let writer = |number: usize| {
            let (api, stop) = (Arc::clone(&api), Arc::clone(&stop));
            let name = format!("{name} {number}");
            let chance = Chance::seeded(seed.wrapping_add(number as u64));
            thread::spawn(move || write(&api, &stop, &name, chance))
        };
        let threads = (0..count).map(writer).collect();
        Self { api, stop, threads }
    }

    /// Lets them go on after the node was started anew, perhaps at another port.
    ///
    /// # Panics
    /// If the node does not run.
    pub fn follow(&self, node: &Node) {
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = node.api().clone();
    }

    /// Stops them, and returns what they wrote.
    ///
    /// # Panics
    /// If one of them has panicked.
    #[must_use]
    pub fn stop(self) -> Written {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Written::default();
        for thread in self.threads {
            let written = thread.join().expect("a writer writes until the end");
            all.accepted.extend(written.accepted);
            all.unsure.extend(written.unsure);
        }
        all
    }
}

fn write(api: &Mutex<Api>, stop: &AtomicBool, name: &str, mut chance: Chance) -> Written {
    let mut written = Written::default();
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let mut text = format!("{name} {number}");
        if chance.below(ONE_LONG_IN) == 0 {
            text = format!("{text:.<LONG_TEXT_BYTES$}");
        }
        let api = api.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match api.call("send-basic", &json!({"cid": 1, "text": text})) {
            Ok(_) => written.accepted.push(text),
            Err(_) => written.unsure.push(text),
        }
        thread::sleep(Duration::from_millis(chance.below(LONGEST_PAUSE_MS)));
    }
    written
}

/// Waits until the other agent has acknowledged everything that this node has sent.
///
/// # Panics
/// If nothing goes on any more before that.
#[track_caller]
pub fn until_delivered(node: &Node, story: &str) {
    let mut left = outstanding(node);
    while left != (0, 0) {
        left = eventually(&format!("{story}: fewer outstanding than {left:?}"), || {
            let now = outstanding(node);
            (now != left).then_some(now)
        });
    }
}

/// How many messages wait, and how many are sent without being delivered.
fn outstanding(node: &Node) -> (u64, u64) {
    let status = node.status();
    let count = |name: &str| status.pointer(&format!("/outbox/{name}")).and_then(Value::as_u64);
    (count("waiting").expect("a number"), count("sent").expect("a number"))
}

/// Checks that everything accepted is at the other side once, in order, and nothing else but what may be.
///
/// # Panics
/// If not.
#[track_caller]
pub fn arrived_once(sender: &Node, receiver: &Node, written: &Written, story: &str) {
    let sent = sender.messages("out");
    let undelivered: Vec<_> = sent.iter().filter(|message| !has(message, "state", "delivered")).collect();
    assert!(undelivered.is_empty(), "{story}: not delivered: {undelivered:#?}");
    let (sent, received) = (texts(&sent), texts(&receiver.messages("in")));
    let distinct: BTreeSet<_> = sent.iter().collect();
    assert_eq!(distinct.len(), sent.len(), "{story}: nothing is sent twice");
    let lost: Vec<_> = written.accepted.iter().filter(|text| !distinct.contains(text)).map(shown).collect();
    assert!(lost.is_empty(), "{story}: accepted and forgotten: {lost:?}");
    let known: BTreeSet<_> = written.accepted.iter().chain(&written.unsure).collect();
    assert!(distinct.is_subset(&known), "{story}: nobody wrote some of it");
    let differs = sent.iter().zip(&received).position(|(sent, received)| sent != received);
    let differs = differs.or((sent.len() != received.len()).then_some(sent.len().min(received.len())));
    if let Some(place) = differs {
        let around =
            |texts: &[String]| texts.iter().skip(place.saturating_sub(3)).take(6).map(shown).collect();
        let (sent, received): (Vec<_>, Vec<_>) = (around(&sent), around(&received));
        panic!("{story}: message {place}: sent {sent:?}, received {received:?}");
    }
}

/// Checks that everything came in in the order in which it was sent; with several mailboxes it need not.
///
/// # Panics
/// If not.
#[track_caller]
pub fn came_in_order(receiver: &Node, story: &str) {
    let id = |message: &Value| message.get("id").and_then(Value::as_u64).expect("a message has a number");
    let ids: Vec<_> = receiver.messages("in").iter().map(id).collect();
    let early = ids.windows(2).find(|pair| pair.first() > pair.last());
    assert!(early.is_none(), "{story}: message {early:?} of the other side came before its predecessor");
}

fn texts(messages: &[Value]) -> Vec<String> {
    let text = |message: &Value| {
        let text = message.pointer("/payload/basic").and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("a message without a text: {message}")).to_owned()
    };
    messages.iter().map(text).collect()
}

/// The beginning of a text, which names it.
fn shown(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(24).collect()
}
