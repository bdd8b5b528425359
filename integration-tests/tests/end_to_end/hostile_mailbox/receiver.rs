//! What a bad mailbox does to its owner.

use petmail_integration_tests::hostile::{Deed, EVENT_STREAM, HostileMailbox};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::traffic::until_delivered;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};

use super::{alice_and_bob, endless, is_small, newest_is, rests, send_all};

/// Answers to a list request that are none, and how the owner hears of them.
fn bad_streams() -> Vec<(Deed, &'static str)> {
    let html = "content-type: text/html\r\n";
    vec![
        (Deed::answer(200, html, "<html>Welcome to the hotel</html>"), "status 200"),
        (Deed::answer(302, "location: https://127.0.0.1:9/list\r\n", ""), "status 302"),
        (Deed::answer(403, "", ""), "does not know this account"),
        (Deed::answer(409, "", "wrong time, trust me"), "status 409"),
        (Deed::HangUp, "broke"),
        (Deed::Cut(1_000), "broke"),
        (Deed::events(""), "ended the connection"),
        (Deed::events("data: ????\n\n"), "makes no sense"),
        (Deed::events("data: AAAAAAAA\n\ndata: AAAAAAAA\n\n"), "makes no sense"),
        (Deed::events("event: superseded\ndata:\n\n"), "another program"),
        (Deed::Repeat, "makes no sense"),
        (endless(EVENT_STREAM), "longer than"),
        (endless(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"), "longer than"),
    ]
}

fn restart(node: &mut Node) {
    node.kill();
    node.start_as_child();
}

#[test]
fn bad_event_streams_are_shown_and_lose_nothing() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, mut bob) = alice_and_bob(&world, &bad);
    let mut texts = Vec::new();
    for (deed, reason) in bad_streams() {
        bob.kill();
        bad.set("list", deed);
        texts.push(format!("while it says: {reason}"));
        alice.send(1, texts.last().unwrap());
        newest_is(&alice, "sent");
        bob.start_as_child();
        let problem = bob.reports(reason);
        assert!(problem.contains("is not connected: "), "{problem}");
    }
    let before = bad.asked("list");
    rests(&bob);
    assert!(bad.asked("list") - before <= 6, "the pauses grow");
    is_small(&bob);
    bad.behave();
    restart(&mut bob);
    bob.receives(&texts);
    until_delivered(&alice, "bad streams");
    bob.receives(&texts);
    bob.is_well();
}

#[test]
fn a_mailbox_that_repeats_everything_shows_nothing_twice() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, bob) = alice_and_bob(&world, &bad);
    bad.set("deliver", Deed::AskTwice);
    bad.set("delete", Deed::answer(204, "", ""));
    let texts = ["one", "two", "three"];
    send_all(&alice, &texts);
    bob.receives(&texts);
    for _ in 0..3 {
        // Each new stream brings all of them again.
        let (lists, deletes) = (bad.asked("list"), bad.asked("delete"));
        bad.hang_up();
        eventually("Bob has taken them again", || {
            (bad.asked("list") > lists && bad.asked("delete") > deletes).then_some(())
        });
    }
    bob.receives(&texts);
    rests(&bob);
    until_delivered(&alice, "no deletes");
    bad.behave();
    let waiting = || bad.server().accounts()[0]["messages"].as_u64().unwrap();
    eventually("the messages are deleted", || (waiting() == 0).then_some(()));
    bob.receives(&texts);
}

#[test]
fn a_mailbox_that_stalls_does_not_hold_up_the_other() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let [alice, mut bob] = ["Alice", "Bob"].map(|name| world.node(name, Start::Child));
    bob.accept_mailbox(&bad.offer());
    meet(&alice, &bob);
    for path in ["server", "list", "fetch", "delete"] {
        bad.set(path, Deed::Stall);
    }
    let asked = || bad.asked("server") + bad.asked("list");
    let before = asked();
    restart(&mut bob);
    eventually("Bob waits for an answer", || (asked() > before).then_some(()));
    bob.reports("mailbox 2 ");
    alice.send(1, "by the other one");
    bob.receives(&["by the other one"]);
    rests(&bob);
    assert_eq!(asked(), before + 1);
    until_delivered(&alice, "a stalling mailbox");
    bad.behave();
    bob.is_well();
}

#[test]
fn bad_answers_to_fetching_and_deleting_lose_nothing() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, bob) = alice_and_bob(&world, &bad);
    let mut texts = Vec::new();
    for (number, deed) in [
        Deed::answer(200, "", "<html>Welcome to the hotel</html>"),
        Deed::answer(500, "", ""),
        Deed::Cut(20_000),
        endless(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        // A long text has to be fetched; a short one comes with the event.
        for (path, text) in [("fetch", format!("{number:.<65000}")), ("delete", format!("short {number}"))] {
            bad.set(path, deed.clone());
            let asked = bad.asked(path);
            alice.send(1, &text);
            texts.push(text);
            eventually("Bob has been lied to", || (bad.asked(path) > asked).then_some(()));
            bad.behave();
            bob.receives(&texts);
        }
    }
    until_delivered(&alice, "bad fetches");
    bob.receives(&texts);
    bob.is_well();
    is_small(&bob);
}
