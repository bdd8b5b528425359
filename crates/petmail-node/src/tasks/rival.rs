//! Another copy of this node that uses the same account: the two must not take its stream from each other all the time.

use std::time::Duration;

use tokio::time::Instant;

/// How long a node waits before it takes a stream back that was taken from it for the first time.
const MIN_PAUSE: Duration = Duration::from_secs(60);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_secs(1_800);
/// Whoever was not disturbed for so long has no rival any more.
const QUIET: Duration = Duration::from_secs(3_600);

/// How often a mailbox's stream was taken away lately.
#[derive(Debug, Default)]
pub(super) struct Rival {
    /// When the last pause ended, and how long it was.
    last: Option<(Instant, Duration)>,
}

impl Rival {
    /// The stream was taken away: returns how long to wait before it is taken back. The pause doubles from [`MIN_PAUSE`] to
    /// [`MAX_PAUSE`], and begins anew once the stream has been left alone for [`QUIET`].
    pub(super) fn superseded(&mut self, now: Instant) -> Duration {
        let recent = self.last.filter(|(end, _)| now.duration_since(*end) < QUIET);
        let pause = recent.map_or(MIN_PAUSE, |(_, last)| last.saturating_mul(2).min(MAX_PAUSE));
        self.last = now.checked_add(pause).map(|end| (end, pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_begin_anew_after_a_quiet_hour() {
        let mut rival = Rival::default();
        let (mut now, mut minutes) = (Instant::now(), Vec::new());
        for _ in 0..7 {
            let pause = rival.superseded(now);
            minutes.push(pause.as_secs() / 60);
            now += pause + Duration::from_secs(5);
        }
        assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30]);
        now += QUIET;
        assert_eq!(rival.superseded(now), MIN_PAUSE);
    }
}
