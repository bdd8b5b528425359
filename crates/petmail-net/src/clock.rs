//! The programs' one reader of the machine's clocks. Everything else takes time as an argument, so that simulations and
//! tests can set it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC by the machine's wall clock, which can jump; 0 if it stands before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    let now = SystemTime::now();
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// 2025-01-01: this program is younger.
const EARLIEST_MS: u64 = 1_735_689_600_000;

/// The machine's clock cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock of this machine stands {0} days before 2025")]
pub struct ClockError(u64);

/// Checks a time of the wall clock: one from before this program was written is wrong, and what a server signs or keeps by
/// it would be, too.
///
/// # Errors
/// [`ClockError`].
pub const fn check(unix_ms: u64) -> Result<(), ClockError> {
    match EARLIEST_MS.checked_sub(unix_ms) {
        None | Some(0) => Ok(()),
        Some(behind) => Err(ClockError(behind.div_ceil(24 * 3_600 * 1_000))),
    }
}

/// The monotonic clock, for durations within one run.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_from_before_this_program_is_wrong() {
        assert_eq!(check(unix_ms()), Ok(()));
        assert_eq!(check(EARLIEST_MS), Ok(()));
        assert_eq!(check(EARLIEST_MS - 1), Err(ClockError(1)));
        assert_eq!(
            check(0).unwrap_err().to_string(),
            "the clock of this machine stands 20089 days before 2025"
        );
    }
}
