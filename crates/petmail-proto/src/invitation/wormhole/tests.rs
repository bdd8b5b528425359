use super::*;

fn client(json: &str) -> ClientMessage {
    ClientFrame::decode(json.as_bytes()).unwrap().message
}

fn server(json: &str) -> ServerMessage {
    ServerFrame::decode(json.as_bytes()).unwrap().message
}

fn nameplate(text: &str) -> Nameplate {
    Nameplate::new(text).unwrap()
}

fn mailbox(text: &str) -> MailboxId {
    MailboxId::new(text).unwrap()
}

#[test]
fn client_messages_have_the_protocols_json_form() {
    let cases = [
        (
            r#"{"type":"submit-permissions","method":"hashcash","stamp":"1:6:2"}"#,
            ClientMessage::SubmitPermissions { method: "hashcash".into(), stamp: Some("1:6:2".into()) },
        ),
        (
            r#"{"type":"bind","appid":"petmail.org/invitation/v1","side":"ab"}"#,
            ClientMessage::Bind { appid: AppId::new(APP_ID).unwrap(), side: Side::new("ab").unwrap() },
        ),
        (r#"{"type":"list"}"#, ClientMessage::List),
        (r#"{"type":"allocate"}"#, ClientMessage::Allocate),
        (r#"{"type":"claim","nameplate":"4"}"#, ClientMessage::Claim { nameplate: nameplate("4") }),
        (r#"{"type":"release"}"#, ClientMessage::Release { nameplate: None }),
        (r#"{"type":"release","nameplate":"4"}"#, ClientMessage::Release { nameplate: Some(nameplate("4")) }),
        (r#"{"type":"open","mailbox":"mb"}"#, ClientMessage::Open { mailbox: mailbox("mb") }),
        (
            r#"{"type":"add","phase":"pake","body":"00ff"}"#,
            ClientMessage::Add { phase: Phase::new("pake").unwrap(), body: Body::new(vec![0, 255]).unwrap() },
        ),
        (
            r#"{"type":"close","mailbox":"mb","mood":"happy"}"#,
            ClientMessage::Close { mailbox: Some(mailbox("mb")), mood: Some(Mood::new("happy").unwrap()) },
        ),
        (r#"{"type":"ping","ping":7}"#, ClientMessage::Ping { ping: 7 }),
    ];
    for (json, message) in cases {
        assert_eq!(client(json), message);
        assert_eq!(ClientFrame::from(message).to_string(), json);
    }
}

#[test]
fn server_messages_have_the_protocols_json_form() {
    let cases = [
        (r#"{"type":"allocated","nameplate":"4"}"#, ServerMessage::Allocated { nameplate: nameplate("4") }),
        (r#"{"type":"claimed","mailbox":"mb"}"#, ServerMessage::Claimed { mailbox: mailbox("mb") }),
        (
            r#"{"type":"nameplates","nameplates":[{"id":"1"}]}"#,
            ServerMessage::Nameplates { nameplates: vec![NameplateEntry { id: nameplate("1") }] },
        ),
        (r#"{"type":"released"}"#, ServerMessage::Released),
        (
            r#"{"type":"message","side":"ab","phase":"0","body":"0a"}"#,
            ServerMessage::Message {
                side: Side::new("ab").unwrap(),
                phase: Phase::new("0").unwrap(),
                body: Body::new(vec![10]).unwrap(),
            },
        ),
        (r#"{"type":"closed"}"#, ServerMessage::Closed),
        (r#"{"type":"ack"}"#, ServerMessage::Ack),
        (r#"{"type":"pong","pong":-1}"#, ServerMessage::Pong { pong: -1 }),
        (
            r#"{"type":"error","error":"crowded","orig":{"type":"list"}}"#,
            ServerMessage::Error { error: "crowded".into(), orig: serde_json::json!({"type": "list"}) },
        ),
    ];
    for (json, message) in cases {
        assert_eq!(server(json), message);
        assert_eq!(ServerFrame::from(message).to_string(), json);
    }
}

#[test]
fn a_real_servers_extra_fields_are_ignored() {
    let json = r#"{"type": "welcome", "server_tx": 1700000000.5, "welcome": {
        "current_cli_version": "0.1", "motd": "hello", "your-address": {"port": 1},
        "permission-required": {"none": {}, "hashcash": {"bits": 6, "resource": "r"}, "new": 3},
        "petmail": {"retention": 86400, "more": 1}}}"#;
    let ServerMessage::Welcome { welcome } = server(json) else { panic!("not a welcome") };
    assert_eq!(welcome.motd.as_deref(), Some("hello"));
    assert_eq!(welcome.petmail, Some(PetmailWelcome { retention: 86400 }));
    let permissions = welcome.permission_required.unwrap();
    assert_eq!(permissions.none, Some(NoPermission {}));
    assert_eq!(permissions.hashcash.unwrap().bits, 6);
}

#[test]
fn a_real_clients_extra_fields_are_ignored() {
    let json = r#"{"type":"bind","appid":"a","side":"s","id":"beef","client_version":["python","0.2"]}"#;
    let frame = ClientFrame::decode(json.as_bytes()).unwrap();
    assert_eq!(frame.id, Some(RequestId::new("beef").unwrap()));
    assert!(matches!(frame.message, ClientMessage::Bind { .. }));
}

#[test]
fn a_null_id_is_no_id() {
    let frame = ServerFrame::decode(br#"{"type":"ack","id":null}"#).unwrap();
    assert_eq!(frame, ServerMessage::Ack.into());
}

#[test]
fn unknown_messages_are_ignored_by_clients_and_refused_by_servers() {
    assert_eq!(server(r#"{"type":"news","x":1}"#), ServerMessage::Unknown);
    assert!(ClientFrame::decode(br#"{"type":"news"}"#).is_err());
}

#[test]
fn every_field_is_bounded() {
    let long = "1".repeat(65);
    for json in [
        format!(r#"{{"type":"claim","nameplate":"{long}"}}"#),
        format!(r#"{{"type":"add","phase":"{long}","body":""}}"#),
        format!(r#"{{"type":"bind","appid":"a","side":"{long}"}}"#),
        format!(r#"{{"type":"close","mood":"{long}"}}"#),
        format!(r#"{{"type":"list","id":"{long}"}}"#),
        format!(r#"{{"type":"open","mailbox":"{long}{long}"}}"#),
        format!(r#"{{"type":"bind","appid":"{long}{long}","side":"a"}}"#),
        format!(r#"{{"type":"add","phase":"0","body":"{}"}}"#, "00".repeat(Body::MAX_BYTES + 1)),
    ] {
        assert!(ClientFrame::decode(json.as_bytes()).is_err(), "{:.80}", json);
    }
    let padded = format!(r#"{{"type":"list"}}{}"#, " ".repeat(MAX_FRAME_BYTES));
    assert!(matches!(ClientFrame::decode(padded.as_bytes()), Err(FrameError::TooLong(_))));
}

#[test]
fn malformed_fields_are_refused() {
    for json in [
        r#"{"type":"claim","nameplate":"4a"}"#,
        r#"{"type":"claim","nameplate":""}"#,
        r#"{"type":"claim","nameplate":4}"#,
        r#"{"type":"claim"}"#,
        r#"{"type":"bind","appid":"","side":"a"}"#,
        r#"{"type":"add","phase":"0","body":"0"}"#,
        r#"{"type":"add","phase":"0","body":"zz"}"#,
        r#"{"type":"list"} x"#,
        r#"[]"#,
        r#"{}"#,
    ] {
        assert!(ClientFrame::decode(json.as_bytes()).is_err(), "{json}");
    }
}
