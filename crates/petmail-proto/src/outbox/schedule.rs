//! Which of a contact's transports is tried when: back-off after failures, and the fall-over to the next one.

use core::time::Duration;
use std::collections::BTreeMap;

use rand_core::CryptoRngCore;

use super::{Deposit, Entry, Route};
use crate::{keys::TransportId, time::UnixMillis};

/// The delay after the first failure.
pub const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The longest delay between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3_600);
/// How long the first transport may fail before the next one is used.
pub const FALL_OVER: Duration = Duration::from_secs(30);

/// What is known of each transport.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule(BTreeMap<TransportId, Failing>);

/// A transport that failed since its last success.
#[derive(Clone, Debug)]
struct Failing {
    failures: u32,
    since: UnixMillis,
    not_before: UnixMillis,
}

impl Schedule {
    /// Forgets transports that the contact has no more.
    pub(super) fn retain(&mut self, routes: &[Route]) {
        self.0.retain(|tid, _| routes.iter().any(|route| route.tid == *tid));
    }

    pub(super) fn retrying_at(&self) -> Option<UnixMillis> {
        self.0.values().map(|failing| failing.not_before).min()
    }

    pub(super) fn succeeded(&mut self, tid: TransportId) {
        self.0.remove(&tid);
    }

    pub(super) fn failed(
        &mut self,
        tid: TransportId,
        retry_after: Option<Duration>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) {
        let first = Failing { failures: 0, since: now, not_before: now };
        let failing = self.0.entry(tid).or_insert(first);
        let delay = backoff(failing.failures, rng).max(retry_after.unwrap_or_default().min(MAX_BACKOFF));
        failing.failures = failing.failures.saturating_add(1);
        failing.not_before = now.plus(delay);
    }

    pub(super) fn retry_now(&mut self) {
        for failing in self.0.values_mut() {
            failing.not_before = UnixMillis::default();
        }
    }

    /// Chooses where a message is offered now; else says when to ask again.
    ///
    /// A further copy may go to any of them, and the first as well if all get one `everywhere`; one with fewer copies of the message comes first, as the others may have lost
    /// theirs.
    pub(super) fn choose(
        &self,
        entry: &Entry,
        routes: &[Route],
        everywhere: bool,
        now: UnixMillis,
    ) -> Result<TransportId, UnixMillis> {
        let takes_any = everywhere || entry.is_taken();
        let (usable, more_at) = if takes_any { (routes, None) } else { self.usable(routes, now) };
        let copies = |route: &Route| entry.deposit(route.tid).map_or(0, |deposit| deposit.taken_at.len());
        let ready_at = |route: &Route| {
            let room_at = entry.deposit(route.tid).map_or(UnixMillis::default(), Deposit::has_room_at);
            room_at.max(self.not_before(route.tid))
        };
        let ready = usable.iter().filter(|route| ready_at(route) <= now);
        match ready.min_by_key(|route| copies(route)) {
            Some(route) => Ok(route.tid),
            None => Err(usable.iter().map(ready_at).chain(more_at).min().unwrap_or(now.plus(MAX_BACKOFF))),
        }
    }

    /// The transports that may be used: the first, and each next one once all before it have failed for long; and when the
    /// next one may.
    fn usable<'a>(&self, routes: &'a [Route], now: UnixMillis) -> (&'a [Route], Option<UnixMillis>) {
        let fails_over_at =
            |route: &Route| self.0.get(&route.tid).map(|failing| failing.since.plus(FALL_OVER));
        let failed =
            routes.iter().take_while(|route| fails_over_at(route).is_some_and(|at| at <= now)).count();
        let count = failed.saturating_add(1).min(routes.len());
        let more_at = routes.get(failed).filter(|_| count < routes.len()).and_then(fails_over_at);
        (routes.get(..count).unwrap_or_default(), more_at)
    }

    fn not_before(&self, tid: TransportId) -> UnixMillis {
        self.0.get(&tid).map_or(UnixMillis::default(), |failing| failing.not_before)
    }
}

/// The delay after `failures` earlier ones: doubling from [`MIN_BACKOFF`] to [`MAX_BACKOFF`], less up to a quarter.
pub fn backoff(failures: u32, rng: &mut impl CryptoRngCore) -> Duration {
    let full = MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_BACKOFF);
    let quarter = u64::try_from(full.as_millis() >> 2).unwrap_or(u64::MAX);
    let jitter = rng.next_u64().checked_rem(quarter.saturating_add(1)).unwrap_or_default();
    full.saturating_sub(Duration::from_millis(jitter))
}
