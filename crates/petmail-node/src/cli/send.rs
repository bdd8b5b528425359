//! `send-basic`, and reading what is too long or too secret for the command line from standard input.

use std::io::{self, Read};

use clap::{Args, ValueEnum};
use petmail_net::program::Failure;

use super::{
    block_on,
    client::{Client, Events},
    files,
    messages::Listed,
    progress::Progress,
    terminal::{one_line, print},
};
use crate::{
    api::{
        MAX_TEXT_BYTES, check_text,
        types::{Direction, Event, FileRow, FileState, MessageQuery, MessageState, MessageView, SendRequest},
    },
    basedir::Basedir,
};

/// Send a text to a contact
#[derive(Debug, Args)]
#[command(
    alias = "send",
    after_help = "Prints the message's number once it is safe in the outbox. Alias: send.\n\n\
        Examples:\n  petmail-node -d n1 send-basic 1 hello\n  \
        petmail-node -d n1 send-basic 1 'see you at 8' --wait delivered\n  \
        petmail-node -d n1 send-basic 1 - < letter.txt"
)]
pub(super) struct SendBasic {
    /// The contact's number
    cid: u32,
    /// The text, 1 to 65,536 bytes; `-` reads it from standard input, without the last line's end
    #[arg(allow_hyphen_values = true)]
    message: String,
    /// Return only once the message is so far
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<WaitFor>,
    /// The number of the message that it answers
    #[arg(long, value_name = "ID")]
    reply_to: Option<u64>,
}

/// What `--wait` waits for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum WaitFor {
    /// A mailbox of the contact has the message on disk
    Sent,
    /// The contact's node has the message
    Delivered,
}

impl SendBasic {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let text = argument_or_stdin(self.message, MAX_TEXT_BYTES)?;
        check_text(&text).map_err(|error| Failure::failed(&error).hint(&error.hint))?;
        let request = SendRequest { cid: self.cid, text, reply_to: self.reply_to };
        block_on(async {
            let client = Client::find(basedir)?;
            let Some(wait) = self.wait else { return send(&client, &request).await.map(drop) };
            // First the stream, then the message: no change can be missed.
            let mut events = client.events().await?;
            let message = send(&client, &request).await?;
            let waiting = vec![Waiting { cid: message.cid, id: message.id }];
            wait_until(wait, &client, &mut events, waiting).await
        })
    }
}

async fn send(client: &Client, request: &SendRequest) -> Result<MessageView, Failure> {
    let message: MessageView = client.call("send-basic", request).await?;
    print(&format!("{}\n", message.id))?;
    Ok(message)
}

/// A message that is waited for; it may have to be stored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) cid: u32,
    pub(super) id: u64,
}

/// Waits until messages are so far.
pub(super) async fn wait_until(
    wait: WaitFor,
    client: &Client,
    events: &mut Events,
    mut waiting: Vec<Waiting>,
) -> Result<(), Failure> {
    let mut progress = Progress::default();
    for one in waiting.clone() {
        look(wait, client, one, &mut waiting).await?;
    }
    while !waiting.is_empty() {
        match events.next().await? {
            Event::Message(message) => note_state(wait, &message, &mut waiting)?,
            Event::File(row) if waiting.iter().any(|one| one.id == row.id) => {
                progress.show(&row);
                check_file(&row)?;
            }
            Event::Lagged => {
                for one in waiting.clone() {
                    look(wait, client, one, &mut waiting).await?;
                }
            }
            Event::FileRemoved { id } if waiting.iter().any(|one| one.id == id) => {
                return Err(files::gone(id));
            }
            Event::ContactRemoved { cid } if waiting.iter().any(|one| one.cid == cid) => {
                return Err(gone());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Looks how far a message is.
async fn look(
    wait: WaitFor,
    client: &Client,
    one: Waiting,
    waiting: &mut Vec<Waiting>,
) -> Result<(), Failure> {
    if let Some(message) = look_up(client, one).await? {
        return note_state(wait, &message, waiting);
    }
    check_file(&files::find(client, one.id).await?.ok_or_else(gone)?)
}

fn check_file(row: &FileRow) -> Result<(), Failure> {
    if row.file.state != FileState::Failed {
        return Ok(());
    }
    let reason = row.file.reason.as_deref().unwrap_or("it was given up");
    Err(Failure::failed(format!("{} is not sent: {}", one_line(&row.file.name), one_line(reason)))
        .hint(format!("`resume {}` goes on", row.id)))
}

fn note_state(wait: WaitFor, message: &MessageView, waiting: &mut Vec<Waiting>) -> Result<(), Failure> {
    let is_awaited = waiting.iter().any(|one| one.id == message.id);
    if is_awaited && message.state == MessageState::Failed {
        return Err(failed(message));
    }
    waiting.retain(|one| one.id != message.id || !is_so_far(message, wait));
    Ok(())
}

fn is_so_far(message: &MessageView, wait: WaitFor) -> bool {
    match message.state {
        MessageState::Delivered | MessageState::Read => true,
        MessageState::Sent => matches!(wait, WaitFor::Sent),
        MessageState::Waiting | MessageState::Failed | MessageState::Received => false,
    }
}

fn failed(message: &MessageView) -> Failure {
    let reason = message.reason.as_deref().unwrap_or("it was given up");
    Failure::failed(format!("message {} has failed: {}", message.id, one_line(reason)))
        .hint(format!("`retry {}` sends it anew", message.id))
}

async fn look_up(client: &Client, one: Waiting) -> Result<Option<MessageView>, Failure> {
    let query = MessageQuery {
        cid: Some(one.cid),
        since: Some(one.id.saturating_sub(1)),
        direction: Some(Direction::Out),
        ..MessageQuery::default()
    };
    let Listed { messages } = client.call("messages", &query).await?;
    Ok(messages.into_iter().find(|found| found.id == one.id))
}

fn gone() -> Failure {
    Failure::failed("the message is gone").hint("its contact was removed")
}

/// Returns `argument`, or what standard input says if it is `-`. One byte more than `max_bytes` is let through, so that
/// whoever checks the length can say that it is too much.
pub(super) fn argument_or_stdin(argument: String, max_bytes: usize) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument);
    }
    read_text(io::stdin().lock(), max_bytes)
}

fn read_text(input: impl Read, max_bytes: usize) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // The line's end, and one byte more to tell a longest text from a longer one.
    let enough = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(2);
    input
        .take(enough)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > max_bytes {
        return Err(Failure::failed(format!(
            "standard input has more than {max_bytes} bytes, which is the limit"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::failed(format!("standard input is no UTF-8: {}", one_line(&error.to_string())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_bounded_and_loses_one_line_end() {
        let read = |text: &[u8]| read_text(text, 4).map_err(|failure| failure.to_string());
        assert_eq!(read(b"abc\n"), Ok("abc".to_owned()));
        assert_eq!(read(b"abcd"), Ok("abcd".to_owned()));
        assert_eq!(read(b"abcd\n"), Ok("abcd".to_owned()));
        assert_eq!(read(b"a\n\n"), Ok("a\n".to_owned()));
        assert!(read(b"abcde").unwrap_err().contains("more than 4 bytes"));
        assert!(read(b"abcd\n\n").unwrap_err().contains("more than 4 bytes"));
        assert!(read(b"\xff").unwrap_err().contains("UTF-8"));
    }
}
