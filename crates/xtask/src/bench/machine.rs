//! What the system says about the machine and its processes: the clock, processor time, memory. Linux only.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How finely Linux tells the processor time of a process.
const TICK: Duration = Duration::from_millis(10);

/// Reads the clock.
#[expect(clippy::disallowed_methods, reason = "the clock adapter of the measurements")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Returns what this machine is, and how busy, in one line.
pub(super) fn describe() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{processors} processors ({}), load {load} before the start",
        model.trim_start_matches(['\t', ' ', ':'])
    )
}

/// Returns the processor time of a process and its children, those that have ended included.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = own_cpu_time(pid, Of::ItselfAndEnded)?;
    for child in children(pid)? {
        // One that ends just now is counted at its parent the next time.
        total += cpu_time(child).unwrap_or_default();
    }
    Ok(total)
}

/// Returns the processor time of all programs that this one started and that have ended.
pub(super) fn ended_children_cpu_time() -> Result<Duration> {
    own_cpu_time(std::process::id(), Of::Ended)
}

/// Lets the most memory that a process has held begin with what it holds now (proc(5), `clear_refs`).
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Returns the most memory that a process has held so far, in bytes.
pub(super) fn peak_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    Ok(peak.context("Linux tells the peak")?.parse::<u64>()? * 1_024)
}

/// Returns the memory that a process holds, in bytes.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

enum Of {
    ItselfAndEnded,
    Ended,
}

fn own_cpu_time(pid: u32, of: Of) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain anything; the fields after it are numbers. Source: proc(5), fields 14 to 17.
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let ticks: Vec<u32> = fields
        .split(' ')
        .skip(11)
        .take(4)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("no numbers in stat")?;
    let counted = match of {
        Of::ItselfAndEnded => ticks.iter().sum::<u32>(),
        Of::Ended => ticks.iter().skip(2).sum(),
    };
    Ok(TICK * counted)
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}
