//! The reverse proxies of `deploy/`, each with the example as it stands there, ports and certificate aside: two nodes meet and
//! talk through it.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use petmail_integration_tests::deploy::{adapted, check_commands, example};
use petmail_integration_tests::mailbox::free_port;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::process::Process;
use petmail_integration_tests::programs::command;
use petmail_integration_tests::rendezvous::Rendezvous;
use petmail_integration_tests::wait::eventually;
use petmail_integration_tests::world::meet;
use serde_json::{Value, json};

/// Both servers on loopback, as the examples start them, for clients of a proxy.
struct Behind {
    dir: tempfile::TempDir,
    rendezvous: Rendezvous,
    mailbox: Process,
    /// Where the mailbox server listens.
    mailbox_address: String,
    /// Where the proxy is to listen.
    port: u16,
}

impl Behind {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let port = free_port();
        let rendezvous = Rendezvous::start(
            &dir.path().join("rendezvous"),
            &["--plain-http", "--trusted-proxy", "127.0.0.1"],
        );
        let basedir = dir.path().join("mailbox");
        let url = format!("http://127.0.0.1:{port}/petmail");
        let said = Outcome::of(command("petmail-mailbox").args(["init", "--url", &url]).arg(&basedir)).text();
        assert!(said.contains(&url), "{said}");
        let mut serve = command("petmail-mailbox");
        serve
            .args(["serve", "--plain-http", "--trusted-proxy", "127.0.0.1", "--listen", "127.0.0.1:0", "-d"])
            .arg(&basedir);
        let (mailbox, ready) = Process::ready(&mut serve);
        let mailbox_address = ready.split('/').nth(2).expect("a URL has an address").to_owned();
        Self { dir, rendezvous, mailbox, mailbox_address, port }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        fs::write(&file, text).expect("there is room for temporary files");
        file
    }

    fn wait_for_proxy(&self) {
        eventually("the proxy listens", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(command("petmail-mailbox").args(arguments).arg("-d").arg(self.dir.path().join("mailbox")))
    }

    fn open_streams(&self) -> Value {
        let [status] = self.run(&["status", "--json"]).json().try_into().expect("one object");
        status.get("streams").cloned().unwrap_or_default()
    }

    fn node(&self, name: &str) -> Node {
        let rendezvous = format!("ws://127.0.0.1:{}/v1", self.port);
        let usual = ["--name", name, "--allow-private-transports", "--rendezvous", &rendezvous];
        let mut node = Node::create(&self.dir.path().join(name), &usual);
        node.start();
        node.accept_mailbox(self.run(&["offer"]).text().lines().last().expect("an offer"));
        node
    }

    /// Lets two nodes meet and talk through the proxy, and stops the servers.
    fn two_talk(self) {
        self.wait_for_proxy();
        let (alice, bob) = (self.node("Alice"), self.node("Bob"));
        meet(&alice, &bob);
        let both_listen = || (self.open_streams() == json!(2)).then_some(());
        eventually("both event streams are open", both_listen);
        for text in ["one", "two", "three"] {
            alice.send(1, text);
        }
        bob.receives(&["one", "two", "three"]);
        bob.send(1, "four");
        alice.receives(&["four"]);
        assert_eq!(self.open_streams(), json!(2), "the streams stay open");
        alice.is_well();
        bob.is_well();
        drop((alice, bob));
        let (status, log) = self.mailbox.terminate();
        assert!(status.success(), "{log:#?}");
        drop(self.rendezvous.stop());
    }
}

fn self_signed(dir: &Path) -> (String, String) {
    let made =
        rcgen::generate_simple_self_signed(vec!["mail.example.org".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("there is room");
    fs::write(&key, made.signing_key.serialize_pem()).expect("there is room");
    (cert.display().to_string(), key.display().to_string())
}

#[test]
fn two_nodes_talk_through_nginx() {
    check_commands("nginx/petmail.conf");
    let servers = Behind::start();
    let (cert, key) = self_signed(servers.dir.path());
    let tls = format!("listen 127.0.0.1:{} ssl http2;", free_port());
    let site = adapted(
        "nginx/petmail.conf",
        &[
            ("listen 443 ssl http2;", &tls),
            // Nodes accept no certificate that nobody vouches for, so they come here.
            ("listen [::]:443 ssl http2;", &format!("listen 127.0.0.1:{};", servers.port)),
            ("/etc/letsencrypt/live/mail.example.org/fullchain.pem", &cert),
            ("/etc/letsencrypt/live/mail.example.org/privkey.pem", &key),
            ("127.0.0.1:8080", &servers.mailbox_address),
            ("127.0.0.1:4000", servers.rendezvous.address()),
        ],
    );
    let site = servers.write("site.conf", &site);
    let dir = servers.dir.path().display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let main = format!(
        "{user} daemon off; pid {dir}/nginx.pid; error_log stderr; worker_processes 1; events {{}}\n\
         http {{ client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi; include {}; }}\n",
        site.display()
    );
    let main = servers.write("nginx.conf", &main);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let nginx =
        Process::spawn(Command::new("nginx").arg("-c").arg(&main).arg("-e").arg("stderr").env("PATH", path));
    servers.two_talk();
    let (status, log) = nginx.terminate();
    assert!(status.success(), "{log:#?}");
}

#[test]
fn two_nodes_talk_through_caddy() {
    check_commands("caddy/Caddyfile");
    let servers = Behind::start();
    let site = adapted(
        "caddy/Caddyfile",
        &[
            ("mail.example.org {", &format!("http://127.0.0.1:{} {{", servers.port)),
            ("127.0.0.1:8080", &servers.mailbox_address),
            ("127.0.0.1:4000", servers.rendezvous.address()),
        ],
    );
    let caddy = |arguments: &[&str], file: &Path| {
        let mut caddy = Command::new("caddy");
        caddy.args(arguments).args(["--adapter", "caddyfile", "--config"]).arg(file);
        caddy.env("XDG_DATA_HOME", servers.dir.path()).env("XDG_CONFIG_HOME", servers.dir.path());
        caddy
    };
    // As it stands there, too: the certificate would be asked for at start.
    let whole = servers.write("whole", &example("caddy/Caddyfile"));
    let validated = Outcome::of(&mut caddy(&["validate"], &whole));
    assert!(validated.text().contains("Valid configuration"), "{}", validated.remarks());
    let site = servers.write("Caddyfile", &format!("{{\n\tadmin off\n}}\n{site}"));
    let caddy = Process::spawn(&mut caddy(&["run"], &site));
    servers.two_talk();
    let (status, log) = caddy.terminate();
    assert!(status.success(), "{log:#?}");
}
