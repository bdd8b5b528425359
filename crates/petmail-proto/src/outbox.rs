//! The outbox of one contact: which message to offer next to which of the contact's transports, and when.
//!
//! Messages are offered to a transport in the order of their numbers, never a later one before an earlier one is taken
//! there. A transport that fails is tried again after a growing, randomised delay; after [`FALL_OVER`] the contact's next
//! transport is tried as well. The machine keeps no contents: the program stores them and seals them for each attempt.
//! Specification: Delivery, "Nothing lost".

use core::time::Duration;
use std::collections::BTreeMap;

use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use crate::{
    channel::MessageNumber,
    keys::{MessageId, TransportId},
    time::UnixMillis,
};

/// The delay after the first failure.
pub const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The longest delay between two attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(3_600);
/// How long the first transport may fail before the next one is used.
pub const FALL_OVER: Duration = Duration::from_secs(30);

/// A message that waits for a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the channel.
    pub number: MessageNumber,
    /// Its name for good.
    pub mid: MessageId,
    /// The row of the message log that holds its text; none for a message of the program's own.
    pub message: Option<u64>,
    /// Whether it tells the contact where this agent can be reached now.
    pub announces_transports: bool,
    /// When it was queued.
    pub queued_at: UnixMillis,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Seal this message for this transport and offer it there.
    Offer {
        /// The message.
        number: MessageNumber,
        /// Where.
        tid: TransportId,
        /// Counts the encryptions of the message for this transport, from 0.
        attempt: u8,
    },
    /// Nothing until then.
    WaitUntil(UnixMillis),
    /// The contact has no mailbox: nothing until its transports change.
    NoRoute,
    /// Nothing is queued, or an offer is under way.
    Idle,
}

/// How an offer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mailbox has the message on disk.
    Taken,
    /// The server could not be reached, or refused for now; it may name the shortest delay.
    Failed {
        /// The server's Retry-After.
        retry_after: Option<Duration>,
        /// Whether the server may have seen this encryption of the message.
        may_have_arrived: bool,
    },
}

/// The delivery state of one contact. What must survive a restart is in the [`Entry`]s.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    entries: BTreeMap<MessageNumber, Entry>,
    transports: BTreeMap<TransportId, Transport>,
    in_flight: Option<(MessageNumber, TransportId)>,
}

#[derive(Clone, Debug, Default)]
struct Transport {
    /// Failures since the last success.
    failures: u32,
    failing_since: Option<UnixMillis>,
    not_before: UnixMillis,
    /// Encryptions of the first waiting message that may have arrived.
    encryptions: u8,
}

