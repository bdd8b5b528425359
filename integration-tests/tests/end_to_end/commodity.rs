//! Files by way of services that know nothing of Petmail: S3 for contacts, WebDAV, SFTP and folders for oneself.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use petmail_integration_tests::commodity::{ACCESS_KEY, SECRET, Service, USER, files_below};
use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::{Start, World};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

/// Adds a service with a secret, as a script would.
fn add(node: &Node, kind: &str, options: &[&str], secret: &str) -> Outcome {
    let mut command: Command = node.command();
    command.args(["storage", "add", kind]).env("PETMAIL_STORAGE_SECRET", secret);
    for option in options {
        command.args(["--opt", option]);
    }
    Outcome::of(&mut command)
}

fn services(node: &Node) -> Vec<Value> {
    node.api().call("storage", &json!({})).unwrap()["services"].as_array().unwrap().clone()
}

fn file(node: &Node, direction: &str, state: &str) -> Value {
    eventually(&format!("a file {direction} is {state}"), || {
        let files = node.run(&["files", "--json"]).json();
        files.into_iter().find(|file| file["direction"] == direction && file["state"] == state)
    })
}

/// No file of the node's, and nothing that it says, has the secret.
fn shows_nowhere(node: &Node, secret: &str) {
    for list in [&["storage", "list"][..], &["storage", "list", "--json"]] {
        assert!(!node.run(list).text().contains(secret));
    }
    for path in files_below(node.basedir()) {
        if path.extension().is_some_and(|extension| extension == "log") {
            assert!(
                !fs::read(&path).unwrap().windows(secret.len()).any(|bytes| bytes == secret.as_bytes()),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn contacts_fetch_from_s3_by_links() {
    let world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    world.mailbox.give_storage("0B");
    let film = world.path("film.mkv");
    let mut content = vec![0; 20_000_000];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut content);
    fs::write(&film, &content).unwrap();
    let refused = alice.run(&["send-file", "1", film.to_str().unwrap()]).refusal();
    assert!(refused.contains("storage add s3"), "{refused}");

    let mut s3 = Service::s3();
    let endpoint = format!("endpoint={}", s3.url);
    let account = format!("access_key_id={ACCESS_KEY}");
    let options = [endpoint.as_str(), "bucket=petmail", "prefix=of/alice", &account];
    let refused = add(&alice, "s3", &options, "another secret").refusal();
    assert!(refused.contains("refuses the account"), "{refused}");
    let refused = add(&alice, "s3", &[&endpoint, "bucket=petmail", &account, "bukket=x"], SECRET).refusal();
    assert!(refused.contains("no option bukket"), "{refused}");
    assert_eq!(services(&alice), Vec::<Value>::new(), "what does not work is not kept");
    let added = add(&alice, "s3", &options, SECRET).text();
    assert!(added.contains("service 1 at") && added.contains("contacts"), "{added}");
    shows_nowhere(&alice, SECRET);

    assert!(alice.run(&["send-file", "1", film.to_str().unwrap(), "--wait", "sent"]).succeeded());
    let stored = file(&alice, "out", "stored");
    let offered = file(&bob, "in", "offered");
    assert_eq!(offered["name"], "film.mkv");
    let days = |file: &Value| file["until"].as_str().unwrap().to_owned();
    assert_eq!(days(&stored), days(&offered), "both sides are told the same");
    assert!(alice.run(&["storage", "remove", "1"]).refusal().contains("1 sent files"));

    let his = world.path("his");
    fs::create_dir(&his).unwrap();
    let id = offered["id"].to_string();
    let saved = bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]).text();
    assert!(fs::read(Path::new(saved.trim())).unwrap() == content, "byte by byte the same");
    file(&alice, "out", "fetched");

    // Nothing that was stored tells what it is; what nobody needs goes.
    let sent = stored["id"].to_string();
    assert!(alice.run(&["revoke", &sent]).succeeded());
    file(&alice, "out", "gone");
    let refused = eventually("the links lead nowhere", || {
        let again = bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]);
        (!again.succeeded()).then(|| again.refusal())
    });
    assert!(refused.contains("not on its storage server any more"), "{refused}");

    let findings = |node: &Node| node.run(&["doctor", "--json"]).printed();
    assert!(findings(&alice).contains("/petmail answers"));
    s3.stop();
    assert!(findings(&alice).contains("storage service 1 (s3)"));
    assert!(!findings(&alice).contains("/petmail answers"));
    assert!(alice.run(&["storage", "test", "1"]).refusal().contains("cannot be used"));
    assert!(alice.run(&["storage", "remove", "1"]).succeeded());
    assert_eq!(services(&alice), Vec::<Value>::new());
    assert!(alice.run(&["storage", "remove", "1"]).refusal().contains("there is no service 1"));
}

