//! A client's message, from bytes to something that the core can judge.
//!
//! Owns the order in which a message is looked at: JSON object, `type`, `id`, then the fields of that type. The
//! messages and their bounds are `petmail-proto`'s. Must not know any state.

use petmail_proto::invitation::wormhole::{ClientFrame, ClientMessage, MAX_FRAME_BYTES, RequestId};
use serde_json::Value;

use crate::refusal::Refusal;

/// Every `type` that a client may send; `submit-permission` is how magic-wormhole.rs spells the plural.
const KNOWN_TYPES: [&str; 11] = [
    "submit-permissions",
    "submit-permission",
    "bind",
    "list",
    "allocate",
    "claim",
    "release",
    "open",
    "add",
    "close",
    "ping",
];

/// A message from a client that at least is a JSON object.
#[derive(Debug)]
pub struct Request {
    /// The client's name for the message, copied into the answers.
    pub id: Option<RequestId>,
    /// The message as it came, for an error's `orig`.
    pub orig: Value,
    /// Whether the `type` makes sense without a `bind`.
    pub before_bind: bool,
    /// The message, or what is wrong with it.
    pub message: Result<ClientMessage, Refusal>,
}

impl Request {
    /// Parses what came in one WebSocket message.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] or [`Refusal::NotAnObject`]; anything smaller stands in [`Request::message`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(Refusal::TooLong(MAX_FRAME_BYTES));
        }
        let orig: Value = serde_json::from_slice(bytes).map_err(|_| Refusal::NotAnObject)?;
        if !orig.is_object() {
            return Err(Refusal::NotAnObject);
        }
        let kind = orig.get("type").and_then(Value::as_str);
        Ok(Self {
            id: orig.get("id").and_then(Value::as_str).and_then(|id| RequestId::new(id).ok()),
            before_bind: matches!(
                kind,
                None | Some("ping" | "bind" | "submit-permissions" | "submit-permission")
            ),
            message: parse_message(&orig, kind, bytes),
            orig,
        })
    }
}

fn parse_message(orig: &Value, kind: Option<&str>, bytes: &[u8]) -> Result<ClientMessage, Refusal> {
    if orig.get("type").is_none() {
        return Err(Refusal::MissingType);
    }
    let kind = kind.filter(|kind| KNOWN_TYPES.contains(kind)).ok_or(Refusal::UnknownType)?;
    let frame = ClientFrame::decode(bytes).map_err(|e| Refusal::Malformed(format!("{kind}: {e}")))?;
    Ok(frame.message)
}

#[cfg(test)]
mod tests {
    use petmail_proto::invitation::wormhole::Body;

    use super::*;

    fn refusal(text: &str) -> Refusal {
        Request::parse(text.as_bytes()).unwrap().message.unwrap_err()
    }

    #[test]
    fn not_an_object() {
        for bytes in [&b""[..], b"\xff\xfe", b"[]", b"\"bind\"", b"{", b"{} {}", &[b'['; 5000]] {
            assert_eq!(Request::parse(bytes).unwrap_err(), Refusal::NotAnObject);
        }
    }

    #[test]
    fn longer_than_a_frame_may_be() {
        let bytes = vec![b' '; MAX_FRAME_BYTES + 1];
        assert_eq!(Request::parse(&bytes).unwrap_err(), Refusal::TooLong(MAX_FRAME_BYTES));
    }

    #[test]
    fn one_fault_each() {
        assert_eq!(refusal("{}"), Refusal::MissingType);
        assert_eq!(refusal(r#"{"type":"frobnicate"}"#), Refusal::UnknownType);
        assert_eq!(refusal(r#"{"type":7}"#), Refusal::UnknownType);
        for text in [
            r#"{"type":"bind","appid":"a"}"#.to_owned(),
            r#"{"type":"bind","side":"s"}"#.to_owned(),
            r#"{"type":"bind","appid":7,"side":"s"}"#.to_owned(),
            r#"{"type":"claim"}"#.to_owned(),
            r#"{"type":"claim","nameplate":"4x"}"#.to_owned(),
            r#"{"type":"claim","nameplate":4}"#.to_owned(),
            r#"{"type":"open"}"#.to_owned(),
            r#"{"type":"add","phase":"pake"}"#.to_owned(),
            r#"{"type":"add","body":"00"}"#.to_owned(),
            r#"{"type":"add","phase":"pake","body":"0g"}"#.to_owned(),
            r#"{"type":"ping"}"#.to_owned(),
            format!(r#"{{"type":"bind","appid":"{}","side":"s"}}"#, "a".repeat(129)),
            format!(r#"{{"type":"add","phase":"p","body":"{}"}}"#, "00".repeat(Body::MAX_BYTES + 1)),
        ] {
            assert!(matches!(refusal(&text), Refusal::Malformed(_)), "{text:.60}");
        }
    }

    #[test]
    fn unknown_fields_and_the_other_spelling_are_accepted() {
        let bind = br#"{"type":"bind","appid":"a","side":"s","id":"7","client_version":["python","0.23.0"]}"#;
        let request = Request::parse(bind).unwrap();
        assert_eq!(request.id.unwrap().as_str(), "7");
        assert!(matches!(request.message, Ok(ClientMessage::Bind { .. })));
        let stamp = br#"{"type":"submit-permission","method":"hashcash","stamp":"1:2:"}"#;
        assert!(matches!(
            Request::parse(stamp).unwrap().message,
            Ok(ClientMessage::SubmitPermissions { .. })
        ));
    }
}
