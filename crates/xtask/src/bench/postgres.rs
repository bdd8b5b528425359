//! PostgreSQL as a queue: 64 connections that insert a message, read it, and delete it, each in a transaction of its own.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::deliver::SENDERS;
use super::figures::{Load, Times};
use super::service::{POLL, Service, ask, free_port};
use super::{Stage, temporary};

const SECONDS: u32 = 8;

const SCHEMA: &str =
    "create table queue(id bigserial primary key, account int not null, body bytea not null)";

/// What each connection does over and over; pgbench fills in the names with a colon.
const SCRIPT: &str = "insert into queue(account, body) values (:client_id, :body) returning id \\gset
select body from queue where id = :id;
delete from queue where id = :id;
";

/// Starts a server of its own, measures it, and removes it.
pub(super) fn measure(stage: &Stage) -> Result<Load> {
    let database = Database::start(stage)?;
    database.run(database.client("psql").args(["--quiet", "--command", SCHEMA]))?;
    let before = database.server.cpu_time()?;
    let dir = database.dir.path();
    let script = dir.join("script.sql");
    fs::write(&script, SCRIPT)?;
    let mut pgbench = database.client("pgbench");
    pgbench.args(["--no-vacuum", "--protocol=prepared", "--log", "--jobs=1"]).arg("--file").arg(&script);
    pgbench.arg(format!("--client={SENDERS}")).arg(format!("--time={SECONDS}"));
    pgbench.arg(format!("--define=body=\\x{}", "61".repeat(1024)));
    pgbench.arg(format!("--log-prefix={}", dir.join("times").display()));
    database.run(&mut pgbench)?;
    let cpu = (database.server.cpu_time()? - before).as_secs_f64();
    let times = logged_times(dir)?;
    let (count, times): (f64, Times) = (times.len() as f64, times.into_iter().collect());
    Ok(Load {
        rate: count / f64::from(SECONDS),
        times: Some((times.median(), times.percentile(99))),
        cpu: Some(cpu * 1_000.0 / count),
    })
}

struct Database {
    server: Service,
    programs: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    dir: TempDir,
}

impl Database {
    fn start(stage: &Stage) -> Result<Self> {
        let programs = programs()?;
        // Beside the others: the folder of root's own data is closed to the user of the database.
        let dir = temporary(stage.dir.parent().context("the folder has a parent")?)?;
        let user = user()?;
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid))?;
        }
        let data = dir.path().join("data");
        let mut init = as_user(&programs.join("initdb"), user);
        ask(init.args(["--auth=trust", "--username=bench", "--no-sync", "-D"]).arg(&data))?;
        let port = free_port()?;
        let mut serve = as_user(&programs.join("postgres"), user);
        serve.arg("-D").arg(&data).arg("-k").arg(dir.path()).arg("-p").arg(port.to_string());
        serve.args(["-h", "127.0.0.1", "-c", "synchronous_commit=on", "-c", "max_connections=100"]);
        let server = Service::listening("PostgreSQL", &mut serve, port, &stage.dir.join("postgres.log"))?;
        let database = Self { server, programs, port, user, dir };
        database.wait_until_ready()?;
        Ok(database)
    }

    /// It listens before it lets anyone in.
    fn wait_until_ready(&self) -> Result<()> {
        let (pause, times) = POLL;
        for _ in 1..times {
            if self.run(&mut self.client("pg_isready")).is_ok() {
                return Ok(());
            }
            thread::sleep(pause);
        }
        self.run(&mut self.client("pg_isready"))
    }

    fn client(&self, name: &str) -> Command {
        let mut client = as_user(&self.programs.join(name), self.user);
        client.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        client.env("PGUSER", "bench").env("PGDATABASE", "postgres").env("PGCONNECT_TIMEOUT", "10");
        client
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        ask(command.current_dir(self.dir.path())).map(drop)
    }
}

/// Returns where PostgreSQL has its programs: Debian keeps those of each version in a folder of its own.
fn programs() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut debian: Vec<_> = debian.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_all =
        |dir: &PathBuf| ["initdb", "postgres", "pgbench"].iter().all(|name| dir.join(name).exists());
    let mut found = debian.into_iter().rev().chain(std::env::split_paths(&path)).filter(has_all);
    found.next().context("it is not installed (apt-get install postgresql)")
}

/// Returns the user and group that the server has to run as: it refuses root.
fn user() -> Result<Option<(u32, u32)>> {
    let id =
        |arguments: &[&str]| -> Result<u32> { Ok(ask(Command::new("id").args(arguments))?.trim().parse()?) };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Reads how long each round of the script took. Source: the manual of pgbench, "Per-Transaction Logging".
fn logged_times(dir: &Path) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"times")) {
            let log = fs::read_to_string(path)?;
            let micros = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
            times.extend(micros.map(Duration::from_micros));
        }
    }
    Ok(times)
}
