//! An exhaustive check of delivery, by model checking, over the real machines: outbox, windows and acknowledgements.
//!
//! One sender, one receiver, a mailbox or two, a few messages; everything happens in every order, with a bounded number of
//! faults: answers, acknowledgements and stored messages are lost, servers refuse, both agents crash at any boundary. Every
//! reachable state is visited. `PETMAIL_MODEL_FAULTS` and `PETMAIL_MODEL_MESSAGES` ask for more than the gate has time for.
#![expect(clippy::unwrap_used, reason = "tests")]

use core::hash::{Hash, Hasher};
use std::collections::BTreeSet;
use std::time::Duration;

use petmail_proto::{
    channel::{MessageNumber, ack::AckPacket, window::Windows},
    keys::{MessageId, SealSeed, TransportId},
    outbox::{Entry, Kind, MAX_COPIES, Next, Outbox, Outcome, Reason, Route},
    time::UnixMillis,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use stateright::{Checker, Model, Property};

const EPOCH: u64 = 1;
const RETENTION: Duration = Duration::from_secs(86_400);
const MAX_ATTEMPTS: u8 = 9;
const START: UnixMillis = UnixMillis(1_000_000_000);

/// Which machine is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Real,
    /// A sender that forgets a message once a mailbox has it.
    ForgetsOnceTaken,
    /// A receiver that does not count.
    CountsNothing,
    /// A sender that makes another copy whenever it has time.
    CopiesAtWill,
}

struct Delivery {
    variant: Variant,
    messages: u64,
    mailboxes: u8,
    faults: u8,
    /// How often the clock may be moved to the next time that matters.
    waits: u8,
}

/// A copy of a message in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Copy {
    mailbox: TransportId,
    number: MessageNumber,
    attempt: u8,
    came: UnixMillis,
}

#[derive(Clone, Debug)]
struct State {
    now: UnixMillis,
    faults: u8,
    waits: u8,
    /// What is on the sender's disk.
    rows: Vec<Entry>,
    outbox: Outbox,
    /// The offer under way, and whether it has arrived.
    flight: Option<(MessageNumber, TransportId, u8, bool)>,
    /// What lies in mailboxes, and what they remember of what has lain there.
    copies: BTreeSet<Copy>,
    windows: Windows,
    shown: Vec<MessageNumber>,
    owes_ack: bool,
    ack: Option<AckPacket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Offer,
    Arrive,
    Answer,
    LoseAnswer,
    Refuse,
    Receive(Copy),
    ReceiveAndCrash(Copy),
    LoseCopy(Copy),
    SendAck,
    HearAck,
    LoseAck,
    CrashSender,
    NewEpoch,
    Wait,
}

impl Delivery {
    fn routes(&self) -> Vec<Route> {
        let route = |byte| Route { tid: TransportId::from_bytes([byte; 8]), retention: RETENTION };
        (0..self.mailboxes).map(route).collect()
    }

    fn is_fault(action: Action) -> bool {
        match action {
            Action::LoseAnswer
            | Action::Refuse
            | Action::ReceiveAndCrash(_)
            | Action::LoseCopy(_)
            | Action::LoseAck
            | Action::CrashSender
            | Action::NewEpoch => true,
            Action::Offer
            | Action::Arrive
            | Action::Answer
            | Action::Receive(_)
            | Action::SendAck
            | Action::HearAck
            | Action::Wait => false,
        }
    }

    /// What the sender would do next, without doing it.
    fn next(&self, state: &State) -> Next {
        state.outbox.clone().next(&self.routes(), state.now)
    }

    fn finish(&self, state: &mut State, outcome: Outcome) {
        let Some((number, tid, _, _)) = state.flight.take() else { return };
        let route = Route { tid, retention: RETENTION };
        let rng = &mut ChaCha20Rng::seed_from_u64(0);
        let Some(taken) = state.outbox.finish(number, route, outcome, state.now, rng) else { return };
        if self.variant == Variant::ForgetsOnceTaken {
            state.outbox.remove(number);
            state.rows.retain(|row| row.number != number);
            return;
        }
        state.store(taken);
        if self.variant == Variant::CopiesAtWill {
            for deposit in state.rows.iter_mut().flat_map(|row| &mut row.deposits) {
                deposit.taken_at.clear();
                deposit.again_at = state.now;
            }
            state.outbox = Outbox::new(state.rows.clone());
        }
    }

