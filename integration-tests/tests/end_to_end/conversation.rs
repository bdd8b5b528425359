//! What two people do with the real programs: get mailboxes, meet by a code, write to each other.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::process::Command;

use petmail_integration_tests::mailbox::Scheme;
use petmail_integration_tests::node::has;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::{Value, json};

/// The longest text, in bytes.
const MAX_TEXT_BYTES: usize = 65_536;

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn has_fields(object: &Value, fields: &[&str]) {
    for field in fields {
        assert!(keys(object).contains(field), "{field} is missing in {object}");
    }
}

/// Whether a mailbox has it, or had it: acknowledgements come when they come.
fn is_taken(message: &Value) -> bool {
    has(message, "state", "sent") || has(message, "state", "delivered")
}

/// The path of issue and guide, typed as a person types it.
#[test]
fn two_people_meet_and_write_to_each_other() {
    let world = World::new();
    let (mut alice, mut bob) = (world.new_node("Zoë"), world.new_node("Łukasz 🐟"));
    alice.start();
    bob.start();
    assert!(world.mailbox.url().starts_with("https://"));
    alice.accept_mailbox(&world.mailbox.offer());
    bob.accept_mailbox(&world.mailbox.offer());

    let inviting = Process::spawn(alice.command().args(["invite", "--petname", "Łukasz", "--wait"]));
    let code = inviting.wait_for(|line| line.split('-').nth(3).map(|_| line.to_owned()));
    let waiting = &alice.run(&["invitations", "--json"]).json()[0];
    has_fields(waiting, &["id", "petname", "code", "state", "reason", "expires"]);
    assert_eq!((&waiting["state"], &waiting["code"]), (&json!("waiting"), &json!(code)));
    assert_eq!(bob.run(&["invite", "--petname", "Zoë", &code, "--wait"]).text(), "confirmed\n");
    let (status, lines) = inviting.finish();
    assert!(status.success(), "{lines:#?}");

    let hers = alice.run(&["addressbook", "--json"]).json().remove(0);
    let his = bob.run(&["addressbook", "--json"]).json().remove(0);
    has_fields(&hers, &["cid", "petname", "state", "my_verfkey", "their_verfkey", "safety_words"]);
    assert!(has(&hers, "state", "confirmed") && has(&his, "state", "confirmed"));
    assert_eq!(hers["safety_words"], his["safety_words"]);
    assert_eq!((&hers["my_verfkey"], &hers["their_verfkey"]), (&his["their_verfkey"], &his["my_verfkey"]));
    assert_eq!((&hers["petname"], &hers["display_name"]), (&json!("Łukasz"), &json!("Łukasz 🐟")));

    let text = "Grüße, Łukasz! 你好 🐟\nsecond line";
    let id = alice.run(&["send-basic", "1", text, "--wait", "sent"]).text();
    let sent = &alice.run(&["messages", "--json"]).json()[0];
    assert_eq!(sent["id"].to_string(), id.trim());
    assert!(is_taken(sent), "{sent}");
    assert_eq!((&sent["direction"], &sent["reason"]), (&json!("out"), &Value::Null));
    bob.receives(&[text]);
    let received = &bob.run(&["fetch-messages", "--json"]).json()[0];
    let fields = ["id", "cid", "petname", "room", "seqnum", "when_received", "payload"];
    has_fields(received, &fields);
    assert_eq!(received["payload"], json!({"basic": text}));
    assert_eq!((&received["petname"], &received["cid"]), (&json!("Zoë"), &json!(1)));
    let listed = &bob.run(&["messages", "--json"]).json()[0];
    has_fields(listed, &[&fields[..], &["direction", "state", "reason"]].concat());
    assert_eq!((&listed["direction"], &listed["state"]), (&json!("in"), &json!("received")));
    let screen = bob.run(&["fetch-messages"]).text();
    assert!(screen.contains("Zoë") && screen.contains("Grüße, Łukasz! 你好 🐟"), "{screen}");

    let answer = bob.run(&["send", "1", "ja", "--wait", "delivered"]).text();
    alice.receives(&["ja"]);
    let delivered = &bob.run(&["messages", "--json", "--since", "1"]).json()[0];
    assert_eq!(
        (delivered["id"].to_string(), &delivered["state"]),
        (answer.trim().to_owned(), &json!("delivered"))
    );
    eventually("Alice's message is delivered too", || {
        let outbox = &alice.run(&["status", "--json"]).json()[0]["outbox"];
        (*outbox == json!({"waiting": 0, "sent": 0, "delivered": 1})).then_some(())
    });
}

