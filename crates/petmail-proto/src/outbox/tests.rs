use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::*;
use crate::channel::{
    ack::{EpochAck, Retired},
    window::WINDOW,
};

const FAILED: Outcome = Outcome::Failed { retry_after: None, is_full: false };
const FULL: Outcome = Outcome::Failed { retry_after: None, is_full: true };
const DAY: Duration = Duration::from_secs(86_400);
const RETENTION: Duration = Duration::from_secs(14 * 86_400);
const NOW: UnixMillis = UnixMillis(1_000_000);

fn number(seqnum: u64) -> MessageNumber {
    MessageNumber { epoch: 1, seqnum }
}

fn entry(seqnum: u64) -> Entry {
    Entry {
        number: number(seqnum),
        mid: MessageId::from_bytes([0; 16]),
        kind: Kind::Content,
        message: None,
        queued_at: UnixMillis(0),
        bytes: 4_096,
        seed: SealSeed::from_bytes([0; 32]),
        deposits: Vec::new(),
    }
}

fn ack_only(seqnum: u64) -> Entry {
    Entry { kind: Kind::AckOnly, ..entry(seqnum) }
}

fn route(byte: u8) -> Route {
    Route { tid: TransportId::from_bytes([byte; 8]), retention: RETENTION }
}

fn offer(seqnum: u64, transport: u8, attempt: u8) -> Next {
    Next::Offer { number: number(seqnum), tid: route(transport).tid, attempt }
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

/// Everything up to `through`.
fn acks(through: u64) -> AckPacket {
    ranges(through, &[])
}

fn ranges(through: u64, ranges: &[(u64, u64)]) -> AckPacket {
    AckPacket {
        epochs: vec![EpochAck { epoch: 1, through, ranges: ranges.to_vec() }],
        ..AckPacket::default()
    }
}

fn retires(seqnum: u64, attempt: u8) -> AckPacket {
    let retired = Retired { number: number(seqnum), attempt };
    AckPacket { retired: vec![retired], ..AckPacket::default() }
}

impl Outbox {
    fn end(&mut self, seqnum: u64, transport: u8, outcome: Outcome, now: UnixMillis) -> bool {
        self.finish(number(seqnum), route(transport), outcome, now, &mut rng()).is_some()
    }

    /// Offers the next message to the only transport, which takes it.
    fn deliver(&mut self, now: UnixMillis) -> u64 {
        let Next::Offer { number, .. } = self.next(&[route(1)], now) else { panic!("nothing is due") };
        assert!(self.end(number.seqnum, 1, Outcome::Taken, now));
        number.seqnum
    }

    fn numbers(&self) -> Vec<u64> {
        self.entries().map(|entry| entry.number.seqnum).collect()
    }
}

#[test]
fn messages_go_in_order_one_at_a_time_and_stay_until_they_are_acknowledged() {
    let mut outbox = Outbox::new([entry(2), entry(1)]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    assert_eq!(outbox.next(&[route(1)], NOW), Next::Idle);
    assert!(outbox.end(1, 1, Outcome::Taken, NOW));
    assert_eq!(outbox.next(&[route(1)], NOW), offer(2, 1, 0));
    assert!(outbox.end(2, 1, Outcome::Taken, NOW));
    assert_eq!(outbox.next(&[route(1)], NOW), Next::WaitUntil(NOW.plus(RETENTION)));
    assert_eq!(outbox.base(), Some(number(1)));
    assert!(outbox.acknowledge(&acks(1), NOW).is_empty());
    assert_eq!((outbox.base(), outbox.numbers()), (Some(number(2)), vec![2]));
    outbox.acknowledge(&acks(2), NOW);
    assert_eq!((outbox.base(), outbox.next(&[route(1)], NOW)), (None, Next::Idle));
    assert!(!outbox.is_empty() && outbox.done() > 0);
    let done: Vec<u64> = outbox.take_done(9).iter().map(|entry| entry.number.seqnum).collect();
    assert_eq!(done, [1, 2]);
    assert!(outbox.is_empty());
}

#[test]
fn without_a_mailbox_there_is_no_route() {
    assert_eq!(Outbox::new([entry(1)]).next(&[], NOW), Next::NoRoute);
    assert_eq!(Outbox::new([]).next(&[], NOW), Next::Idle);
}

#[test]
fn failures_wait_longer_and_never_let_a_later_message_pass() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    let (mut now, mut last_wait) = (NOW, Duration::ZERO);
    for _ in 0..20 {
        assert_eq!(outbox.next(&[route(1)], now), offer(1, 1, 0));
        assert!(!outbox.end(1, 1, FAILED, now));
        let Next::WaitUntil(until) = outbox.next(&[route(1)], now) else { panic!("it waits") };
        let wait = until.since(now);
        assert!(wait >= last_wait.min(Duration::from_secs(2_700)) && wait <= MAX_BACKOFF, "{wait:?}");
        (now, last_wait) = (until, wait);
    }
}

#[test]
fn a_server_may_ask_for_a_longer_delay_but_not_for_ever() {
    let mut outbox = Outbox::new([entry(1)]);
    for (asked, waits) in [(120, 120), (86_400, 3_600)] {
        outbox.retry_now();
        assert!(matches!(outbox.next(&[route(1)], NOW), Next::Offer { .. }));
        let asks = Outcome::Failed { retry_after: Some(Duration::from_secs(asked)), is_full: false };
        outbox.end(1, 1, asks, NOW);
        let until = NOW.plus(Duration::from_secs(waits));
        assert_eq!(outbox.next(&[route(1)], NOW), Next::WaitUntil(until));
        assert_eq!(outbox.retrying_at(), Some(until));
    }
}

#[test]
fn who_asks_for_another_attempt_while_one_is_under_way_gets_it() {
    let mut outbox = Outbox::new([entry(1)]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    outbox.retry_now();
    outbox.end(1, 1, Outcome::Failed { retry_after: Some(MAX_BACKOFF), is_full: false }, NOW);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    outbox.end(1, 1, FAILED, NOW);
    assert!(matches!(outbox.next(&[route(1)], NOW), Next::WaitUntil(_)), "once");
}

#[test]
fn the_second_transport_is_used_when_the_first_failed_for_long() {
    let mut outbox = Outbox::new([entry(1)]);
    let routes = [route(1), route(2)];
    assert_eq!(outbox.next(&routes, NOW), offer(1, 1, 0));
    outbox.end(1, 1, FAILED, NOW);
    let early = NOW.plus(FALL_OVER).minus(Duration::from_millis(1));
    assert_eq!(outbox.next(&routes, early), offer(1, 1, 0));
    outbox.end(1, 1, FAILED, early);
    assert_eq!(outbox.next(&routes, NOW.plus(FALL_OVER)), offer(1, 2, 0));
    outbox.end(1, 2, Outcome::Taken, early);
    assert!(matches!(outbox.next(&routes, early), Next::WaitUntil(_)), "one copy is enough");
}

#[test]
fn each_transport_gets_a_copy_if_that_is_wished() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    outbox.set_copies_everywhere(true);
    let routes = [route(1), route(2)];
    assert_eq!(outbox.next(&routes, NOW), offer(1, 1, 0));
    outbox.end(1, 1, FAILED, NOW);
    assert_eq!(outbox.next(&routes, NOW), offer(1, 2, 0), "the second need not wait for the first");
    outbox.end(1, 2, Outcome::Taken, NOW);
    assert_eq!(outbox.next(&routes, NOW), offer(2, 2, 0), "nor does the next message");
    outbox.end(2, 2, Outcome::Taken, NOW);
    let Next::WaitUntil(at) = outbox.next(&routes, NOW) else {
        panic!("the first transport is to get them too")
    };
    assert!(at <= NOW.plus(MIN_BACKOFF));
    for (seqnum, next) in [(1, offer(1, 1, 0)), (2, offer(2, 1, 0))] {
        assert_eq!(outbox.next(&routes, at), next);
        outbox.end(seqnum, 1, Outcome::Taken, at);
    }
    assert_eq!(outbox.next(&routes, at), Next::WaitUntil(at.plus(RETENTION)), "each has one copy");
}

#[test]
fn a_first_transport_that_asks_for_patience_does_not_keep_from_the_second() {
    let mut outbox = Outbox::new([entry(1)]);
    let routes = [route(1), route(2)];
    let asks = Outcome::Failed { retry_after: Some(MAX_BACKOFF), is_full: false };
    assert_eq!(outbox.next(&routes, NOW), offer(1, 1, 0));
    outbox.end(1, 1, asks, NOW);
    assert_eq!(outbox.next(&routes, NOW), Next::WaitUntil(NOW.plus(FALL_OVER)));
    assert_eq!(outbox.next(&routes, NOW.plus(FALL_OVER)), offer(1, 2, 0));
    outbox.end(1, 2, asks, NOW.plus(FALL_OVER));
    assert_eq!(outbox.next(&routes, NOW.plus(FALL_OVER)), Next::WaitUntil(NOW.plus(MAX_BACKOFF)));
}

#[test]
fn a_mailbox_that_keeps_nothing_gets_one_copy_until_its_retention_is_over() {
    let mut outbox = Outbox::new([entry(1)]);
    let routes = [route(1), route(2)];
    assert_eq!(outbox.next(&routes, NOW), offer(1, 1, 0));
    outbox.end(1, 1, Outcome::Taken, NOW);
    let over = NOW.plus(RETENTION);
    assert_eq!(outbox.next(&routes, over.minus(DAY)), Next::WaitUntil(over));
    assert_eq!(outbox.next(&routes, over), offer(1, 2, 0), "the other mailbox is given a chance");
    outbox.end(1, 2, Outcome::Taken, over);
    let over = over.plus(RETENTION);
    assert_eq!(outbox.next(&routes, over), offer(1, 1, 1));
}

#[test]
fn what_was_overtaken_at_its_transport_is_due_again() {
    let mut outbox = Outbox::new([entry(1), entry(2), entry(3)]);
    outbox.deliver(NOW);
    outbox.deliver(NOW.plus(OVERTAKEN).minus(Duration::from_millis(1)));
    assert!(outbox.acknowledge(&ranges(0, &[(2, 2)]), NOW).is_empty(), "too close to say");
    let later = NOW.plus(OVERTAKEN);
    outbox.deliver(later);
    assert_eq!(outbox.acknowledge(&ranges(0, &[(2, 3)]), later), [number(1)]);
    assert_eq!(outbox.next(&[route(1)], later), offer(1, 1, 1));
}

#[test]
fn what_was_overtaken_at_another_transport_may_still_come() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    outbox.deliver(NOW);
    let later = NOW.plus(DAY);
    assert_eq!(outbox.next(&[route(2), route(1)], later), offer(2, 2, 0));
    outbox.end(2, 2, Outcome::Taken, later);
    assert!(outbox.acknowledge(&ranges(0, &[(2, 2)]), later).is_empty());
}