impl Outbox {
    /// Makes an outbox of what was stored.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.number, entry)).collect();
        Self { entries, ..Self::default() }
    }

    /// Queues a message; its number is above all others'.
    pub fn enqueue(&mut self, entry: Entry) {
        self.entries.insert(entry.number, entry);
    }

    /// Returns a waiting message.
    #[must_use]
    pub fn entry(&self, number: MessageNumber) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// Iterates over what waits, in the order of numbers.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns how many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns when the next attempt is due, if the last ones failed.
    #[must_use]
    pub fn retrying_at(&self) -> Option<UnixMillis> {
        let failing = self.transports.values().filter(|transport| transport.failures > 0);
        failing.map(|transport| transport.not_before).min()
    }

    /// Decides what to do, given the contact's transports, best first.
    ///
    /// After [`Next::Offer`] nothing else is offered until [`Self::finish`].
    pub fn next(&mut self, transports: &[TransportId], now: UnixMillis) -> Next {
        // A contact may change its transports as often as it likes.
        self.transports.retain(|tid, _| transports.contains(tid));
        let Some(number) = self.entries.keys().next().copied().filter(|_| self.in_flight.is_none()) else {
            return Next::Idle;
        };
        let usable = self.usable(transports, now);
        let due = usable.iter().find(|tid| self.not_before(tid) <= now);
        if let Some(tid) = due.copied() {
            self.in_flight = Some((number, tid));
            let attempt = self.transports.get(&tid).map_or(0, |transport| transport.encryptions);
            return Next::Offer { number, tid, attempt };
        }
        let more_usable_at = self.falls_over_at(&usable).filter(|_| usable.len() < transports.len());
        let times = usable.iter().map(|tid| self.not_before(tid)).chain(more_usable_at);
        times.min().map_or(Next::NoRoute, Next::WaitUntil)
    }

    /// Notes how an offer of a message to a transport ended; returns the entry if it is done, for the program to erase.
    ///
    /// An offer may outlive the outbox that made it: after a reload the same message is offered again, and the answers
    /// come in any order. A message that was taken is done, whichever offer of it succeeded; a failure counts only for
    /// the offer that is under way.
    pub fn finish(
        &mut self,
        (number, tid): (MessageNumber, TransportId),
        outcome: Outcome,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Option<Entry> {
        let was_under_way = self.in_flight.take_if(|offer| *offer == (number, tid)).is_some();
        match outcome {
            Outcome::Taken => {
                let done = self.entries.remove(&number)?;
                self.in_flight.take_if(|(offered, _)| *offered == number);
                self.transports.remove(&tid);
                self.transports.values_mut().for_each(|transport| transport.encryptions = 0);
                Some(done)
            }
            Outcome::Failed { .. } if !was_under_way => None,
            Outcome::Failed { retry_after, may_have_arrived } => {
                let transport = self.transports.entry(tid).or_default();
                transport.fail(retry_after, now, rng);
                transport.encryptions = transport.encryptions.saturating_add(u8::from(may_have_arrived));
                None
            }
        }
    }

    /// Forgets failures: the contact's transports changed, a server came back, or a person asked to try now.
    pub fn retry_now(&mut self) {
        for transport in self.transports.values_mut() {
            transport.not_before = UnixMillis::default();
        }
    }

    /// The transports that may be used: the first, and each next one once all before it have failed for long.
    fn usable(&self, transports: &[TransportId], now: UnixMillis) -> Vec<TransportId> {
        let failing = |tid: &&TransportId| {
            let since = self.transports.get(*tid).and_then(|transport| transport.failing_since);
            since.is_some_and(|since| now.since(since) >= FALL_OVER)
        };
        let failed = transports.iter().take_while(failing).count();
        transports.iter().take(failed.saturating_add(1)).copied().collect()
    }

    /// When the transport after the usable ones may be used too: the last of them is the one that has not failed for long.
    fn falls_over_at(&self, usable: &[TransportId]) -> Option<UnixMillis> {
        let since = self.transports.get(usable.last()?)?.failing_since?;
        Some(since.plus(FALL_OVER))
    }

    fn not_before(&self, tid: &TransportId) -> UnixMillis {
        self.transports.get(tid).map_or(UnixMillis::default(), |transport| transport.not_before)
    }
}

impl Transport {
    fn fail(&mut self, retry_after: Option<Duration>, now: UnixMillis, rng: &mut impl CryptoRngCore) {
        let delay = backoff(self.failures, rng).max(retry_after.unwrap_or_default().min(MAX_BACKOFF));
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        self.not_before = now.plus(delay);
    }
}

