//! Backups of nodes that run, are stopped, or are encrypted, and nodes made of them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::{bin, command};
use petmail_integration_tests::world::{Start, World};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};
use serde_json::{Value, json};

/// How many keep a node busy.
const SENDERS: usize = 4;

/// How often a restore is killed.
const KILLS: usize = 5;

/// No restore of these tests takes longer, also on a busy machine.
const LONGEST_DELAY_MS: u64 = 600;

/// A folder with a backup's passphrase in it.
struct Files {
    world: World,
    passphrase: String,
}

impl Files {
    fn new() -> Self {
        let world = World::new();
        let passphrase = write(&world, "passphrase", "correct horse\n");
        Self { world, passphrase }
    }

    fn path(&self, name: &str) -> String {
        text(self.world.path(name))
    }

    /// Saves a backup, and returns its path.
    fn back_up(&self, node: &Node, name: &str) -> String {
        let file = self.path(name);
        let said = node.run(&["backup", &file, "--passphrase-file", &self.passphrase]).text();
        assert!(said.starts_with("saved "), "{said}");
        file
    }

    /// Tries to restore a backup.
    fn restore(&self, file: &str, name: &str) -> Outcome {
        let mut restore = command("petmail-node");
        Outcome::of(restore.args(["restore", file, &self.path(name), "--passphrase-file", &self.passphrase]))
    }

    /// Restores a backup, and returns the node.
    fn restored(&self, file: &str, name: &str) -> Node {
        let said = self.restore(file, name).text();
        assert!(said.starts_with("restored "), "{said}");
        Node::at(&self.world.path(name))
    }
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

fn write(world: &World, name: &str, contents: impl AsRef<[u8]>) -> String {
    let path = world.path(name);
    fs::write(&path, contents).unwrap();
    text(path)
}

fn messages(node: &Node) -> Vec<Value> {
    let answer = node.api().call("messages", &json!({})).unwrap();
    answer.get("messages").and_then(Value::as_array).unwrap().clone()
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| text(entry.unwrap().file_name().into())).collect();
    names.sort();
    names
}

/// A long text is a file on the disk; it has to be in the backup too.
fn long_text() -> String {
    "long ".repeat(10_000)
}

/// Sends a text to the only contact, and waits until its node has it.
fn deliver(node: &Node, text: &str) {
    let id = node.run(&["send-basic", "1", text, "--wait", "delivered"]).text();
    assert!(!id.is_empty());
}

/// What the backup does not know is lost to the restored node; nothing else is, and nobody has to do anything.
#[test]
fn a_restored_node_writes_and_receives_and_the_old_copy_is_fenced() {
    let files = Files::new();
    let (alice, mut bob) = files.world.two_who_met(Start::Background);
    alice.send(1, "before the backup");
    bob.receives(&["before the backup"]);
    let file = files.back_up(&bob, "bob.backup");
    alice.send(1, "after the backup");
    bob.receives(&["before the backup", "after the backup"]);
    bob.send(1, "from the old copy");
    alice.receives(&["from the old copy"]);

    let mut restored = files.restored(&file, "bob restored");
    restored.start();
    restored.send(1, "from the restored one");
    alice.receives(&["from the old copy", "from the restored one"]);
    deliver(&alice, "welcome back");
    let shown: Vec<_> = restored.run(&["fetch-messages", "--json"]).json();
    let shown: Vec<_> = shown.iter().map(|message| message.get("payload").unwrap()).collect();
    let expected =
        [json!({"basic": "before the backup"}), json!({"lost": {}}), json!({"basic": "welcome back"})];
    assert_eq!(shown, expected.iter().collect::<Vec<_>>(), "what was lost is told");
    bob.reports("another program uses this mailbox");
    assert_eq!(bob.texts(), ["before the backup", "after the backup"]);
    bob.stop();
    for node in [&alice, &restored] {
        deliver(node, "all is well");
        node.is_well();
    }
}

