//! Which messages of a channel were received: late and reordered messages count once, duplicates not again.
//!
//! The same numbers are what the receiver acknowledges ([`super::ack`]). What a sender can make grow here is bounded:
//! whoever leaves more holes than [`MAX_RANGES`] loses the oldest ones. Specification: Delivery, "Nothing lost".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MessageNumber, ack::EpochAck};
use crate::wire::{self, WireError};

/// How far apart the numbers of undelivered messages of one epoch may be.
pub const WINDOW: u64 = 4_096;

/// The most epochs kept open for one contact. A sender opens one at every start and closes them with its `base`; with more,
/// the oldest is closed. With [`MAX_RANGES`] it keeps the windows within a row of the store.
pub const MAX_OPEN_EPOCHS: usize = 256;

/// The most ranges of received numbers above a hole, all epochs together.
pub const MAX_RANGES: usize = 1_024;

/// What was received of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EpochWindow {
    /// Everything below was received or is closed.
    low: u64,
    /// What was received above `low`: first and last number of each range; apart from each other, and from `low`.
    above: BTreeMap<u64, u64>,
}

/// The receive windows of one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Epochs below are closed.
    floor: u64,
    epochs: BTreeMap<u64, EpochWindow>,
}

/// The layout of [`Windows`] in records of version 1.
#[derive(Deserialize)]
struct WindowsV1 {
    floor: u64,
    epochs: BTreeMap<u64, (u64, Vec<u64>)>,
}

impl Windows {
    /// Reads the layout that records of version 1 have.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn decode_v1(bytes: &[u8]) -> Result<Self, WireError> {
        let WindowsV1 { floor, epochs } = wire::decode(bytes)?;
        let mut windows = Self { floor, epochs: BTreeMap::new() };
        for (epoch, (low, above)) in epochs {
            let mut window = EpochWindow { low, above: BTreeMap::new() };
            above.into_iter().for_each(|seqnum| window.insert(seqnum));
            windows.epochs.insert(epoch, window);
        }
        windows.bound();
        Ok(windows)
    }

    /// Tells whether a message is new.
    #[must_use]
    pub fn is_new(&self, number: MessageNumber) -> bool {
        if number.seqnum == 0 || number.epoch < self.floor {
            return false;
        }
        self.epochs.get(&number.epoch).is_none_or(|window| window.is_new(number.seqnum))
    }

    /// Notes a message as received; tells whether it was new.
    pub fn receive(&mut self, number: MessageNumber) -> bool {
        if !self.is_new(number) {
            return false;
        }
        let window = self.epochs.entry(number.epoch).or_insert_with(EpochWindow::new);
        window.insert(number.seqnum);
        self.bound();
        true
    }

    /// Closes everything below the sender's `base`: it will not be sent any more.
    pub fn close_below(&mut self, base: MessageNumber) {
        if base.epoch > self.floor {
            self.floor = base.epoch;
            self.epochs = self.epochs.split_off(&base.epoch);
        }
        if base.epoch == self.floor && base.seqnum > 1 {
            self.epochs.entry(base.epoch).or_insert_with(EpochWindow::new).close_below(base.seqnum);
        }
    }

    /// Returns the newest open epoch and the lowest number not yet received in it: where the next message is expected.
    #[must_use]
    pub fn next_expected(&self) -> Option<MessageNumber> {
        let (epoch, window) = self.epochs.last_key_value()?;
        Some(MessageNumber { epoch: *epoch, seqnum: window.low })
    }

    /// Returns the epoch below which everything is closed.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the newest epoch of which anything was received.
    #[must_use]
    pub fn newest_epoch(&self) -> Option<u64> {
        self.epochs.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Tells whether nothing is missing below the newest number received of each epoch.
    #[must_use]
    pub fn is_gapless(&self) -> bool {
        self.epochs.values().all(|window| window.above.is_empty())
    }

    /// Says what was received, of each open epoch, for the sender; the oldest first.
    pub fn acks(&self) -> impl DoubleEndedIterator<Item = EpochAck> + ExactSizeIterator {
        self.epochs.iter().map(|(epoch, window)| EpochAck {
            epoch: *epoch,
            through: window.low.saturating_sub(1),
            ranges: window.above.iter().map(|(first, last)| (*first, *last)).collect(),
        })
    }

    /// Gives up what is oldest if the sender keeps too much open.
    fn bound(&mut self) {
        if self.epochs.len() > MAX_OPEN_EPOCHS
            && let Some((closed, _)) = self.epochs.pop_first()
        {
            self.floor = closed.saturating_add(1);
        }
        let mut ranges: usize = self.epochs.values().map(|window| window.above.len()).sum();
        for window in self.epochs.values_mut() {
            while ranges > MAX_RANGES && window.close_first_hole() {
                ranges = ranges.saturating_sub(1);
            }
        }
    }
}

impl EpochWindow {
    const fn new() -> Self {
        Self { low: 1, above: BTreeMap::new() }
    }

