//! The control API of `petmail-node`.

use petmail_integration_tests::node::Node;
use serde_json::Value;

use super::hostile::{CONFIDENTIAL, abuse_socket, check_log, raw};

#[test]
fn a_control_api_under_fire() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::create(&dir.path().join("node"), &["--rendezvous", "ws://127.0.0.1:9/v1"]);
    node.start();
    let base = node.run(&["print-baseurl"]).text();
    let address = base.trim().strip_prefix("http://").unwrap().trim_end_matches('/');
    abuse_socket(address);
    let token = std::fs::read_to_string(node.basedir().join("api-token")).unwrap().trim().to_owned();
    let head = |path: &str, token: &str, body: &str| {
        format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let bodies =
        [CONFIDENTIAL.to_owned(), "{".to_owned(), format!("{{\"{CONFIDENTIAL}\": 1}}"), "[]".to_owned()];
    for body in bodies {
        for (request, status) in [
            (head("status", &token, &body), " 400 "),
            (head("send-basic", &token, &body), " 400 "),
            (head("status", CONFIDENTIAL, &body), " 401 "),
            (head(CONFIDENTIAL, &token, &body), " 404 "),
            (head("status", &token, &CONFIDENTIAL.repeat(100_000)), " 413 "),
        ] {
            let answer = raw(address, request.as_bytes());
            // What is far too long may be cut off before the answer can be read.
            assert!(
                answer.contains(status) || (status == " 413 " && answer.is_empty()),
                "{status}: {answer}"
            );
        }
    }
    assert_eq!(node.addressbook(), Vec::<Value>::new());
    assert_eq!(node.run(&["stop"]).text(), "");
    let log = std::fs::read_to_string(node.basedir().join("node.log")).unwrap();
    check_log(&log);
    assert!(!log.contains(&token), "{log}");
}