#[test]
fn a_node_lives_on_elsewhere() {
    let files = Files::new();
    let (alice, mut bob) = files.world.two_who_met(Start::Background);
    let texts = ["hello".to_owned(), long_text()];
    for text in &texts {
        alice.send(1, text);
    }
    bob.receives(&texts);
    bob.send(1, "answer");
    alice.receives(&["answer"]);

    let file = files.back_up(&bob, "bob.backup");
    assert_eq!(bob.texts(), texts, "it still runs");
    let (addressbook, before) = (bob.addressbook(), messages(&bob));
    bob.stop();
    let outcome = files.restore(&file, "bob-2");
    assert!(outcome.text().starts_with("restored "));
    let said = outcome.remarks();
    assert!(said.contains("loses its mailboxes") && said.contains("`passphrase set`"), "{said}");

    let mut restored = Node::at(&files.world.path("bob-2"));
    let token = |node: &Node| fs::read_to_string(node.basedir().join("api-token")).unwrap();
    let config = |node: &Node| fs::read_to_string(node.basedir().join("config.toml")).unwrap();
    assert_ne!(token(&restored), token(&bob));
    assert_eq!(config(&restored), config(&bob));
    let program = restored.basedir().join("petmail");
    assert!(Outcome::of(Command::new(program).arg("start")).text().starts_with("http://"));
    restored.start_by(&["restart"]);
    assert_eq!(restored.addressbook(), addressbook);
    assert_eq!(restored.texts(), texts);
    assert_eq!(messages(&restored).len(), before.len());
    assert_eq!(restored.invitations(), Vec::<Value>::new());
    // Mail still comes in, and goes out.
    alice.send(1, "are you there?");
    restored.receives(&[texts.as_slice(), &["are you there?".to_owned()]].concat());
    restored.send(1, "yes");
    alice.receives(&["answer", "yes"]);
    for entry in ["api-token", "config.toml", "db", "files"] {
        let mode = fs::metadata(restored.basedir().join(entry)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry}");
    }
}

/// A message, its body and its place in the outbox are committed at once; a backup must not have one without the others.
#[test]
fn a_backup_of_a_busy_node_is_of_one_moment() {
    let mut files = Files::new();
    let (alice, _bob) = files.world.two_who_met(Start::Background);
    // Whatever is sent now stays in the outbox.
    files.world.mailbox.kill();
    let busy = Busy::default();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (is_over, api) = (Arc::clone(&busy.is_over), alice.api().clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    api.call("send-basic", &json!({"cid": 1, "text": "hello"})).unwrap();
                }
            })
        })
        .collect();
    for round in 0..3 {
        let before = messages(&alice).len();
        let file = files.back_up(&alice, &format!("alice-{round}.backup"));
        let after = messages(&alice).len();
        let mut restored = files.restored(&file, &format!("alice-{round}"));
        restored.start_as_child();
        let listed = messages(&restored).len();
        assert!((before..=after).contains(&listed), "{before} {listed} {after}");
        let waiting = restored.status().pointer("/outbox/waiting").and_then(Value::as_u64);
        assert_eq!(waiting, Some(listed as u64));
    }
    drop(busy);
    for sender in senders {
        sender.join().unwrap();
    }
}

/// Ends what keeps a node busy, however the test ends.
#[derive(Default)]
struct Busy {
    is_over: Arc<AtomicBool>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_stopped_node_is_backed_up_whether_it_is_encrypted_or_not() {
    let files = Files::new();
    let mut alice = files.world.node_without_mailbox("Alice", Start::Background);
    alice.stop();
    files.restored(&files.back_up(&alice, "plain.backup"), "plain").start();
    let other = write(&files.world, "other", "another passphrase");
    assert!(alice.run(&["passphrase", "set", "--passphrase-file", &other]).text().contains("encrypted"));
    let file = files.path("encrypted.backup");
    let backup = ["backup", &file, "--passphrase-file", &files.passphrase];
    let refusal = alice.run(&backup).refusal();
    assert!(refusal.contains("--node-passphrase-file"), "{refusal}");
    let wrong = [backup.as_slice(), &["--node-passphrase-file", &files.passphrase]].concat();
    assert!(alice.run(&wrong).refusal().contains("passphrase is wrong"));
    assert!(!Path::new(&file).exists());
    let right = [backup.as_slice(), &["--node-passphrase-file", &other]].concat();
    assert!(alice.run(&right).text().starts_with("saved "));
    // The restored node is not encrypted, and has what the old one had.
    files.restored(&file, "restored").start();
    // A running node needs no passphrase of its own; a stopped one with the backup's passphrase no second one.
    alice.start_by(&["start", "--passphrase-file", &other]);
    files.restored(&files.back_up(&alice, "running.backup"), "running").start();
    alice.stop();
    let same = files.path("same.backup");
    assert!(alice.run(&["backup", &same, "--passphrase-file", &other]).text().starts_with("saved "));
}

#[test]
fn a_backup_is_the_callers_file() {
    let files = Files::new();
    let alice = files.world.new_node("Alice");
    let save = |umask: &str, more: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\" {more}")]).arg(bin("petmail-node"));
        shell.arg("-d").arg(alice.basedir()).args([
            "backup",
            "alice.backup",
            "--passphrase-file",
            "passphrase",
        ]);
        Outcome::of(shell.current_dir(files.world.path("")))
    };
    let mode = || fs::metadata(files.world.path("alice.backup")).unwrap().permissions().mode() & 0o777;
    assert!(save("027", "").text().contains("alice.backup"));
    assert_eq!(mode(), 0o640);
    let before = fs::read(files.world.path("alice.backup")).unwrap();
    assert!(save("022", "").refusal().contains("is there already"));
    assert_eq!(fs::read(files.world.path("alice.backup")).unwrap(), before);
    assert!(save("022", "--force").text().contains("saved"));
    assert_eq!(mode(), 0o644);
    assert_ne!(fs::read(files.world.path("alice.backup")).unwrap(), before);
    let parts = names_in(&files.world.path("")).into_iter().filter(|name| name.contains("part")).count();
    assert_eq!(parts, 0);
    let refusal = alice.run(&["backup", &files.path("")]).refusal();
    assert!(refusal.contains("names no file"), "{refusal}");
}

