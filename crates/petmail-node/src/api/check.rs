//! What names and texts must be before the agent sees them.

use super::types::SearchRequest;
use crate::agent::error::{CommandError, Fault};

/// Longest petname in bytes: it is shown in every listing.
pub const MAX_PETNAME_BYTES: usize = 256;

/// Longest message text in bytes; fixed by the protocol (`docs/protocol/`, "Packets").
pub const MAX_TEXT_BYTES: usize = 65_536;

/// Checks a message's text.
///
/// # Errors
/// It is empty or too long.
pub fn check_text(text: &str) -> Result<(), CommandError> {
    if text.is_empty() {
        return Err(refuse("the message is empty", "say something"));
    }
    if text.len() > MAX_TEXT_BYTES {
        let problem = format!("the message has {} bytes, and the limit is {MAX_TEXT_BYTES}", text.len());
        return Err(refuse(problem, "send it in several parts"));
    }
    Ok(())
}

/// Checks a text that is being written.
pub(super) fn check_draft(text: &str) -> Result<(), CommandError> {
    if text.is_empty() { Ok(()) } else { check_text(text) }
}

/// Longest text to search for in bytes.
const MAX_WANTED_BYTES: usize = 1_024;

/// Most messages that a search may ask for.
const MAX_FOUND: u32 = 200;

/// Checks what is searched for.
pub(super) fn check_search(request: &SearchRequest) -> Result<(), CommandError> {
    if !(1..=MAX_WANTED_BYTES).contains(&request.text.len()) {
        let problem = format!("what is searched for has {} bytes", request.text.len());
        return Err(refuse(problem, "search for a few words: 1 to 1,024 bytes"));
    }
    if !request.limit.is_none_or(|limit| (1..=MAX_FOUND).contains(&limit)) {
        return Err(refuse("the limit is out of range", "1 to 200 messages"));
    }
    Ok(())
}

/// Checks a petname.
pub(super) fn check_petname(petname: &str) -> Result<(), CommandError> {
    if petname.trim().is_empty() {
        return Err(refuse("the petname is empty", "give the contact a name that you will recognise"));
    }
    if petname.len() > MAX_PETNAME_BYTES {
        let problem =
            format!("the petname has {} bytes, and the limit is {MAX_PETNAME_BYTES}", petname.len());
        return Err(refuse(problem, "choose a shorter one"));
    }
    if petname.chars().any(char::is_control) {
        return Err(refuse("the petname has a control character", "use letters, digits, signs and spaces"));
    }
    Ok(())
}

fn refuse(problem: impl Into<String>, hint: &str) -> CommandError {
    CommandError::new(Fault::BadRequest, problem, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_in_bytes() {
        assert!(check_text("ü").is_ok());
        assert!(check_text(&"x".repeat(MAX_TEXT_BYTES)).is_ok());
        assert!(check_text("").is_err());
        let error = check_text(&"ü".repeat(MAX_TEXT_BYTES / 2 + 1)).unwrap_err();
        assert!(error.problem.contains("65538") && error.problem.contains("65536"), "{}", error.problem);
    }

    #[test]
    fn petnames_are_visible_and_bounded() {
        for good in ["alice", "Zoë 🐈", &"x".repeat(MAX_PETNAME_BYTES)] {
            assert!(check_petname(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a\nb", "\u{1b}[2J", "a\u{9b}b", &"x".repeat(MAX_PETNAME_BYTES + 1)] {
            assert!(check_petname(bad).is_err(), "{bad:?}");
        }
    }
}
