//! The messages of the rendezvous protocol: what a server reads from clients, and a client from a server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::edited;
use petmail_proto::invitation::wormhole::{ClientFrame, ServerFrame};

const CLIENT: [&str; 4] = [
    r#"{"id":"a1","type":"bind","appid":"petmail.org/invitation/v1","side":"00ff"}"#,
    r#"{"type":"add","phase":"pake","body":"00ff00ff"}"#,
    r#"{"type":"submit-permissions","method":"hashcash","stamp":"1:6:2"}"#,
    r#"{"type":"close","mailbox":"mb","mood":"happy"}"#,
];

const SERVER: [&str; 4] = [
    r#"{"type":"welcome","server_tx":1.5,"welcome":{"motd":"hello","permission-required":{"none":{},"hashcash":{"bits":6,"resource":"r"}},"petmail":{"retention":86400}}}"#,
    r#"{"type":"message","side":"00ff","phase":"0","body":"0a","id":"a1","server_rx":0.25}"#,
    r#"{"type":"nameplates","nameplates":[{"id":"1"},{"id":"22"}]}"#,
    r#"{"type":"error","error":"crowded","orig":{"type":"list","x":[1,{}]}}"#,
];

fuzz_target!(|data: &[u8]| {
    client(data);
    server(data);
    for template in CLIENT {
        assert!(ClientFrame::decode(template.as_bytes()).is_ok());
        client(&edited(template.as_bytes(), data));
    }
    for template in SERVER {
        assert!(ServerFrame::decode(template.as_bytes()).is_ok());
        server(&edited(template.as_bytes(), data));
    }
});

fn client(bytes: &[u8]) {
    if let Ok(frame) = ClientFrame::decode(bytes) {
        assert_eq!(ClientFrame::decode(frame.to_string().as_bytes()).expect("its own text"), frame);
    }
}

fn server(bytes: &[u8]) {
    if let Ok(frame) = ServerFrame::decode(bytes) {
        let again = ServerFrame::decode(frame.to_string().as_bytes()).expect("its own text");
        assert_eq!(again.message, frame.message);
    }
}
