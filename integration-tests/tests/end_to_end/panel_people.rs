//! Two people meet and write to each other in their browsers.

use std::fs;
use std::path::Path;

use petmail_integration_tests::browser::{Browser, ENTER, RELEASED, SHIFT, id};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::json;

/// Makes a code in the panel and returns it.
fn make_code(browser: &Browser, petname: &str) -> String {
    browser.page("#/people/add/make");
    browser.fill("petname-input", petname);
    browser.click("submit-code");
    browser.see_where(&id("code"), |code| code.contains('-'))
}

fn enter_code(browser: &Browser, code: &str, petname: &str) {
    browser.page("#/people/add/enter");
    browser.fill("code-input", code);
    browser.fill("petname-input", petname);
    browser.click("submit-code");
}

fn invitation(state: &str) -> String {
    format!("{}[data-state=\"{state}\"]", id("invitation"))
}

#[test]
fn two_browsers_invite_each_other_and_chat() {
    let world = World::new();
    let (alice, bob) = (world.node("Alice", Start::Background), world.node("Bob", Start::Background));
    let (hers, his) = (Browser::at(&alice), Browser::at(&bob));

    // Two clicks lead to a code.
    hers.click("add-contact");
    hers.click("make-code");
    let code = make_code(&hers, "Bob");
    his.page("#/people/add/enter");
    // What the one screen shows the other reads, from a picture of it.
    let picture = world.path("code.png");
    hers.see_where("svg.qr", |_| true);
    hers.picture(&picture);
    his.choose_file("qr-file", &picture);
    eventually("the code is read", || (his.value("code-input") == code).then_some(()));
    // A slip of the pen does not use the code up.
    let (rest, last) = code.rsplit_once('-').unwrap();
    his.fill("code-input", &format!("{rest}-{last}x"));
    assert!(his.see("suggestion").contains(last));
    his.click_on(&format!("{} button", id("suggestion")));
    his.see_no(&id("suggestion"));
    his.fill("petname-input", "Alice");
    his.click("submit-code");
    for browser in [&hers, &his] {
        browser.see_where(&invitation("confirmed"), |_| true);
    }
    hers.page("#/people/1");
    his.page("#/people/1");
    let words = hers.see("safety-words");
    assert_eq!((words.split(' ').count(), &words), (6, &his.see("safety-words")));
    hers.page("#/people/1/compare");
    hers.click("verify");
    hers.see_where(&id("contact-page"), |page| page.contains("Verified"));

    for browser in [&hers, &his] {
        browser.page("#/rooms/1");
    }
    hers.press("composer", &["two", SHIFT, ENTER, RELEASED, "lines", ENTER].concat());
    his.see_where(&id("message"), |text| text.contains("two\nlines"));
    his.press("composer", &["See https://example.org/?a=b. Yes", ENTER].concat());
    hers.see_where(&id("message"), |text| text.contains("See https"));
    let link = hers.attribute(&format!("{} a[rel]", id("message")), "href").unwrap();
    assert_eq!(link, "https://example.org/?a=b");
    let delivered = format!("{}[data-state=\"delivered\"]", id("message"));
    hers.see_where(&delivered, |text| text.contains("delivered"));

    // A reply leads to what it answers.
    his.script("document.querySelector('.message.theirs .reply').click()", &[]);
    his.press("composer", &["an answer", ENTER].concat());
    let quote = hers.see_where(&id("quote"), |text| text.contains("two"));
    assert!(quote.contains("You"), "{quote}");

    // What is half written stays, through another page and a reload.
    hers.fill("composer", "half a thought");
    hers.page("#/people");
    hers.page("#/rooms/1");
    hers.see_where(&id("room-1"), |text| text.contains("half a thought"));
    hers.reload();
    hers.see("composer");
    eventually("the draft is back", || (hers.value("composer") == "half a thought").then_some(()));

    // Nobody looks at the conversation, so what comes in is not read.
    his.page("#/people");
    hers.fill("composer", &["unseen", ENTER].concat());
    his.see_where("nav .badge", |count| count == "1");
    eventually("the title counts", || his.title().starts_with("(1)").then_some(()));
}