/// One issue of a node's by its code.
fn issue(node: &Node, code: &str) -> Option<Value> {
    let status = node.api().call("status", &json!({})).unwrap();
    status["issues"].as_array().unwrap().iter().find(|issue| issue["code"] == code).cloned()
}

#[test]
fn links_that_run_out_are_replaced_on_request() {
    let world = World::new();
    let (mut alice, bob) = world.two_who_met(Start::Background);
    world.mailbox.give_storage("0B");
    let s3 = Service::s3();
    let (endpoint, account) = (format!("endpoint={}", s3.url), format!("access_key_id={ACCESS_KEY}"));
    assert!(add(&alice, "s3", &[&endpoint, "bucket=petmail", &account], SECRET).succeeded());
    let path = world.path("film.mkv");
    let content = film(&path, 7);
    assert!(alice.run(&["send-file", "1", path.to_str().unwrap(), "--keep", "365"]).succeeded());
    let offered = file(&bob, "in", "offered");
    let until: jiff::Timestamp = offered["until"].as_str().unwrap().parse().unwrap();
    assert!(until.duration_since(jiff::Timestamp::now()).as_hours() > 300 * 24, "links do not limit it");

    // What was signed with a key that is replaced is as good as a link of last week.
    let (new_key, new_secret) = ("AKOTHER", "another secret");
    s3.change_key(new_key, new_secret);
    let id = offered["id"].as_u64().unwrap();
    let his = world.path("his");
    fs::create_dir(&his).unwrap();
    bob.api().call("fetch-file", &json!({ "id": id, "to": his })).unwrap();
    let waits = eventually("the sender is asked", || {
        let files = bob.run(&["files", "--json"]).json();
        files.into_iter().find(|file| file["reason_code"] == "sender-asked")
    });
    assert_eq!(waits["state"], "fetching");
    let wanted = eventually("the sender sees that the file is wanted", || issue(&alice, "file-wanted"));
    assert!(wanted["text"].as_str().unwrap().contains("Bob waits for a file"), "{wanted}");
    assert!(wanted["detail"].as_str().unwrap().contains("refuses the account"), "{wanted}");

    // Neither a wrong account nor another place is taken.
    let key = format!("access_key_id={new_key}");
    let refused = change(&alice, &["1", "--opt", &key], "a third secret").refusal();
    assert!(refused.contains("refuses the account"), "{refused}");
    let refused = change(&alice, &["1", "--opt", &key, "--opt", "prefix=else"], new_secret).refusal();
    assert!(refused.contains("are not there"), "{refused}");
    let refused = alice.run(&["storage", "change", "1"]).remarks();
    assert!(refused.contains("nothing is to be changed"), "{refused}");
    let refused = change(&alice, &["2", "--opt", &key], new_secret).refusal();
    assert!(refused.contains("there is no service 2"), "{refused}");
    alice.stop();
    alice.start();

    // With the new account the question is answered, and the file comes.
    let changed = change(&alice, &["1", "--opt", &key], new_secret).text();
    assert!(changed.contains("service 1 at"), "{changed}");
    shows_nowhere(&alice, new_secret);
    let saved = eventually("the file is saved", || {
        let files = bob.run(&["files", "--json"]).json();
        files.into_iter().find(|file| file["state"] == "saved")
    });
    assert!(fs::read(saved["path"].as_str().unwrap()).unwrap() == content, "byte by byte the same");
    assert_eq!(issue(&alice, "file-wanted"), None);
    let fetched = file(&alice, "out", "fetched");

    // What has been taken back is said to be gone, and everything of it goes.
    assert!(alice.run(&["revoke", &fetched["id"].to_string()]).succeeded());
    let refused = bob.run(&["save-file", &id.to_string(), "--to", world.path("again").to_str().unwrap()]);
    assert!(refused.refusal().contains("not on its storage server any more"));
    let name = alice.run(&["storage", "test", "1"]);
    assert!(name.succeeded());
}

