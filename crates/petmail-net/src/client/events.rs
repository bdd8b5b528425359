//! Event streams: the part of the Server-Sent Events format that servers of Petmail use, with bounds.
//!
//! Source: WHATWG HTML, "Server-sent events". Lines end with LF or CRLF; `id` and `retry` are ignored.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    Stream,
    stream::{self, BoxStream},
};
use reqwest::Response;

use super::ClientError;

/// One event.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its type; empty if the server gave none.
    pub name: String,
    /// Its data, the lines joined by LF.
    pub data: Bytes,
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerEvent({:?}, {} bytes)", self.name, self.data.len())
    }
}

/// The events of an open stream. Ends when the server ends it in good order; an error is the last item.
pub struct EventStream(BoxStream<'static, Result<ServerEvent, ClientError>>);

impl Stream for EventStream {
    type Item = Result<ServerEvent, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

/// Reads the events of `response`, each at most `max_bytes`, with at most `idle` between bytes of any kind.
pub(super) fn read_events(host: &str, response: Response, max_bytes: usize, idle: Duration) -> EventStream {
    let reader = Reader {
        host: host.to_owned(),
        response,
        parser: Parser::new(max_bytes),
        ready: VecDeque::new(),
        idle,
    };
    let events = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(event) => Some((Ok(event?), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    EventStream(Box::pin(events))
}

struct Reader {
    host: String,
    response: Response,
    parser: Parser,
    ready: VecDeque<ServerEvent>,
    idle: Duration,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<ServerEvent>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let chunk = tokio::time::timeout(self.idle, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| ClientError::timed_out(&self.host))?;
            let Some(bytes) = chunk.map_err(|e| ClientError::from_http(&self.host, &e))? else {
                return Ok(None);
            };
            let fed = self.parser.feed(&bytes, &mut self.ready);
            fed.map_err(|TooLong| ClientError::TooLarge {
                host: self.host.clone(),
                max_bytes: self.parser.max,
            })?;
        }
    }
}

/// Turns bytes into events.
#[derive(Debug)]
struct Parser {
    max: usize,
    line: Vec<u8>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
}

#[derive(Debug, PartialEq)]
struct TooLong;

impl Parser {
    fn new(max: usize) -> Self {
        Self { max, line: Vec::new(), name: String::new(), data: Vec::new(), has_data: false }
    }

    /// Takes the next bytes; adds the events that they complete to `ready`.
    fn feed(&mut self, bytes: &[u8], ready: &mut VecDeque<ServerEvent>) -> Result<(), TooLong> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            // The field's name and the data gathered so far count as well.
            if self.line.len() + self.data.len() + part.len() > self.max + FIELD_BYTES {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = line.strip_suffix(b"\n").unwrap_or(&line);
                self.take_line(line.strip_suffix(b"\r").unwrap_or(line), ready);
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], ready: &mut VecDeque<ServerEvent>) {
        if line.is_empty() {
            return self.finish(ready);
        }
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }

    fn finish(&mut self, ready: &mut VecDeque<ServerEvent>) {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if std::mem::take(&mut self.has_data) {
            ready.push_back(ServerEvent { name, data: data.into() });
        }
    }
}

/// Room for a field's name, its colon and space, and the line's end.
const FIELD_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(max: usize, chunks: &[&str]) -> Result<Vec<(String, String)>, TooLong> {
        let (mut parser, mut ready) = (Parser::new(max), VecDeque::new());
        for chunk in chunks {
            parser.feed(chunk.as_bytes(), &mut ready)?;
        }
        Ok(ready.into_iter().map(|e| (e.name, String::from_utf8(e.data.into()).unwrap())).collect())
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text =
            ": hello\n\ndata: one\n\nevent: superseded\ndata\n\ndata:two\r\ndata: lines\r\nid: 7\r\n\r\n";
        let expected = vec![event("", "one"), event("superseded", ""), event("", "two\nlines")];
        assert_eq!(parse(100, &[text]).unwrap(), expected);
        for cut in 0..text.len() {
            let (before, after) = text.split_at(cut);
            assert_eq!(parse(100, &[before, after]).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn an_unfinished_event_is_none_and_a_name_alone_neither() {
        assert_eq!(parse(100, &["data: one\n"]).unwrap(), vec![]);
        assert_eq!(parse(100, &["event: x\n\ndata: y\n\n"]).unwrap(), vec![event("", "y")]);
    }

    #[test]
    fn long_lines_and_long_events_are_refused() {
        assert_eq!(parse(10, &["data: 0123456789\n\n"]).unwrap(), vec![event("", "0123456789")]);
        assert_eq!(parse(10, &["data: ", &"x".repeat(30)]), Err(TooLong));
        assert_eq!(parse(10, &[&"data: 01234567\n".repeat(4)]), Err(TooLong));
        assert_eq!(parse(10, &[&": nothing\n\n".repeat(100)]).unwrap(), vec![]);
    }
}
