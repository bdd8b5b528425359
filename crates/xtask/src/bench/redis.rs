//! Redis as a queue: 64 connections that append to a stream, each answer after the flush.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::deliver::SENDERS;
use super::figures::{Load, per_thousand};
use super::service::{Service, ask, free_port};
use super::{Stage, temporary};
use crate::shell::succeeds;

const MESSAGES: u32 = 50_000;

/// Starts a server of its own, measures it, and removes it.
pub(super) fn measure(stage: &Stage) -> Result<Load> {
    ensure!(
        succeeds(Command::new("redis-server").arg("--version")),
        "it is not installed (apt-get install redis-server)"
    );
    let (dir, port) = (temporary(&stage.dir)?, free_port()?);
    let mut serve = Command::new("redis-server");
    serve.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    serve.arg("--port").arg(port.to_string()).arg("--dir").arg(dir.path());
    let server = Service::listening("Redis", &mut serve, port, &stage.dir.join("redis.log"))?;
    let before = server.cpu_time()?;
    let mut client = Command::new("redis-benchmark");
    client.args(["--csv", "-p", &port.to_string(), "-c", &SENDERS.to_string(), "-n", &MESSAGES.to_string()]);
    let printed = ask(client.args(["XADD", "queue", "*", "body", &"a".repeat(1024)]))?;
    let cpu = server.cpu_time()? - before;
    // The columns are: test, a second, then milliseconds: average, least, p50, p95, p99, most.
    let line = printed.lines().last().context("redis-benchmark printed nothing")?;
    let figures: Vec<f64> = line.rsplit(',').map_while(|cell| cell.trim_matches('"').parse().ok()).collect();
    let [_, p99, _, p50, _, _, rate] = figures.as_slice() else { bail!("redis-benchmark printed {line:?}") };
    let time = |milliseconds: &f64| Duration::from_secs_f64(milliseconds / 1_000.0);
    Ok(Load { rate: *rate, times: Some((time(p50), time(p99))), cpu: Some(per_thousand(cpu, MESSAGES)) })
}