#[test]
fn what_is_no_good_backup_makes_nothing() {
    let files = Files::new();
    let alice = files.world.new_node("Alice");
    let good = files.back_up(&alice, "good.backup");
    let bytes = fs::read(&good).unwrap();
    let variant = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        write(&files.world, name, bytes)
    };
    let flip = |at: usize| move |bytes: &mut Vec<u8>| *bytes.get_mut(at).unwrap() ^= 1;
    let last = bytes.len() - 1;
    let cases = [
        (variant("truncated", &|bytes| bytes.truncate(last)), "damaged or incomplete"),
        (variant("head-only", &|bytes| bytes.truncate(142)), "damaged or incomplete"),
        (variant("half-a-head", &|bytes| bytes.truncate(60)), "damaged"),
        (variant("flipped", &flip(last / 2)), "damaged or incomplete"),
        (variant("flipped-at-the-end", &flip(last)), "damaged or incomplete"),
        (variant("flipped-salt", &flip(40)), "damaged"),
        (variant("longer", &|bytes| bytes.push(0)), "damaged or incomplete"),
        (variant("foreign", &|bytes| bytes.splice(..1, *b"x").for_each(drop)), "not made by Petmail"),
        (variant("newer", &|bytes| bytes.splice(16..18, [0, 9]).for_each(drop)), "newer Petmail"),
        (variant("empty", &Vec::clear), "not made by Petmail"),
        (files.path("missing"), "cannot read"),
    ];
    let before = names_in(&files.world.path(""));
    for (file, problem) in &cases {
        let refusal = files.restore(file, "new").refusal();
        assert!(refusal.contains(problem), "{file}: {refusal}");
        assert_eq!(refusal.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{refusal}");
        assert_eq!(names_in(&files.world.path("")), before, "{file}");
    }
    let wrong = write(&files.world, "wrong", "Correct horse");
    let mut restore = command("petmail-node");
    restore.args(["restore", &good, &files.path("new"), "--passphrase-file", &wrong]);
    assert!(Outcome::of(&mut restore).refusal().contains("the passphrase is wrong"));
    let mut restore = command("petmail-node");
    assert!(
        Outcome::of(restore.args(["restore", &good, &files.path("new")])).refusal().contains("no terminal")
    );
    assert!(!files.world.path("new").exists());
    assert!(files.restore(&good, "Alice").refusal().contains("there is a node in"));
    fs::create_dir(files.world.path("used")).unwrap();
    fs::write(files.world.path("used/file"), "mine").unwrap();
    assert!(files.restore(&good, "used").refusal().contains("is not empty"));
    assert_eq!(names_in(&files.world.path("used")), ["file"]);
    fs::create_dir(files.world.path("empty-folder")).unwrap();
    files.restored(&good, "empty-folder").start();
    files.restored(&good, "a/new/place").start();
}

/// `PETMAIL_KILL_SEED` repeats a run.
#[test]
fn a_killed_restore_leaves_no_node_or_a_whole_one() {
    let seed = std::env::var("PETMAIL_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| OsRng.next_u64());
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let files = Files::new();
    let alice = files.world.new_node("Alice");
    let good = files.back_up(&alice, "good.backup");
    for round in 0..KILLS {
        let place = files.path(&format!("new-{round}"));
        let mut restore = command("petmail-node");
        restore.args(["restore", &good, &place, "--passphrase-file", &files.passphrase]);
        let process = Process::spawn(&mut restore);
        let delay = random.next_u64() % LONGEST_DELAY_MS;
        thread::sleep(Duration::from_millis(delay));
        process.kill();
        let story = format!("PETMAIL_KILL_SEED={seed}, round {round}, {delay} ms");
        if !Path::new(&place).exists() {
            let refusal = Node::at(Path::new(&place)).run(&["start"]).refusal();
            let was_begun = files.world.path(&format!(".new-{round}.restoring")).exists();
            assert_eq!(refusal.contains("a restore to it was interrupted"), was_begun, "{story}: {refusal}");
            assert!(files.restore(&good, &format!("new-{round}")).text().starts_with("restored "), "{story}");
        }
        Node::at(Path::new(&place)).start();
        assert!(!files.world.path(&format!(".new-{round}.restoring")).exists(), "{story}");
    }
}
