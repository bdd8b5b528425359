//! The servers and a node against requests that are made up from their OpenAPI files: every answer is one that the file
//! describes, nothing panics, and all of it works afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use petmail_integration_tests::mailbox::{MailboxServer, Scheme, free_port};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::rendezvous::Rendezvous;
use petmail_integration_tests::schemathesis::Schemathesis;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Requests come faster than any person's, and all from here.
const NO_RATE: &str =
    "[network]\nrequests_per_second_per_address = 1000000\nrequest_burst_per_address = 1000000\n";

/// Returns one of the OpenAPI files, by its path in the repository.
fn description(path: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    serde_json::from_str(&fs::read_to_string(file).expect("the file is there"))
        .expect("OpenAPI files are JSON")
}

fn write(dir: &TempDir, name: &str, description: &Value) -> PathBuf {
    let file = dir.path().join(name);
    fs::write(&file, description.to_string()).expect("there is room for temporary files");
    file
}

/// What a log must not hold, whoever asks for what.
fn check_log(log: &str) {
    for line in log.lines() {
        assert!(!line.contains("panicked") && !line.contains("ERROR"), "{line}");
    }
}

#[test]
fn a_mailbox_server_answers_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let admin = format!("127.0.0.1:{}", free_port());
    let configuration = format!("admin-listen = '{admin}'\n{NO_RATE}");
    let server = MailboxServer::start_with(&dir.path().join("mailbox"), Scheme::PlainHttp, &configuration);
    let mut node = Node::create(
        &dir.path().join("node"),
        &["--allow-private-transports", "--rendezvous", "ws://127.0.0.1:9/v1"],
    );
    node.start();
    node.accept_mailbox(&server.offer());
    let [account] = server.accounts().try_into().unwrap();

    let public = write(&dir, "public.json", &description("docs/api/mailbox.openapi.json"));
    Schemathesis::new(&server.url(), 80).run(&public);

    let mut described = description("docs/api/mailbox-admin.openapi.json");
    let admin = format!("http://{admin}");
    let remove = "/account/remove";
    let any_account = write(&dir, "any-account.json", &described);
    Schemathesis::new(&admin, 60).with(&["--exclude-path", remove]).run(&any_account);
    // What happens to an account that is there is the most of it.
    *described.pointer_mut("/components/schemas/AccountId").unwrap() = json!({ "const": account.get("id") });
    let this_account = write(&dir, "this-account.json", &described);
    Schemathesis::new(&admin, 200).with(&["--exclude-path", remove]).run(&this_account);

    let [now] = server.accounts().try_into().unwrap();
    assert_eq!(now.get("id"), account.get("id"));
    assert_ne!(now, account, "nothing was changed");
    let id = now.get("id").and_then(Value::as_str).unwrap();
    assert!(server.run(&["account", "resume", id]).text().contains("active"));
    assert!(!server.run(&["account", "notice", id, "--clear"]).text().contains("notice"));
    node.is_well();
    Schemathesis::new(&admin, 20).with(&["--include-path", remove]).run(&this_account);
    assert_eq!(server.accounts(), Vec::<Value>::new());
    node.reports("the server does not know this account any more");
    check_log(&server.stop());
}

#[test]
fn a_rendezvous_server_answers_as_described() {
    let dir = tempfile::tempdir().unwrap();
    let server = Rendezvous::configured(&dir.path().join("rendezvous"), NO_RATE);
    let described = write(&dir, "rendezvous.json", &description("docs/api/rendezvous.openapi.json"));
    Schemathesis::new(&format!("http://{}", server.address()), 100).run(&described);
    check_log(&server.stop());
}

#[test]
fn a_node_answers_as_described() {
    let world = World::new();
    let node = world.node("Alice", Start::Child);
    let dir = tempfile::tempdir().unwrap();
    let described = write(&dir, "node.json", &description("crates/petmail-node/src/api/openapi.json"));
    let token = fs::read_to_string(node.basedir().join("api-token")).unwrap();
    let header = format!("Authorization: Bearer {}", token.trim());
    let base = node.run(&["print-baseurl"]).text();
    // Left out: what has no end, what ends the node or locks it, and what takes seconds each time.
    let but = "/api/v1/(events|stop|backup|passphrase/set|doctor|invite|accept-mailbox)$";
    Schemathesis::new(base.trim(), 20)
        .with(&["--header", &header, "--exclude-path-regex", but])
        .run(&described);
    assert_eq!(node.status().get("running"), Some(&json!(true)));
}
