//! The real program: its commands, and what it keeps when it is killed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use petmail_net::clock::unix_ms;
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    retrieval::{Answer, Event, EventReader, seal_list_request},
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
};
use rand_core::OsRng;
use serde_json::Value;

fn program(basedir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_petmail-mailbox"));
    command.arg("-d").arg(basedir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PETMAIL_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(basedir: &Path, arguments: &[&str]) -> Output {
    program(basedir).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A running server; killed, as by SIGKILL, when dropped.
struct Serving {
    child: Child,
    base: String,
}

impl Serving {
    fn start(basedir: &Path, arguments: &[&str]) -> Self {
        let mut command = program(basedir);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ").unwrap();
        Self { child, base: url.trim_end_matches('/').to_owned() }
    }

    fn terminate(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Client {
    http: reqwest::Client,
    record: AccountRecord,
    descriptor: Descriptor,
}

impl Client {
    async fn redeem(http: reqwest::Client, base: &str, offer: &Offer) -> Self {
        let keys = AccountKeys::generate(&mut OsRng);
        let bytes = http.get(format!("{base}/server")).send().await.unwrap().bytes().await.unwrap();
        let descriptor = Descriptor::verify(&bytes, &offer.identity, now()).unwrap();
        let key = &descriptor.retrieval_key;
        let body = keys.seal_redeem(&offer.token, &offer.identity, key, &mut OsRng).unwrap();
        let answer = http.post(format!("{base}/redeem")).body(body).send().await.unwrap();
        let answer = answer.bytes().await.unwrap();
        let record = AccountRecord::open_answer(&answer, key, &keys.answers).unwrap();
        Self { http, record, descriptor }
    }

    /// Tells whether the message was taken; a killed server takes none.
    async fn deliver(&self, base: &str, number: u64) -> bool {
        let key = self.descriptor.token_key(self.record.kid).unwrap();
        let sender = self.record.token.for_contact(key, &mut OsRng).unwrap();
        let token = sender.for_message(key, &mut OsRng).unwrap();
        let mut msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
        msg_c[..8].copy_from_slice(&number.to_be_bytes());
        let msg_a = seal_delivery(&msg_c, &token, &self.descriptor.delivery_key, &mut OsRng).unwrap();
        let posted = self.http.post(format!("{base}/deliver")).body(msg_a.into_bytes()).send().await;
        posted.is_ok_and(|response| response.status() == 204)
    }

    async fn poll(&self, base: &str) -> Event {
        let (token, key) = (&self.record.retrieval_token, &self.descriptor.retrieval_key);
        let (body, request_key) = seal_list_request(now(), token, key, &mut OsRng).unwrap();
        let answer = self.http.post(format!("{base}/list")).body(body).send().await.unwrap();
        let mut reader = EventReader::new(request_key, self.record.symmetric_key.clone());
        match reader.open(&answer.bytes().await.unwrap()).unwrap() {
            Answer::Event(event) => event,
            Answer::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
}

fn now() -> UnixMillis {
    UnixMillis(unix_ms())
}

fn made(dir: &Path, url: &str) -> PathBuf {
    let basedir = dir.join("mailbox");
    text(&run(&basedir, &["init", "--url", url]));
    basedir
}

#[test]
fn keys_are_replaced_until_there_are_as_many_as_a_descriptor_holds() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "http://127.0.0.1:1");
    for number in 2..=4 {
        let said = text(&run(&basedir, &["rotate-keys"]));
        assert!(
            said.starts_with(&format!("the server has new keys, number {number}; the former ones end 20"))
        );
    }
    let serving = Serving::start(&basedir, &[]);
    for number in 5..=8 {
        let said = text(&run(&basedir, &["rotate-keys"]));
        assert!(said.starts_with(&format!("the server has new keys, number {number};")));
    }
    let refused = |basedir: &Path| {
        let output = run(basedir, &["rotate-keys"]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&basedir);
    assert!(
        said.contains("the server has 8 sets of keys already") && said.contains("; the oldest end 20"),
        "{said}"
    );
    serving.terminate();
    let said = refused(&basedir);
    assert!(
        said.contains("the server has 8 sets of keys already") && said.contains("wait until then"),
        "{said}"
    );
    let status = text(&run(&basedir, &["status"]));
    assert!(status.contains("keys      number 8; 7 earlier ones, until 20"), "{status}");
}

#[test]
fn a_server_is_exported_imported_and_checked_by_commands() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "https://127.0.0.1:8443");
    let path = |name: &str| dir.path().join(name);
    let file = path("server.export").display().to_string();
    let error = |output: &Output| {
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr.clone()).unwrap()
    };
    text(&run(&basedir, &["offer", "--count", "3"]));
    let said = text(&run(&basedir, &["check"]));
    assert!(said.starts_with("all is well: 0 accounts, 3 offers, 0 messages"), "{said}");
    assert_eq!(text(&run(&basedir, &["check", "--json"])), "");

    let serving = Serving::start(&basedir, &[]);
    for command in [&["check"][..], &["export", &file]] {
        let said = error(&run(&basedir, command));
        assert!(said.contains("is in use by") && said.contains("stop the server first"), "{said}");
    }
    assert!(!path("server.export").exists() && !path("server.export.unfinished").exists());
    serving.terminate();

    let said = text(&run(&basedir, &["export", &file]));
    assert!(said.starts_with("exported 0 accounts, 3 offers and 0 messages to "), "{said}");
    assert!(said.contains("secret keys"), "{said}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(error(&run(&basedir, &["export", &file])).contains("exists already"));
    let piped = run(&basedir, &["export", "-"]);
    assert_eq!(piped.stdout, std::fs::read(&file).unwrap());
    assert!(String::from_utf8(piped.stderr).unwrap().contains("secret keys"));

    let said = text(&run(&path("new"), &["import", "--store", "redb", &file]));
    assert!(said.starts_with("imported 0 accounts, 3 offers and 0 messages into "), "{said}");
    assert!(text(&run(&path("new"), &["check"])).contains("3 offers"));
    assert!(error(&run(&path("new"), &["import", &file])).contains("is not empty"));
    assert!(error(&run(&path("absent"), &["export", "-"])).contains("holds no mailbox server"));
    assert!(
        error(&run(&path("other"), &["import", &path("none").display().to_string()])).contains("cannot read")
    );
    Serving::start(&path("new"), &[]).terminate();

    std::fs::write(path("new").join("queue/blobs").join("0".repeat(32)), "orphan").unwrap();
    let output = run(&path("new"), &["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problem["problem"], "file-orphan");
    assert!(problem["advice"].as_str().unwrap().contains("the next start removes it"));
    let output = run(&path("new"), &["check"]);
    assert!(
        String::from_utf8(output.stdout.clone()).unwrap().contains("  nothing: the next start removes it")
    );
    assert!(error(&output).contains("there is a problem"));
}

/// Half of the file has come when the program is killed.
#[test]
fn a_killed_import_leaves_nothing_that_passes_for_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "http://127.0.0.1:1");
    let file = run(&basedir, &["export", "-"]).stdout;
    let target = dir.path().join("target");
    let mut importing = program(&target);
    let mut child = importing.args(["import", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(&file[..file.len() / 2]).unwrap();
    while !target.join(".import/queue").exists() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for (command, expected) in [
        (&["status"][..], "holds no mailbox server"),
        (&["serve"], "holds no mailbox server"),
        (&["init", "--url", "http://127.0.0.1:1"], "was interrupted"),
    ] {
        let output = run(&target, command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(expected), "{said}");
    }
    let whole = dir.path().join("whole");
    std::fs::write(&whole, file).unwrap();
    text(&run(&target, &["import", &whole.display().to_string()]));
    assert!(text(&run(&target, &["check"])).starts_with("all is well"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    for engine in ["sled", "redb"] {
        let basedir = made(&dir.path().join(engine), "http://127.0.0.1:1");
        let serving = Serving::start(&basedir, &["--store", engine]);
        let offer: Offer = text(&run(&basedir, &["offer"])).trim().parse().unwrap();
        let client = Client::redeem(reqwest::Client::new(), &serving.base, &offer).await;
        let mut accepted = Vec::new();
        let base = serving.base.clone();
        let mut deliveries: Vec<_> = (0..40).map(|number| Box::pin(client.deliver(&base, number))).collect();
        // The first few are waited for; the others are on their way when the server dies.
        for (number, delivery) in (0..).zip(deliveries.drain(..10)) {
            assert!(delivery.await);
            accepted.push(number);
        }
        let (rest, ()) = tokio::join!(futures::future::join_all(deliveries), async { drop(serving) });
        accepted.extend((10..).zip(rest).filter(|(_, taken)| *taken).map(|(number, _)| number));
        let serving = Serving::start(&basedir, &[]);
        let event = client.poll(&serving.base).await;
        let found: Vec<u64> = event
            .entries
            .iter()
            .map(|entry| u64::from_be_bytes(*entry.message.as_ref().unwrap().first_chunk().unwrap()))
            .collect();
        for number in accepted {
            assert!(found.contains(&number), "{engine}: message {number} is lost; found {found:?}");
        }
        serving.terminate();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_server_is_reached_by_the_pin_in_its_offers() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "https://127.0.0.1:8443/mail");
    let before: Offer = text(&run(&basedir, &["offer"])).trim().parse().unwrap();
    let serving = Serving::start(&basedir, &["--self-signed"]);
    let offer: Offer = text(&run(&basedir, &["offer", "--mailbox-quota", "1MB"])).trim().parse().unwrap();
    assert_eq!(offer.pin, before.pin);
    assert!(offer.pin.is_some());
    assert!(serving.base.starts_with("https://127.0.0.1:") && serving.base.ends_with("/mail"));
    let certificate = std::fs::read(basedir.join("tls-cert.pem")).unwrap();
    let certificate = reqwest::Certificate::from_pem(&certificate).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap();
    let client = Client::redeem(http, &serving.base, &offer).await;
    assert_eq!(client.descriptor.pins, Vec::from_iter(offer.pin));
    assert_eq!(client.record.quota.bytes, 1_000_000);
    assert!(client.deliver(&serving.base, 1).await);
    assert_eq!(client.poll(&serving.base).await.entries.len(), 1);
    serving.terminate();
}

#[test]
fn the_operators_commands_work_on_a_running_and_on_a_stopped_server() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "http://127.0.0.1:1");
    let look = || -> Value { serde_json::from_str(&text(&run(&basedir, &["status", "--json"]))).unwrap() };
    assert_eq!(look()["running"], false);
    assert_eq!(text(&run(&basedir, &["accounts", "--json"])), "");
    let serving = Serving::start(&basedir, &[]);
    assert_eq!(look()["running"], true);
    assert_eq!(text(&run(&basedir, &["offer", "--count", "3"])).lines().count(), 3);
    assert!(text(&run(&basedir, &["status"])).contains("running"));
    let useless = run(&basedir, &["offer", "--mailbox-quota", "0B", "--storage-quota", "0B"]);
    assert_eq!(useless.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&useless.stderr).contains("without any room"));
    let second = program(&basedir).args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by process"));
    assert_eq!(second.stdout, b"");
    serving.terminate();
    assert!(!basedir.join("admin.sock").exists());
    assert_eq!(look()["running"], false);
    let listen = ["--admin-listen", "127.0.0.1:0"];
    assert_eq!(run(&basedir, &[&["accounts"], &listen[..]].concat()).status.code(), Some(0));
}

#[test]
fn wrong_usage_is_told_with_status_2_and_failures_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "http://127.0.0.1:1");
    for wrong in [
        &["init"][..],
        &["init", "--url", "ftp://x"],
        &["init", "--url", "https://x:0"],
        &["init", "--url", "https://x", "--roles", "oracle"],
        &["serve", "--self-signed", "--plain-http"],
        &["offer", "--mailbox-quota", "lots"],
        &["offer", "--count", "0"],
        &["offer", "--count", "501"],
        &["offer", "--retention", "0"],
        &["nothing"],
    ] {
        assert_eq!(run(&basedir, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let again = run(&basedir, &["init", "--url", "https://x"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&again.stderr).lines().count(), 2, "a problem and a hint");
    let nowhere = run(&dir.path().join("nowhere"), &["status"]);
    assert_eq!(nowhere.status.code(), Some(1));
    std::fs::write(basedir.join("config.toml"), "colour = 'blue'").unwrap();
    let configured = run(&basedir, &["status"]);
    assert_eq!(configured.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&configured.stderr).contains("colour"));
}

/// Refused input leaves one line, which holds neither contents nor addresses.
#[tokio::test(flavor = "multi_thread")]
async fn refused_input_is_logged_in_one_line_without_contents() {
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "http://127.0.0.1:1");
    let log = dir.path().join("log");
    let mut command = program(&basedir);
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("RUST_LOG", "info").stdout(Stdio::piped());
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let serving = Serving { child, base: line.trim_end().strip_prefix("ready ").unwrap().to_owned() };
    let http = reqwest::Client::new();
    for endpoint in ["deliver", "list", "redeem", "secret-path?secret-query"] {
        let url = format!("{}{endpoint}", serving.base);
        http.post(url).body("secret body").send().await.unwrap();
    }
    serving.terminate();
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("request refused").count(), 4, "{log}");
    assert!(!log.contains("secret") && !log.contains("127.0.0.1"), "{log}");
}

#[test]
fn completions_and_man_pages_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("man");
    text(&run(dir.path(), &["manpages", man.to_str().unwrap()]));
    let page = std::fs::read_to_string(man.join("petmail-mailbox-offer.1")).unwrap();
    assert!(page.contains("retention"));
    let script = text(&run(dir.path(), &["completions", "bash"]));
    assert!(script.contains("petmail-mailbox") && script.contains("--mailbox-quota"));
}

#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let basedir = made(dir.path(), "https://127.0.0.1:8443");
    let serving = Serving::start(&basedir, &[]);
    let mut folders = vec![basedir];
    while let Some(folder) = folders.pop() {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{:?}", entry.path());
            }
        }
    }
    serving.terminate();
}
