//! Random tests that can be repeated and prolonged, by their environment.

use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, RngCore, SeedableRng};

/// The randomness of a kill test, and how often it kills.
#[derive(Debug)]
pub struct Chance {
    /// `PETMAIL_KILL_SEED`, which repeats a run; else drawn.
    pub seed: u64,
    /// `PETMAIL_KILL_ROUNDS`, if it is set.
    pub rounds: usize,
    random: ChaCha20Rng,
}

impl Chance {
    /// Reads the environment; without it, there are `rounds` rounds.
    ///
    /// # Panics
    /// If a variable is no number.
    #[must_use]
    pub fn from_env(rounds: usize) -> Self {
        let variable = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
        let set = variable("PETMAIL_KILL_ROUNDS");
        let rounds = set.map_or(rounds, |rounds| usize::try_from(rounds).expect("not that many"));
        let seed = variable("PETMAIL_KILL_SEED").unwrap_or_else(|| OsRng.next_u64());
        Self { rounds, ..Self::seeded(seed) }
    }

    /// Draws as the seed says, without rounds.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, rounds: 0, random: ChaCha20Rng::seed_from_u64(seed) }
    }

    /// Draws a number below `end`.
    ///
    /// # Panics
    /// If there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        self.random.next_u64().checked_rem(end).expect("there is a number to draw")
    }

    /// Draws one of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).expect("a place in a list");
        *choices.get(index).expect("below the length")
    }
}
