//! `rooms`: the conversations, one a line.

use clap::Args;
use petmail_net::program::Failure;
use serde::Deserialize;

use super::{
    block_on,
    client::Client,
    messages::content,
    terminal::{local_time, note, print, print_json_lines, table},
};
use crate::{
    api::types::{Direction, RoomView},
    basedir::Basedir,
};

/// How much of a text stands in the list, in characters.
const EXCERPT: usize = 60;

/// List the conversations, the latest first, with what is unread
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 rooms\n  petmail-node -d n1 rooms --json")]
pub(super) struct Rooms {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// The answer to `rooms`.
#[derive(Debug, Deserialize)]
struct Listed {
    rooms: Vec<RoomView>,
}

impl Rooms {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Listed { rooms } = block_on(async { Client::find(basedir)?.ask("rooms").await })?;
        if self.json {
            return print_json_lines(&rooms);
        }
        if rooms.is_empty() {
            note("no conversations yet; `invite` makes a code for somebody");
            return Ok(());
        }
        print(&describe(&rooms))
    }
}

fn describe(rooms: &[RoomView]) -> String {
    let rows: Vec<_> = rooms.iter().map(row).collect();
    table(["CID", "PETNAME", "UNREAD", "WHEN", "LAST"], &rows)
}

fn row(room: &RoomView) -> [String; 5] {
    let unread = if room.unread == 0 { String::new() } else { room.unread.to_string() };
    let (when, last) = match &room.last {
        Some(last) => {
            let who = if last.direction == Direction::Out { "you: " } else { "" };
            (local_time(last.when_received), format!("{who}{}", content(last)))
        }
        None => (String::new(), String::new()),
    };
    let last = if room.draft.is_empty() { last } else { format!("being written: {}", room.draft) };
    [room.cid.to_string(), room.petname.clone(), unread, when, excerpt(&last)]
}

/// The beginning of the first line.
fn excerpt(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut excerpt: String = line.chars().take(EXCERPT).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn room(fields: Value) -> RoomView {
        let mut room = json!({
            "cid": 1, "petname": "bob", "state": "confirmed", "unread": 0, "draft": "", "last": null
        });
        room.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(room).unwrap()
    }

    fn last(direction: &str, text: &str) -> Value {
        json!({
            "id": 7, "direction": direction, "cid": 1, "petname": "bob", "room": null, "epoch": 1, "seqnum": 2,
            "when_received": "2026-01-02T03:04:05Z", "payload": {"basic": text}, "state": "received", "reason": null
        })
    }

    #[test]
    fn a_conversation_is_a_line_whatever_its_texts_say() {
        let rooms = [
            room(json!({"unread": 12, "last": last("in", "one\u{1b}[2J\ntwo")})),
            room(json!({"cid": 2, "petname": "a\nb", "last": last("out", &"ä".repeat(61))})),
            room(json!({"cid": 3, "draft": "half a"})),
            room(json!({"cid": 4})),
        ];
        let text = describe(&rooms);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].contains("12") && lines[1].ends_with("one\\u{1b}[2J…"), "{text}");
        assert!(lines[2].contains("a\\nb") && lines[2].ends_with(&format!("you: {}…", "ä".repeat(55))));
        assert!(lines[3].ends_with("being written: half a") && lines[4] == "4    bob", "{text}");
    }
}
