//! What protects a node, in the panel: a passphrase, a locked node, and a backup that comes back.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::thread;

use petmail_integration_tests::browser::{Browser, id};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use serde_json::{Value, json};

const PASSPHRASE: &str = "four words are enough";
const ANOTHER: &str = "four other words, then";

fn new_passphrase(browser: &Browser, passphrase: &str) {
    browser.fill("set-passphrase", passphrase);
    browser.fill("set-again", passphrase);
    browser.click("set");
    done(browser);
}

fn done(browser: &Browser) {
    browser.see_where(&id("passphrase-done"), |text| !text.is_empty());
}

fn is_encrypted(node: &Node) -> bool {
    node.api().call("settings", &json!({})).unwrap().get("encrypted") == Some(&json!(true))
}

fn code(refusal: &Value) -> &str {
    refusal.get("code").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_passphrase_is_set_asked_for_changed_and_removed() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Background);
    bob.send(1, "before");
    alice.receives(&["before"]);
    let mut browser = Browser::at(&alice);
    // While the database is written anew the stream of changes ends, and commands are refused.
    for expected in ["503", "ERR_", "409", "423"] {
        browser.expects(expected);
    }
    browser.click("nav-health");
    browser.fill("set-passphrase", PASSPHRASE);
    browser.fill("set-again", "something else");
    assert_eq!(
        browser.script("return document.querySelector('[data-testid=set]').disabled", &[]),
        json!(true)
    );
    new_passphrase(&browser, PASSPHRASE);
    assert!(is_encrypted(&alice));
    bob.send(1, "after");
    alice.receives(&["before", "after"]);
    browser.is_accessible();
    alice.stop();

    // Without somebody to ask, `start` says what to do, and `open` shows where to type.
    assert!(alice.run(&["start"]).refusal().contains("--passphrase-file"));
    alice.start_by(&["start", "--locked"]);
    assert!(alice.run(&["status"]).text().contains("unlock"));
    assert_eq!(alice.status().get("locked"), Some(&json!(true)));
    let refused = alice.api().call("messages", &json!({})).unwrap_err();
    assert_eq!(code(&refused), "locked");
    assert!(alice.run(&["rooms"]).refusal().contains("unlock"));
    bob.send(1, "waits");
    browser.visit(alice.run(&["open", "--no-open"]).text().trim());
    browser.see("locked");
    browser.is_accessible();
    browser.fill("unlock-passphrase", "wrong");
    browser.click("unlock");
    assert!(browser.see("problem").contains("wrong"));
    browser.fill("unlock-passphrase", PASSPHRASE);
    browser.click("unlock");
    browser.see("nav-rooms");
    alice.receives(&["before", "after", "waits"]);
    assert_eq!(
        code(&alice.api().call("unlock", &json!({"passphrase": PASSPHRASE})).unwrap_err()),
        "conflict"
    );

    browser.page("#/health");
    browser.fill("present-passphrase", "wrong");
    browser.fill("set-passphrase", ANOTHER);
    browser.fill("set-again", ANOTHER);
    browser.click("set");
    assert!(browser.see("problem").contains("wrong"));
    browser.fill("present-passphrase", PASSPHRASE);
    browser.click("set");
    done(&browser);
    alice.stop();

    assert!(alice.run(&["open", "--no-open"]).succeeded());
    alice.start_by(&["print-baseurl"]);
    let file = world.path("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    let file = file.to_str().unwrap();
    assert!(alice.run(&["unlock", "--passphrase-file", file]).refusal().contains("wrong"));
    fs::write(file, ANOTHER).unwrap();
    assert!(alice.run(&["unlock", "--passphrase-file", file]).text().contains("open"));
    assert!(alice.run(&["unlock", "--passphrase-file", file]).refusal().contains("not locked"));

    // Two at once: one of them opens it, and it stays open.
    alice.stop();
    alice.start_by(&["start", "--locked"]);
    let api = alice.api();
    let unlock = || api.call("unlock", &json!({"passphrase": ANOTHER}));
    let answers =
        thread::scope(|scope| [scope.spawn(unlock), scope.spawn(unlock)].map(|one| one.join().unwrap()));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(
        answers.iter().flat_map(|answer| answer.as_ref().err()).all(|refused| code(refused) == "conflict")
    );

    browser.open(&alice);
    browser.page("#/health");
    browser.fill("present-passphrase", ANOTHER);
    browser.click("remove-passphrase");
    done(&browser);
    assert!(!is_encrypted(&alice));
    alice.stop();
    alice.start();
    alice.receives(&["before", "after", "waits"]);
}

#[test]
fn a_backup_comes_back_into_an_empty_node() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Background);
    bob.send(1, "kept");
    alice.receives(&["kept"]);
    let (backup, file) = (world.path("alice.backup"), world.path("passphrase"));
    fs::write(&file, PASSPHRASE).unwrap();
    let saved = ["backup", backup.to_str().unwrap(), "--passphrase-file", file.to_str().unwrap()];
    assert!(alice.run(&saved).succeeded());
    let token = fs::read(alice.basedir().join("api-token")).unwrap();
    alice.stop();

    let new = world.node_without_mailbox("New", Start::Background);
    let port = new.run(&["print-baseurl"]).text();
    let mut browser = Browser::at(&new);
    for expected in ["500", "503", "ERR_", "409"] {
        browser.expects(expected);
    }
    browser.page("#/health");
    let damaged = world.path("damaged.backup");
    let mut bytes = fs::read(&backup).unwrap();
    let last = bytes.len() - 40;
    bytes[last] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    for (path, passphrase, problem) in [
        (&file, PASSPHRASE, "backup"),
        (&backup, ANOTHER, "passphrase is wrong"),
        (&damaged, PASSPHRASE, "damaged"),
    ] {
        browser.choose_file("restore-file", path);
        browser.fill("restore-passphrase", passphrase);
        browser.click("restore");
        let said = browser.see("problem");
        assert!(said.contains(problem), "{said}");
        eventually("the node is as it was", || {
            (new.api().call("status", &json!({})).ok()?.get("contacts") == Some(&json!(0))).then_some(())
        });
    }
    browser.choose_file("restore-file", &backup);
    browser.fill("restore-passphrase", PASSPHRASE);
    browser.click("restore");
    browser.see("restore-done");
    browser.see_no(&id("restore"));
    browser.page("#/rooms/1");
    browser.see_where(&id("message"), |text| text.contains("kept"));
    assert_eq!(new.run(&["print-baseurl"]).text(), port);
    assert_ne!(fs::read(new.basedir().join("api-token")).unwrap(), token);
    bob.send(1, "to the new one");
    new.receives(&["kept", "to the new one"]);
    new.send(1, "from the new one");
    bob.receives(&["from the new one"]);

    // A node that has something does not give it away.
    let refused = new.api().call("restore", &json!({"passphrase": PASSPHRASE})).unwrap_err();
    assert_eq!(code(&refused), "conflict");
    assert_eq!(new.texts(), ["kept", "to the new one"]);
}
