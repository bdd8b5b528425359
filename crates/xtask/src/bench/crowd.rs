//! A mailbox server with many accounts, many messages, or many streams: what each takes, and what deliveries notice of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use super::deliver::{self, MailboxServer, compare, head, or_missing};
use super::figures::{Load, mebibytes, row, seconds, show};
use super::machine::now;
use super::people::serve_mailbox;
use super::service::{ask, free_port};
use super::{Stage, postgres, redis};

/// How many accounts a server has in turn.
const ACCOUNTS: [u32; 3] = [1, 1_000, 100_000];
/// Memory of an account: between so many and so many, so that what the store caches is in both.
const EMPTY_ACCOUNTS: [u32; 2] = [100_000, 200_000];
/// How many messages are stored at a start.
const STORED: u32 = 200_000;
/// How many messages are over at once.
const DUE: u32 = 100_000;
/// How many streams are open, if the limit of descriptors allows it, and how many one client process has.
const STREAMS: u64 = 20_000;
const STREAMS_A_PROCESS: u64 = 5_000;
/// Descriptors of the server beside its streams.
const OTHER_DESCRIPTORS: u64 = 300;
/// How long a program is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

const LIMITS: &str = "[network]\nrequests_per_second_per_address = 1000000\nrequest_burst_per_address = 1000000\n\
    max_connections = 100000\nmax_connections_per_address = 100000\nmax_requests_in_flight = 100000\n\
    max_requests_in_flight_per_address = 100000\n";

/// A mailbox server that was filled while it was stopped.
struct Crowd<'s> {
    stage: &'s Stage,
    name: String,
    basedir: PathBuf,
    url: String,
    /// The accounts, for the load programs.
    list: PathBuf,
}

impl<'s> Crowd<'s> {
    fn fill(stage: &'s Stage, name: &str, accounts: u32, messages: u32, is_due: bool) -> Result<Self> {
        let basedir = stage.dir.join(name);
        let url = format!("https://127.0.0.1:{}", free_port()?);
        let list = basedir.with_extension("accounts");
        ask(stage.program("petmail-mailbox").args(["init", "--url", &url]).arg(&basedir))?;
        fs::write(basedir.join("config.toml"), LIMITS)?;
        let counts = [accounts, messages, u32::from(is_due)].map(|count| count.to_string());
        let mut fill = stage.program("examples/crowd");
        ask(fill.arg("fill").arg(&basedir).args(counts).arg(&list))?;
        Ok(Self { stage, name: name.to_owned(), basedir, url, list })
    }

    /// Starts it; tells how long it takes until it is ready.
    fn serve(&self) -> Result<(MailboxServer, Duration)> {
        let begun = now();
        let (server, url) = serve_mailbox(self.stage, &self.name)?;
        Ok((MailboxServer { server, url, basedir: self.basedir.clone() }, begun.elapsed()))
    }

    /// Lets a process open streams of some accounts, and waits until they are.
    fn open_streams(&self, first: u64, count: u64, protocol: &str) -> Result<Child> {
        let printed = ask(self.stage.program("petmail-mailbox").args(["offer", "-d"]).arg(&self.basedir))?;
        let offer = printed.lines().last().context("no offer was printed")?;
        let mut client = self.stage.program("examples/crowd");
        client.args(["streams", &self.url, offer]).arg(self.basedir.join("tls-cert.pem")).arg(&self.list);
        client.args([first, count].map(|number| number.to_string())).arg(protocol);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().context("standard output is piped")?).read_line(&mut said)?;
        if said.trim_end() == "open" {
            Ok(child)
        } else {
            bail!("the streams do not open: {:?}", child.wait()?)
        }
    }

    fn measure_streams(&self, count: u64, protocol: &str) -> Result<Vec<String>> {
        let (server, _) = self.serve()?;
        thread::sleep(SETTLE);
        let before = (server.server.resident_bytes()?, server.server.cpu_time()?);
        let mut clients = Vec::new();
        let begun = now();
        for first in (0..count).step_by(usize::try_from(STREAMS_A_PROCESS)?) {
            clients.push(self.open_streams(first, STREAMS_A_PROCESS.min(count - first), protocol)?);
        }
        let took = begun.elapsed();
        thread::sleep(SETTLE);
        let (resident, cpu) = (server.server.resident_bytes()?, server.server.cpu_time()?);
        let a_stream = resident.saturating_sub(before.0) / count;
        for mut client in clients {
            drop(client.stdin.take());
            client.wait()?;
        }
        Ok(vec![
            format!("{count}, {protocol}"),
            seconds(took),
            deliver::micros(cpu.saturating_sub(before.1) / u32::try_from(count)?),
            mebibytes(before.0),
            mebibytes(resident),
            format!("{:.1} KiB", a_stream as f64 / 1024.0),
        ])
    }

    fn messages(&self) -> Result<u64> {
        let mut status = self.stage.program("petmail-mailbox");
        let status: Value =
            serde_json::from_str(&ask(status.args(["status", "--json", "-d"]).arg(&self.basedir))?)?;
        status.get("messages").and_then(Value::as_u64).context("no messages in the status")
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.basedir)?;
        Ok(fs::remove_file(&self.list)?)
    }
}

