//! Which messages of a channel were received: late and reordered messages count once, duplicates not again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::MessageNumber;

/// How far apart the numbers of undelivered messages of one epoch may be.
pub const WINDOW: u64 = 4_096;

/// The most epochs kept open for one contact. A sender opens one at every start; with more, the oldest is closed.
pub const MAX_OPEN_EPOCHS: usize = 1_024;

/// What was received of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EpochWindow {
    /// Everything below was received or is closed.
    low: u64,
    /// What was received at or above `low`; spans fewer than [`WINDOW`] numbers.
    above: BTreeSet<u64>,
}

/// The receive windows of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Epochs below are closed.
    floor: u64,
    epochs: BTreeMap<u64, EpochWindow>,
}

impl Windows {
    /// Tells whether a message is new.
    #[must_use]
    pub fn is_new(&self, number: MessageNumber) -> bool {
        if number.seqnum == 0 || number.epoch < self.floor {
            return false;
        }
        self.epochs
            .get(&number.epoch)
            .is_none_or(|window| number.seqnum >= window.low && !window.above.contains(&number.seqnum))
    }

    /// Notes a message as received; tells whether it was new.
    pub fn receive(&mut self, number: MessageNumber) -> bool {
        if !self.is_new(number) {
            return false;
        }
        let window =
            self.epochs.entry(number.epoch).or_insert(EpochWindow { low: 1, above: BTreeSet::new() });
        window.above.insert(number.seqnum);
        window.slide(number.seqnum);
        if self.epochs.len() > MAX_OPEN_EPOCHS
            && let Some((closed, _)) = self.epochs.pop_first()
        {
            self.floor = closed.saturating_add(1);
        }
        true
    }

    /// Returns the newest open epoch and the lowest number not yet received in it: where the next message is expected.
    #[must_use]
    pub fn next_expected(&self) -> Option<MessageNumber> {
        let (epoch, window) = self.epochs.last_key_value()?;
        Some(MessageNumber { epoch: *epoch, seqnum: window.low })
    }
}

impl EpochWindow {
    fn slide(&mut self, newest: u64) {
        self.low = self.low.max(newest.saturating_sub(WINDOW.saturating_sub(1)));
        self.above = self.above.split_off(&self.low);
        while self.above.remove(&self.low) {
            self.low = self.low.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(epoch: u64, seqnum: u64) -> MessageNumber {
        MessageNumber { epoch, seqnum }
    }

    #[test]
    fn order_does_not_matter_and_duplicates_count_once() {
        let mut windows = Windows::default();
        for seqnum in [3, 1, 2] {
            assert!(windows.receive(number(5, seqnum)));
            assert!(!windows.receive(number(5, seqnum)));
        }
        assert_eq!(windows.next_expected(), Some(number(5, 4)));
        assert!(windows.receive(number(4, 1)), "an older epoch is still open");
        assert!(!windows.receive(number(5, 0)), "numbers start at 1");
    }

    #[test]
    fn a_jump_closes_what_falls_out_of_the_window() {
        let mut windows = Windows::default();
        assert!(windows.receive(number(1, WINDOW + 10)));
        assert!(!windows.is_new(number(1, 10)));
        assert!(windows.is_new(number(1, 11)));
        assert!(windows.receive(number(1, u64::MAX)));
        assert!(!windows.is_new(number(1, 11)));
    }

    #[test]
    fn epochs_are_bounded() {
        let mut windows = Windows::default();
        for epoch in 1..=(MAX_OPEN_EPOCHS as u64 + 2) {
            assert!(windows.receive(number(epoch, 1)));
        }
        assert_eq!(windows.epochs.len(), MAX_OPEN_EPOCHS);
        assert!(!windows.is_new(number(2, 9)));
        assert!(windows.is_new(number(3, 9)));
    }

    proptest! {
        #[test]
        fn every_message_counts_exactly_once(order in Just((1..200_u64).collect::<Vec<_>>()).prop_shuffle()) {
            let mut windows = Windows::default();
            for seqnum in &order {
                prop_assert!(windows.receive(number(9, *seqnum)));
            }
            for seqnum in &order {
                prop_assert!(!windows.receive(number(9, *seqnum)));
            }
            prop_assert_eq!(windows.next_expected(), Some(number(9, 200)));
            prop_assert!(windows.epochs[&9].above.is_empty());
        }
    }
}
