//! Two of our nodes meet through the Python `magic-wormhole-mailbox-server`, which nobody here wrote.

use std::process::Command;

use petmail_integration_tests::mailbox::{MailboxServer, Scheme};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::python::{WORMHOLE, venv};
use petmail_integration_tests::world::meet;

#[test]
fn two_meet_and_write_to_each_other() {
    let python = venv("wormhole", WORMHOLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut twist = Command::new(python.join("twist"));
    twist.args(["wormhole-mailbox", "--port", "tcp:0:interface=127.0.0.1", "--channel-db", ":memory:"]);
    let server = Process::spawn(twist.current_dir(dir.path()));
    let port = server.wait_for(|line| {
        let (_, rest) = line.split_once("starting on ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
    });
    let rendezvous = format!("ws://127.0.0.1:{port}/v1");
    let mailbox = MailboxServer::start(&dir.path().join("mailbox"), Scheme::PinnedHttps);
    let [alice, bob] = ["Alice", "Bob"].map(|name| {
        let arguments = ["--name", name, "--rendezvous", &rendezvous, "--allow-private-transports"];
        let mut node = Node::create(&dir.path().join(name), &arguments);
        node.start();
        node.accept_mailbox(&mailbox.offer());
        node
    });
    meet(&alice, &bob);
    alice.send(1, "found you");
    bob.receives(&["found you"]);
}