fn change(node: &Node, arguments: &[&str], secret: &str) -> Outcome {
    let mut command: Command = node.command();
    command.args(["storage", "change"]).args(arguments).env("PETMAIL_STORAGE_SECRET", secret);
    Outcome::of(&mut command)
}

/// A film that both sides can compare.
fn film(path: &Path, seed: u64) -> Vec<u8> {
    let mut content = vec![0; 20_000_000];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut content);
    fs::write(path, &content).unwrap();
    content
}

#[test]
fn a_mailbox_server_keeps_files_at_a_service() {
    let mut world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    let packs = world.mailbox.basedir().join("packs/files");
    let early = world.path("early.mkv");
    let early_content = film(&early, 2);
    assert!(alice.run(&["send-file", "1", early.to_str().unwrap()]).succeeded());
    file(&alice, "out", "stored");
    let early_id = file(&bob, "in", "offered")["id"].to_string();
    let count = files_below(&packs).len();
    assert!(count > 1);

    // The operator's service: a wrong secret is told at the start, and nothing is lost by it.
    let mut s3 = Service::s3();
    world.mailbox.kill();
    let (config, secret) = (world.mailbox.basedir().join("config.toml"), world.path("secret"));
    let blobs = format!("s3://{ACCESS_KEY}@petmail/of/mail?endpoint={}", s3.url);
    fs::write(&config, format!("blobs = \"{blobs}\"\nblobs-secret-file = \"{}\"\n", secret.display()))
        .unwrap();
    let refused = world.mailbox.run(&["serve"]).refusal();
    assert!(refused.contains("cannot read the secret"), "{refused}");
    fs::write(&secret, "another secret\n").unwrap();
    let refused = world.mailbox.run(&["serve"]).refusal();
    assert!(refused.contains("refuses the account"), "{refused}");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    world.mailbox.restart();

    // What was there before moves to the service.
    let status = world.mailbox.run(&["status"]).text();
    assert!(status.contains(&format!("at {}/petmail\n", s3.url)), "{status}");
    eventually("the files have moved", || files_below(&packs).is_empty().then_some(()));
    let his = world.path("his");
    fs::create_dir(&his).unwrap();
    let saved = |id: &str| {
        let saved = bob.run(&["save-file", id, "--to", his.to_str().unwrap()]).text();
        fs::read(Path::new(saved.trim())).unwrap()
    };
    assert!(saved(&early_id) == early_content, "byte by byte the same");

    // What comes now goes there, though the server is killed in the middle.
    let late = world.path("late.mkv");
    let late_content = film(&late, 3);
    assert!(alice.run(&["send-file", "1", late.to_str().unwrap()]).succeeded());
    let arriving = world.mailbox.basedir().join("packs/arriving");
    eventually("packs arrive", || (!files_below(&arriving).is_empty()).then_some(()));
    world.mailbox.restart();
    let offered = eventually("the second file is offered", || {
        let files = bob.run(&["files", "--json"]).json();
        files.into_iter().find(|file| file["name"] == "late.mkv" && file["state"] == "offered")
    });
    assert_eq!(files_below(&packs).len(), 0);
    assert!(saved(&offered["id"].to_string()) == late_content, "byte by byte the same");

    // Everything is in its place; without the setting nobody looks in the wrong one.
    world.mailbox.kill();
    let checked = world.mailbox.run(&["check"]).text();
    assert!(checked.contains("all is well") && !checked.contains(" 0 packs"), "{checked}");
    let set = fs::read(&config).unwrap();
    fs::write(&config, "").unwrap();
    let refused = world.mailbox.run(&["serve"]).refusal();
    assert!(refused.contains("--blobs"), "{refused}");
    fs::write(&config, set).unwrap();

    // A service that is away stops nothing but files, and the sender sees that they wait.
    s3.stop();
    world.mailbox.restart();
    let status = world.mailbox.run(&["status"]).text();
    assert!(status.contains("WHICH CANNOT BE USED"), "{status}");
    let sent = alice.run(&["send-basic", "1", "hello", "--wait", "delivered"]);
    assert!(sent.succeeded());
    let waiting = world.path("waiting.mkv");
    film(&waiting, 4);
    assert!(alice.run(&["send-file", "1", waiting.to_str().unwrap()]).succeeded());
    eventually("the sender sees why it waits", || {
        let files = alice.run(&["files", "--json"]).json();
        let file = files.into_iter().find(|file| file["name"] == "waiting.mkv")?;
        file["reason"].as_str().is_some_and(|reason| !reason.is_empty()).then_some(())
    });
}

