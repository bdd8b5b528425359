//! Files in the panel: dropped, pasted and chosen; shown, previewed and saved.

use std::fs;

use data_encoding::BASE64;
use petmail_integration_tests::browser::{Browser, id};
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World, meet};
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
    browser.is_accessible();
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
fn a_large_file_is_dropped_fetched_paused_and_saved() {
    let mut world = World::new();
    let downloads = world.path("downloads");
    fs::create_dir(&downloads).expect("a folder can be made");
    let alice = world.node("Alice", Start::Background);
    let bob = world.node_saving_into("Bob", &downloads);
    meet(&alice, &bob);
    let (browser, his) = (Browser::at(&alice), Browser::at(&bob));
    let content: Vec<u8> =
        (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = world.path("film.mkv");
    fs::write(&path, &content).expect("there is room");

    // On its way, while its server is away.
    browser.page("#/rooms/1");
    browser.see("composer");
    world.mailbox.kill();
    browser.choose_file("choose-files", &path);
    browser.see("to-send");
    browser.click("send");
    browser.see_no(&id("to-send"));
    browser.see_where(&id("upload"), |text| text.contains("film.mkv") && text.contains("goes on by itself"));
    browser.is_accessible();
    browser.click("pause-file");
    browser.see_where(&format!("{}[data-state=paused]", id("moving")), |text| text.contains("paused"));
    browser.click("resume-file");
    world.mailbox.restart();
    browser.see_no(&id("upload"));
    browser.see_where(&id("file"), |text| text.contains("film.mkv") && text.contains("not fetched yet"));
    browser.is_accessible();

    his.page("#/rooms/1");
    his.see_where(&id("file"), |text| text.contains("film.mkv") && text.contains("3 MB"));
    his.is_accessible();
    world.mailbox.kill();
    his.click("fetch-file");
    his.see_where(&format!("{}[data-state=fetching]", id("moving")), |text| {
        text.contains("goes on by itself")
    });
    his.is_accessible();
    his.click("pause-file");
    his.see("resume-file");
    world.mailbox.restart();
    his.click("resume-file");
    his.see_where(&id("saved"), |text| text.contains("film.mkv"));
    assert!(fs::read(downloads.join("film.mkv")).expect("it is saved") == content);
    browser.see_where(&id("file-state"), |text| text.contains("fetched") && !text.contains("not"));
    browser.click("revoke-file");
    browser.see_where(&id("file-state"), |text| text.contains("no longer"));

    his.page("#/people/1");
    his.see_where(&id("contact-page"), |text| text.contains("Files from them"));
    his.is_accessible();
    let own = world.path("own");
    fs::create_dir(&own).expect("a folder can be made");
    assert!(alice.run(&["storage", "add", "fs", "--opt", &format!("path={}", own.display())]).succeeded());
    browser.page("#/mailboxes");
    browser.see_where(&id("storage"), |text| text.contains("1 GB"));
    browser.see_where(&id("service"), |text| text.contains("for you alone"));
    browser.is_accessible();
}

#[test]
fn folders_are_dropped_and_chosen() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let photos = world.path("photos");
    fs::create_dir_all(photos.join("2026/empty")).expect("a folder can be made");
    let large: Vec<u8> = (0..2_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, content) in
        [("a.txt", b"one".as_slice()), ("2026/b.raw", &large), ("2026/nothing", b""), ("ä ö.txt", b"two")]
    {
        fs::write(photos.join(name), content).expect("there is room");
    }
    let browser = Browser::at(&alice);
    browser.page("#/rooms/1");
    browser.see("composer");
    browser.drop_onto("composer", &[&photos]);
    browser.see_where(&id("to-send"), |text| text.contains("photos") && text.contains("4 files"));
    browser.is_accessible();
    browser.click("send");
    browser.see_where(&id("file"), |text| text.contains("photos") && text.contains("4 files"));
    let fetched = |number: usize| {
        let rows = eventually("the folder is offered", || {
            let files = bob.run(&["files", "--json"]).json();
            let offered: Vec<_> = files.into_iter().filter(|file| file["state"] == "offered").collect();
            (!offered.is_empty()).then_some(offered)
        });
        let his = world.path(&format!("his-{number}"));
        fs::create_dir(&his).expect("a folder can be made");
        let number = rows[0]["id"].to_string();
        let saved = bob.run(&["save-file", &number, "--to", his.to_str().unwrap()]).text();
        std::path::PathBuf::from(saved.trim())
    };
    let saved = fetched(1);
    assert_eq!(saved.file_name().unwrap(), "photos");
    assert!(fs::read(saved.join("2026/b.raw")).unwrap() == large);
    assert_eq!(fs::read(saved.join("ä ö.txt")).unwrap(), b"two");
    assert!(saved.join("2026/empty").is_dir() && fs::read(saved.join("2026/nothing")).unwrap().is_empty());
    let times =
        [&photos, &saved].map(|folder| fs::metadata(folder.join("a.txt")).unwrap().modified().unwrap());
    assert!(times[0].duration_since(times[1]).unwrap().as_millis() < 1_000, "{times:?}");

    // A field for folders hands over files alone.
    browser.choose_file("choose-folder", &photos);
    browser.see_where(&id("to-send"), |text| text.contains("photos") && text.contains("4 files"));
    browser.click("send");
    browser.see_no(&id("to-send"));
    let saved = fetched(2);
    assert!(fs::read(saved.join("2026/b.raw")).unwrap() == large);
    assert!(!saved.join("2026/empty").exists());
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
