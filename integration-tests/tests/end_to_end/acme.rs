//! Certificates of a public authority: the servers get theirs from pebble, the small authority that ACME is tested against.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::wait::eventually;
use reqwest::{Certificate, Client};
use serde_json::json;

/// Resolved by the authority to this machine; public name servers know no such name.
const DOMAIN: &str = "mail.petmail.example";

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A program that ends with its test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// An authority that reaches the server under test at `port`.
struct Authority {
    directory: String,
    management: u16,
    _programs: [Ending; 2],
}

impl Authority {
    fn start(dir: &Path, port: u16) -> Self {
        let [api, management, names, names_api] = [(); 4].map(|()| free_port());
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(dir.join("authority.pem"), own.cert.pem()).expect("the folder is there");
        fs::write(dir.join("authority-key.pem"), own.signing_key.serialize_pem())
            .expect("the folder is there");
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.join("authority.pem"),
            "privateKey": dir.join("authority-key.pem"),
            "httpPort": free_port(),
            "tlsPort": port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }});
        fs::write(dir.join("pebble.json"), config.to_string()).expect("the folder is there");
        let names_at = format!("127.0.0.1:{names}");
        let nothing = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""];
        let mut servers = Command::new("pebble-challtestsrv");
        servers.args(["-defaultIPv4", "127.0.0.1", "-dns01", &names_at]).args(nothing);
        servers.args(["-management", &format!("127.0.0.1:{names_api}")]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(dir.join("pebble.json")).args(["-dnsserver", &names_at]);
        // By default it waits, and refuses some of what it is asked, to try its clients.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let programs = [servers, pebble].map(|mut program| {
            let name = program.get_program().to_owned();
            let started = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            Ending(started.unwrap_or_else(|error| panic!("{}: {error}", name.display())))
        });
        let directory = format!("https://localhost:{api}/dir");
        Self { directory, management, _programs: programs }
    }

    /// The certificate that vouches for those that it gives.
    async fn root(&self) -> Certificate {
        let client = Client::builder().tls_danger_accept_invalid_certs(true).build().expect("a client");
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        for _ in 0..1_200 {
            if let Ok(answer) = client.get(&url).send().await {
                let pem = answer.bytes().await.expect("a certificate");
                return Certificate::from_pem(&pem).expect("a certificate");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the authority does not answer");
    }
}

/// Waits until the server presents a certificate that `root` vouches for, and answers.
async fn answers(path: &str, port: u16, root: Certificate) {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Client::builder().tls_certs_only([root]).resolve(DOMAIN, address).build().expect("a client");
    let url = format!("https://{DOMAIN}:{port}{path}");
    for _ in 0..1_200 {
        if let Ok(answer) = client.get(&url).send().await {
            assert!(answer.status().is_success(), "{answer:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no certificate at {url}");
}

fn serve(program: &str, dir: &Path, port: u16, directory: &str, more: &[&str]) -> Process {
    eventually("the port is free", || {
        let mut serve = command(program);
        serve.arg("-d").arg(dir.join("server")).args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        serve.args(["--acme", "--acme-directory", directory, "--acme-contact", "admin@petmail.example"]);
        serve.arg("--acme-root").arg(dir.join("authority.pem")).args(more);
        Process::try_ready(&mut serve).ok().map(|(process, _)| process)
    })
}

fn is_private(path: &Path) -> bool {
    let mode = fs::metadata(path).expect("it is there").permissions().mode();
    mode & 0o077 == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_server_gets_its_certificate_and_keeps_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let url = format!("https://{DOMAIN}:{port}");
    let mut init = command("petmail-mailbox");
    assert!(
        !Outcome::of(init.args(["init", "--url", &url]).arg(dir.path().join("server"))).text().is_empty()
    );
    let authority = Authority::start(dir.path(), port);
    let root = authority.root().await;
    let server = serve("petmail-mailbox", dir.path(), port, &authority.directory, &[]);
    answers("/healthz", port, root.clone()).await;
    let kept: Vec<_> = fs::read_dir(dir.path().join("server/acme")).expect("it is there").flatten().collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|file| is_private(&file.path())) && is_private(&dir.path().join("server/acme")));
    // An offer needs no pin: a public authority vouches for the server.
    let mut offer = command("petmail-mailbox");
    let offer = Outcome::of(offer.arg("-d").arg(dir.path().join("server")).arg("offer")).text();
    let offer: petmail_proto::server::offer::Offer = offer.trim().parse().expect("an offer");
    assert_eq!(offer.pin, None);
    // The next start does without the authority.
    let directory = authority.directory.clone();
    drop((server, authority));
    let _server = serve("petmail-mailbox", dir.path(), port, &directory, &[]);
    answers("/healthz", port, root).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendezvous_server_gets_its_certificate() {
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let authority = Authority::start(dir.path(), port);
    let root = authority.root().await;
    let more = ["--acme-domain", DOMAIN];
    let _server = serve("petmail-rendezvous", dir.path(), port, &authority.directory, &more);
    answers("/healthz", port, root).await;
}

#[test]
fn acme_and_other_certificates_exclude_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    for (program, flags) in [
        ("petmail-mailbox", ["--acme", "--plain-http"]),
        ("petmail-mailbox", ["--acme", "--self-signed"]),
        ("petmail-rendezvous", ["--acme", "--listen=127.0.0.1:0"]),
    ] {
        let refused = command(program).arg("-d").arg(dir.path()).arg("serve").args(flags).output();
        assert_eq!(refused.expect("the program starts").status.code(), Some(2), "{program} {flags:?}");
    }
}
