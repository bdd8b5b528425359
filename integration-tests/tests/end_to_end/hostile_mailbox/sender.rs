//! What a contact's bad mailbox does to those who write to it.

use petmail_integration_tests::hostile::{Deed, EVENT_STREAM, HostileMailbox};
use petmail_integration_tests::node::has;
use petmail_integration_tests::traffic::until_delivered;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
use serde_json::json;

use super::{alice_and_bob, endless, is_small, newest, newest_is, rests, retry, send_all};

/// Answers to a delivery that are none, and how people hear of them: of each one otherwise than of the one before.
fn bad_answers() -> Vec<(Deed, &'static str)> {
    let huge = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let head = "HTTP/1.1 204 No Content\r\nx: ".as_bytes();
    vec![
        (Deed::answer(200, "content-type: text/html\r\n", "<html>Welcome to the hotel</html>"), "status 200"),
        (Deed::answer(500, "", "<html>oops</html>"), "status 500"),
        (Deed::answer(302, "location: https://127.0.0.1:9/deliver\r\n", ""), "status 302"),
        (Deed::Say(b"\x00\xff\x7f nonsense \r\n\r\n".to_vec()), "broke"),
        (endless(huge), "status 200"),
        (endless(head), "broke"),
        (Deed::answer(404, "", ""), "does not know the address"),
        (Deed::HangUp, "broke"),
        (Deed::Say(EVENT_STREAM.to_vec()), "status 200"),
        (Deed::answer(507, "", ""), "is full"),
        // Last, since this one asks for a pause until tomorrow.
        (Deed::answer(503, "retry-after: 99999999999\r\n", ""), "overloaded"),
    ]
}

#[test]
fn bad_answers_are_shown_and_lose_nothing() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, bob) = alice_and_bob(&world, &bad);
    alice.send(1, "before");
    bob.receives(&["before"]);
    bad.set("deliver", Deed::HangUp);
    let id = alice.send(1, "through thick and thin");
    alice.reports("1 for Bob waiting: ");
    for (deed, reason) in bad_answers() {
        bad.set("deliver", deed);
        eventually(&format!("the message shows {reason:?}"), || {
            // Again and again: an attempt may still be under way that ends as the one before.
            retry(&alice, id);
            let message = newest(&alice);
            assert!(has(&message, "state", "waiting"), "{message}");
            message["reason"].as_str()?.contains(reason).then_some(())
        });
        assert!(alice.reports("1 for Bob waiting: ").contains(reason));
    }
    is_small(&alice);
    bad.behave();
    retry(&alice, id);
    bob.receives(&["before", "through thick and thin"]);
    until_delivered(&alice, "bad answers");
    alice.is_well();
}

#[test]
fn a_mailbox_that_stalls_keeps_nobody_busy() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, bob) = alice_and_bob(&world, &bad);
    let carol = world.node("Carol", Start::Child);
    carol.use_code("Alice", &alice.invite("Carol"));
    eventually("Carol is there", || {
        alice.addressbook().get(1).filter(|one| has(one, "state", "confirmed")).map(drop)
    });
    bad.set("deliver", Deed::Stall);
    bad.set("server", Deed::Stall);
    let before = bad.asked("deliver");
    let texts = ["slow", "but", "steady"];
    send_all(&alice, &texts);
    eventually("one is under way", || (bad.asked("deliver") > before).then_some(()));
    // Others are not held up.
    alice.send(2, "meanwhile");
    carol.receives(&["meanwhile"]);
    rests(&alice);
    assert_eq!(bad.asked("deliver"), before + 1, "one at a time");
    assert_eq!(alice.status()["outbox"]["waiting"], 3);
    bad.behave();
    bob.receives(&texts);
    until_delivered(&alice, "stalls");
}

/// What an answer of 204 promises cannot be checked; that the message has arrived is another promise.
#[test]
fn a_liar_can_hold_a_message_back_but_not_fake_its_delivery() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let (alice, bob) = alice_and_bob(&world, &bad);
    bad.set("deliver", Deed::answer(204, "", ""));
    let lost = alice.send(1, "dropped");
    newest_is(&alice, "sent");
    bad.behave();
    alice.send(1, "passed on");
    bob.receives(&["passed on"]);
    newest_is(&alice, "delivered");
    let message = &alice.messages("out")[0];
    assert_eq!((&message["id"], &message["state"]), (&json!(lost), &json!("sent")));
    assert_eq!(alice.status()["outbox"], json!({"waiting": 0, "sent": 1, "delivered": 1}));
    bob.receives(&["passed on"]);
}

/// Takes the half minute after which senders turn to the next mailbox.
#[test]
fn a_message_that_both_mailboxes_got_is_shown_once() {
    let world = World::new();
    let bad = HostileMailbox::start(&world.path("bad"));
    let alice = world.node("Alice", Start::Child);
    let mut bob = world.node_without_mailbox("Bob", Start::Child);
    bob.accept_mailbox(&bad.offer());
    bob.accept_mailbox(&world.mailbox.offer());
    meet(&alice, &bob);
    // It takes messages, but neither does Alice hear of it nor Bob get them.
    bad.set("deliver", Deed::Cut(0));
    bad.set("list", Deed::HangUp);
    bad.hang_up();
    bob.reports("is not connected: ");
    let texts = ["one", "two", "three"];
    send_all(&alice, &texts);
    let reason = alice.reports("3 for Bob waiting: ");
    assert!(reason.contains("broke"), "{reason}");
    bob.receives(&texts);
    let taken = |bad: &HostileMailbox| bad.server().accounts()[0]["messages"].as_u64().unwrap();
    assert!(taken(&bad) > 0, "{:?}", bad.server().accounts());
    until_delivered(&alice, "two mailboxes");
    bad.behave();
    // Else he waits up to a minute before he asks it again.
    bob.kill();
    bob.start_as_child();
    eventually("the copies are fetched and deleted", || (taken(&bad) == 0).then_some(()));
    alice.send(1, "four");
    bob.receives(&["one", "two", "three", "four"]);
    until_delivered(&alice, "two mailboxes");
    for node in [&alice, &bob] {
        node.is_well();
        is_small(node);
    }
}
