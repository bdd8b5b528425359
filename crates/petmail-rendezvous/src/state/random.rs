//! What the server draws at random: mailbox ids, nameplates, hashcash resources.
//!
//! Owns the distributions. Must not know who uses them.

use data_encoding::BASE32_NOPAD;
use petmail_proto::invitation::wormhole::{MailboxId, Nameplate};
use rand_core::CryptoRngCore;

/// Once all numbers of up to three digits are taken, this many six-digit ones are tried.
const LONG_TRIES: usize = 1000;

/// Draws a mailbox id that nobody can guess: 128 bits.
pub(crate) fn mailbox_id(rng: &mut impl CryptoRngCore) -> MailboxId {
    MailboxId::new(token(rng)).expect("26 characters fit")
}

/// Draws 128 bits as 26 lower-case letters and digits.
pub(crate) fn token(rng: &mut impl CryptoRngCore) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

/// Draws among the free nameplates with the fewest digits, as magic-wormhole's server does.
pub(crate) fn free_nameplate(
    is_free: impl Fn(&Nameplate) -> bool,
    rng: &mut impl CryptoRngCore,
) -> Option<Nameplate> {
    for digits in [1..10, 10..100, 100..1000] {
        let mut free: Vec<Nameplate> = digits.map(nameplate).filter(&is_free).collect();
        if !free.is_empty() {
            let chosen = below(free.len(), rng);
            return Some(free.swap_remove(chosen));
        }
    }
    let mut tries = (0..LONG_TRIES).map(|_| nameplate(1000 + below(999_000, rng)));
    tries.find(is_free)
}

fn nameplate(number: usize) -> Nameplate {
    Nameplate::new(number.to_string()).expect("a number consists of digits")
}

/// Draws a number below `bound`, all equally likely (to within 2⁻³²).
fn below(bound: usize, rng: &mut impl CryptoRngCore) -> usize {
    let bound = u64::try_from(bound).unwrap_or(u64::MAX);
    usize::try_from(rng.next_u64() % bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn nameplates_are_as_short_as_possible() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut taken = BTreeSet::new();
        for count in 0..1010 {
            let drawn = free_nameplate(|candidate| !taken.contains(candidate), &mut rng).unwrap();
            let expected = match count {
                0..9 => 1,
                9..99 => 2,
                99..999 => 3,
                _ => 4,
            };
            assert!(drawn.as_str().len() >= expected.min(4), "{count}: {drawn}");
            assert!(expected == 4 || drawn.as_str().len() == expected, "{count}: {drawn}");
            assert!(taken.insert(drawn));
        }
    }

    #[test]
    fn nothing_free() {
        assert_eq!(free_nameplate(|_| false, &mut ChaCha20Rng::seed_from_u64(1)), None);
    }

    #[test]
    fn first_nameplates_are_random() {
        let drawn = |seed| free_nameplate(|_| true, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap();
        let all: BTreeSet<Nameplate> = (0..200).map(drawn).collect();
        assert_eq!(all.len(), 9);
    }
}
