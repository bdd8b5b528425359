//! The onion services of `deploy/tor/torrc`.

use std::fs;
use std::process::Command;

use petmail_integration_tests::deploy::{adapted, check_commands};
use petmail_integration_tests::mailbox::free_port;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::rendezvous::Rendezvous;
use petmail_integration_tests::tor::TorNetwork;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::meet;

#[test]
fn tor_accepts_the_example() {
    check_commands("tor/torrc");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let torrc = dir.path().join("torrc");
    fs::write(&torrc, adapted("tor/torrc", &[("/var/lib/tor", &data)])).unwrap();
    let mut verify = Command::new("tor");
    verify.args(["--verify-config", "--DataDirectory", &data, "--SocksPort", "0", "-f"]).arg(&torrc);
    let said = Outcome::of(&mut verify).text();
    assert!(said.contains("Configuration was valid"), "{said}");
    let mut warnings = said.lines().filter(|line| line.contains("[warn]"));
    assert!(warnings.all(|line| line.contains("running Tor as root")), "{said}");
}

#[test]
fn two_nodes_talk_through_onion_services() {
    let mut network = TorNetwork::start();
    let folder = network.path("servers");
    fs::create_dir(&folder).unwrap();
    let rendezvous = Rendezvous::start(&folder.join("rendezvous"), &["--plain-http"]);
    let mailbox_address = format!("127.0.0.1:{}", free_port());
    let services = network.path("services");
    fs::create_dir(&services).unwrap();
    petmail_integration_tests::deploy::make_private(&services);
    let example = adapted(
        "tor/torrc",
        &[
            ("/var/lib/tor", &services.to_string_lossy()),
            ("127.0.0.1:8080", &mailbox_address),
            ("127.0.0.1:4000", rendezvous.address()),
        ],
    );
    network.join("server", &format!("SocksPort 0\n{example}"));
    let [mailbox_name, rendezvous_name] =
        ["petmail-mailbox", "petmail-rendezvous"].map(|name| network.hostname(&services.join(name)));

    let basedir = folder.join("mailbox");
    let url = format!("http://{mailbox_name}");
    let mailbox = || command("petmail-mailbox");
    assert!(Outcome::of(mailbox().args(["init", "--url", &url]).arg(&basedir)).text().contains(&url));
    let mut serve = mailbox();
    let (server, _) = Process::ready(
        serve.args(["serve", "--plain-http", "--listen", &mailbox_address, "-d"]).arg(&basedir),
    );
    network.wait();
    for name in [&mailbox_name, &rendezvous_name] {
        network.wait_for_service(name);
    }

    let meeting_place = format!("ws://{rendezvous_name}/v1");
    let (socks, usual) = (network.socks(), ["--rendezvous", meeting_place.as_str()]);
    let node = |name: &str| {
        let mut node =
            Node::create(&folder.join(name), &[&usual[..], &["--name", name, "--socks5", &socks]].concat());
        node.start();
        let offer = Outcome::of(mailbox().args(["offer", "-d"]).arg(&basedir)).text();
        // A circuit may break at any time.
        let accept = ["accept-mailbox", offer.lines().last().unwrap()];
        eventually("the mailbox is made", || node.run(&accept).succeeded().then_some(()));
        node
    };
    let (alice, bob) = (node("Alice"), node("Bob"));
    meet(&alice, &bob);
    alice.send(1, "through six relays");
    bob.receives(&["through six relays"]);
    bob.send(1, "and back");
    alice.receives(&["and back"]);
    drop((alice, bob));
    let (status, log) = server.terminate();
    assert!(status.success(), "{log:#?}");
}
