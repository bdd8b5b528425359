//! Files in the panel: dropped, pasted and chosen; shown, previewed and saved.

use std::fs;

use data_encoding::BASE64;
use petmail_integration_tests::browser::{Browser, id};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::json;

/// A red pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

/// Gives the page a file as the event `kind` does: its name, its content in base64, and its type.
const GIVE: &str = "
    const [kind, target, name, content, type] = arguments;
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0))], name, { type }));
    const element = document.querySelector(target);
    const how = { bubbles: true, cancelable: true };
    if (kind === 'paste') return element.dispatchEvent(new ClipboardEvent('paste', { ...how, clipboardData: data }));
    element.dispatchEvent(new DragEvent('dragover', { ...how, dataTransfer: data }));
    return element.dispatchEvent(new DragEvent('drop', { ...how, dataTransfer: data }));";

#[test]
fn files_are_dropped_pasted_and_chosen_and_saved_on_the_other_side() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let (browser, his) = (Browser::at(&alice), Browser::at(&bob));
    browser.page("#/rooms/1");
    browser.see("composer");
    let give = |kind: &str, target: &str, name: &str, content: &str, media_type: &str| {
        browser.script(GIVE, &[json!(kind), json!(target), json!(name), json!(content), json!(media_type)]);
    };
    give("drop", &id("conversation"), "notes.txt", &BASE64.encode(b"some notes"), "text/plain");
    give("paste", &id("composer"), "image.png", PNG, "image/png");
    let path = world.path("large.bin");
    fs::write(&path, vec![7; 200_000]).expect("there is room");
    browser.choose_file("choose-files", &path);
    browser.see_where(&format!("{}.bad", id("to-send")), |text| {
        text.contains("large.bin") && text.contains("Too large")
    });
    browser.is_accessible();
    // Nothing is sent before the person has seen to what cannot be.
    assert_eq!(
        browser.script("return document.querySelector('[data-testid=send]').disabled", &[]),
        json!(true)
    );
    browser.script("document.querySelector('[data-testid=to-send].bad button').click()", &[]);
    browser.see_no(&format!("{}.bad", id("to-send")));
    browser.fill("composer", "with two files");
    browser.click("send");
    browser.see_no(&id("to-send"));
    let delivered = format!("{}[data-state=delivered]", id("message"));
    browser.see_where(&delivered, |text| text.contains("image.png"));

    let folder = world.path("downloads");
    fs::create_dir(&folder).expect("a folder can be made");
    his.saves_into(&folder);
    let last = his.see("room-1");
    assert!(last.contains("image.png"), "{last}");
    his.page("#/rooms/1");
    his.see_where(&id("message"), |text| text.contains("with two files"));
    his.see_where(&id("file"), |text| text.contains("notes.txt"));
    eventually("the picture is shown", || {
        let width =
            his.script("return document.querySelector('[data-testid=file] img')?.naturalWidth ?? 0", &[]);
        (width == json!(1)).then_some(())
    });
    his.is_accessible();
    his.click("save-file");
    eventually("the file is saved", || {
        fs::read(folder.join("notes.txt")).is_ok_and(|content| content == b"some notes").then_some(())
    });
}

#[test]
fn a_file_with_a_hostile_name_or_content_is_a_file_and_nothing_else() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    for (name, content) in [
        ("<img src=x onerror=alert(1)>.svg", "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a\u{202e}gpj.html", "<script>alert(1)</script>"),
        ("picture.png", "no picture at all"),
    ] {
        let request = json!({"cid": 1, "name": name, "content": BASE64.encode(content.as_bytes())});
        alice.api().call("send-file", &request).expect("it is sent");
    }
    let browser = Browser::at(&bob);
    browser.page("#/rooms/1");
    browser.see_where(&id("file"), |text| text.contains("picture.png"));
    assert_eq!(browser.script("return document.querySelectorAll('.messages img').length", &[]), json!(0));
    assert!(!browser.see_where(&id("file"), |text| text.contains(".html")).contains('\u{202e}'));
    browser.is_accessible();
}
