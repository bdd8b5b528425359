//! The setting of the demo, without its talk: a rendezvous server, a mailbox server, and two nodes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Stage;
use super::api::Client;
use super::figures::{mebibytes, row, seconds, show};
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
    stage: Stage,
}

/// What a node is filled with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seed {
    /// Both nodes, until they have so many.
    Contacts,
    /// Bob's, so many more.
    Messages,
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
        Ok(Self { rendezvous_url, services, alice, bob, stage: stage.clone() })
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

    /// Lets what [`peaks`](Self::peaks) says begin now.
    pub(super) fn forget_peaks(&self) -> Result<()> {
        self.services.iter().try_for_each(Service::forget_peak)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name.as_str())
    }

    pub(super) fn alice(&self) -> Result<Client> {
        Client::connect(&self.alice.url, &self.alice.basedir)
    }

    /// Where bob's node is.
    pub(super) fn basedir_of_bob(&self) -> &Path {
        &self.bob.basedir
    }

    pub(super) fn bob(&self) -> Result<Client> {
        Client::connect(&self.bob.url, &self.bob.basedir)
    }

    /// Returns the processor time of one program.
    pub(super) fn cpu_of(&self, name: &str) -> Result<Duration> {
        self.service(name)?.cpu_time()
    }

    pub(super) fn resident_bytes(&self, name: &str) -> Result<u64> {
        self.service(name)?.resident_bytes()
    }

    /// Returns the most memory that each program has held so far, in bytes.
    pub(super) fn peaks(&self) -> Result<Vec<(String, u64)>> {
        self.services.iter().map(|service| Ok((service.name.clone(), service.peak_bytes()?))).collect()
    }

    fn service(&self, name: &str) -> Result<&Service> {
        let service = self.services.iter().find(|service| service.name == name);
        service.with_context(|| format!("{name} does not run"))
    }

    /// Stops both nodes, fills their databases, and starts them; returns how long Bob's took.
    pub(super) fn restart_nodes(&mut self, seed: Option<(Seed, u64)>) -> Result<Duration> {
        // Dropping waits for their end.
        drop(self.services.drain(..2));
        if let Some((seed, count)) = seed {
            let (what, nodes) = match seed {
                Seed::Contacts => ("contacts", vec![&self.alice, &self.bob]),
                Seed::Messages => ("messages", vec![&self.bob]),
            };
            for node in nodes {
                let mut fill = self.stage.program("examples/seed");
                ask(fill.arg(&node.basedir).args([what, &count.to_string()]))?;
            }
        }
        let alice = self.alice.start("alice")?;
        let begun = machine::now();
        let bob = self.bob.start("bob")?;
        let took = begun.elapsed();
        self.services.splice(0..0, [alice, bob]);
        Ok(took)
    }

    /// Stops the mailbox server.
    pub(super) fn stop_mailbox(&mut self) -> Result<()> {
        self.service("mailbox")?;
        self.services.retain(|service| service.name != "mailbox");
        Ok(())
    }

    /// Starts the mailbox server where it was.
    pub(super) fn start_mailbox(&mut self) -> Result<()> {
        let (mailbox, _) = serve_mailbox(&self.stage, "mailbox")?;
        self.services.insert(2, mailbox);
        Ok(())
    }

    /// Measures what the programs take while nothing happens.
    pub(super) fn idle(&self) -> Result<()> {
        thread::sleep(SETTLE);
        let before = self.cpu_times()?;
        thread::sleep(IDLE);
        let mut rows = vec![row(["", "CPU in a minute", "resident"])];
        for ((service, before), after) in self.services.iter().zip(before).zip(self.cpu_times()?) {
            let resident = mebibytes(service.resident_bytes()?);
            rows.push(vec![service.name.clone(), seconds(after - before), resident]);
        }
        show("Idle", &rows);
        Ok(())
    }
}

impl Node {
    fn start(&mut self, name: &str) -> Result<Service> {
        let log = self.basedir.with_extension("log");
        let (service, url) = Service::ready(name, self.petmail().args(["start", "--foreground"]), &log)?;
        self.url = url;
        Ok(service)
    }

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
    serve_mailbox(stage, name)
}

pub(super) fn serve_mailbox(stage: &Stage, name: &str) -> Result<(Service, String)> {
    let dir = stage.dir.join(name);
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
    let mut node = Node { basedir, url: String::new() };
    let service = node.start(name)?;
    let printed = ask(stage
        .program("petmail-mailbox")
        .args(["offer", "--storage-quota", "50GB", "-d"])
        .arg(stage.dir.join("mailbox")))?;
    let offer = printed.lines().last().context("no offer was printed")?;
    ask(node.petmail().args(["accept-mailbox", offer]))?;
    Ok((service, node))
}

impl Stage {
    pub(super) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }
}