#[test]
fn a_retired_key_makes_a_message_due_at_once() {
    let mut outbox = Outbox::new([entry(1)]);
    outbox.deliver(NOW);
    for attempt in 1..5 {
        let retired = retires(1, attempt - 1);
        assert_eq!(outbox.acknowledge(&retired, NOW), [number(1)]);
        assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, attempt), "what was fetched is no copy there");
        outbox.end(1, 1, Outcome::Taken, NOW);
        assert!(outbox.acknowledge(&retired, NOW).is_empty(), "once is enough");
    }
}

#[test]
fn what_the_contact_asks_for_again_is_not_acknowledged_whatever_else_it_says() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    outbox.deliver(NOW);
    outbox.deliver(NOW);
    let both = AckPacket { retired: retires(1, 0).retired, ..acks(2) };
    outbox.acknowledge(&both, NOW);
    assert_eq!(outbox.numbers(), [1]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 1));
}

#[test]
fn a_new_epoch_is_given_time_to_answer_and_a_reset_is_not() {
    let mut outbox = Outbox::new([entry(1)]);
    outbox.deliver(NOW);
    assert_eq!(outbox.again(Reason::NewEpoch, NOW), [number(1)]);
    let soon = NOW.plus(NEW_EPOCH_PATIENCE);
    assert_eq!(outbox.next(&[route(1)], NOW), Next::WaitUntil(soon));
    assert!(outbox.again(Reason::NewEpoch, NOW.plus(DAY)).is_empty(), "never later");
    assert_eq!(outbox.next(&[route(1)], soon), offer(1, 1, 1));
    outbox.end(1, 1, Outcome::Taken, soon);
    assert_eq!(outbox.again(Reason::Reset, soon), [number(1)]);
    assert!(matches!(outbox.next(&[route(1)], soon), Next::WaitUntil(_)), "two copies lie there");
    assert_eq!(outbox.acknowledge(&retires(1, 1), soon), [number(1)]);
    assert_eq!(outbox.next(&[route(1)], soon), offer(1, 1, 2), "one of them was fetched");
}