/// The delay after `failures` earlier ones: doubling from [`MIN_BACKOFF`] to [`MAX_BACKOFF`], less up to a quarter.
pub fn backoff(failures: u32, rng: &mut impl CryptoRngCore) -> Duration {
    let full = MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(failures)).min(MAX_BACKOFF);
    let quarter = u64::try_from(full.as_millis() >> 2).unwrap_or(u64::MAX);
    let jitter = rng.next_u64().checked_rem(quarter.saturating_add(1)).unwrap_or_default();
    full.saturating_sub(Duration::from_millis(jitter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    const FAILED: Outcome = Outcome::Failed { retry_after: None, may_have_arrived: true };

    fn entry(seqnum: u64) -> Entry {
        Entry {
            number: MessageNumber { epoch: 1, seqnum },
            mid: MessageId::from_bytes([0; 16]),
            message: None,
            announces_transports: false,
            queued_at: UnixMillis(0),
        }
    }

    fn tid(byte: u8) -> TransportId {
        TransportId::from_bytes([byte; 8])
    }

    fn offer(seqnum: u64, transport: u8, attempt: u8) -> Next {
        Next::Offer { number: MessageNumber { epoch: 1, seqnum }, tid: tid(transport), attempt }
    }

    fn at(seqnum: u64, transport: u8) -> (MessageNumber, TransportId) {
        (MessageNumber { epoch: 1, seqnum }, tid(transport))
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(1)
    }

    #[test]
    fn messages_go_in_order_one_at_a_time() {
        let mut outbox = Outbox::new([entry(2), entry(1)]);
        let now = UnixMillis(0);
        assert_eq!(outbox.next(&[tid(1)], now), offer(1, 1, 0));
        assert_eq!(outbox.next(&[tid(1)], now), Next::Idle);
        assert_eq!(outbox.finish(at(1, 1), Outcome::Taken, now, &mut rng()), Some(entry(1)));
        assert_eq!(outbox.next(&[tid(1)], now), offer(2, 1, 0));
        assert_eq!(outbox.finish(at(2, 1), Outcome::Taken, now, &mut rng()), Some(entry(2)));
        assert_eq!(outbox.next(&[tid(1)], now), Next::Idle);
        assert_eq!(outbox.finish(at(2, 1), Outcome::Taken, now, &mut rng()), None);
    }

    #[test]
    fn without_a_mailbox_there_is_no_route() {
        assert_eq!(Outbox::new([entry(1)]).next(&[], UnixMillis(0)), Next::NoRoute);
        assert_eq!(Outbox::new([]).next(&[], UnixMillis(0)), Next::Idle);
    }

    #[test]
    fn failures_wait_longer_and_never_let_a_later_message_pass() {
        let mut outbox = Outbox::new([entry(1), entry(2)]);
        let (mut now, mut last_wait) = (UnixMillis(0), Duration::ZERO);
        for attempt in 0..20 {
            assert_eq!(outbox.next(&[tid(1)], now), offer(1, 1, attempt));
            assert_eq!(outbox.finish(at(1, 1), FAILED, now, &mut rng()), None);
            let Next::WaitUntil(until) = outbox.next(&[tid(1)], now) else { panic!("it waits") };
            let wait = until.since(now);
            assert!(
                wait >= last_wait.min(Duration::from_secs(2_700)) && wait <= MAX_BACKOFF,
                "{wait:?} after {last_wait:?}"
            );
            (now, last_wait) = (until, wait);
        }
    }

    #[test]
    fn a_server_may_ask_for_a_longer_delay_but_not_for_ever() {
        let mut outbox = Outbox::new([entry(1)]);
        for (asked, waits) in [(120, 120), (86_400, 3_600)] {
            let retry_after = Some(Duration::from_secs(asked));
            outbox.retry_now();
            assert!(matches!(outbox.next(&[tid(1)], UnixMillis(0)), Next::Offer { .. }));
            outbox.finish(
                at(1, 1),
                Outcome::Failed { retry_after, may_have_arrived: false },
                UnixMillis(0),
                &mut rng(),
            );
            let until = UnixMillis(0).plus(Duration::from_secs(waits));
            assert_eq!(outbox.next(&[tid(1)], UnixMillis(0)), Next::WaitUntil(until));
            assert_eq!(outbox.retrying_at(), Some(until));
        }
    }

    #[test]
    fn the_second_transport_is_used_when_the_first_failed_for_long() {
        let mut outbox = Outbox::new([entry(1)]);
        let transports = [tid(1), tid(2)];
        assert_eq!(outbox.next(&transports, UnixMillis(0)), offer(1, 1, 0));
        outbox.finish(at(1, 1), FAILED, UnixMillis(0), &mut rng());
        let early = UnixMillis(0).plus(FALL_OVER).minus(Duration::from_millis(1));
        assert_eq!(outbox.next(&transports, early), offer(1, 1, 1));
        outbox.finish(at(1, 1), FAILED, early, &mut rng());
        assert_eq!(outbox.next(&transports, UnixMillis(0).plus(FALL_OVER)), offer(1, 2, 0));
    }

    #[test]
    fn while_the_first_transport_fails_the_second_takes_one_message_after_the_other() {
        let mut outbox = Outbox::new([entry(1), entry(2), entry(3)]);
        let transports = [tid(1), tid(2)];
        let late = UnixMillis(0).plus(FALL_OVER);
        for now in [UnixMillis(0), late] {
            assert!(matches!(outbox.next(&transports, now), Next::Offer { .. }));
            outbox.finish(at(1, 1), FAILED, now, &mut rng());
        }
        for seqnum in [1, 2] {
            assert_eq!(outbox.next(&transports, late), offer(seqnum, 2, 0));
            assert!(outbox.finish(at(seqnum, 2), Outcome::Taken, late, &mut rng()).is_some());
        }
        let later = late.plus(MAX_BACKOFF);
        assert_eq!(
            outbox.next(&transports, later),
            offer(3, 1, 0),
            "no encryption of the third was sent yet"
        );
        assert!(outbox.finish(at(3, 1), Outcome::Taken, later, &mut rng()).is_some());
        outbox.enqueue(entry(4));
        assert_eq!(outbox.next(&transports, later), offer(4, 1, 0));
        outbox.finish(at(4, 1), FAILED, later, &mut rng());
        assert!(
            matches!(outbox.next(&transports, later), Next::WaitUntil(_)),
            "the first has a clean record"
        );
    }

    #[test]
    fn a_first_transport_that_asks_for_patience_does_not_keep_from_the_second() {
        let mut outbox = Outbox::new([entry(1)]);
        let transports = [tid(1), tid(2)];
        let now = UnixMillis(0);
        let asks = Outcome::Failed { retry_after: Some(MAX_BACKOFF), may_have_arrived: false };
        assert_eq!(outbox.next(&transports, now), offer(1, 1, 0));
        outbox.finish(at(1, 1), asks, now, &mut rng());
        assert_eq!(outbox.next(&transports, now), Next::WaitUntil(now.plus(FALL_OVER)));
        assert_eq!(outbox.next(&transports, now.plus(FALL_OVER)), offer(1, 2, 0));
        outbox.finish(at(1, 2), asks, now.plus(FALL_OVER), &mut rng());
        assert_eq!(outbox.next(&transports, now.plus(FALL_OVER)), Next::WaitUntil(now.plus(MAX_BACKOFF)));
    }

    #[test]
    fn transports_that_are_gone_are_forgotten() {
        let mut outbox = Outbox::new([entry(1)]);
        for byte in 0..9 {
            assert_eq!(outbox.next(&[tid(byte)], UnixMillis(0)), offer(1, byte, 0));
            outbox.finish(at(1, byte), FAILED, UnixMillis(0), &mut rng());
        }
        assert_eq!(outbox.transports.len(), 1);
    }

    #[test]
    fn an_answer_counts_only_for_the_message_that_was_offered() {
        // An earlier outbox, lost with a failed commit, had offered the first message as well.
        let mut outbox = Outbox::new([entry(1), entry(2)]);
        let now = UnixMillis(0);
        assert_eq!(outbox.next(&[tid(1)], now), offer(1, 1, 0));
        assert_eq!(outbox.finish(at(1, 1), Outcome::Taken, now, &mut rng()), Some(entry(1)));
        assert_eq!(outbox.next(&[tid(1)], now), offer(2, 1, 0));
        assert_eq!(outbox.finish(at(1, 1), Outcome::Taken, now, &mut rng()), None);
        assert_eq!(outbox.finish(at(1, 1), FAILED, now, &mut rng()), None);
        assert_eq!(outbox.next(&[tid(1)], now), Next::Idle, "the second is still under way");
        assert_eq!(outbox.finish(at(2, 1), Outcome::Taken, now, &mut rng()), Some(entry(2)));
    }

    #[test]
    fn a_message_taken_by_an_offer_of_before_a_reload_is_done() {
        let mut outbox = Outbox::new([entry(1), entry(2)]);
        let now = UnixMillis(0);
        assert_eq!(outbox.finish(at(1, 1), Outcome::Taken, now, &mut rng()), Some(entry(1)));
        assert_eq!(outbox.next(&[tid(1), tid(2)], now), offer(2, 1, 0));
        assert_eq!(outbox.finish(at(2, 2), Outcome::Taken, now, &mut rng()), Some(entry(2)));
        outbox.enqueue(entry(3));
        assert_eq!(outbox.next(&[tid(1)], now), offer(3, 1, 0), "no offer is under way any more");
    }

    proptest! {
        #[test]
        fn delays_stay_in_bounds(failures: u32, seed: u64) {
            let delay = backoff(failures, &mut ChaCha20Rng::seed_from_u64(seed));
            prop_assert!(delay >= Duration::from_millis(750) && delay <= MAX_BACKOFF);
        }
    }
}
