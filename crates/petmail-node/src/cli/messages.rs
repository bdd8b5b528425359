//! `fetch-messages`, `follow-messages`, `messages`.

use std::collections::BTreeSet;

use clap::Args;
use petmail_net::program::Failure;
use serde::Deserialize;

use super::{
    block_on,
    client::Client,
    terminal::{indented, json_line, local_time, note, one_line, print, print_json_lines, size},
};
use crate::{
    api::types::{Direction, Event, FetchQuery, FileView, MessageQuery, MessageState, MessageView},
    basedir::Basedir,
};

/// List the messages that came in
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 fetch-messages\n  \
    petmail-node -d n1 fetch-messages --json --cid 1 --since 17")]
pub(super) struct FetchMessages {
    #[command(flatten)]
    which: Which,
}

/// Show messages as they come in, until interrupted
#[derive(Debug, Args)]
#[command(after_help = "Without --since it shows what comes from now on.\n\n\
    Examples:\n  petmail-node -d n1 follow-messages\n  petmail-node -d n1 follow-messages --json --since 0")]
pub(super) struct FollowMessages {
    #[command(flatten)]
    which: Which,
}

/// List the messages of both directions, with their states
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  petmail-node -d n1 messages\n  petmail-node -d n1 messages --json --cid 1"
)]
pub(super) struct Messages {
    #[command(flatten)]
    which: Which,
}

/// Which messages, and how.
#[derive(Debug, Args)]
struct Which {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Only this contact's
    #[arg(long)]
    cid: Option<u32>,
    /// Only those with a greater number
    #[arg(long, value_name = "ID")]
    since: Option<u64>,
}

/// The answer to `messages` and `fetch-messages`.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) messages: Vec<MessageView>,
}

impl FetchMessages {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let query = FetchQuery { cid: self.which.cid, since: self.which.since };
        let Listed { messages } =
            block_on(async { Client::find(basedir)?.call("fetch-messages", &query).await })?;
        self.which.show(&messages)
    }
}

impl Messages {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let query = MessageQuery {
            cid: self.which.cid,
            since: self.which.since,
            direction: None,
            ..MessageQuery::default()
        };
        let Listed { messages } = block_on(async { Client::find(basedir)?.call("messages", &query).await })?;
        self.which.show(&messages)
    }
}

impl Which {
    fn show(&self, messages: &[MessageView]) -> Result<(), Failure> {
        if self.json {
            return print_json_lines(messages);
        }
        print(&messages.iter().map(describe).collect::<String>())
    }
}

impl FollowMessages {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        block_on(async {
            let client = Client::find(basedir)?;
            // First the stream, then the list: what comes between is in both, and shown once.
            let mut events = client.events().await?;
            let mut follower = Follower::new(self.which, &client).await?;
            note("following; Ctrl-C ends it");
            loop {
                match events.next().await? {
                    Event::Message(message) => follower.show(&[message])?,
                    Event::Lagged => follower.catch_up(&client).await?,
                    _ => {}
                }
            }
        })
    }
}

/// Shows each inbound message once.
struct Follower {
    which: Which,
    seen: Seen,
}

impl Follower {
    /// Shows what is listed already if `--since` asks for it.
    async fn new(which: Which, client: &Client) -> Result<Self, Failure> {
        let mut follower =
            Self { seen: Seen { up_to: which.since.unwrap_or_default(), ..Seen::default() }, which };
        if follower.which.since.is_some() {
            follower.catch_up(client).await?;
        } else {
            let old = follower.list(client).await?;
            follower.seen.up_to = old.last().map_or(0, |message| message.id);
        }
        Ok(follower)
    }

    async fn catch_up(&mut self, client: &Client) -> Result<(), Failure> {
        let messages = self.list(client).await?;
        self.show(&messages)
    }

    async fn list(&self, client: &Client) -> Result<Vec<MessageView>, Failure> {
        let query = FetchQuery { cid: self.which.cid, since: Some(self.seen.up_to) };
        let Listed { mut messages } = client.call("fetch-messages", &query).await?;
        messages.sort_by_key(|message| message.id);
        Ok(messages)
    }

    fn show(&mut self, messages: &[MessageView]) -> Result<(), Failure> {
        for message in messages.iter().filter(|message| self.which.wants(message)) {
            if self.seen.is_new(message.id) {
                print(&if self.which.json { json_line(message)? } else { describe(message) })?;
            }
        }
        Ok(())
    }
}

