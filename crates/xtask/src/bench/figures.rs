//! The figures, and how they are shown: Markdown, to be kept.

use std::time::Duration;

/// Waiting times, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    /// Returns the time that `percent` of all are not longer than.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

/// What a program did in a while.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// How many a second.
    pub(super) rate: f64,
    /// How long half of them took at most, and all but one in a hundred.
    pub(super) times: Option<(Duration, Duration)>,
    /// Processor seconds of the server for a thousand.
    pub(super) cpu: Option<f64>,
}

impl Load {
    /// Returns the one in the middle, by rate.
    pub(super) fn median(mut rounds: Vec<Self>) -> Option<Self> {
        rounds.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        rounds.get(rounds.len() / 2).cloned()
    }
}

/// Returns processor seconds for a thousand.
pub(super) fn per_thousand(cpu: Duration, count: u32) -> f64 {
    cpu.as_secs_f64() * 1_000.0 / f64::from(count)
}

/// Shows a table; the first row is the head.
pub(super) fn show(title: &str, rows: &[Vec<String>]) {
    println!("### {title}\n");
    for (number, row) in rows.iter().enumerate() {
        println!("| {} |", row.join(" | "));
        if number == 0 {
            println!("|{}", "---|".repeat(row.len()));
        }
    }
    println!();
}

/// Returns a row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
