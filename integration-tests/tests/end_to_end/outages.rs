//! Servers go away and nodes are killed; nothing is lost, nothing comes twice.
#![expect(clippy::indexing_slicing, reason = "tests")]

use petmail_integration_tests::chance::Chance;
use petmail_integration_tests::lossy::{self, CuttingWay};
use petmail_integration_tests::mailbox::Scheme;
use petmail_integration_tests::node::{Node, has};
use petmail_integration_tests::process::Process;
use petmail_integration_tests::traffic::until_delivered;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::Value;

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("text {number}")).collect()
}

fn until_sent(node: &Node) {
    eventually("the outbox is empty", || (node.status()["outbox"]["waiting"] == 0).then_some(()));
}

#[test]
fn messages_wait_while_the_mailbox_server_is_away() {
    let mut world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let texts = texts(60);
    let (before, later) = texts.split_at(40);
    for text in before {
        alice.send(1, text);
    }
    // Some of them are under way.
    world.mailbox.kill();
    for text in later {
        alice.send(1, text);
    }
    alice.reports("for Bob waiting: ");
    bob.reports("is not connected: ");
    let listed = alice.run(&["messages", "--json"]).json();
    let last = listed.last().expect("there are messages");
    assert!(has(last, "state", "waiting") && last["reason"].is_string(), "{last}");
    assert_eq!(alice.status()["mailboxes"][0]["connected"], false);

    world.mailbox.restart();
    bob.receives(&texts);
    until_sent(&alice);
    alice.is_well();
    bob.is_well();
}

/// The server has made the account, but the node does not know: only the same keys get it again.
#[test]
fn an_offer_whose_answer_got_lost_is_good_for_the_same_node() {
    let world = World::with(&[], Scheme::PlainHttp);
    let alice = world.node_without_mailbox("Alice", Start::Background);
    let lossy = lossy::losing_first_answer(world.mailbox.address(), "POST /redeem");
    let offer = world.mailbox.offer_by(&lossy);
    let refusal = alice.run(&["accept-mailbox", &offer]).refusal();
    assert!(refusal.contains("nothing is lost"), "{refusal}");
    assert_eq!(world.mailbox.accounts().len(), 1);
    alice.accept_mailbox(&offer);
    assert_eq!(alice.run(&["mailboxes", "--json"]).json().len(), 1);
    assert_eq!(world.mailbox.accounts().len(), 1);
}

#[test]
fn an_offer_accepted_by_a_killed_node_is_good_for_it_afterwards() {
    let mut world = World::new();
    let mut alice = world.node_without_mailbox("Alice", Start::Child);
    let offer = world.mailbox.offer();
    world.mailbox.kill();
    let refusal = alice.run(&["accept-mailbox", &offer]).refusal();
    assert!(refusal.contains("nothing is lost"), "{refusal}");
    world.mailbox.restart();
    let accepting = Process::spawn(alice.command().args(["accept-mailbox", &offer]));
    alice.kill();
    // Either way is possible.
    drop(accepting.finish());
    alice.start_as_child();
    alice.accept_mailbox(&offer);
    assert_eq!(alice.run(&["mailboxes", "--json"]).json().len(), 1);
    assert_eq!(world.mailbox.accounts().len(), 1);
}

/// Half a minute, since that is how long `invite` waits for a nameplate.
#[test]
fn invite_without_a_rendezvous_server_fails_and_leaves_nothing() {
    let mut world = World::new();
    let alice = world.node("Alice", Start::Background);
    world.rendezvous.kill();
    let refusal = alice.run(&["invite"]).refusal();
    assert!(refusal.contains("no code could be made: ") && refusal.contains("hint: "), "{refusal}");
    assert_eq!(alice.invitations(), Vec::<Value>::new());
}

#[test]
fn an_invitation_waits_while_the_rendezvous_server_is_away() {
    let mut world = World::new();
    let [alice, bob] = ["Alice", "Bob"].map(|name| world.node(name, Start::Background));
    let code = alice.invite("Bob");
    world.rendezvous.kill();
    bob.use_code("Alice", &code);
    for node in [&alice, &bob] {
        node.reports("invitations wait for the rendezvous server");
        node.invitation_in(&["waiting"]);
    }
    let events = bob.api().events();
    world.rendezvous.restart();
    let is_exchanging = |event: &Value| has(event, "event", "invitation") && !has(event, "state", "waiting");
    while !is_exchanging(&events.next().expect("the node runs")) {}
    // In the middle of the exchange.
    world.rendezvous.restart();
    assert_eq!(alice.confirmed_contact()["safety_words"], bob.confirmed_contact()["safety_words"]);
    alice.is_well();
}