/// Deliveries with ever more accounts, each message for another one, beside the two servers that everybody knows.
pub(super) fn accounts(stage: &Stage, deliveries: u32, rounds: usize) -> Result<()> {
    let mut ours: Vec<Vec<Load>> = ACCOUNTS.map(|_| Vec::new()).into();
    let (mut databases, mut streams) = (Vec::new(), Vec::new());
    let crowds: Result<Vec<_>> = ACCOUNTS
        .iter()
        .map(|count| Crowd::fill(stage, &format!("crowd-{count}"), *count, 0, false))
        .collect();
    let crowds = crowds?;
    for _ in 0..rounds {
        for (crowd, loads) in crowds.iter().zip(&mut ours) {
            let (server, _) = crowd.serve()?;
            loads.push(server.measure(stage, deliveries, Some(&crowd.list))?);
        }
        databases.extend(or_missing("PostgreSQL", postgres::measure(stage)));
        streams.extend(or_missing("Redis", redis::measure(stage)));
    }
    let medians: Vec<_> = ours.into_iter().filter_map(Load::median).collect();
    let Some(first) = medians.first() else { bail!("there has to be a round") };
    let mut rows = vec![head()];
    for (count, load) in ACCOUNTS.iter().zip(&medians) {
        rows.push(compare(&format!("petmail-mailbox, {count} accounts"), first, load));
    }
    for (name, loads) in
        [("PostgreSQL insert + select + delete", databases), ("Redis XADD, `appendfsync always`", streams)]
    {
        rows.extend(Load::median(loads).map(|theirs| compare(name, first, &theirs)));
    }
    show("Deliveries with many accounts", &rows);
    crowds.into_iter().try_for_each(Crowd::remove)
}

/// The memory of an account that holds nothing, and how long a start takes with accounts or messages.
pub(super) fn start(stage: &Stage) -> Result<()> {
    let mut rows = vec![row(["accounts", "messages", "start", "resident", "a further account"])];
    let mut before: Option<(u32, u64)> = None;
    for (accounts, messages) in
        [(1, 0), (1, STORED)].into_iter().chain(EMPTY_ACCOUNTS.map(|count| (count, 0)))
    {
        let crowd = Crowd::fill(stage, &format!("start-{accounts}-{messages}"), accounts, messages, false)?;
        let (server, took) = crowd.serve()?;
        thread::sleep(SETTLE);
        let resident = server.server.resident_bytes()?;
        let further = before.filter(|(fewer, _)| *fewer > 1).map(|(fewer, bytes)| {
            format!("{} bytes", resident.saturating_sub(bytes) / u64::from(accounts - fewer))
        });
        before = Some((accounts, resident));
        rows.push(vec![
            accounts.to_string(),
            messages.to_string(),
            seconds(took),
            mebibytes(resident),
            further.unwrap_or_default(),
        ]);
        drop(server);
        crowd.remove()?;
    }
    show("Start", &rows);
    Ok(())
}

/// Deliveries while messages are swept, beside deliveries while none are.
pub(super) fn sweep(stage: &Stage, deliveries: u32, rounds: usize) -> Result<()> {
    let quiet = Crowd::fill(stage, "quiet", 1, 0, false)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (server, _) = quiet.serve()?;
        without.push(server.measure(stage, deliveries, None)?);
        drop(server);
        let busy = Crowd::fill(stage, "busy", 1, DUE, true)?;
        let (server, _) = busy.serve()?;
        with.push(server.measure(stage, deliveries, None)?);
        let left = busy.messages()?.saturating_sub(u64::from(deliveries));
        ensure!(left > 0 && left < u64::from(DUE), "{left} of {DUE} were left at the end");
        drop(server);
        busy.remove()?;
    }
    let (Some(without), Some(with)) = (Load::median(without), Load::median(with)) else {
        bail!("there has to be a round")
    };
    let rows = [
        head(),
        compare("nothing to sweep", &without, &without),
        compare(&format!("while {DUE} messages are swept"), &without, &with),
    ];
    show("Sweeping", &rows);
    quiet.remove()
}

/// The memory of an open event stream that has nothing to do, by each protocol: the servers are started anew for it.
pub(super) fn streams(stage: &Stage) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = STREAMS.min(limit.saturating_sub(OTHER_DESCRIPTORS));
    let crowd = Crowd::fill(stage, "streams", u32::try_from(count)?, 0, false)?;
    let mut rows = vec![row([
        "streams, TLS",
        "all open after",
        "CPU to open one",
        "resident before",
        "resident",
        "a stream",
    ])];
    for protocol in ["h2", "http/1.1"] {
        rows.push(crowd.measure_streams(count, protocol)?);
    }
    show("Idle event streams", &rows);
    crowd.remove()
}
