//! Two invitation machines, a rendezvous server, and faults: the outcome must be the same for both, and never half.

use petmail_proto::{
    invitation::{
        code::Code,
        introduction::{Introduction, Purpose},
        machine::{Failure, Reach, Status},
    },
    time::UnixMillis,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::{
    party::{Party, introduction},
    server::Temper,
    world::{Faults, START, World},
};

const CODE: &str = "7-adroitness-aardvark-adviser";

/// How a run is set up; what is not said is the ordinary case.
#[derive(Clone, Copy, Debug)]
struct Setup {
    temper: Temper,
    faults: Faults,
    transports: [bool; 2],
    purposes: [Purpose; 2],
    codes: [&'static str; 2],
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            temper: Temper::Petmail,
            faults: Faults::default(),
            transports: [true, true],
            purposes: [Purpose::Contact, Purpose::Contact],
            codes: [CODE, CODE],
        }
    }
}

impl Setup {
    fn world(self, seed: u64) -> World {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let parties = [0, 1].map(|i| {
            let code: Code = self.codes[i].parse().unwrap();
            let name = ["alice", "bob"][i];
            let own = introduction(name, self.purposes[i], self.transports[i], &mut rng);
            Party::invite(name, Some(code), own, START, &mut rng)
        });
        World::new(self.temper, self.faults, parties, seed)
    }

    fn run(self, seed: u64) -> World {
        eprintln!("seed {seed}");
        let mut world = self.world(seed);
        world.run(|_| false);
        check_agreement(&world);
        world
    }
}

/// Both have the other as a contact, or neither has one and both know why.
fn check_agreement(world: &World) {
    let [a, b] = &world.parties;
    let statuses = world.statuses().map(Option::unwrap);
    assert_eq!(a.has_contact(), b.has_contact(), "half a contact: {statuses:?}");
    for (party, status) in [a, b].into_iter().zip(&statuses) {
        let over = matches!(status, Status::Failed(_) | Status::Expired | Status::Cancelled);
        assert_eq!(over, !party.has_contact(), "{}: {status:?}", party.name);
        assert!(!party.invitation.as_ref().unwrap().wants_connection(), "{} lingers", party.name);
    }
    if let (Some(of_a), Some(of_b)) = (&a.disk.contact, &b.disk.contact) {
        assert_eq!((of_a.introduction.name.as_str(), of_b.introduction.name.as_str()), ("bob", "alice"));
        assert_eq!(of_a.safety_words, of_b.safety_words);
        assert_eq!(of_a.safety_words.len(), 6);
    }
}

fn assert_confirmed(world: &World) {
    assert_eq!(world.statuses(), [Some(Status::Confirmed), Some(Status::Confirmed)]);
}

#[test]
fn two_people_meet() {
    for seed in 0..50 {
        assert_confirmed(&Setup::default().run(seed));
    }
}

#[test]
fn an_allocated_code_is_made_shown_and_accepted() {
    for seed in 0..20 {
        eprintln!("seed {seed}");
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let own = introduction("alice", Purpose::Contact, true, &mut rng);
        let alice = Party::invite("alice", None, own, START, &mut rng);
        let elsewhere: Code = "999-adroitness-aardvark".parse().unwrap();
        let own = introduction("nobody", Purpose::Contact, true, &mut rng);
        let nobody = Party::invite("nobody", Some(elsewhere), own, START, &mut rng);
        let mut world = World::new(Temper::Petmail, Faults::default(), [alice, nobody], seed);
        world.run(|world| world.parties[0].code.is_some());
        let code = world.parties[0].code.clone().unwrap();
        assert_eq!(code.expose_text().split('-').count(), 4);
        let own = introduction("bob", Purpose::Contact, true, &mut rng);
        world.parties[1] = Party::invite("bob", Some(code), own, world.now, &mut rng);
        world.run(|_| false);
        check_agreement(&world);
        assert_confirmed(&world);
    }
}

#[test]
fn drops_crashes_duplicates_and_reordering_change_nothing() {
    let faults = Faults { drops: 6, crashes: 6, duplicates: true, shuffles: true, ..Faults::default() };
    for temper in [Temper::Petmail, Temper::Public] {
        for seed in 0..200 {
            assert_confirmed(&Setup { temper, faults, ..Setup::default() }.run(seed));
        }
    }
}

#[test]
fn a_crash_at_any_effect_boundary_changes_nothing() {
    for seed in 0..3 {
        let boundaries = Setup::default().run(seed).boundaries;
        for at in 0..boundaries {
            let faults = Faults { crash_at: Some(at), ..Faults::default() };
            eprintln!("boundary {at}");
            assert_confirmed(&Setup { faults, ..Setup::default() }.run(seed));
        }
    }
}

#[test]
fn without_the_channel_both_have_the_contact_and_stop_asking_the_server() {
    let faults = Faults { drops: 4, crashes: 4, ..Faults::default() };
    for seed in 0..50 {
        let mut world = Setup { faults, ..Setup::default() }.world(seed);
        world.channel_works = false;
        world.run(|_| false);
        check_agreement(&world);
        let pending = Some(Status::Pending(Reach::Both));
        assert_eq!(world.statuses(), [pending.clone(), pending]);
    }
}

#[test]
fn a_wrong_code_fails_on_both_sides_whatever_the_network_does() {
    let faults = Faults { drops: 4, crashes: 4, duplicates: true, shuffles: true, ..Faults::default() };
    let codes = [CODE, "7-adroitness-aardvark-aftermath"];
    for seed in 0..100 {
        let world = Setup { faults, codes, ..Setup::default() }.run(seed);
        for status in world.statuses() {
            assert_eq!(status, Some(Status::Failed(Failure::WrongCode)), "seed {seed}");
        }
    }
}