#[test]
fn one_mailbox_gets_no_more_than_two_copies_within_its_retention() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    outbox.deliver(NOW);
    outbox.deliver(NOW);
    let mut now = NOW;
    for _ in 0..20 {
        outbox.again(Reason::NewEpoch, now);
        now = now.plus(NEW_EPOCH_PATIENCE);
        while let Next::Offer { number, .. } = outbox.next(&[route(1)], now) {
            outbox.end(number.seqnum, 1, Outcome::Taken, now);
        }
    }
    for entry in outbox.entries() {
        assert_eq!(entry.deposits[0].attempts, 2);
    }
    assert_eq!(outbox.next(&[route(1)], now), Next::WaitUntil(NOW.plus(RETENTION)));
    outbox.enqueue(entry(3));
    assert_eq!(outbox.next(&[route(1)], now), offer(3, 1, 0), "it holds up no other");
}

#[test]
fn transports_that_are_gone_keep_nothing() {
    let mut outbox = Outbox::new([entry(1)]);
    outbox.deliver(NOW);
    assert_eq!(outbox.next(&[route(2)], NOW), offer(1, 2, 0));
    for byte in 3..9 {
        outbox.end(1, byte - 1, FAILED, NOW);
        assert_eq!(outbox.next(&[route(byte)], NOW), offer(1, byte, 0));
    }
}

