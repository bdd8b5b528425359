//! Mailboxes that people give to others: an offer inside an invitation, and who may make one.

use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};

/// A node with a mailbox of which its owner may give so much to others.
fn provider(world: &World, total: &str) -> Node {
    let node = world.node_without_mailbox("Carol", Start::Child);
    let said = world.mailbox.run(&["offer", "--provider", "--provider-total", total]).text();
    node.accept_mailbox(said.trim_end());
    node
}

fn only_mailbox(node: &Node) -> Value {
    let mut mailboxes = node.run(&["mailboxes", "--json"]).json();
    assert_eq!(mailboxes.len(), 1, "{mailboxes:?}");
    mailboxes.swap_remove(0)
}

fn code(node: &Node, arguments: &[&str]) -> String {
    let said = node.run(&[&["offer-mailbox"], arguments].concat()).text();
    let code = said.trim_end();
    assert!(!code.is_empty() && !code.contains(char::is_whitespace), "a code alone on a line: {said}");
    code.to_owned()
}

#[test]
fn a_code_brings_a_contact_and_a_mailbox() {
    let world = World::new();
    let carol = provider(&world, "150MB");
    assert_eq!(only_mailbox(&carol)["gives"], json!({"total_bytes": 150_000_000, "given_bytes": 0}));
    let dave = world.node_without_mailbox("Dave", Start::Child);
    let code =
        code(&carol, &["dave", "--mailbox-quota", "40MB", "--storage-quota", "20MB", "--retention", "5"]);
    let said = dave.run(&["accept-mailbox", &code, "--petname", "carol", "--wait"]).text();
    assert!(said.starts_with("mailbox 1 at "), "{said}");
    for (node, petname) in [(&carol, "dave"), (&dave, "carol")] {
        assert!(has(&node.confirmed_contact(), "petname", petname));
    }
    let mailbox = only_mailbox(&dave);
    assert_eq!((&mailbox["quota_bytes"], &mailbox["retention_days"]), (&json!(40_000_000), &json!(5)));
    assert_eq!((&mailbox["redeemed"], &mailbox["gives"]), (&json!(true), &Value::Null));
    let storage = dave.run(&["storage", "list", "--json"]).json();
    assert_eq!((storage.len(), &storage[0]["quota_bytes"]), (1, &json!(20_000_000)));
    dave.send(1, "thank you");
    carol.receives(&["thank you"]);
    carol.send(1, "you are welcome");
    dave.receives(&["you are welcome"]);

    // What was given is counted, on both sides, and no more can be given than there is.
    assert_eq!(only_mailbox(&carol)["gives"]["given_bytes"], json!(60_000_000));
    let accounts = world.mailbox.accounts();
    let given: Vec<_> = accounts.iter().filter(|account| !account["given_by"].is_null()).collect();
    assert_eq!(given.len(), 1);
    let giver = accounts.iter().find(|account| account["id"] == given[0]["given_by"]);
    assert_eq!(giver.map(|giver| &giver["given_bytes"]), Some(&json!(60_000_000)));
    let refusal = carol.run(&["offer-mailbox", "erin"]).refusal();
    assert!(refusal.contains("more than you may still give"), "{refusal}");
    let refusal =
        carol.run(&["offer-mailbox", "erin", "--mailbox-quota", "1MB", "--retention", "31"]).refusal();
    assert!(refusal.contains("gives no such mailbox"), "{refusal}");
    let refusal = dave.run(&["offer-mailbox", "erin"]).refusal();
    assert!(refusal.contains("none of your mailboxes lets you give mailboxes"), "{refusal}");

    // The operator takes the right back; the node knows at once.
    let id = giver.and_then(|giver| giver["id"].as_str()).expect("an id");
    assert!(!world.mailbox.run(&["account", "set", id, "--no-provider"]).text().contains("gives"));
    eventually("the node knows it", || only_mailbox(&carol)["gives"].is_null().then_some(()));
    let refusal = carol.run(&["offer-mailbox", "erin", "--mailbox-quota", "1MB"]).refusal();
    assert!(refusal.contains("none of your mailboxes"), "{refusal}");
}

#[test]
fn only_what_both_people_asked_for_comes_about() {
    let world = World::new();
    let carol = provider(&world, "1GB");
    let dave = world.node("Dave", Start::Child);
    // An ordinary code brings no mailbox.
    let ordinary = carol.invite("dave");
    let refusal = dave.run(&["accept-mailbox", &ordinary, "--wait"]).refusal();
    assert!(refusal.contains("you asked for “mailbox customer”, the other side for “contact”"), "{refusal}");
    assert_eq!((dave.addressbook().len(), carol.addressbook().len()), (0, 0));
    only_mailbox(&dave);
    let refusal = dave.run(&["accept-mailbox", "what is this?"]).refusal();
    assert!(refusal.contains("hint:"), "{refusal}");
}