    fn is_new(&self, seqnum: u64) -> bool {
        let range = self.above.range(..=seqnum).next_back();
        seqnum >= self.low && range.is_none_or(|(_, last)| *last < seqnum)
    }

    /// Adds a new number and joins it with its neighbours.
    fn insert(&mut self, seqnum: u64) {
        let before = self.above.range(..seqnum).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((first, last)) if last.saturating_add(1) == seqnum => first,
            _ => seqnum,
        };
        let last = self.above.remove(&seqnum.saturating_add(1)).unwrap_or(seqnum);
        self.above.insert(first, last);
        self.close_below(last.saturating_sub(WINDOW.saturating_sub(1)));
    }

    /// Closes what is below `low`, and goes on over what was received from there.
    fn close_below(&mut self, low: u64) {
        self.low = self.low.max(low);
        while let Some((first, last)) = self.above.first_key_value().map(|(first, last)| (*first, *last))
            && first <= self.low
        {
            self.above.pop_first();
            self.low = self.low.max(last.saturating_add(1));
        }
    }

    /// Closes the lowest hole; false if there is none.
    fn close_first_hole(&mut self) -> bool {
        let first = self.above.first_key_value().map(|(first, _)| *first);
        first.is_some_and(|first| {
            self.close_below(first);
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(epoch: u64, seqnum: u64) -> MessageNumber {
        MessageNumber { epoch, seqnum }
    }

    fn ranges(windows: &Windows) -> usize {
        windows.epochs.values().map(|window| window.above.len()).sum()
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
        assert!(!windows.is_new(number(1, u64::MAX)));
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

    #[test]
    fn holes_are_bounded_and_fit_a_row_of_the_store() {
        let mut windows = Windows::default();
        for epoch in 1..=MAX_OPEN_EPOCHS as u64 + 9 {
            for seqnum in (2..40).step_by(2) {
                windows.receive(number(epoch, seqnum));
            }
        }
        assert_eq!(ranges(&windows), MAX_RANGES);
        assert!(!windows.is_new(number(20, 3)), "the oldest holes are closed");
        assert!(windows.is_new(number(MAX_OPEN_EPOCHS as u64 + 9, 3)));
        let bytes = wire::encode(&windows).unwrap().len();
        assert!(bytes < 24 << 10, "{bytes} bytes");
    }

    #[test]
    fn the_senders_base_closes_what_it_will_not_send_any_more() {
        let mut windows = Windows::default();
        for seqnum in [1, 4, 6] {
            windows.receive(number(7, seqnum));
        }
        windows.receive(number(3, 2));
        assert!(!windows.is_gapless());
        windows.close_below(number(7, 4));
        assert!(!windows.is_new(number(3, 1)) && !windows.is_new(number(7, 2)));
        assert_eq!(windows.next_expected(), Some(number(7, 5)));
        windows.close_below(number(6, 9));
        assert_eq!(windows.next_expected(), Some(number(7, 5)), "an older base changes nothing");
        windows.close_below(number(7, 7));
        assert!(windows.is_gapless());
        windows.close_below(number(9, 1));
        assert_eq!(windows.next_expected(), None);
        assert!(!windows.is_new(number(7, 99)) && windows.is_new(number(9, 1)));
    }

    #[test]
    fn the_layout_of_version_1_is_read() {
        // Floor 2; epoch 5: everything below 3, and 4, 5 and 7.
        let v1: (u64, BTreeMap<u64, (u64, Vec<u64>)>) = (2, BTreeMap::from([(5, (3, vec![4, 5, 7]))]));
        let windows = Windows::decode_v1(&wire::encode(&v1).unwrap()).unwrap();
        let new: Vec<u64> = (0..10).filter(|seqnum| windows.is_new(number(5, *seqnum))).collect();
        assert_eq!(new, [3, 6, 8, 9]);
        assert_eq!(ranges(&windows), 2);
        assert!(!windows.is_new(number(1, 1)));
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
            prop_assert!(windows.is_gapless());
        }

        #[test]
        fn ranges_say_what_a_set_says(numbers in prop::collection::vec((1..3_u64, 1..60_u64), 0..120), base in 0..60_u64) {
            let mut windows = Windows::default();
            let mut set = std::collections::BTreeSet::new();
            for (epoch, seqnum) in numbers {
                prop_assert_eq!(windows.receive(number(epoch, seqnum)), set.insert((epoch, seqnum)));
            }
            windows.close_below(number(1, base));
            for (epoch, seqnum) in (1..3).flat_map(|epoch| (1..70).map(move |seqnum| (epoch, seqnum))) {
                let is_closed = epoch == 1 && seqnum < base;
                prop_assert_eq!(windows.is_new(number(epoch, seqnum)), !is_closed && !set.contains(&(epoch, seqnum)));
            }
            for ack in windows.acks() {
                for seqnum in 1..70 {
                    prop_assert_eq!(ack.covers(seqnum), !windows.is_new(number(ack.epoch, seqnum)));
                }
            }
        }
    }
}
