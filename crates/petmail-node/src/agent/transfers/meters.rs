//! How fast transfers are going. Nothing of it is stored.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    agent::{records::transfers::Hitch, view::file::with_hitch},
    api::types::FileView,
};

/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// How much the newest measurement counts.
const NEWEST: f64 = 0.3;

/// What is known of the transfers under way.
#[derive(Debug, Default)]
pub(in crate::agent) struct Meters(BTreeMap<u64, Meter>);

#[derive(Debug)]
struct Meter {
    done: u64,
    total: u64,
    /// When it was measured last, and what was done then.
    at: Instant,
    done_then: u64,
    /// Bytes a second.
    rate: Option<f64>,
    /// What it waits for.
    waits: Option<Hitch>,
}

impl Meters {
    pub(super) fn begin(&mut self, id: u64, total: u64) {
        let now = Instant::now();
        self.0.insert(id, Meter { done: 0, total, at: now, done_then: 0, rate: None, waits: None });
    }

    /// Notes progress; tells whether it is time to show it.
    pub(super) fn advance(&mut self, id: u64, bytes: u64) -> bool {
        let Some(meter) = self.0.get_mut(&id) else { return false };
        meter.done = meter.done.saturating_add(bytes).min(meter.total);
        let waited = meter.waits.take().is_some();
        let passed = meter.at.elapsed();
        if passed < SHOW_EVERY {
            return waited;
        }
        let newest = approximately(meter.done.saturating_sub(meter.done_then)) / passed.as_secs_f64();
        meter.rate = Some(meter.rate.map_or(newest, |rate| rate + (newest - rate) * NEWEST));
        (meter.at, meter.done_then) = (Instant::now(), meter.done);
        true
    }

    /// Notes what a transfer waits for; tells whether that is new.
    pub(super) fn wait(&mut self, id: u64, hitch: Hitch) -> bool {
        let meter = self.0.entry(id).or_insert_with(|| Meter {
            done: 0,
            total: u64::MAX,
            at: Instant::now(),
            done_then: 0,
            rate: None,
            waits: None,
        });
        meter.rate = None;
        let is_new = meter.waits.as_ref() != Some(&hitch);
        meter.waits = Some(hitch);
        is_new
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }

    /// Shows how far a transfer is.
    pub(super) fn show(&self, id: u64, view: FileView) -> FileView {
        let Some(meter) = self.0.get(&id) else { return view };
        let left = approximately(view.size.saturating_sub(meter.done));
        let seconds = meter.rate.filter(|rate| *rate >= 1.0).map(|rate| left / rate);
        let view = FileView {
            done: Some(meter.done),
            rate: meter.rate.map(whole),
            seconds_left: seconds.map(whole),
            ..view
        };
        meter.waits.iter().fold(view, with_hitch)
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is for people")]
fn approximately(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "no number here is negative, and a cast saturates"
)]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}
