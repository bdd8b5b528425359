//! Durable deliveries, beside the disk's limit, the price of the cryptography, and two servers that everybody knows.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::figures::{Load, milliseconds, per_thousand, row, show};
use super::people::start_mailbox;
use super::service::{Service, ask};
use super::{Stage, disk, postgres, redis};
use crate::shell::{cargo, target_dir};

/// How many deliver at once.
pub(super) const SENDERS: u32 = 64;

/// Measures every program in turn, several times, and shows the median of each.
pub(super) fn run(stage: &Stage, deliveries: u32, rounds: usize) -> Result<()> {
    let cryptography = cryptography()?;
    let mailbox = MailboxServer::start(stage)?;
    let (mut ours, mut disks, mut databases, mut streams) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(mailbox.measure(stage, deliveries, None)?);
        disks.push(disk::group_commit(&stage.dir)?);
        databases.extend(or_missing("PostgreSQL", postgres::measure(stage)));
        streams.extend(or_missing("Redis", redis::measure(stage)));
    }
    drop(mailbox);
    let Some(ours) = Load::median(ours) else { bail!("there has to be a round") };
    let mut rows = vec![head()];
    rows.push(compare("petmail-mailbox, TLS, 64 senders", &ours, &ours));
    rows.push(compare("public-key work alone, one thread", &ours, &cryptography));
    for (name, loads) in [
        ("64 writers that share `fdatasync`", disks),
        ("PostgreSQL insert + select + delete", databases),
        ("Redis XADD, `appendfsync always`", streams),
    ] {
        rows.extend(Load::median(loads).map(|theirs| compare(name, &ours, &theirs)));
    }
    show("Deliver", &rows);
    Ok(())
}

/// The head of a table of which [`compare`] makes the rows.
pub(super) fn head() -> Vec<String> {
    row(["", "a second", "p50", "p99", "server CPU s per 1,000", "our rate ÷ theirs", "our CPU ÷ theirs"])
}

pub(super) fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}

pub(super) fn compare(name: &str, ours: &Load, theirs: &Load) -> Vec<String> {
    let times = theirs.times.map(|(p50, p99)| (milliseconds(p50), milliseconds(p99)));
    let (p50, p99) = times.unwrap_or_default();
    let cpu_ratio = ours.cpu.zip(theirs.cpu).map(|(ours, theirs)| format!("{:.2}", ours / theirs));
    vec![
        name.to_owned(),
        format!("{:.0}", theirs.rate),
        p50,
        p99,
        theirs.cpu.map(|cpu| format!("{cpu:.3}")).unwrap_or_default(),
        format!("{:.2}", ours.rate / theirs.rate),
        cpu_ratio.unwrap_or_default(),
    ]
}

/// Says what is missing instead of a figure.
pub(super) fn or_missing(name: &str, measured: Result<Load>) -> Option<Load> {
    measured.inspect_err(|error| println!("{name} is left out: {error:#}")).ok()
}

/// Measures what it costs to open a message, by the benchmark of `petmail-proto`.
fn cryptography() -> Result<Load> {
    let mut bench =
        cargo(["bench", "--quiet", "--locked", "--package", "petmail-proto", "--bench", "delivery"]);
    let printed = ask(bench.arg("--target-dir").arg(target_dir()?))?;
    let micros = printed.lines().find_map(|line| line.strip_prefix("open: ")?.strip_suffix(" µs"));
    let micros: f64 = micros.with_context(|| format!("no figure in {printed:?}"))?.parse()?;
    Ok(Load { rate: 1e6 / micros, times: None, cpu: Some(micros / 1e3) })
}

/// A mailbox server that runs.
pub(super) struct MailboxServer {
    pub(super) server: Service,
    pub(super) url: String,
    pub(super) basedir: PathBuf,
}

impl MailboxServer {
    fn start(stage: &Stage) -> Result<Self> {
        let (server, url) = start_mailbox(stage, "deliver-mailbox")?;
        Ok(Self { server, url, basedir: stage.dir.join("deliver-mailbox") })
    }

    /// Lets the load program deliver to a new account, or to those of a list, and counts the server's time meanwhile.
    pub(super) fn measure(&self, stage: &Stage, deliveries: u32, crowd: Option<&Path>) -> Result<Load> {
        let mut load = self.load_program(stage, deliveries, crowd)?;
        let mut lines = BufReader::new(load.stdout.take().context("standard output is piped")?).lines();
        let sealed = lines.next().transpose()?;
        if sealed.as_deref() != Some("sealed") {
            bail!("the load program said {sealed:?}");
        }
        let before = self.server.cpu_time()?;
        load.stdin.take().context("standard input is piped")?.write_all(b"\n")?;
        let result = lines.next().context("the load program ended without a result")??;
        let cpu = self.server.cpu_time()? - before;
        load.wait()?;
        let result: Value = serde_json::from_str(&result)?;
        let number = |name: &str| result.get(name).and_then(Value::as_f64).context("a figure is missing");
        let times = (Duration::from_secs_f64(number("p50")?), Duration::from_secs_f64(number("p99")?));
        let rate = f64::from(deliveries) / number("seconds")?;
        Ok(Load { rate, times: Some(times), cpu: Some(per_thousand(cpu, deliveries)) })
    }

    fn load_program(&self, stage: &Stage, deliveries: u32, crowd: Option<&Path>) -> Result<Child> {
        let basedir = &self.basedir;
        let mut offer = Command::new(stage.programs.join("petmail-mailbox"));
        let printed = ask(offer.args(["offer", "--mailbox-quota", "100GB", "-d"]).arg(basedir))?;
        let offer = printed.lines().last().context("no offer was printed")?;
        let mut load = Command::new(stage.programs.join("examples/deliveries"));
        load.args([&self.url, offer, &deliveries.to_string(), &SENDERS.to_string()]);
        load.arg(basedir.join("tls-cert.pem")).args(crowd);
        load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the load program")
    }
}
