//! A node's wall clock, which may be wrong; timers run by the world's.

use std::time::Duration;

use petmail_proto::time::UnixMillis;

/// By how much a clock is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// How far it is ahead.
    pub(super) ahead: Duration,
    /// How far it is behind.
    pub(super) behind: Duration,
}

impl Clock {
    /// What the clock shows at `time`.
    pub(super) fn shows(self, time: UnixMillis) -> UnixMillis {
        time.plus(self.ahead).minus(self.behind)
    }

    /// When the clock shows `shown`.
    pub(super) fn time(self, shown: UnixMillis) -> UnixMillis {
        shown.plus(self.behind).minus(self.ahead)
    }
}