#[test]
fn a_mailbox_that_nobody_asked_for_waits_until_it_is_taken() {
    let mut world = World::new();
    let carol = provider(&world, "1GB");
    let mut dave = world.node_without_mailbox("Dave", Start::Child);
    let gift = code(&carol, &["dave", "--mailbox-quota", "60MB"]);
    dave.use_code("carol", &gift);
    let offered = |node: &Node| node.addressbook().first().map(|contact| contact["offered_mailbox"].clone());
    let url = eventually("Carol is a contact", || offered(&dave));
    assert_eq!(url, json!(world.mailbox.url()));
    assert_eq!(dave.run(&["mailboxes", "--json"]).json(), Vec::<Value>::new());
    // The offer outlives a kill. Taken while the server is away, it is redeemed later, by itself.
    dave.kill();
    dave.start_as_child();
    world.mailbox.kill();
    assert!(!dave.run(&["contact", "accept-mailbox", "1"]).succeeded());
    assert_eq!(offered(&dave), Some(Value::Null));
    world.mailbox.restart();
    eventually("the offer is redeemed", || (only_mailbox(&dave)["redeemed"] == json!(true)).then_some(()));
    assert_eq!(only_mailbox(&dave)["quota_bytes"], json!(60_000_000));
    carol.send(1, "it works");
    dave.receives(&["it works"]);
    let refusal = dave.run(&["contact", "accept-mailbox", "1"]).refusal();
    assert!(refusal.contains("offers no mailbox"), "{refusal}");
}

#[test]
fn a_mailbox_that_was_promised_comes_after_a_kill_and_an_outage() {
    let mut world = World::new();
    let carol = provider(&world, "1GB");
    let mut dave = world.node_without_mailbox("Dave", Start::Child);
    let code = code(&carol, &["dave"]);
    world.mailbox.kill();
    assert!(!dave.run(&["accept-mailbox", &code]).text().is_empty());
    eventually("the offer has come", || {
        let mailboxes = dave.run(&["mailboxes", "--json"]).json();
        let mailbox = mailboxes.first()?;
        assert_eq!(mailbox["redeemed"], json!(false));
        has_text(&mailbox["reason"], "not redeemed yet").then_some(())
    });
    dave.kill();
    world.mailbox.restart();
    dave.start_as_child();
    eventually("the offer is redeemed", || (only_mailbox(&dave)["redeemed"] == json!(true)).then_some(()));
    assert!(has(&dave.confirmed_contact(), "display_name", "Carol"));
    dave.send(1, "at last");
    carol.receives(&["at last"]);
}

#[test]
fn an_offer_that_is_void_says_so_until_it_is_removed() {
    let world = World::new();
    let carol = provider(&world, "1GB");
    let dave = world.node_without_mailbox("Dave", Start::Child);
    let code = code(&carol, &["dave"]);
    // The provider's account goes, and its open offers with it.
    let accounts = world.mailbox.accounts();
    let id = accounts.first().and_then(|account| account["id"].as_str()).expect("an id");
    assert!(world.mailbox.run(&["account", "remove", id, "--yes"]).text().contains("removed"));
    let refusal = dave.run(&["accept-mailbox", &code, "--wait"]).refusal();
    assert!(refusal.contains("does not know this offer"), "{refusal}");
    assert_eq!(only_mailbox(&dave)["refused"], json!(true));
    dave.reports("remove it with mailbox remove 1 and ask for another offer");
    assert!(dave.run(&["mailbox", "remove", "1"]).remarks().contains("removed"));
    assert!(dave.run(&["mailboxes", "--json"]).json().is_empty());
}

#[test]
fn a_node_gives_mailboxes_of_the_server_inside_it() {
    let world = World::new();
    let arguments = ["--local-mailbox", "--hostname", "127.0.0.1", "--mailbox-listen", "127.0.0.1:0"];
    let mut carol = world.new_node_with("Carol", &arguments);
    carol.start_as_child();
    let dave = world.node_without_mailbox("Dave", Start::Child);
    let said = dave.run(&["accept-mailbox", &code(&carol, &["dave"]), "--wait"]).text();
    assert!(said.starts_with("mailbox 1 at "), "{said}");
    assert!(has(&carol.confirmed_contact(), "petname", "dave"));
    carol.send(1, "from my own server");
    dave.receives(&["from my own server"]);
}

fn has_text(value: &Value, text: &str) -> bool {
    value.as_str().is_some_and(|value| value.contains(text))
}