/// Which messages were shown. Events of messages that came in at the same time may be out of order, by much less than
/// this remembers.
#[derive(Debug, Default)]
struct Seen {
    up_to: u64,
    later: BTreeSet<u64>,
}

impl Seen {
    const MAX_REMEMBERED: usize = 1_024;

    /// Tells whether `id` comes up for the first time.
    fn is_new(&mut self, id: u64) -> bool {
        if id <= self.up_to || !self.later.insert(id) {
            return false;
        }
        if self.later.len() > Self::MAX_REMEMBERED {
            self.up_to = self.later.pop_first().unwrap_or(self.up_to);
        }
        true
    }
}

impl Which {
    fn wants(&self, message: &MessageView) -> bool {
        message.direction == Direction::In && self.cid.is_none_or(|cid| cid == message.cid)
    }
}

fn describe(message: &MessageView) -> String {
    let (id, time, petname) = (message.id, local_time(message.when_received), one_line(&message.petname));
    let who = match message.direction {
        Direction::In => petname,
        Direction::Out => format!("to {petname} [{}]", state(message)),
    };
    format!("#{id}  {time}  {who}: {}\n", content(message))
}

fn state(message: &MessageView) -> String {
    let state = match message.state {
        MessageState::Waiting => "waiting",
        MessageState::Sent => "sent",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Failed => "failed",
        MessageState::Received => "received",
    };
    match &message.reason {
        Some(reason) => format!("{state}: {}", one_line(reason)),
        None => state.to_owned(),
    }
}

/// What a message says, or why it says nothing.
pub(super) fn content(message: &MessageView) -> String {
    if let Some(text) = message.payload.get("basic").and_then(|text| text.as_str()) {
        return indented(text);
    }
    if let Some(FileView { name, size: bytes, .. }) = &message.file {
        return format!("[file {}, {}; `save-file {}` saves it]", one_line(name), size(*bytes), message.id);
    }
    if message.payload.contains_key("lost") {
        return "(a message was lost before it came here; ask for it to be sent again)".to_owned();
    }
    let packets: Vec<_> = message.payload.keys().map(|name| one_line(name)).collect();
    format!("({}: not known to this version)", packets.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: serde_json::Value) -> MessageView {
        let mut fields = json!({
            "id": 7, "direction": "in", "cid": 1, "petname": "zoë\u{1b}[2J", "room": null, "epoch": 1, "seqnum": 2,
            "when_received": "2026-01-02T03:04:05Z", "payload": {"basic": "one\ntwo\u{7}"}, "state": "received", "reason": null
        });
        fields.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_message_is_shown_without_control_characters() {
        let text = describe(&message(json!({})));
        assert!(
            text.starts_with("#7  2026-01-0") && text.ends_with("zoë\\u{1b}[2J: one\n    two\\u{7}\n"),
            "{text}"
        );
    }

    #[test]
    fn outbound_messages_say_where_they_are() {
        let text =
            describe(&message(json!({"direction": "out", "state": "waiting", "reason": "no\nmailbox"})));
        assert!(text.contains("to zoë\\u{1b}[2J [waiting: no\\nmailbox]: one"), "{text}");
    }

    #[test]
    fn a_lost_message_is_told() {
        let text = describe(&message(json!({"payload": {"lost": {}}})));
        assert!(text.ends_with("ask for it to be sent again)\n"), "{text}");
    }

    #[test]
    fn packets_of_later_versions_are_named() {
        let text = describe(&message(json!({"payload": {"dance": {}}})));
        assert!(text.ends_with("(dance: not known to this version)\n"), "{text}");
    }

    #[test]
    fn each_message_is_new_once_even_out_of_order() {
        let mut seen = Seen { up_to: 5, ..Seen::default() };
        assert_eq!([7, 6, 7, 5, 9, 8].map(|id| seen.is_new(id)), [true, true, false, false, true, true]);
        for id in 10..5_000 {
            assert!(seen.is_new(id) && !seen.is_new(id), "{id}");
        }
        assert!(seen.later.len() <= Seen::MAX_REMEMBERED && !seen.is_new(6));
    }

    #[test]
    fn a_follower_wants_what_comes_in_from_its_contact() {
        let which = Which { json: false, cid: Some(1), since: None };
        assert!(which.wants(&message(json!({}))));
        assert!(!which.wants(&message(json!({"cid": 2}))));
        assert!(!which.wants(&message(json!({"direction": "out"}))));
    }
}
