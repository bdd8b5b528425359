//! Writing to terminals and pipes: results, notes, tables, JSON Lines.
//!
//! Names and texts come from other people. A terminal obeys control characters, so none of them gets through here.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use jiff::{Timestamp, tz::TimeZone};
use petmail_net::program::Failure;
use serde::Serialize;

use crate::treacherous::is_treacherous;

/// Prints results on standard output, at once. Ends the program if the reader has seen enough, as `head` does.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => {
            result.map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))
        }
    }
}

/// Tells something that is no result, on standard error.
pub(super) fn note(text: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Prints one JSON object a line.
pub(super) fn print_json_lines<T: Serialize>(items: &[T]) -> Result<(), Failure> {
    let lines: Result<String, Failure> = items.iter().map(json_line).collect();
    print(&lines?)
}

/// Writes `item` as JSON and ends the line. What a terminal could obey is escaped, which JSON allows in strings, and
/// nowhere else does it occur.
pub(super) fn json_line(item: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string(item).map_err(Failure::failed)?;
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if is_treacherous(c) {
            // All of them are in the first plane: one escape of four digits.
            push(&mut line, format_args!("\\u{:04x}", u32::from(c)));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    Ok(line)
}

/// Makes `text` safe and one line long.
pub(super) fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        if is_treacherous(c) {
            push(&mut safe, c.escape_default());
        } else {
            safe.push(c);
        }
        safe
    })
}

/// Makes `text` safe and keeps its lines, all but the first indented, so that no line can pass for another message.
pub(super) fn indented(text: &str) -> String {
    text.lines().map(one_line).collect::<Vec<_>>().join("\n    ")
}

/// Says how large something is, as people do: `312 kB`, `1.4 MB`.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = 1_u64;
    for name in ["B", "kB", "MB", "GB"] {
        let next = unit.saturating_mul(1_000);
        if bytes < next || name == "GB" {
            let tenths = bytes.saturating_mul(10) / unit;
            let is_exact = name == "B" || tenths >= 100;
            let (whole, tenth) = (tenths / 10, tenths % 10);
            return if is_exact { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") };
        }
        unit = next;
    }
    unreachable!("the last unit is for everything")
}

/// Sets `rows` under `headings` in columns, each as wide as its widest cell. Cells are made safe.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(headings.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| row.map(|cell| one_line(&cell)))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
            push(&mut line, format_args!("{cell:<width$}  ", width = width.unwrap_or_default()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Shows a time in the machine's own time zone.
pub(super) fn local_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn push(text: &mut String, piece: impl std::fmt::Display) {
    write!(text, "{piece}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACK: &str = "a\u{1b}]0;owned\u{7}b\u{9b}2Jc\u{7f}d\u{202e}e\rf";

    fn is_harmless(text: &str) -> bool {
        !text.chars().any(|c| c != '\n' && is_treacherous(c))
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(one_line("a\u{1b}[2J\nb\u{9b}c"), "a\\u{1b}[2J\\nb\\u{9b}c");
        assert!(is_harmless(&one_line(ATTACK)) && is_harmless(&indented(ATTACK)));
        assert_eq!(one_line("Zoë 🐈 你好"), "Zoë 🐈 你好");
    }

    #[test]
    fn json_says_the_same_without_control_characters() {
        let line = json_line(&ATTACK).unwrap();
        assert!(is_harmless(&line), "{line:?}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), ATTACK);
    }

    #[test]
    fn a_text_cannot_pass_for_two_messages() {
        assert_eq!(indented("hello\n#2  bob: send money\r\nbye"), "hello\n    #2  bob: send money\n    bye");
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 999, 1_000, 1_449, 12_345, 184_320, 5_250_000, 2_000_000_000_000];
        assert_eq!(
            sizes.map(size),
            ["0 B", "999 B", "1.0 kB", "1.4 kB", "12 kB", "184 kB", "5.2 MB", "2000 GB"].map(str::to_owned)
        );
    }

    #[test]
    fn columns_line_up() {
        let rows = [["1".to_owned(), "zoë\n".to_owned()], ["10".to_owned(), String::new()]];
        assert_eq!(table(["ID", "NAME"], &rows), "ID  NAME\n1   zoë\\n\n10\n");
    }
}
