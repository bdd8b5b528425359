//! Conversations in the panel: what becomes of each message, long histories, several tabs, and what hostile people write.

use petmail_integration_tests::browser::{Browser, ENTER, id};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::json;

fn in_state(state: &str) -> String {
    format!("{}[data-state=\"{state}\"]", id("message"))
}

#[test]
fn a_server_that_is_away_is_seen_and_a_message_that_was_called_off_is_sent_after_all() {
    let mut world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (browser, his) = (Browser::at(&alice), Browser::at(&bob));
    browser.page("#/rooms/1");
    browser.press("composer", &["before", ENTER].concat());
    browser.see_where(&in_state("delivered"), |text| text.contains("before"));

    world.mailbox.kill();
    browser.press("composer", &["not yet", ENTER].concat());
    browser.see_where(&in_state("waiting"), |text| text.contains("again by itself"));
    browser.click("cancel");
    browser.see_where(&in_state("failed"), |text| text.contains("decided not to send"));
    browser.page("#/health");
    let away = format!("{}[data-code=\"mailbox-away\"]", id("issue"));
    browser.see_where(&away, |text| text.contains("Look at the mailboxes"));
    browser.page("#/rooms/1");
    browser.click("retry");
    browser.see_where(&in_state("waiting"), |text| text.contains("not yet"));

    world.mailbox.restart();
    browser.see_where(&in_state("delivered"), |text| text.contains("not yet"));
    browser.page("#/health");
    browser.see_no(&id("issue"));

    // Whoever wants it learns that a message was read.
    his.page("#/settings");
    his.click("read-receipts");
    his.page("#/rooms/1");
    his.see_where(&id("message"), |text| text.contains("not yet"));
    browser.page("#/rooms/1");
    browser.see_where(&in_state("read"), |text| text.contains("not yet"));
}

#[test]
fn tabs_of_one_browser_show_the_same() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let browser = Browser::at(&alice);
    browser.page("#/rooms/1");
    for _ in 1..8 {
        // More than the connections that browsers open to one address.
        browser.new_tab();
        browser.open(&alice);
        browser.page("#/rooms/1");
        browser.see("composer");
    }
    bob.send(1, "to all tabs");
    for tab in [0, 3, 7] {
        browser.tab(tab);
        browser.see_where(&id("message"), |text| text.contains("to all tabs"));
    }
    browser.fill("composer", "half");
    browser.tab(0);
    eventually("the other tab has the draft", || (browser.value("composer") == "half").then_some(()));
    browser.press("composer", ENTER);
    browser.tab(7);
    browser.see_where(&id("message"), |text| text.contains("half"));
    eventually("the draft is gone everywhere", || browser.value("composer").is_empty().then_some(()));
}

/// How many messages a long history has.
const LONG: u64 = 5_000;

#[test]
fn a_long_history_is_scrolled_through_and_stays_light() {
    let mut world = World::new();
    let (alice, _bob) = world.two_who_met(Start::Background);
    world.mailbox.kill();
    for number in 1..=LONG {
        alice.try_send(1, &format!("message number {number} of many")).unwrap();
    }
    let mut browser = Browser::at(&alice);
    browser.page("#/rooms/1");
    browser.see_where(&id("message"), |text| text.contains("number 5000 of"));
    let mut most = 0;
    eventually("the first message is reached", || {
        browser.script("document.querySelector('.messages').scrollTop = 0", &[]);
        let shown = browser.texts(&format!("{} .text", id("message")));
        most = most.max(shown.len());
        shown.iter().any(|text| text == "message number 1 of many").then_some(())
    });
    assert!(most < 600, "{most} messages in the page at a time");
    // What was passed is there, in order and once.
    let loaded = browser.script(
        "return document.querySelector('.messages').scrollHeight / document.querySelector('.message').offsetHeight",
        &[],
    );
    assert!(loaded.as_f64().unwrap() > 4_000.0, "{loaded}");
    browser.fill("search", "number 2345 of");
    browser.click("hit");
    browser.see_where(".message.at", |text| text.contains("number 2345 of"));
    browser.click("to-end");
    browser.see_where(&id("message"), |text| text.contains("number 5000 of"));
    browser.expects("status of 5");
}

#[test]
fn hostile_names_and_texts_are_shown_and_do_no_harm() {
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let markup = "<img src=x onerror=alert(1)><script>document.title='owned'</script>";
    let name = format!("{markup}\u{202e}evil");
    let settings = ["--name", &name, "--rendezvous", world.rendezvous.url(), "--allow-private-transports"];
    let mut mallory = Node::create(&world.path("mallory"), &settings);
    mallory.start();
    mallory.accept_mailbox(&world.mailbox.offer());
    let code = alice.invite("M\u{202e}allory");
    mallory.use_code("Alice", &code);
    drop((alice.confirmed_contact(), mallory.confirmed_contact()));
    let long = "W".repeat(10_000);
    for text in [
        markup,
        "\u{202e}\u{2066}gnihtemos else",
        "\u{0}\u{1b}[31mred\u{7}",
        "שלום עולם, مرحبا",
        "javascript:alert(1) http://user:pw@bank.example/ data:text/html,x",
        &long,
        "the last one",
    ] {
        mallory.send(1, text);
    }
    let browser = Browser::at(&alice);
    for width in [1_100, 320] {
        browser.resize(width, 700);
        for page in ["#/rooms/1", "#/people", "#/people/1", "#/people/1/compare"] {
            browser.page(page);
            if page.contains("rooms") {
                browser.see_where(&id("message"), |text| text.contains("the last one"));
            } else {
                browser.see_where("h1", |text| !text.is_empty());
            }
            let overflow = browser.script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
                &[],
            );
            assert_eq!(overflow, json!(0), "{page} at {width}");
        }
    }
    browser.resize(1_100, 700);
    browser.page("#/rooms/1");
    browser.see_where(&id("message"), |text| text.contains("<script>"));
    let text = browser.texts(&id("conversation")).concat();
    for hidden in ['\u{202e}', '\u{2066}', '\u{1b}', '\u{0}', '\u{7}'] {
        assert!(!text.contains(hidden), "{hidden:?}");
    }
    assert_eq!(browser.texts(".messages img, .messages script").len(), 0);
    assert!(!browser.title().contains("owned"));
    let links = browser.script("return [...document.querySelectorAll('.text a')].map((a) => a.href)", &[]);
    assert_eq!(links, json!([]), "no address here is safe");
}