    fn receive(&self, state: &mut State, copy: Copy) {
        if state.windows.receive(copy.number) || self.variant == Variant::CountsNothing {
            state.shown.push(copy.number);
        }
        state.owes_ack = true;
    }
}

impl State {
    fn store(&mut self, entry: Entry) {
        self.rows.retain(|row| row.number != entry.number);
        self.rows.push(entry);
        self.rows.sort_by_key(|row| row.number);
    }

    fn store_all(&mut self, numbers: &[MessageNumber]) {
        for number in numbers {
            let entry = self.outbox.entry(*number).cloned();
            self.store(entry.unwrap());
        }
    }

    /// What makes two states the same.
    fn image(&self) -> String {
        format!("{self:?}")
    }

    fn has_everything(&self, messages: u64) -> bool {
        let all = (1..=messages).map(|seqnum| MessageNumber { epoch: EPOCH, seqnum });
        all.eq(self.shown.iter().copied().collect::<BTreeSet<_>>())
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.image() == other.image()
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.image().hash(hasher);
    }
}

fn entry(seqnum: u64) -> Entry {
    Entry {
        number: MessageNumber { epoch: EPOCH, seqnum },
        mid: MessageId::from_bytes([u8::try_from(seqnum).unwrap(); 16]),
        kind: Kind::Content,
        message: Some(seqnum),
        queued_at: START,
        bytes: 4_096,
        seed: SealSeed::from_bytes([0; 32]),
        deposits: Vec::new(),
    }
}