#[test]
fn a_mailbox_server_keeps_files_at_other_services() {
    let (webdav, sftp) = (Service::webdav(), Service::sftp());
    let by_http = webdav.url.replacen("http://", &format!("http://{USER}@"), 1);
    let by_ssh = sftp.url.replacen("ssh://", &format!("sftp://{}@", whoami()), 1);
    let key = sftp.path("key");
    let by_ssh = format!("{by_ssh}{}?key={}&known_hosts=add", sftp.files().display(), key.display());
    for (blobs, secret, service) in [(by_http, SECRET, &webdav), (by_ssh, "", &sftp)] {
        let mut world = World::new();
        let (alice, bob) = world.two_who_met(Start::Background);
        world.mailbox.kill();
        let file_of_secret = world.path("secret");
        fs::write(&file_of_secret, secret).unwrap();
        let config = format!("blobs = \"{blobs}\"\nblobs-secret-file = \"{}\"\n", file_of_secret.display());
        fs::write(world.mailbox.basedir().join("config.toml"), config).unwrap();
        world.mailbox.restart();
        let path = world.path("film.mkv");
        let content = film(&path, 5);
        assert!(alice.run(&["send-file", "1", path.to_str().unwrap()]).succeeded());
        let id = file(&bob, "in", "offered")["id"].to_string();
        assert!(files_below(&service.files()).len() > 2, "the packs and the claim");
        assert_eq!(files_below(&world.mailbox.basedir().join("packs/files")).len(), 0);
        let his = world.path("his");
        fs::create_dir(&his).unwrap();
        let saved = bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]).text();
        assert!(fs::read(Path::new(saved.trim())).unwrap() == content, "byte by byte the same");
        // A server that is killed leaves nothing running behind; what is damaged there is found.
        let basedir = world.mailbox.basedir().to_owned();
        world.mailbox.kill();
        eventually("nobody uses the service", || (!service.has_clients()).then_some(()));
        let check = || Outcome::of(command("petmail-mailbox").arg("check").arg("-d").arg(&basedir));
        assert!(check().text().contains("all is well"));
        let packs = files_below(&service.files().join("packs"));
        let mut damaged = fs::read(&packs[0]).unwrap();
        damaged[1_000] ^= 1;
        fs::write(&packs[0], damaged).unwrap();
        let found = check().printed();
        assert!(found.contains("is not what was stored"), "{found}");
        assert!(!service.has_clients());
    }
}

