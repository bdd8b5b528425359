//! Our nodes meet through rendezvous servers that ask for more: work, or TLS.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use petmail_integration_tests::mailbox::Scheme;
use petmail_integration_tests::rendezvous::Rendezvous;
use petmail_integration_tests::world::{Start, World, meet};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

#[test]
fn a_server_that_asks_for_hashcash() {
    let world = World::with(&["--hashcash", "12"], Scheme::PlainHttp);
    let (alice, bob) = world.two_who_met(Start::Background);
    alice.send(1, "worth the work");
    bob.receives(&["worth the work"]);
}

#[test]
fn a_busy_server_that_asks_for_hashcash() {
    let dir = tempfile::tempdir().unwrap();
    // Busy from the first connection on.
    let configuration = "hashcash-when-busy = 12\n[limits]\nbusy_connections = 0\n";
    let server = Rendezvous::configured(&dir.path().join("rendezvous"), configuration);
    let world = World::with_rendezvous(server, Scheme::PlainHttp);
    let (alice, bob) = world.two_who_met(Start::Background);
    alice.send(1, "worth the work");
    bob.receives(&["worth the work"]);
    let log = world.rendezvous.stop();
    assert!(log.contains("is_busy=true"), "{log}");
}

/// An authority of the test's own, and a certificate of it for loopback.
struct Authority {
    root: PathBuf,
    chain: PathBuf,
    key: PathBuf,
}

impl Authority {
    fn new(dir: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate().unwrap();
        let root = params.self_signed(&root_key).unwrap();
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let file = |name: &str, text: String| {
            fs::write(dir.join(name), text).unwrap();
            dir.join(name)
        };
        Self {
            root: file("root.pem", root.pem()),
            chain: file("chain.pem", leaf.pem()),
            key: file("key.pem", key.serialize_pem()),
        }
    }
}

#[test]
fn a_server_with_certificate_files() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path());
    let [chain, key] = [&authority.chain, &authority.key].map(|path| path.to_str().unwrap());
    let world = World::with(&["--tls-cert", chain, "--tls-key", key], Scheme::PlainHttp);
    assert!(world.rendezvous.url().starts_with("wss://"), "{}", world.rendezvous.url());
    let mut nodes = ["Alice", "Bob"].map(|name| world.new_node(name));
    for node in &mut nodes {
        node.start_with(&[("SSL_CERT_FILE", &authority.root)]);
        node.accept_mailbox(&world.mailbox.offer());
    }
    let [alice, bob] = &nodes;
    meet(alice, bob);

    // Whoever does not know the authority waits, and says why.
    let carol = world.node("Carol", Start::Background);
    carol.use_code("Dave", "4-adroitness-aardvark-adviser");
    let problem = carol.reports("invitations wait for the rendezvous server");
    assert!(problem.to_lowercase().contains("certificate"), "{problem}");
}