#[test]
fn a_contact_is_renamed_verified_and_removed() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    assert_eq!(alice.run(&["contact", "rename", "1", "Bóbr"]).text(), "");
    assert_eq!(alice.run(&["contact", "verify", "1"]).text(), "");
    let contact = &alice.run(&["addressbook", "--json"]).json()[0];
    assert_eq!((&contact["petname"], &contact["state"]), (&json!("Bóbr"), &json!("verified")));
    assert_eq!(bob.addressbook()[0]["petname"], "Alice", "names are nobody else's business");
    alice.send(1, "kept until the contact goes");
    assert_eq!(alice.run(&["contact", "remove", "1"]).text(), "");
    assert_eq!(alice.run(&["addressbook", "--json"]).text(), "");
    assert_eq!(alice.run(&["messages", "--json"]).text(), "");
    for gone in [&["contact", "verify", "1"][..], &["send-basic", "1", "hello"], &["messages", "--cid", "1"]]
    {
        let refusal = alice.run(gone).refusal();
        assert!(refusal.starts_with("error: ") && refusal.contains("hint: "), "{refusal}");
    }
}

#[test]
fn texts_have_1_to_65536_bytes() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let longest = "ä".repeat(MAX_TEXT_BYTES / 2);
    let too_long = format!("{longest}x");
    assert!(alice.run(&["send-basic", "1", ""]).refusal().contains("empty"));
    assert!(alice.run(&["send-basic", "1", &too_long]).refusal().contains("65536"));
    for refused in ["", &too_long] {
        let refusal = alice.try_send(1, refused).unwrap_err();
        assert!(has(&refusal, "code", "bad-request"), "{refusal}");
    }
    assert_eq!(alice.run(&["messages", "--json"]).text(), "", "what is refused leaves nothing");
    let sent = alice.run(&["send-basic", "1", &longest, "--wait", "sent"]).text();
    assert!(!sent.is_empty());
    bob.receives(&[longest]);
}

#[test]
fn a_thousand_messages_in_a_row_arrive_once_and_in_order() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let mut follow = bob.command();
    let follower = Process::spawn(follow.args(["follow-messages", "--json", "--since", "0"]));
    let texts: Vec<_> = (0..1_000).map(|number| format!("message {number}")).collect();
    for text in &texts {
        alice.send(1, text);
    }
    let mut shown: Vec<_> = texts.iter().map(|_| follower.wait_for(text_of)).collect();
    bob.receives(&texts);
    // Events of messages that came in together may be out of order; each comes once.
    let mut expected = texts;
    shown.sort_unstable();
    expected.sort_unstable();
    assert!(shown == expected);
    eventually("the outbox is empty", || (alice.status()["outbox"]["waiting"] == 0).then_some(()));
    let states = alice.run(&["messages", "--json"]).json();
    assert!(states.len() == 1_000 && states.iter().all(is_taken));
}

fn text_of(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(message["payload"]["basic"].as_str()?.to_owned())
}

#[test]
fn a_node_without_a_mailbox_can_send_but_not_receive_until_it_has_one() {
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let bob = world.node_without_mailbox("Bob", Start::Background);
    bob.reports("you can send but not receive");
    let code = alice.invite("Bob");
    let remarks = bob.run(&["invite", "--petname", "Alice", &code]).remarks();
    assert!(remarks.contains("send") && remarks.contains("receive"), "{remarks}");
    let pending = bob.invitation_in(&["pending"]);
    assert!(pending["reason"].as_str().unwrap().contains("accept-mailbox"), "{pending}");
    bob.send(1, "I can write already");
    alice.receives(&["I can write already"]);
    let id = alice.send(1, "wait for me");
    let waiting = alice.run(&["messages", "--json", "--since", &(id - 1).to_string()]).json();
    assert!(has(&waiting[0], "state", "waiting"), "{waiting:?}");
    assert!(waiting[0]["reason"].as_str().unwrap().contains("no mailbox"), "{waiting:?}");

    bob.accept_mailbox(&world.mailbox.offer());
    assert_eq!(bob.confirmed_contact()["safety_words"], alice.confirmed_contact()["safety_words"]);
    bob.receives(&["wait for me"]);
    bob.is_well();
}