#[test]
fn an_acknowledgement_above_what_was_offered_marks_nothing() {
    let mut outbox = Outbox::default();
    outbox.enqueue(entry(1));
    outbox.enqueue(entry(2));
    outbox.acknowledge(&acks(9), NOW);
    assert_eq!(outbox.numbers(), [1, 2]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    outbox.acknowledge(&acks(9), NOW);
    assert_eq!(outbox.numbers(), [2], "it arrived before its mailbox's answer did");
    assert_eq!(outbox.next(&[route(1)], NOW), offer(2, 1, 0));
}

#[test]
fn a_message_that_was_under_way_when_the_program_stopped_may_be_acknowledged() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    outbox.acknowledge(&acks(9), NOW);
    assert_eq!(outbox.numbers(), [2]);
}

#[test]
fn acknowledgements_only_are_done_when_taken_and_never_waited_for() {
    let mut outbox = Outbox::new([ack_only(1), entry(2)]);
    assert_eq!(outbox.base(), Some(number(2)));
    assert_eq!(outbox.deliver(NOW), 1);
    assert_eq!(outbox.numbers(), [2]);
}

#[test]
fn an_absent_contact_gets_no_more_than_its_credit_and_acknowledgements_still_pass() {
    let per_credit = MAX_OUTSTANDING_BYTES / 4_096;
    let mut outbox = Outbox::new((1..=per_credit + 9).map(entry));
    for seqnum in 1..=per_credit {
        assert_eq!(outbox.deliver(NOW), seqnum);
    }
    assert!(outbox.is_held_back());
    assert_eq!(outbox.next(&[route(1)], NOW), Next::WaitUntil(NOW.plus(RETENTION)));
    outbox.enqueue(ack_only(per_credit + 10));
    assert_eq!(outbox.deliver(NOW), per_credit + 10);
    outbox.acknowledge(&acks(1), NOW);
    assert_eq!(outbox.deliver(NOW), per_credit + 1);
    assert!(matches!(outbox.next(&[route(1)], NOW), Next::WaitUntil(_)));
    outbox.acknowledge(&acks(per_credit), NOW);
    assert!(!outbox.is_held_back());
}

