//! Crashes on each engine: a writer killed at random moments, a simulated power cut, a full disk.
//!
//! The test runs its own program again as the writer, which prints what it intends (`I id [deleted]`)
//! and what was acknowledged (`A id [deleted]`). After the crash the store must hold everything
//! acknowledged, nothing deleted, and every batch whole. More rounds: `PETMAIL_STORE_KILLS`,
//! `PETMAIL_STORE_POWER_CUTS`; the same random choices again: `PETMAIL_STORE_SEED`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::BuildHasher;
use std::io::Write;

use petmail_store::EngineKind;

use crate::ledger::Ledger;
use crate::writer::Writer;

mod full;
mod ledger;
mod power;
mod writer;

#[test]
fn killed_sled_keeps_its_word() {
    kill_loop("killed_sled_keeps_its_word", EngineKind::Sled);
}

#[test]
fn killed_redb_keeps_its_word() {
    kill_loop("killed_redb_keeps_its_word", EngineKind::Redb);
}

#[test]
fn sled_survives_a_power_cut() {
    power_cuts("sled_survives_a_power_cut", EngineKind::Sled);
}

#[test]
fn redb_survives_a_power_cut() {
    power_cuts("redb_survives_a_power_cut", EngineKind::Redb);
}

#[test]
fn sled_survives_a_full_disk() {
    if disks_are_possible("full-disk") {
        full::fill_disk(EngineKind::Sled);
    }
}

#[test]
fn redb_survives_a_full_disk() {
    if disks_are_possible("full-disk") {
        full::fill_disk(EngineKind::Redb);
    }
}

#[test]
fn sled_survives_a_full_disk_that_nobody_saw_coming() {
    if disks_are_possible("full-disk") {
        full::fill_disk_unseen(EngineKind::Sled);
    }
}

#[test]
fn redb_survives_a_full_disk_that_nobody_saw_coming() {
    if disks_are_possible("full-disk") {
        full::fill_disk_unseen(EngineKind::Redb);
    }
}

fn kill_loop(test: &str, engine: EngineKind) {
    writer::run_if_child(engine);
    let mut random = Random::from_environment(test);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::default();
    let rounds = rounds("PETMAIL_STORE_KILLS", 10);
    for round in 0..rounds {
        let mut writer = Writer::start(test, dir.path(), ledger.next_id());
        writer.follow(&mut ledger, random.below(150), random.below(3000));
        writer.kill(&mut ledger);
        ledger.verify(dir.path(), engine, &format!("{test}, kill {round}"));
    }
    say(&format!("{test}: {rounds} kills, {} acknowledged, none lost", ledger.acknowledged()));
}

fn power_cuts(test: &str, engine: EngineKind) {
    writer::run_if_child(engine);
    if !disks_are_possible("power-cut") {
        return;
    }
    let mut random = Random::from_environment(test);
    let rounds = rounds("PETMAIL_STORE_POWER_CUTS", 3);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut ledger = Ledger::default();
        // Enough to fill several of the segments in which sled allocates its file.
        let (acks, delay_us) = (500 + random.below(1500), random.below(3000));
        power::cut(test, &mut ledger, acks, delay_us, |store, ledger| {
            ledger.verify(store, engine, &format!("{test}, cut {round}"));
        });
        acknowledged += ledger.acknowledged();
    }
    say(&format!("{test}: {rounds} cuts, {acknowledged} acknowledged, none lost"));
}

/// Whether disks can be simulated here; says so if not, and does not accept it in CI.
fn disks_are_possible(what: &str) -> bool {
    let possible = power::is_possible();
    if !possible {
        say(&format!("SKIPPED {what}: needs root"));
        let in_ci = env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!in_ci, "{what} must not be skipped in CI");
    }
    possible
}

fn rounds(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Prints a line at once, and past the test harness, which keeps back what passing tests print.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Splitmix64: random enough to choose moments.
struct Random(u64);

impl Random {
    /// Takes the seed from the environment, or a new one, and prints it.
    fn from_environment(test: &str) -> Self {
        let seed = env::var("PETMAIL_STORE_SEED")
            .map_or_else(|_unset| RandomState::new().hash_one(test), |text| text.parse().unwrap());
        say(&format!("{test}: PETMAIL_STORE_SEED={seed}"));
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