#[test]
fn two_without_any_mailbox_are_told_to_get_one() {
    let world = World::new();
    let [alice, bob] = ["Alice", "Bob"].map(|name| world.node_without_mailbox(name, Start::Background));
    let code = alice.invite("Bob");
    bob.use_code("Alice", &code);
    for node in [&alice, &bob] {
        let failed = node.invitation_in(&["failed"]);
        assert!(failed["reason"].as_str().unwrap().contains("mailbox"), "{failed}");
        assert_eq!(node.addressbook(), Vec::<Value>::new());
    }
}

#[test]
fn a_mailbox_inside_the_node() {
    let world = World::new();
    let arguments = ["--local-mailbox", "--hostname", "127.0.0.1", "--mailbox-listen", "127.0.0.1:0"];
    let mut alice = world.new_node_with("Alice", &arguments);
    alice.start();
    let bob = world.node("Bob", Start::Background);
    let local = &alice.run(&["mailboxes", "--json"]).json()[0];
    assert_eq!(local["local"], true, "{local}");
    meet(&alice, &bob);
    bob.send(1, "straight into your node");
    alice.receives(&["straight into your node"]);
    assert!(!alice.run(&["restart"]).text().is_empty());
    alice.send(1, "still there after a restart");
    bob.send(1, "at the same address");
    bob.receives(&["still there after a restart"]);
    alice.receives(&["straight into your node", "at the same address"]);
}

#[test]
fn a_mailbox_server_without_tls() {
    let world = World::with(&[], Scheme::PlainHttp);
    let (alice, bob) = world.two_who_met(Start::Background);
    alice.send(1, "through a proxy, say");
    bob.receives(&["through a proxy, say"]);
}

#[test]
fn an_offer_is_good_for_one_node() {
    let world = World::new();
    let [alice, bob] = ["Alice", "Bob"].map(|name| world.node_without_mailbox(name, Start::Background));
    let offer = world.mailbox.offer();
    alice.accept_mailbox(&offer);
    let refusal = bob.run(&["accept-mailbox", &offer]).refusal();
    assert!(refusal.contains("already used by someone else") && refusal.contains("hint: "), "{refusal}");
    assert_eq!(bob.run(&["mailboxes", "--json"]).text(), "");
    alice.accept_mailbox(&offer);
    assert_eq!(alice.run(&["mailboxes", "--json"]).json().len(), 1, "the same mailbox again");
    assert_eq!(world.mailbox.accounts().len(), 1);
    let refusal = bob.run(&["accept-mailbox", "PETMAIL-OFFER:nonsense"]).refusal();
    assert!(refusal.contains("hint: "), "{refusal}");
}

#[test]
fn a_basedir_has_one_running_node_and_its_own_program() {
    let world = World::new();
    let mut node = world.new_node("Alice");
    node.start();
    let refusal = node.run(&["start"]).refusal();
    assert!(refusal.contains("running already"), "{refusal}");
    assert!(node.run(&["start", "--foreground"]).refusal().contains("running already"));
    let petmail = node.basedir().join("petmail");
    let status = Outcome::of(Command::new(&petmail).args(["status", "--json"])).json().remove(0);
    assert_eq!(status["running"], true);
    has_fields(&status, &["running", "baseurl", "version", "outbox", "mailboxes", "rendezvous"]);
    has_fields(&status["outbox"], &["waiting", "sent"]);
    assert_eq!(Outcome::of(Command::new(&petmail).arg("print-baseurl")).text().trim(), status["baseurl"]);
    assert_eq!(Outcome::of(Command::new(&petmail).arg("stop")).text(), "");
    assert!(node.run(&["addressbook"]).refusal().contains("hint: "));
    let moved = world.path("moved");
    fs::rename(node.basedir(), &moved).unwrap();
    let base = Outcome::of(Command::new(moved.join("petmail")).arg("start")).text();
    assert_eq!(Outcome::of(Command::new(moved.join("petmail")).arg("stop")).text(), "");
    assert_eq!(base.trim(), status["baseurl"], "the port is kept");
}
