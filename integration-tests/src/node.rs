//! A `petmail-node` under test, commanded as people command it: by the command line.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::api::Api;
use crate::outcome::Outcome;
use crate::process::Process;
use crate::programs::command;
use crate::wait::eventually;

/// A node with a basedir of its own. It ends with its test.
#[derive(Debug)]
pub struct Node {
    basedir: PathBuf,
    life: Life,
}

/// How the node runs.
#[derive(Debug)]
enum Life {
    Stopped,
    /// A child of the test, which can kill it.
    Child {
        process: Process,
        api: Api,
    },
    /// A process of its own, as `start` makes it.
    Background {
        api: Api,
    },
}

impl Node {
    /// Makes a node with these arguments of `create-node`; it does not run yet.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create(basedir: &Path, arguments: &[&str]) -> Self {
        let node = Self { basedir: basedir.to_owned(), life: Life::Stopped };
        let made = node.run(&[&["create-node"], arguments].concat()).text();
        assert!(made.starts_with("created"), "{made}");
        node
    }

    /// Names a node that was made by other means; it does not run yet.
    #[must_use]
    pub fn at(basedir: &Path) -> Self {
        Self { basedir: basedir.to_owned(), life: Life::Stopped }
    }

    /// Starts the node in the background, as people do.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start(&mut self) {
        self.start_by(&["start"]);
    }

    /// Starts the node in the background by this command, `start` or `restart` with arguments.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_by(&mut self, command: &[&str]) {
        let base = self.run(command).text();
        self.life = Life::Background { api: Api::new(&self.basedir, base.trim()) };
    }

    /// Starts the node as a child that can be killed.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_as_child(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the node as a child that can be killed, with settings in its environment.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_with(&mut self, environment: &[(&str, &Path)]) {
        let mut start = self.command();
        start.args(["start", "--foreground"]).envs(environment.iter().copied());
        let (process, base) = Process::ready(&mut start);
        self.life = Life::Child { process, api: Api::new(&self.basedir, &base) };
    }

    /// Starts the node as a child that can be killed, with more arguments of `start`.
    ///
    /// # Panics
    /// If it does not get ready.
    pub fn start_as_child_by(&mut self, arguments: &[&str]) {
        let mut start = self.command();
        start.args(["start", "--foreground"]).args(arguments);
        let (process, base) = Process::ready(&mut start);
        self.life = Life::Child { process, api: Api::new(&self.basedir, &base) };
    }

    /// Stops the node, however it runs.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&mut self) {
        assert_eq!(self.run(&["stop"]).text(), "");
        self.life = Life::Stopped;
    }

    /// Kills the node with SIGKILL.
    ///
    /// # Panics
    /// If it is not a child of the test.
    pub fn kill(&mut self) {
        assert!(matches!(self.life, Life::Child { .. }), "only children are killed");
        self.life = Life::Stopped;
    }

    /// Waits until the node has ended by itself, and returns whether in good order, with its log.
    ///
    /// # Panics
    /// If it is not a child of the test, or does not end.
    #[must_use]
    pub fn ended(&mut self) -> (bool, String) {
        let Life::Child { process, .. } = std::mem::replace(&mut self.life, Life::Stopped) else {
            panic!("only children are waited for");
        };
        let (status, log) = process.finish();
        (status.success(), log.join("\n"))
    }

    /// The node's folder.
    #[must_use]
    pub fn basedir(&self) -> &Path {
        &self.basedir
    }

    /// The node's control API.
    ///
    /// # Panics
    /// If the node does not run.
    #[must_use]
    #[track_caller]
    pub fn api(&self) -> &Api {
        match &self.life {
            Life::Child { api, .. } | Life::Background { api } => api,
            Life::Stopped => panic!("the node does not run"),
        }
    }

    /// The node's process.
    ///
    /// # Panics
    /// If it is not a child of the test.
    #[must_use]
    #[track_caller]
    pub fn process(&self) -> &Process {
        match &self.life {
            Life::Child { process, .. } => process,
            Life::Background { .. } | Life::Stopped => panic!("the node is no child of the test"),
        }
    }

    /// The command line of this node, before its arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut node = command("petmail-node");
        node.arg("-d").arg(&self.basedir);
        node
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command().args(arguments))
    }

    /// Redeems an offer.
    ///
    /// # Panics
    /// If the node or the server refuses.
    pub fn accept_mailbox(&self, offer: &str) {
        let said = self.run(&["accept-mailbox", offer]).text();
        assert!(said.starts_with("mailbox "), "{said}");
    }

    /// Makes a code for somebody.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn invite(&self, petname: &str) -> String {
        let said = self.run(&["invite", "--petname", petname]).text();
        let code = said.trim_end();
        assert!(!code.is_empty() && !code.contains(char::is_whitespace), "a code alone on a line: {said}");
        code.to_owned()
    }

    /// Uses somebody's code.
    ///
    /// # Panics
    /// If the node refuses it.
    pub fn use_code(&self, petname: &str, code: &str) {
        let state = self.run(&["invite", "--petname", petname, code]).text();
        assert!(!state.is_empty());
    }

    /// Lists the address book.
    ///
    /// # Panics
    /// If the node refuses.
    #[must_use]
    pub fn addressbook(&self) -> Vec<Value> {
        self.listing("addressbook", "contacts")
    }

    /// Lists the invitations.
    ///
    /// # Panics
    /// If the node refuses.
    #[must_use]
    pub fn invitations(&self) -> Vec<Value> {
        self.listing("invitations", "invitations")
    }

    /// Returns the node in one screen.
    ///
    /// # Panics
    /// If the node refuses.
    #[must_use]
    pub fn status(&self) -> Value {
        self.api().call("status", &json!({})).expect("the node says how it is")
    }

    fn listing(&self, command: &str, list: &str) -> Vec<Value> {
        let answer = self.api().call(command, &json!({})).expect("the node lists what it has");
        answer.get(list).and_then(Value::as_array).expect("a listing is a list").clone()
    }

    /// Queues a text for contact `cid`, and returns the message's number.
    ///
    /// # Panics
    /// If the node refuses.
    pub fn send(&self, cid: u64, text: &str) -> u64 {
        self.try_send(cid, text).expect("the node queues the message")
    }

    /// Queues a text for contact `cid`, and returns the message's number.
    ///
    /// # Errors
    /// The node's refusal; null if the node is away.
    ///
    /// # Panics
    /// If the answer has no number.
    pub fn try_send(&self, cid: u64, text: &str) -> Result<u64, Value> {
        let message = self.api().call("send-basic", &json!({"cid": cid, "text": text}))?;
        Ok(message.get("id").and_then(Value::as_u64).expect("a message has a number"))
    }

    /// Lists the texts that came in, in order.
    ///
    /// # Panics
    /// If the node refuses, or a message is no text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let messages = self.listing("fetch-messages", "messages");
        let text =
            |message: &Value| message.pointer("/payload/basic").and_then(Value::as_str).map(str::to_owned);
        messages.iter().map(|message| text(message).expect("a text")).collect()
    }

    /// Lists the messages of one direction, `in` or `out`, in order.
    ///
    /// # Panics
    /// If the node refuses.
    #[must_use]
    pub fn messages(&self, direction: &str) -> Vec<Value> {
        let answer = self.api().call("messages", &json!({"direction": direction}));
        let answer = answer.expect("the node lists what it has");
        answer.get("messages").and_then(Value::as_array).expect("a listing is a list").clone()
    }

    /// Waits until these texts, and no others, have come in.
    ///
    /// # Panics
    /// If they do not come, or others do.
    #[track_caller]
    pub fn receives<T: AsRef<str>>(&self, expected: &[T]) {
        let texts = eventually("the texts came in", || {
            let texts = self.texts();
            (texts.len() >= expected.len()).then_some(texts)
        });
        let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
        // Not by `assert_eq`: a thousand texts would bury the message.
        let differs = expected.iter().zip(&texts).position(|(expected, text)| expected != text);
        assert!(differs.is_none(), "text {differs:?} is not the one that was sent");
        assert_eq!(texts.len(), expected.len(), "nothing comes twice");
    }

    /// Waits until the only contact is confirmed, and returns it.
    ///
    /// # Panics
    /// If that does not come about.
    #[must_use]
    #[track_caller]
    pub fn confirmed_contact(&self) -> Value {
        let contact = eventually("the contact is confirmed", || {
            let mut contacts = self.addressbook();
            let contact = contacts.pop().filter(|contact| has(contact, "state", "confirmed"))?;
            assert_eq!(contacts, Vec::<Value>::new(), "there is one contact");
            Some(contact)
        });
        let is_done = || self.invitations().iter().any(|invitation| has(invitation, "state", "confirmed"));
        eventually("the invitation is confirmed", || is_done().then_some(()));
        contact
    }

    /// Waits until the newest invitation is in one of these states, and returns it.
    ///
    /// # Panics
    /// If that does not come about.
    #[track_caller]
    pub fn invitation_in(&self, states: &[&str]) -> Value {
        eventually(&format!("the invitation is {states:?}"), || {
            let newest = self.invitations().pop()?;
            states.iter().any(|state| has(&newest, "state", state)).then_some(newest)
        })
    }

    /// Waits until the status has a problem that says `text`, and returns it.
    ///
    /// # Panics
    /// If that does not come about.
    #[track_caller]
    pub fn reports(&self, text: &str) -> String {
        eventually(&format!("the status says {text:?}"), || {
            let status = self.status();
            let problems = status.get("problems").and_then(Value::as_array).expect("problems are listed");
            let found = problems.iter().filter_map(Value::as_str).find(|problem| problem.contains(text));
            found.map(str::to_owned)
        })
    }

    /// Waits until nothing is wrong.
    ///
    /// # Panics
    /// If that does not come about.
    #[track_caller]
    pub fn is_well(&self) {
        eventually("the status has no problems", || {
            let status = self.status();
            let problems = status.get("problems").and_then(Value::as_array).expect("problems are listed");
            problems.is_empty().then_some(())
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.life, Life::Background { .. }) {
            // The test may have stopped it already.
            drop(self.run(&["stop"]));
        }
    }
}

/// Tells whether a field of an object has this text.
#[must_use]
pub fn has(object: &Value, field: &str, text: &str) -> bool {
    object.get(field).is_some_and(|value| value == text)
}