#[test]
fn an_advertised_credit_and_a_full_mailbox_bound_what_is_outstanding() {
    let mut outbox = Outbox::new((1..200).map(entry));
    outbox.set_credit(Some(0));
    let least = MIN_CREDIT_BYTES / 4_096;
    for seqnum in 1..=least {
        assert_eq!(outbox.deliver(NOW), seqnum);
    }
    assert!(outbox.is_held_back());
    outbox.set_credit(None);
    assert!(!outbox.is_held_back());
    for _ in 0..9 {
        let Next::Offer { number, .. } = outbox.next(&[route(1)], NOW) else { panic!() };
        outbox.end(number.seqnum, 1, FULL, NOW);
        outbox.retry_now();
        if outbox.is_held_back() {
            return;
        }
    }
    panic!("a full mailbox is pressed on");
}

#[test]
fn a_short_message_does_not_pass_a_long_one_that_is_held_back() {
    let long = |seqnum| Entry { bytes: 256 << 10, ..entry(seqnum) };
    let mut outbox = Outbox::new([entry(1), long(2), entry(3)]);
    outbox.set_credit(Some(0));
    outbox.deliver(NOW);
    assert!(outbox.is_held_back());
    assert_eq!(outbox.next(&[route(1)], NOW), Next::WaitUntil(NOW.plus(RETENTION)));
    outbox.acknowledge(&acks(1), NOW);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(2, 1, 0));
}

#[test]
fn numbers_of_one_epoch_span_no_more_than_the_window() {
    let mut outbox = Outbox::new([entry(1), entry(WINDOW), entry(WINDOW + 1)]);
    outbox.deliver(NOW);
    outbox.deliver(NOW);
    assert!(outbox.is_held_back());
    outbox.acknowledge(&acks(1), NOW);
    assert_eq!(outbox.deliver(NOW), WINDOW + 1);
}

#[test]
fn a_message_that_is_given_up_is_out_even_while_it_is_offered() {
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    assert_eq!(outbox.remove(number(1)).map(|entry| entry.number), Some(number(1)));
    assert_eq!(outbox.next(&[route(1)], NOW), offer(2, 1, 0));
    assert!(!outbox.end(1, 1, Outcome::Taken, NOW));
    assert_eq!(outbox.next(&[route(1)], NOW), Next::Idle, "the second is still under way");
}

#[test]
fn an_answer_counts_only_for_the_message_that_was_offered() {
    // An earlier outbox, lost with a failed commit, had offered the first message as well.
    let mut outbox = Outbox::new([entry(1), entry(2)]);
    assert_eq!(outbox.next(&[route(1)], NOW), offer(1, 1, 0));
    assert!(outbox.end(1, 1, Outcome::Taken, NOW));
    assert_eq!(outbox.next(&[route(1)], NOW), offer(2, 1, 0));
    assert!(!outbox.end(1, 1, FAILED, NOW));
    assert_eq!(outbox.next(&[route(1)], NOW), Next::Idle, "the second is still under way");
    assert!(outbox.end(2, 1, Outcome::Taken, NOW));
}

