//! Agents on a virtual clock, with their mailboxes, a rendezvous server, and faults of every kind until a point in time.
//!
//! Everything is real except the network, the disk and argon2. `PETMAIL_SIM_SEED` replays one seed;
//! `PETMAIL_SIM_SEEDS` says how many are tried, from `PETMAIL_SIM_FIRST` on.

mod check;
mod clock;
mod disk;
mod events;
mod files;
mod mailbox;
mod node;
mod rendezvous;
mod replacing;
mod rules;
mod script;
mod turns;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use petmail_proto::time::UnixMillis;

use self::{
    check::check_end,
    clock::Clock,
    script::{
        Deed, FAULTY, MAX_ABSENCE_DAYS, Meeting, Plan, SLOW, SLOW_RETENTION, SLOW_SECONDS, START, Typed,
    },
    world::World,
};

/// How many seeds are tried unless the environment says otherwise.
const SEEDS: u64 = 20;

#[test]
fn whatever_goes_wrong_everything_arrives_once_and_in_order() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    if let Some(seed) = number("PETMAIL_SIM_SEED") {
        return simulate(seed);
    }
    let first = number("PETMAIL_SIM_FIRST").unwrap_or_default();
    let seeds = number("PETMAIL_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                let mine = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
                mine.take_while(|seed| *seed < first + seeds).for_each(simulate);
            });
        }
    });
}

fn simulate(seed: u64) {
    let failed = thread::spawn(move || {
        let mut world = draw(seed);
        world.run();
        check_end(&world);
    })
    .join()
    .is_err();
    assert!(!failed, "seed {seed} failed; PETMAIL_SIM_SEED={seed} replays it");
}

/// Draws who meets whom, who gets which mailbox when, and who writes how much.
fn draw(seed: u64) -> World {
    let names = ["alice", "bob", "carol", "dave"];
    let nodes = match seed % 8 {
        2 | 5 => 3,
        7 => 4,
        _ => 2,
    };
    let mut world = World::new(&names[..nodes], 2, seed);
    let is_slow = [3, 7].contains(&(seed % 16));
    if is_slow {
        world.faults_until = START.plus(FAULTY).plus(SLOW);
        world.servers.iter_mut().for_each(|server| server.retention = SLOW_RETENTION);
    }
    for first in 0..nodes {
        for second in first + 1..nodes {
            draw_meeting(&mut world, [first, second]);
        }
        draw_mailboxes(&mut world, first);
        if world.below(2) == 0 {
            plan(&mut world, Deed::Restart { node: first });
        }
        if world.below(3) == 0 {
            plan(&mut world, Deed::ChangeSlots { node: first });
        }
        for _ in 0..[0, 0, 0, 1, 1, 2][world.below(6)] {
            plan(&mut world, Deed::ResetKeys { node: first });
        }
        if world.below(3) == 0 {
            plan(&mut world, Deed::ChangeProfile { node: first });
        }
        if world.below(6) == 0 {
            plan(&mut world, Deed::BackUp { node: first });
            plan(&mut world, Deed::Restore { node: first });
        }
    }
    if is_slow {
        (0..nodes).for_each(|node| draw_weeks(&mut world, node));
    }
    if seed % 10 == 9 {
        // What a copy is told of new keys and slots, and what it tells, the node itself never learns.
        world.plans.retain(|plan| {
            !matches!(
                plan.deed,
                Deed::ResetKeys { .. } | Deed::ChangeSlots { .. } | Deed::ChangeProfile { .. }
            )
        });
        let node = world.below(nodes);
        plan(&mut world, Deed::Copy { node });
    }
    if world.below(8) == 0 {
        // Both at once: neither knows the other's new slot when it tells of its own.
        let at = planned(&mut world);
        world.plans.extend([0, 1].map(|node| Plan { at, deed: Deed::ChangeSlots { node } }));
    }
    world
}

/// What happens to a node, and what its owner does, in three weeks: long absences, and wrong clocks, which are put right in
/// the end.
fn draw_weeks(world: &mut World, node: usize) {
    let start = START.plus(FAULTY);
    let end = start.plus(SLOW);
    let when = |world: &mut World| start.plus(Duration::from_secs(world.below(SLOW_SECONDS) as u64));
    let mut deeds = vec![Deed::ChangeSlots { node }, Deed::ResetKeys { node }, Deed::Restart { node }];
    for _ in 0..2 {
        let days = 1 + world.below(MAX_ABSENCE_DAYS) as u64;
        deeds.push(Deed::Leave { node, time: Duration::from_secs(days * 86_400) });
        let wrong = Duration::from_secs(world.below(3 * 86_400) as u64);
        let (ahead, behind) =
            if world.below(2) == 0 { (wrong, Duration::ZERO) } else { (Duration::ZERO, wrong) };
        deeds.push(Deed::SetClock { node, clock: Clock { ahead, behind } });
    }
    for meeting in 0..world.meetings.len() {
        let side = world.meetings[meeting].nodes.iter().position(|of| *of == node);
        deeds.extend(side.map(|side| Deed::Write { meeting, side }).iter().cycle().take(3));
    }
    for deed in deeds {
        if world.below(2) == 0 {
            let at = when(world);
            world.plans.push(Plan { at, deed });
        }
    }
    let right = Deed::SetClock { node, clock: Clock::default() };
    world.plans.push(Plan { at: end, deed: right });
}

fn draw_meeting(world: &mut World, nodes: [usize; 2]) {
    let meeting = world.meetings.len();
    world.meetings.push(Meeting::new(nodes));
    match world.below(12) {
        0 => world.meetings[meeting].code = Typed::Wrongly,
        1 => world.meetings[meeting].code = Typed::HumanMade,
        2 => {
            let side = world.below(2);
            plan(world, Deed::Cancel { meeting, side });
        }
        3 => {
            let side = world.below(2);
            plan(world, Deed::Remove { meeting, side });
        }
        _ => {}
    }
    for side in [0, 1] {
        plan(world, Deed::Invite { meeting, side });
        for _ in 0..world.below(8) {
            plan(world, Deed::Write { meeting, side });
        }
    }
}

/// Most have a mailbox from the first, some get theirs during or after the faults, some a second one.
fn draw_mailboxes(world: &mut World, node: usize) {
    let server = world.below(2);
    let deed = Deed::Accept { node, server };
    match world.below(4) {
        0 => plan(world, deed),
        1 => world.plans.push(Plan { at: START.plus(FAULTY), deed }),
        _ => world.plans.push(Plan { at: START, deed }),
    }
    if world.below(3) == 0 {
        let server = world.below(2);
        plan(world, Deed::Accept { node, server });
    }
}

fn plan(world: &mut World, deed: Deed) {
    let at = planned(world);
    world.plans.push(Plan { at, deed });
}

fn planned(world: &mut World) -> UnixMillis {
    let millis = u32::try_from(FAULTY.as_millis()).unwrap();
    let at = world.below(millis as usize + 60_000);
    START.plus(Duration::from_millis(at as u64))
}