#[test]
fn a_wrong_code_fails_on_both_sides_with_what_to_do() {
    let world = World::new();
    let (alice, bob) = (world.node("Alice", Start::Background), world.node("Bob", Start::Background));
    let (hers, mut his) = (Browser::at(&alice), Browser::at(&bob));
    his.expects("status of 400");
    let code = make_code(&hers, "Bob");
    let number = code.split_once('-').unwrap().0;
    let other = if code.contains("vocalist") { "adviser" } else { "vocalist" };
    enter_code(&his, &format!("{number}-{other}-glucose-onlooker"), "Alice");
    for browser in [&hers, &his] {
        let said = browser.see_where(&invitation("failed"), |text| text.contains("codes are not the same"));
        assert!(said.contains("new code"), "{said}");
    }
    his.page("#/people/add/enter");
    his.fill("code-input", "nonsense");
    his.click("submit-code");
    his.see("problem");
    // Seen, it need not stay on the list; nor in a tab that is open elsewhere, nor after a restart.
    let tab = Browser::at(&alice);
    for browser in [&tab, &hers] {
        browser.page("#/people");
        browser.see_where(&invitation("failed"), |_| true);
    }
    hers.click("dismiss-invitation");
    for browser in [&hers, &tab] {
        browser.see_no(&id("invitation"));
    }
    assert_eq!(alice.invitations().len(), 0);
    let refusal = bob.run(&["forget-invitation", "7"]).refusal();
    assert!(refusal.contains("no invitation 7"), "{refusal}");
    let open = bob.invite("carol");
    assert!(!open.is_empty());
    let refusal = bob.run(&["forget-invitation", "2"]).refusal();
    assert!(refusal.contains("has not ended"), "{refusal}");
    assert!(bob.run(&["forget-invitation", "1"]).succeeded());
}

#[test]
fn a_name_and_a_picture_reach_contacts() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (hers, his) = (Browser::at(&alice), Browser::at(&bob));
    his.page("#/people/1");
    his.see("contact-page");
    hers.click("nav-settings");
    hers.fill("display-name", "Alicia Keys");
    hers.click("save-name");
    his.see_where(&id("contact-page"), |page| page.contains("Alicia Keys"));
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/images/conversation.png");
    hers.choose_file("choose-picture", &picture.canonicalize().unwrap());
    hers.see("own-picture");
    hers.is_accessible();
    // The browser has drawn it: it is a picture, and its petname stays.
    let width = "return document.querySelector('[data-testid=picture]')?.naturalWidth";
    eventually("the picture is shown", || (his.script(width, &[]) == json!(256)).then_some(()));
    assert_eq!(bob.addressbook()[0]["petname"], json!("Alice"));
    his.is_accessible();
    // Somebody who becomes a contact later is told as well.
    let carol = world.node("Carol", Start::Background);
    carol.use_code("Alice", &alice.invite("Carol"));
    eventually("Carol has the picture", || {
        carol.addressbook().first().filter(|contact| contact["picture"].is_string()).map(drop)
    });

    let bad = world.path("bad.png");
    fs::write(&bad, "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").unwrap();
    hers.choose_file("choose-picture", &bad);
    hers.see("problem");
    for picture in ["PHN2Zy8+", "?", &"A".repeat(40_000)] {
        let refused = alice.api().call("settings/picture", &json!({"picture": picture})).unwrap_err();
        assert_eq!(refused["code"], json!("bad-request"), "{picture}");
    }
    hers.click("remove-picture");
    his.see_no(&id("picture"));
    hers.see_no(&id("own-picture"));
}

#[test]
fn a_mailbox_that_a_contact_offers_is_taken_by_a_click() {
    let world = World::new();
    let carol = world.node_without_mailbox("Carol", Start::Background);
    let offer = world.mailbox.run(&["offer", "--provider", "--provider-total", "1GB"]).text();
    carol.accept_mailbox(offer.trim_end());
    let code = carol.run(&["offer-mailbox", "dave"]).text();
    let dave = world.node_without_mailbox("Dave", Start::Background);
    let browser = Browser::at(&dave);
    enter_code(&browser, code.trim(), "Carol");
    eventually("Carol is there", || (!dave.addressbook().is_empty()).then_some(()));
    browser.page("#/people/1");
    browser.see_where(&id("contact-page"), |page| page.contains("A mailbox is offered to you"));
    browser.is_accessible();
    browser.click("accept-offered");
    browser.see_no(&id("accept-offered"));
    browser.page("#/mailboxes");
    browser.see_where(&format!("{}[data-connected=\"true\"]", id("mailbox")), |_| true);
    // Now Carol's words get here, and both know each other.
    browser.page("#/people/1");
    browser.see_where(&id("contact-page"), |page| page.contains("Connected"));
}
