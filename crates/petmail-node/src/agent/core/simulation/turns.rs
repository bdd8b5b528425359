//! Whose messages are offered next when many contacts wait.

use std::time::Duration;

use petmail_proto::{
    channel::MessageNumber,
    keys::{MessageId, SealSeed},
    outbox::{Entry, Kind, Outcome},
    time::UnixMillis,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use super::{
    disk::profile,
    script::{Deed, Meeting, Plan, START},
    world::World,
};
use crate::agent::{
    core::{Core, Ended, Step, Stored},
    records::Queued,
};

/// Alice with five contacts, all of them Bob, and a message waiting for each.
fn five_waiting() -> Core {
    let mut world = World::new(&["alice", "bob"], 2, 1);
    world.faults_until = START;
    world.meetings.push(Meeting::new([0, 1]));
    world.plans.push(Plan { at: START, deed: Deed::Accept { node: 1, server: 1 } });
    let at = START.plus(Duration::from_secs(10));
    world.plans.extend([0, 1].map(|side| Plan { at, deed: Deed::Invite { meeting: 0, side } }));
    world.run();
    let bob = world.nodes[0].core.as_ref().unwrap().peers[&1].contact.clone();
    let entry = |cid: u32| Entry {
        number: MessageNumber { epoch: 1, seqnum: 1 },
        mid: MessageId::from_bytes([0; 16]),
        kind: Kind::Content,
        message: Some(u64::from(cid)),
        queued_at: UnixMillis(0),
        bytes: 4_096,
        seed: SealSeed::from_bytes([0; 32]),
        deposits: Vec::new(),
    };
    let queued = |cid: u32| Queued { entry: entry(cid), unfrozen: None };
    let stored = Stored {
        contacts: (1..=5).map(|cid| crate::agent::records::Contact { cid, ..bob.clone() }).collect(),
        queued: (1..=5).map(|cid| (cid, queued(cid))).collect(),
        ..Stored::default()
    };
    Core::new(profile("alice"), stored, &mut ChaCha20Rng::seed_from_u64(2)).unwrap()
}

fn end(core: &mut Core, offer: &crate::agent::core::Offer, outcome: Outcome, now: UnixMillis) -> Step {
    let mut step = Step::default();
    let trouble = (outcome != Outcome::Taken).then(|| "away".to_owned());
    core.finish_offer(&mut step, offer, Ended { outcome, trouble }, now, &mut ChaCha20Rng::seed_from_u64(1))
        .unwrap();
    step
}

const FAILED: Outcome = Outcome::Failed { retry_after: None, is_full: false };

#[test]
fn contacts_take_turns_so_that_slow_ones_hold_up_nobody() {
    let mut core = five_waiting();
    let now = UnixMillis(0);
    let (slow, _) = core.next_offers(2, now);
    assert_eq!(slow.iter().map(|offer| offer.cid).collect::<Vec<_>>(), [1, 2]);
    let (next, _) = core.next_offers(2, now);
    assert_eq!(next.iter().map(|offer| offer.cid).collect::<Vec<_>>(), [3, 4]);
    for offer in &next {
        end(&mut core, offer, Outcome::Taken, now);
    }
    let (last, _) = core.next_offers(2, now);
    assert_eq!(last.iter().map(|offer| offer.cid).collect::<Vec<_>>(), [5]);
    assert_eq!(core.next_offers(2, now).0.len(), 0);
}

#[test]
fn what_failed_at_a_server_is_tried_at_once_when_it_is_back() {
    let mut core = five_waiting();
    let now = UnixMillis(0);
    let (offers, _) = core.next_offers(5, now);
    for offer in &offers {
        end(&mut core, offer, FAILED, now);
    }
    let (none, wake_at) = core.next_offers(5, now);
    assert_eq!(none.len(), 0);
    let (first, _) = core.next_offers(1, wake_at.unwrap());
    assert_eq!(first.len(), 1);
    let step = end(&mut core, &first[0], Outcome::Taken, wake_at.unwrap());
    assert!(step.wake_outbox);
    assert_eq!(
        core.next_offers(5, now).0.len(),
        4,
        "all others are offered, although their delays are not over"
    );
}