/// What a mailbox, a network and a contact may do.
#[derive(Clone, Debug)]
enum Deed {
    Enqueue { ack_only: bool },
    End(Outcome),
    Pass(Duration),
    Acknowledge { through: u64, retired: Option<(u64, u8)> },
    Again(Reason),
    Remove(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let outcome = prop_oneof![3 => Just(Outcome::Taken), 1 => Just(FAILED), 1 => Just(FULL)];
    prop_oneof![
        2 => any::<bool>().prop_map(|ack_only| Deed::Enqueue { ack_only }),
        6 => outcome.prop_map(Deed::End),
        2 => (0..20 * 86_400_u64).prop_map(|seconds| Deed::Pass(Duration::from_secs(seconds))),
        1 => (0..20_u64, prop::option::of((1..20_u64, 0..3_u8)))
            .prop_map(|(through, retired)| Deed::Acknowledge { through, retired }),
        1 => prop_oneof![Just(Reason::NewEpoch), Just(Reason::Reset)].prop_map(Deed::Again),
        1 => (1..20_u64).prop_map(Deed::Remove),
    ]
}

proptest! {
    #[test]
    fn delays_stay_in_bounds(failures: u32, seed: u64) {
        let delay = backoff(failures, &mut ChaCha20Rng::seed_from_u64(seed));
        prop_assert!(delay >= Duration::from_millis(750) && delay <= MAX_BACKOFF);
    }

    #[test]
    fn whatever_happens_copies_are_bounded_and_order_is_kept(deeds in prop::collection::vec(deed(), 1..200)) {
        let mut outbox = Outbox::default();
        let (mut now, mut last, mut newest) = (NOW, 0, MessageNumber::default());
        let mut copies: BTreeMap<(MessageNumber, TransportId), Vec<UnixMillis>> = BTreeMap::new();
        let routes = [route(1), route(2)];
        for deed in deeds {
            match deed {
                Deed::Enqueue { ack_only: only } => {
                    last = u64::saturating_add(last, 1);
                    outbox.enqueue(if only { ack_only(last) } else { entry(last) });
                }
                Deed::End(outcome) => {
                    let Next::Offer { number, tid, .. } = outbox.next(&routes, now) else { continue };
                    let is_first = copies.keys().all(|(other, _)| *other != number);
                    let route = Route { tid, retention: RETENTION };
                    outbox.finish(number, route, outcome, now, &mut rng());
                    if outcome != Outcome::Taken {
                        continue;
                    }
                    if is_first {
                        let is_ack = outbox.entry(number).is_none();
                        prop_assert!(number > newest || is_ack, "{number:?} after {newest:?}");
                        newest = newest.max(number);
                    }
                    let there = copies.entry((number, tid)).or_default();
                    there.push(now);
                    there.retain(|taken_at| now.since(*taken_at) < RETENTION);
                    prop_assert!(there.len() <= MAX_COPIES, "{} copies of {number:?}", there.len());
                }
                Deed::Pass(time) => now = now.plus(time),
                Deed::Acknowledge { through, retired } => {
                    let retired = retired.map_or(AckPacket::default(), |(seqnum, attempt)| retires(seqnum, attempt));
                    for number in outbox.acknowledge(&AckPacket { epochs: acks(through).epochs, ..retired }, now) {
                        let of_it = copies.iter_mut().filter(|((other, _), _)| *other == number);
                        of_it.for_each(|(_, there)| there.clear());
                    }
                }
                Deed::Again(reason) => {
                    outbox.again(reason, now);
                }
                Deed::Remove(seqnum) => drop(outbox.remove(number(seqnum))),
            }
            let bytes: u64 = outbox.entries().filter(|entry| entry.is_taken()).map(|entry| u64::from(entry.bytes)).sum();
            prop_assert!(bytes <= MAX_OUTSTANDING_BYTES);
        }
    }
}
