//! The panel's other pages with a real node: mailboxes, health, settings; and that everybody can use each page.

use std::fs;

use petmail_integration_tests::browser::{Browser, ENTER, TAB, id};
use petmail_integration_tests::programs::target_dir;
use petmail_integration_tests::world::{Start, World};

#[test]
fn a_mailbox_is_got_watched_and_left() {
    let world = World::new();
    let alice = world.node_without_mailbox("Alice", Start::Background);
    let mut browser = Browser::at(&alice);
    browser.expects("status of 400");
    assert!(browser.see("welcome").contains("Get a mailbox"));
    browser.page("#/health");
    browser.see_where(&format!("{}[data-code=\"no-mailbox\"]", id("issue")), |text| {
        text.contains("Get a mailbox")
    });
    browser.page("#/mailboxes");
    browser.fill("offer-input", "PETMAIL-OFFER:nonsense");
    browser.click("accept-offer");
    browser.see("problem");
    browser.fill("offer-input", &world.mailbox.offer());
    browser.click("accept-offer");
    let connected = format!("{}[data-connected=\"true\"]", id("mailbox"));
    let shown = browser.see_where(&connected, |_| true);
    assert!(shown.contains("keeps messages for"), "{shown}");
    // The server says how much is taken: nothing, since what comes is fetched at once.
    browser.see_where(&id("mailbox"), |text| text.contains("0 byte"));
    browser.click("remove-mailbox");
    browser.click("confirm");
    browser.see_where(&id("mailbox"), |text| text.contains("Being left"));
}

#[test]
fn health_examines_everything_and_saves_a_backup() {
    let world = World::new();
    let alice = world.node("Alice", Start::Background);
    let browser = Browser::at(&alice);
    browser.page("#/health");
    browser.see_where("h2", |text| text.contains("All is well"));
    browser.click("doctor");
    browser.see_where(&id("check"), |text| text.contains("clock"));
    browser.fill("backup-passphrase", "correct horse battery");
    browser.fill("backup-again", "correct horse");
    browser.see_where("[role=alert]", |text| text.contains("differ"));
    browser.fill("backup-again", "correct horse battery");
    // The browser saves what it is given; a test looks at what that is.
    browser.script(
        "const make = URL.createObjectURL; URL.createObjectURL = (file) => { window.saved = file.size; return make.call(URL, file); }",
        &[],
    );
    browser.click("backup");
    browser.see("backup-done");
    let size = browser.script("return window.saved", &[]);
    assert!(size.as_u64().unwrap() > 1_000, "{size}");
}

#[test]
fn the_panel_speaks_german_and_remembers_it() {
    let world = World::new();
    let alice = world.node_without_mailbox("Alice", Start::Background);
    let browser = Browser::at(&alice);
    browser.page("#/settings");
    browser.see("settings");
    browser.script(
        "const list = document.querySelector(arguments[0]); list.value = 'de'; list.dispatchEvent(new Event('change'))",
        &[id("language").into()],
    );
    browser.see_where("h1", |text| text == "Einstellungen");
    browser.reload();
    browser.see_where("h1", |text| text == "Einstellungen");
    assert_eq!(browser.attribute("html", "lang").as_deref(), Some("de"));
}

/// Every page, with what is there once it is.
const PAGES: [(&str, &str); 10] = [
    ("#/rooms", "nav"),
    ("#/rooms/1", "[data-testid=composer]"),
    ("#/people", "[data-testid=contact]"),
    ("#/people/add", "[data-testid=make-code]"),
    ("#/people/add/enter", "[data-testid=code-input]"),
    ("#/people/1", "[data-testid=safety-words]"),
    ("#/people/1/compare", "[data-testid=verify]"),
    ("#/mailboxes", "[data-testid=mailbox]"),
    ("#/health", "[data-testid=doctor]"),
    ("#/settings", "[data-testid=settings]"),
];

#[test]
fn everybody_can_use_every_page() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    alice.send(1, "Shall we meet at eight?");
    bob.receives(&["Shall we meet at eight?"]);
    bob.send(1, "Gladly. I bring the cake 🎂 — see https://example.org/cakes");
    alice.receives(&["Gladly. I bring the cake 🎂 — see https://example.org/cakes"]);
    let browser = Browser::at(&alice);
    let pictures = target_dir().join("screenshots");
    fs::create_dir_all(&pictures).unwrap();
    for (scheme, width, height) in [("light", 1_100, 760), ("dark", 1_100, 760), ("light", 320, 640)] {
        browser.prefers(scheme);
        browser.resize(width, height);
        for (page, has) in PAGES {
            browser.page(page);
            browser.see_where(has, |_| true);
            browser.is_accessible();
            let name = format!("{}-{scheme}-{width}.png", page.trim_start_matches("#/").replace('/', "-"));
            browser.picture(&pictures.join(&name));
            let overflow = browser.script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
                &[],
            );
            assert_eq!(overflow, serde_json::json!(0), "{page} at {width}");
        }
    }
}

#[test]
fn a_message_is_sent_without_a_mouse() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let browser = Browser::at(&alice);
    browser.see("room-1");
    let focused = || {
        let name = browser.script("return document.activeElement?.dataset?.testid ?? ''", &[]);
        name.as_str().unwrap().to_owned()
    };
    let tab_to = |wanted: &str| {
        for _ in 0..40 {
            if focused() == wanted {
                return;
            }
            browser.press_anywhere(TAB);
        }
        panic!("{wanted} is not reached by the keyboard");
    };
    tab_to("room-1");
    browser.press_anywhere(ENTER);
    browser.see("composer");
    tab_to("composer");
    browser.press_anywhere(&["by keyboard", ENTER].concat());
    bob.receives(&["by keyboard"]);
    tab_to("nav-settings");
    browser.press_anywhere(ENTER);
    browser.see("settings");
}