impl Model for Delivery {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let rows: Vec<_> = (1..=self.messages).map(entry).collect();
        vec![State {
            now: START,
            faults: 0,
            waits: 0,
            outbox: Outbox::new(rows.clone()),
            rows,
            flight: None,
            copies: BTreeSet::new(),
            windows: Windows::default(),
            shown: Vec::new(),
            owes_ack: false,
            ack: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.flight {
            Some((_, _, _, true)) => actions.extend([Action::Answer, Action::LoseAnswer]),
            Some(_) => actions.extend([Action::Arrive, Action::LoseAnswer, Action::Refuse]),
            None if matches!(self.next(state), Next::Offer { .. }) => actions.push(Action::Offer),
            None => {}
        }
        for copy in &state.copies {
            actions.extend([Action::Receive(*copy), Action::ReceiveAndCrash(*copy), Action::LoseCopy(*copy)]);
        }
        actions.extend(state.owes_ack.then_some(Action::SendAck));
        if state.ack.is_some() {
            actions.extend([Action::HearAck, Action::LoseAck]);
        }
        actions.extend([Action::CrashSender, Action::NewEpoch]);
        let is_over = state.faults >= self.faults || state.rows.is_empty();
        actions.retain(|action| !is_over || !Self::is_fault(*action));
        // Time passes when there is nothing else to do: everything else takes moments.
        let is_quiet = actions.iter().all(|action| Self::is_fault(*action));
        if is_quiet && state.flight.is_none() && matches!(self.next(state), Next::WaitUntil(_)) {
            actions.push(Action::Wait);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.faults = state.faults.saturating_add(u8::from(Self::is_fault(action)));
        match action {
            Action::Offer => {
                let Next::Offer { number, tid, attempt } = state.outbox.next(&self.routes(), state.now)
                else {
                    return None;
                };
                state.flight = Some((number, tid, attempt, false));
            }
            Action::Arrive => {
                let (number, mailbox, attempt, _) = state.flight?;
                state.flight = Some((number, mailbox, attempt, true));
                state.copies.insert(Copy { mailbox, number, attempt, came: state.now });
            }
            Action::Answer => self.finish(&mut state, Outcome::Taken),
            Action::LoseAnswer | Action::Refuse => {
                self.finish(&mut state, Outcome::Failed { retry_after: None, is_full: false });
            }
            Action::Receive(copy) => {
                self.receive(&mut state, copy);
                state.copies.remove(&copy);
            }
            Action::ReceiveAndCrash(copy) => self.receive(&mut state, copy),
            Action::LoseCopy(copy) => drop(state.copies.remove(&copy)),
            Action::SendAck => {
                state.owes_ack = false;
                state.ack = Some(AckPacket::new(MessageNumber::default(), &state.windows));
            }
            Action::HearAck => {
                let ack = state.ack.take()?;
                let changed = state.outbox.acknowledge(&ack, state.now);
                state.store_all(&changed);
                for done in state.outbox.take_done(usize::MAX) {
                    state.rows.retain(|row| row.number != done.number);
                }
            }
            Action::LoseAck => state.ack = None,
            Action::CrashSender => {
                // What was under way may still arrive, or have arrived.
                state.flight = None;
                state.outbox = Outbox::new(state.rows.clone());
            }
            Action::NewEpoch => {
                let changed = state.outbox.again(Reason::NewEpoch, state.now);
                state.store_all(&changed);
            }
            Action::Wait => {
                let Next::WaitUntil(time) = self.next(&state) else { return None };
                state.now = time;
                state.waits = state.waits.saturating_add(1);
                let now = state.now;
                state.copies.retain(|copy| now.since(copy.came) < RETENTION);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is shown twice", |_, state: &State| {
                state.shown.len() == state.shown.iter().collect::<BTreeSet<_>>().len()
            }),
            Property::always("what has left the outbox is shown", |model: &Self, state: &State| {
                (1..=model.messages).all(|seqnum| {
                    let number = MessageNumber { epoch: EPOCH, seqnum };
                    state.shown.contains(&number) || state.rows.iter().any(|row| row.number == number)
                })
            }),
            Property::always("copies are bounded", |_, state: &State| {
                state.copies.iter().all(|copy| {
                    let same = |other: &&Copy| (other.mailbox, other.number) == (copy.mailbox, copy.number);
                    state.copies.iter().filter(same).count() <= MAX_COPIES
                })
            }),
            Property::always("what has come to rest is delivered", |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                let is_at_rest = actions.iter().all(|action| Self::is_fault(*action));
                !is_at_rest || (state.rows.is_empty() && state.has_everything(model.messages))
            }),
            Property::sometimes("everything is delivered", |model: &Self, state: &State| {
                state.rows.is_empty() && state.has_everything(model.messages)
            }),
            Property::sometimes("a message is lost on the way and sent again", |_, state: &State| {
                state.rows.iter().flat_map(|row| &row.deposits).any(|deposit| deposit.attempts > 1)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        // The second bound is for the machine that makes copies without end.
        let attempts = state.rows.iter().flat_map(|row| &row.deposits).map(|deposit| deposit.attempts);
        state.waits <= self.waits && attempts.max().unwrap_or_default() <= MAX_ATTEMPTS
    }
}

fn number(name: &str, otherwise: u8) -> u8 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn check(model: Delivery) -> impl Checker<Delivery> {
    let threads = std::thread::available_parallelism().unwrap().get();
    model.checker().threads(threads).spawn_bfs().join()
}

#[test]
fn every_order_of_events_and_faults_ends_with_everything_delivered_once() {
    for mailboxes in [1, 2] {
        let model = Delivery {
            variant: Variant::Real,
            messages: number("PETMAIL_MODEL_MESSAGES", 2).into(),
            mailboxes,
            faults: number("PETMAIL_MODEL_FAULTS", 3),
            waits: 6,
        };
        let checked = check(model);
        eprintln!("{mailboxes} mailboxes: {} states", checked.unique_state_count());
        checked.assert_properties();
    }
}

/// The check can fail: each of these machines breaks a promise, and is found out.
#[test]
fn broken_machines_are_found_out() {
    for (variant, broken) in [
        (Variant::ForgetsOnceTaken, "what has left the outbox is shown"),
        (Variant::CountsNothing, "nothing is shown twice"),
        (Variant::CopiesAtWill, "copies are bounded"),
    ] {
        let checked = check(Delivery { variant, messages: 1, mailboxes: 1, faults: 2, waits: 4 });
        assert!(checked.discovery(broken).is_some(), "{variant:?} is not found out");
    }
}
