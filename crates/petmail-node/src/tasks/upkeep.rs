//! What has to be looked after from time to time: the clocks, keys whose time is over, and what has grown too old.

use std::time::Duration;

use petmail_net::{CancellationToken, clock};
use petmail_proto::time::UnixMillis;
use tokio::time::Instant;

use crate::agent::Agent;

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// How far the clocks may part: more means that the machine slept, or was set back to an earlier state.
const MAX_DRIFT: Duration = Duration::from_secs(60);

/// How often old things are given up and forgotten, in looks.
const LOOKS_A_ROUND: u32 = 180;

pub(super) async fn run(agent: Agent, shutdown: CancellationToken) {
    let mut clocks = Clocks::read();
    for look in 0_u32.. {
        if let Err(error) = agent.erase_keys().await {
            tracing::error!(%error, "keys whose time is over could not be erased");
        }
        if look.checked_rem(LOOKS_A_ROUND) == Some(0)
            && let Err(error) = agent.keep_house().await
        {
            tracing::warn!(%error, "old things stay for now");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let read = Clocks::read();
        if read.have_parted_since(&clocks) {
            tracing::info!("the clocks have parted; a new epoch begins");
            if let Err(error) = agent.begin_epoch().await {
                tracing::warn!(%error, "no new epoch could be begun");
                continue;
            }
        }
        clocks = read;
    }
}

/// The wall clock, and the one that only runs while the machine does.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: UnixMillis,
    monotonic: Instant,
}

impl Clocks {
    fn read() -> Self {
        Self { wall: UnixMillis(clock::unix_ms()), monotonic: Instant::now() }
    }

    fn have_parted_since(&self, earlier: &Self) -> bool {
        let expected = earlier.wall.plus(self.monotonic.saturating_duration_since(earlier.monotonic));
        self.wall.since(expected).max(expected.since(self.wall)) > MAX_DRIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_part_by_more_than_a_minute_are_noticed() {
        let before = Clocks { wall: UnixMillis(1_700_000_000_000), monotonic: Instant::now() };
        let after = |wall_seconds: i64, monotonic_seconds: u64| {
            let step = Duration::from_secs(wall_seconds.unsigned_abs());
            let wall = if wall_seconds < 0 { before.wall.minus(step) } else { before.wall.plus(step) };
            Clocks { wall, monotonic: before.monotonic + Duration::from_secs(monotonic_seconds) }
        };
        for (wall, monotonic, parted) in [
            (20, 20, false),
            (80, 20, false),
            (81, 20, true),
            (3_600, 20, true),
            (-40, 20, false),
            (-41, 20, true),
        ] {
            assert_eq!(after(wall, monotonic).have_parted_since(&before), parted, "{wall} s, {monotonic} s");
        }
    }
}