#[test]
fn an_account_that_is_revoked_while_files_arrive() {
    let webdav = Service::webdav();
    let mut world = World::new();
    let (alice, bob) = world.two_who_met(Start::Background);
    world.mailbox.kill();
    let secret = world.path("secret");
    fs::write(&secret, SECRET).unwrap();
    let blobs = webdav.url.replacen("http://", &format!("http://{USER}@"), 1);
    let config = format!("blobs = \"{blobs}\"\nblobs-secret-file = \"{}\"\n", secret.display());
    fs::write(world.mailbox.basedir().join("config.toml"), config).unwrap();
    world.mailbox.restart();

    // The service takes the first packs, and then knows the account no more.
    let path = world.path("film.mkv");
    let content = film(&path, 6);
    assert!(alice.run(&["send-file", "1", path.to_str().unwrap()]).succeeded());
    let packs = webdav.files().join("packs");
    eventually("packs arrive", || (packs.is_dir() && !files_below(&packs).is_empty()).then_some(()));
    let users = fs::read(webdav.path("users")).unwrap();
    fs::write(webdav.path("users"), "").unwrap();
    let early = files_below(&packs).len();
    let reason = eventually("both sides are told", || {
        let files = alice.run(&["files", "--json"]).json();
        let waits = files[0]["reason"].as_str().filter(|reason| !reason.is_empty()).map(str::to_owned);
        let status = world.mailbox.run(&["status"]).text();
        (status.contains("refuses the account")).then_some(waits).flatten()
    });
    assert!(!reason.contains(SECRET) && !reason.contains(USER), "{reason}");
    assert_eq!(file(&alice, "out", "uploading")["state"], "uploading");

    // With the account everything goes on by itself, and nothing that was stored is lost.
    fs::write(webdav.path("users"), users).unwrap();
    let id = file(&bob, "in", "offered")["id"].to_string();
    assert!(files_below(&packs).len() > early);
    let his = world.path("his");
    fs::create_dir(&his).unwrap();
    let saved = bob.run(&["save-file", &id, "--to", his.to_str().unwrap()]).text();
    assert!(fs::read(saved.trim()).unwrap() == content, "byte by byte the same");
}

#[test]
fn webdav_sftp_and_folders_are_for_oneself() {
    let world = World::new();
    let mut alice = world.node_without_mailbox("Alice", Start::Background);
    let webdav = Service::webdav();
    let (url, user) = (format!("url={}", webdav.url), format!("username={USER}"));
    let refused = add(&alice, "webdav", &[&url, &user], "another secret").refusal();
    assert!(refused.contains("refuses the account"), "{refused}");
    let added = add(&alice, "webdav", &[&url, &user], SECRET).text();
    assert!(added.contains("for yourself alone"), "{added}");
    assert_eq!(files_below(&webdav.files()).len(), 0, "a test leaves nothing");

    let sftp = Service::sftp();
    let (host, key) = (format!("host={}", sftp.url), format!("key={}", sftp.path("key").display()));
    let (folder, me) = (format!("folder={}", sftp.files().display()), format!("user={}", whoami()));
    let options = [host.as_str(), &me, &folder, &key];
    let refused = add(&alice, "sftp", &options, "").refusal();
    assert!(refused.contains("cannot be used"), "a host that nobody knows is not trusted: {refused}");
    let options = [host.as_str(), &me, &folder, &key, "known_hosts=add"];
    let added = add(&alice, "sftp", &options, "").text();
    assert!(added.contains("service 2 at"), "{added}");
    assert_eq!(files_below(&sftp.files()).len(), 0, "a test leaves nothing");

    let usb = world.path("usb");
    let path = format!("path={}", usb.display());
    let refused = add(&alice, "fs", &[&path], "").refusal();
    assert!(refused.contains("is no folder"), "{refused}");
    fs::create_dir(&usb).unwrap();
    assert!(add(&alice, "fs", &[&path], "").succeeded());

    // They are there after a restart, and work.
    alice.stop();
    alice.start();
    let kinds: Vec<_> =
        services(&alice).iter().map(|service| service["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["webdav", "sftp", "fs"]);
    for id in ["1", "2", "3"] {
        assert!(alice.run(&["storage", "test", id]).succeeded(), "{id}");
    }
    shows_nowhere(&alice, SECRET);
    fs::set_permissions(&usb, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(&usb).unwrap();
    let refused = alice.run(&["storage", "test", "3"]).refusal();
    assert!(refused.contains("is no folder"), "{refused}");
    let secret = alice.run(&["storage", "add", "s3", "--opt", "secret_access_key=x"]).refusal();
    assert!(secret.contains("other users would see it"), "{secret}");
}

fn whoami() -> String {
    Outcome::of(Command::new("id").arg("-un")).text().trim().to_owned()
}
