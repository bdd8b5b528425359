//! The setting of the demo, without its talk: a rendezvous server, a mailbox server, and two nodes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::api::Client;
use super::figures::{row, seconds, show};
use super::machine;
use super::service::{Service, ask, free_port};

/// How long idleness is measured, and how long everything may settle before.
const IDLE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(5);

/// One client for all is what the limits for one address are against.
const LIMITS: &str =
    "[network]\nrequests_per_second_per_address = 1000000\nrequest_burst_per_address = 1000000\n";

#[derive(Debug)]
pub(super) struct People {
    pub(super) rendezvous_url: String,
    /// Rendezvous, mailbox, and the nodes of Alice and Bob.
    services: Vec<Service>,
    alice: Node,
    bob: Node,
}

#[derive(Debug)]
struct Node {
    basedir: PathBuf,
    url: String,
}

impl People {
    pub(super) fn start(stage: &Stage) -> Result<Self> {
        let (rendezvous, rendezvous_url) = start_rendezvous(stage)?;
        let (mailbox, _) = start_mailbox(stage, "mailbox")?;
        let (alice_service, alice) = start_node(stage, "alice", &rendezvous_url)?;
        let (bob_service, bob) = start_node(stage, "bob", &rendezvous_url)?;
        // Nodes first when they are dropped.
        let services = vec![alice_service, bob_service, mailbox, rendezvous];
        Ok(Self { rendezvous_url, services, alice, bob })
    }

    /// Lets the two meet, and returns how long it took from the typed code until both have each other.
    pub(super) fn meet(&self) -> Result<Duration> {
        let mut invite = self.alice.petmail();
        invite.args(["invite", "--wait"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut invite = invite.spawn().context("cannot run petmail")?;
        let mut code = String::new();
        BufReader::new(invite.stdout.take().context("standard output is piped")?).read_line(&mut code)?;
        let typed = machine::now();
        ask(self.bob.petmail().args(["invite", code.trim(), "--wait"]))?;
        let status = invite.wait()?;
        ensure!(status.success(), "the inviting side: {status}");
        Ok(typed.elapsed())
    }

    /// Returns the processor time of all programs, those included that were started for a moment.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let services: Duration = self.cpu_times()?.into_iter().sum();
        Ok(services + machine::ended_children_cpu_time()?)
    }

    /// Returns the processor time of each program that runs.
    pub(super) fn cpu_times(&self) -> Result<Vec<Duration>> {
        self.services.iter().map(Service::cpu_time).collect()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    pub(super) fn alice(&self) -> Result<Client> {
        Client::connect(&self.alice.url, &self.alice.basedir)
    }

    pub(super) fn bob(&self) -> Result<Client> {
        Client::connect(&self.bob.url, &self.bob.basedir)
    }

    /// Measures what the programs take while nothing happens.
    pub(super) fn idle(&self) -> Result<()> {
        thread::sleep(SETTLE);
        let before = self.cpu_times()?;
        thread::sleep(IDLE);
        let mut rows = vec![row(["", "CPU in a minute", "resident"])];
        for ((service, before), after) in self.services.iter().zip(before).zip(self.cpu_times()?) {
            let mebibytes = service.resident_bytes()? as f64 / f64::from(1 << 20);
            rows.push(vec![service.name.clone(), seconds(after - before), format!("{mebibytes:.1} MiB")]);
        }
        show("Idle", &rows);
        Ok(())
    }
}

impl Node {
    /// Returns the `petmail` that knows this node.
    fn petmail(&self) -> Command {
        Command::new(self.basedir.join("petmail"))
    }
}

/// Starts a mailbox server with a self-signed certificate, and returns it with its URL.
pub(super) fn start_mailbox(stage: &Stage, name: &str) -> Result<(Service, String)> {
    let (dir, port) = (stage.dir.join(name), free_port()?);
    let url = format!("https://127.0.0.1:{port}");
    ask(stage.program("petmail-mailbox").args(["init", "--url", &url]).arg(&dir))?;
    std::fs::write(dir.join("config.toml"), LIMITS)?;
    let mut serve = stage.program("petmail-mailbox");
    Service::ready(name, serve.args(["serve", "-d"]).arg(&dir), &dir.with_extension("log"))
}

fn start_rendezvous(stage: &Stage) -> Result<(Service, String)> {
    let dir = stage.dir.join("rendezvous");
    let mut serve = stage.program("petmail-rendezvous");
    serve.args(["serve", "--listen", "127.0.0.1:0", "-d"]).arg(&dir);
    Service::ready("rendezvous", &mut serve, &dir.with_extension("log"))
}

fn start_node(stage: &Stage, name: &str, rendezvous: &str) -> Result<(Service, Node)> {
    let basedir = stage.dir.join(name);
    let mut create = stage.program("petmail-node");
    create.arg("create-node").arg(&basedir).args(["--rendezvous", rendezvous]);
    ask(create.args(["--name", name, "--allow-private-transports"]))?;
    let mut start = Command::new(basedir.join("petmail"));
    let log = basedir.with_extension("log");
    let (service, url) = Service::ready(name, start.args(["start", "--foreground"]), &log)?;
    let node = Node { basedir, url };
    let printed =
        ask(stage.program("petmail-mailbox").arg("offer").arg("-d").arg(stage.dir.join("mailbox")))?;
    let offer = printed.lines().last().context("no offer was printed")?;
    ask(node.petmail().args(["accept-mailbox", offer]))?;
    Ok((service, node))
}

impl Stage {
    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }
}
