//! What former slots of an account take: little, so that who was blocked cannot fill a mailbox, but enough that two contacts
//! who both changed their slots still reach each other.

use std::{collections::VecDeque, time::Duration};

use petmail_proto::{delivery::Bucket, time::UnixMillis};

use crate::queue::Usage;

/// How many messages former slots take in [`DAY`].
const MESSAGES_A_DAY: usize = 32;
const DAY: Duration = Duration::from_secs(86_400);
/// How much they hold at a time, in bytes of msgC.
const QUOTA_BYTES: u64 = 1 << 20;
/// The longest message that they take, in bytes of msgC.
const MAX_MESSAGE_BYTES: usize = Bucket::Kib16.msg_c_bytes();

/// What came through the former slots of one account. Counted since the program started, and from what is stored.
#[derive(Debug, Default)]
pub(super) struct FormerLoad {
    usage: Usage,
    /// When the last few came, in order.
    taken: VecDeque<UnixMillis>,
}

impl FormerLoad {
    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    /// Counts a message that was found at opening; they are found in the order of acceptance.
    pub(super) fn restore(&mut self, length: u32, received: UnixMillis) {
        self.usage = self.usage.and_one_of(length);
        self.note(received);
    }

    /// Takes the room for a message of `length` bytes; `None` if there is none.
    pub(super) fn take(&mut self, length: u32, now: UnixMillis) -> Option<()> {
        let usage = self.usage.and_one_of(length);
        let is_long = usize::try_from(length).is_ok_and(|length| length > MAX_MESSAGE_BYTES);
        let today = self.taken.iter().filter(|taken| now.since(**taken) < DAY).count();
        if is_long || usage.bytes > QUOTA_BYTES || today >= MESSAGES_A_DAY {
            return None;
        }
        self.usage = usage;
        self.note(now);
        Some(())
    }

    /// Gives back the room of a message that was deleted, or not stored after all; it counts for the day.
    pub(super) fn give_back(&mut self, length: u32) {
        self.usage = self.usage.without_one_of(length);
    }

    fn note(&mut self, when: UnixMillis) {
        self.taken.push_back(when);
        if self.taken.len() > MESSAGES_A_DAY {
            self.taken.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: u32 = 3_978;

    #[test]
    fn few_small_messages_a_day_are_taken() {
        let mut load = FormerLoad::default();
        let now = UnixMillis(10);
        assert_eq!(load.take(16_267, now), None, "too long");
        for _ in 0..MESSAGES_A_DAY {
            load.take(SMALL, now).unwrap();
            load.give_back(SMALL);
        }
        assert_eq!(load.take(SMALL, now.plus(DAY).minus(Duration::from_millis(1))), None);
        assert_eq!(load.usage(), Usage::default());
        assert_eq!(load.take(16_266, now.plus(DAY)), Some(()));
    }

    #[test]
    fn what_is_stored_is_bounded_whatever_the_day() {
        let mut load = FormerLoad::default();
        let mut now = UnixMillis(10);
        let taken = std::iter::from_fn(|| {
            now = now.plus(DAY);
            load.take(16_266, now)
        });
        assert_eq!(taken.take(1_000).count(), 64);
        load.give_back(16_266);
        assert_eq!(load.take(16_266, now.plus(DAY)), Some(()));
    }

    #[test]
    fn what_is_found_at_opening_counts() {
        let mut load = FormerLoad::default();
        (0..MESSAGES_A_DAY).for_each(|_| load.restore(SMALL, UnixMillis(10)));
        assert_eq!(load.take(SMALL, UnixMillis(11)), None);
        assert_eq!(load.usage().messages, 32);
    }
}