#[test]
fn a_receiver_killed_again_and_again_has_everything_once() {
    let world = World::new();
    let (alice, mut bob) = world.two_who_met(Start::Child);
    let texts = texts(300);
    for (number, text) in texts.iter().enumerate() {
        alice.send(1, text);
        // The store of messages is being written whenever this is.
        if number % 100 == 60 {
            eventually("some have arrived", || (bob.texts().len() > number - 50).then_some(()));
            bob.kill();
        } else if number % 100 == 80 {
            bob.start_as_child();
        }
    }
    bob.receives(&texts);
    until_sent(&alice);
    bob.receives(&texts);
}

#[test]
fn a_sender_killed_again_and_again_sends_what_it_promised_once() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Child);
    let texts = texts(124);
    let mut promised = Vec::new();
    for batch in texts.chunks(31) {
        let (last, all_but_last) = batch.split_last().expect("a batch has texts");
        for text in all_but_last {
            alice.send(1, text);
        }
        promised.extend(all_but_last);
        // The node dies while this command talks to it, or just before or after.
        let command = Process::spawn(alice.command().args(["send-basic", "1", last]));
        alice.kill();
        let (status, _) = command.finish();
        promised.extend(status.success().then_some(last));
        alice.start_as_child();
    }
    until_sent(&alice);
    eventually("the last one has arrived", || bob.texts().contains(promised.last()?).then_some(()));
    let mut received = bob.texts();
    // A message whose promise was cut off may be there; then it is there once, like all others.
    let mut distinct = received.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), received.len(), "nothing comes twice");
    received.retain(|text| promised.contains(&text));
    assert!(received.iter().eq(promised.iter().copied()), "{received:?}");
}

/// `PETMAIL_KILL_SEED` repeats after how many bytes connections are cut.
#[test]
fn connections_cut_after_any_byte_lose_nothing_and_repeat_nothing() {
    let chance = Chance::from_env(0);
    let story = format!("PETMAIL_KILL_SEED={}", chance.seed);
    let world = World::new();
    let way = CuttingWay::to(world.mailbox.address(), chance);
    let nodes = ["Alice", "Bob"].map(|name| {
        let node = world.node_without_mailbox(name, Start::Background);
        node.accept_mailbox(&world.mailbox.offer_by(way.address()));
        node
    });
    let [alice, bob] = &nodes;
    meet(alice, bob);
    // Should one stream get all of them, it is there again after a minute of growing pauses.
    way.cut(6);
    let mut texts = Vec::new();
    // One of the next size.
    let mut next = format!("{:.<10000}", "long");
    while way.is_cutting() || texts.len() % 3 > 0 {
        alice.send(1, &next);
        bob.send(1, &next);
        texts.push(std::mem::replace(&mut next, format!("text {}", texts.len())));
        // Few at once: an event with all that wait has to get through uncut.
        if texts.len() % 3 == 0 {
            nodes.iter().for_each(|node| node.receives(&texts));
        }
    }
    for node in &nodes {
        until_delivered(node, &story);
        node.receives(&texts);
    }
}

/// Whoever is blocked still has an address, but it takes 32 small messages a day only; everybody else has the new one.
#[test]
fn who_is_blocked_cannot_fill_the_mailbox() {
    let world = World::new();
    let (alice, mallory) = world.two_who_met(Start::Background);
    let carol = world.node("Carol", Start::Background);
    let code = alice.invite("Carol");
    carol.use_code("Alice", &code);
    assert!(has(&carol.confirmed_contact(), "state", "confirmed"));
    mallory.send(1, "hello");
    alice.receives(&["hello"]);
    assert!(alice.run(&["contact", "block", "1"]).remarks().contains("blocked"));
    for number in 0..40 {
        mallory.send(1, &format!("buy {number}"));
    }
    eventually("the former address is full", || {
        let waiting = mallory.status()["outbox"]["waiting"].as_u64()?;
        (waiting == 8).then_some(())
    });
    let listed = mallory.run(&["messages", "--json"]).json();
    let last = listed.last().expect("there are messages");
    assert!(last["reason"].as_str().is_some_and(|reason| reason.contains("full")), "{last}");
    for number in 0..40 {
        carol.send(1, &format!("dear Alice {number}"));
    }
    let expected: Vec<_> = (0..40).map(|number| format!("dear Alice {number}")).collect();
    alice.receives(&[vec!["hello".to_owned()], expected].concat());
    alice.is_well();
}
