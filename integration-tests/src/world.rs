//! What most tests begin with: a rendezvous server, a mailbox server, and nodes that know each other or do not yet.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::mailbox::{MailboxServer, Scheme};
use crate::node::Node;
use crate::rendezvous::Rendezvous;

/// Both servers, and a folder for everything, which goes with the test.
#[derive(Debug)]
pub struct World {
    /// Where nodes meet.
    pub rendezvous: Rendezvous,
    /// Where messages wait; over HTTPS with a pinned certificate.
    pub mailbox: MailboxServer,
    dir: TempDir,
}

/// How a node is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// By `start`: it stays until it is stopped.
    Background,
    /// As a child, which can be killed.
    Child,
}

impl World {
    /// Starts the servers.
    ///
    /// # Panics
    /// If they do not get ready.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&[], Scheme::PinnedHttps)
    }

    /// Starts the servers, the rendezvous server with these arguments.
    ///
    /// # Panics
    /// If they do not get ready.
    #[must_use]
    pub fn with(rendezvous: &[&str], scheme: Scheme) -> Self {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let rendezvous = Rendezvous::start(&dir.path().join("rendezvous"), rendezvous);
        Self::beside(rendezvous, dir, scheme)
    }

    /// Starts a mailbox server beside a rendezvous server.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn with_rendezvous(rendezvous: Rendezvous, scheme: Scheme) -> Self {
        Self::beside(rendezvous, tempfile::tempdir().expect("there is room for temporary files"), scheme)
    }

    fn beside(rendezvous: Rendezvous, dir: TempDir, scheme: Scheme) -> Self {
        let mailbox = MailboxServer::start(&dir.path().join("mailbox"), scheme);
        Self { rendezvous, mailbox, dir }
    }

    /// Returns the path of something in the test's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a node that uses this world's rendezvous server; it does not run yet.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new_node(&self, name: &str) -> Node {
        self.new_node_with(name, &[])
    }

    /// Makes a node with more arguments of `create-node`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new_node_with(&self, name: &str, more: &[&str]) -> Node {
        let usual = ["--name", name, "--rendezvous", self.rendezvous.url(), "--allow-private-transports"];
        Node::create(&self.path(name), &[&usual, more].concat())
    }

    /// Makes and starts a node without a mailbox.
    ///
    /// # Panics
    /// If it does not get ready.
    #[must_use]
    pub fn node_without_mailbox(&self, name: &str, start: Start) -> Node {
        let mut node = self.new_node(name);
        match start {
            Start::Background => node.start(),
            Start::Child => node.start_as_child(),
        }
        node
    }

    /// Makes and starts a node, and gives it a mailbox.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn node(&self, name: &str, start: Start) -> Node {
        let node = self.node_without_mailbox(name, start);
        node.accept_mailbox(&self.mailbox.offer());
        node
    }

    /// Makes and starts a node with a mailbox, which saves fetched files in `folder` unless told otherwise.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn node_saving_into(&self, name: &str, folder: &Path) -> Node {
        let mut node = self.new_node(name);
        let config = self.path(name).join("config.toml");
        let text = fs::read_to_string(&config).expect("a new node has a configuration");
        let chosen = format!("download_folder = {:?}\n{text}", folder.display().to_string());
        fs::write(&config, chosen).expect("there is room");
        node.start();
        node.accept_mailbox(&self.mailbox.offer());
        node
    }

    /// Makes and starts two nodes with mailboxes that have each other as contact 1.
    ///
    /// # Panics
    /// If any of it fails.
    #[must_use]
    pub fn two_who_met(&self, start: Start) -> (Node, Node) {
        let (alice, bob) = (self.node("Alice", start), self.node("Bob", start));
        meet(&alice, &bob);
        (alice, bob)
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets two nodes without contacts meet by a code, and returns what each has in its address book.
///
/// # Panics
/// If they do not meet, or see different safety words.
pub fn meet(alice: &Node, bob: &Node) -> (Value, Value) {
    let code = alice.invite("Bob");
    bob.use_code("Alice", &code);
    let (hers, his) = (alice.confirmed_contact(), bob.confirmed_contact());
    let words = |contact: &Value| contact.get("safety_words").cloned().expect("a contact has safety words");
    assert_eq!(words(&hers), words(&his));
    assert_eq!(words(&hers).as_str().map(|words| words.split(' ').count()), Some(6));
    (hers, his)
}