#[test]
fn a_human_made_code_is_burnt_on_both_sides_and_a_generated_one_is_not() {
    let codes = ["7-purple elephants never dance"; 2];
    let world = Setup { codes, ..Setup::default() }.run(1);
    for party in &world.parties {
        let code: Code = codes[0].parse().unwrap();
        assert!(
            party
                .disk
                .burnt
                .iter()
                .any(|burnt| code.is_refused(burnt, world.now.min(UnixMillis(START.0 + 1000))))
        );
    }
    assert!(Setup::default().run(1).parties.iter().all(|party| party.disk.burnt.is_empty()));
}

#[test]
fn different_purposes_fail_on_both_sides() {
    let faults = Faults { drops: 3, crashes: 3, ..Faults::default() };
    let purposes = [Purpose::MailboxCustomer, Purpose::Contact];
    for seed in 0..50 {
        let world = Setup { faults, purposes, ..Setup::default() }.run(seed);
        for status in world.statuses() {
            assert!(
                matches!(status, Some(Status::Failed(Failure::PurposeMismatch { .. } | Failure::PeerFailed))),
                "{status:?}"
            );
        }
    }
    let purposes = [Purpose::MailboxCustomer, Purpose::MailboxProvider];
    assert_confirmed(&Setup { purposes, ..Setup::default() }.run(1));
}

#[test]
fn a_provider_that_gives_no_mailbox_fails_on_both_sides() {
    let purposes = [Purpose::MailboxCustomer, Purpose::MailboxProvider];
    for offer in [None, Some("PETMAIL-OFFER:AAAA"), Some("7-guitarist-revenge")] {
        let offer = offer.map(|text| serde_json::from_value(text.into()).unwrap());
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let parties = [0, 1].map(|i| {
            let (own, key) = introduction(["alice", "bob"][i], purposes[i], true, &mut rng);
            let own = Introduction { offer: offer.clone(), ..own };
            Party::invite("party", Some(CODE.parse().unwrap()), (own, key), START, &mut rng)
        });
        let mut world = World::new(Temper::Petmail, Faults::default(), parties, 1);
        world.run(|_| false);
        let [customer, provider] = world.statuses();
        assert!(matches!(customer, Some(Status::Failed(Failure::NoOffer))), "{customer:?}");
        assert!(matches!(provider, Some(Status::Failed(Failure::PeerFailed))), "{provider:?}");
    }
}

#[test]
fn two_without_a_mailbox_are_told_to_get_one() {
    for seed in 0..50 {
        let world = Setup { transports: [false, false], ..Setup::default() }.run(seed);
        for status in world.statuses() {
            assert!(
                matches!(status, Some(Status::Failed(Failure::NoTransport | Failure::PeerFailed))),
                "{status:?}"
            );
        }
        let reasons: Vec<_> = world.parties.iter().filter_map(|party| party.disk.failure.as_ref()).collect();
        assert!(reasons.contains(&&Failure::NoTransport));
    }
}

#[test]
fn with_one_mailbox_one_side_is_confirmed_and_the_other_pending() {
    let faults = Faults { drops: 5, crashes: 5, duplicates: true, shuffles: true, ..Faults::default() };
    for seed in 0..100 {
        let world = Setup { faults, transports: [true, false], ..Setup::default() }.run(seed);
        let expected = [Status::Confirmed, Status::Pending(Reach::OnlyThem)];
        assert_eq!(world.statuses(), expected.map(Some));
    }
}

#[test]
fn a_server_that_forgets_leaves_no_half_contact() {
    let faults = Faults { drops: 3, crashes: 3, forgets: 2, duplicates: true, ..Faults::default() };
    let mut met = 0;
    for seed in 0..200 {
        let world = Setup { temper: Temper::Public, faults, ..Setup::default() }.run(seed);
        met += u32::from(world.parties[0].has_contact());
    }
    assert!((25..200).contains(&met), "{met} of 200 met");
}

#[test]
fn a_third_client_can_prevent_but_not_join_or_halve() {
    let mut met = [0, 0];
    for (i, temper) in [Temper::Petmail, Temper::Public].into_iter().enumerate() {
        for seed in 0..300 {
            let junk = usize::try_from(seed % 8).unwrap() + 1;
            let faults = Faults { drops: 3, crashes: 3, junk, duplicates: true, ..Faults::default() };
            let world = Setup { temper, faults, ..Setup::default() }.run(seed);
            met[i] += u32::from(world.parties[0].has_contact());
        }
    }
    assert!(met.iter().all(|met| (12..288).contains(met)), "{met:?} of 300 met");
}

#[test]
fn cancelling_ends_it_on_both_sides() {
    let faults = Faults { drops: 2, crashes: 2, cancel: true, ..Faults::default() };
    let mut told = 0;
    for seed in 0..300 {
        let world = Setup { faults, ..Setup::default() }.run(seed);
        told += u32::from(world.parties[1].disk.failure == Some(Failure::PeerCancelled));
    }
    assert!(told > 0, "nobody was told");
}

#[test]
fn nobody_coming_is_expiry() {
    let faults = Faults { drops: 3, crashes: 3, ..Faults::default() };
    let codes = [CODE, "8-adroitness-aardvark-adviser"];
    let world = Setup { faults, codes, ..Setup::default() }.run(3);
    assert_eq!(world.statuses(), [Some(Status::Expired), Some(Status::Expired)]);
}
