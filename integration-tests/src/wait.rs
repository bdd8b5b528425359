//! Waiting for something to become true, with an end.

use std::thread;
use std::time::Duration;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(25);

/// How often at most: two minutes, far above what anything takes on a busy machine.
const MAX_LOOKS: u32 = 4_800;

/// Looks until there is something to see, and returns it.
///
/// # Panics
/// If it does not come about; `what` says what was missed.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..MAX_LOOKS {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(INTERVAL);
    }
    panic!("it never came about: {what}");
}
