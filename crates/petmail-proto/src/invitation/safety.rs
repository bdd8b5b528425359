//! Safety words and digits: what two people compare to be sure that nobody sits between them.
//!
//! Owns both forms. Words are short, which is safe only because both sides committed to what they are made from before
//! seeing the other's; after a key change there is no commitment, and digits are shown. Specification: `docs/protocol/`,
//! invitations (§2).

use sha2::{Digest, Sha256, Sha512};

use crate::{keys::ChannelVerifyingKey, wire::Writer};

use super::{introduction::IntroductionNonce, words};

/// Keeps the words' hash apart from every other.
const SAS: &str = "petmail.org/v1/sas";

/// Keeps the digits' hash apart from every other.
const DIGITS: &str = "petmail.org/v1/safety-digits";

/// How often the digits' hash is iterated: what Signal takes for its numeric fingerprints.
const ITERATIONS: u32 = 5200;

/// How many words are compared: 48 bits.
const WORDS: usize = 6;

/// The six words of an invitation; the same whichever side comes first.
///
/// The first 48 bits of SHA-256(label ‖ lo ‖ hi), {lo, hi} the sorted {nonce ‖ verifying key}.
#[must_use]
pub fn safety_words(
    one: (&IntroductionNonce, &ChannelVerifyingKey),
    other: (&IntroductionNonce, &ChannelVerifyingKey),
) -> Vec<String> {
    let mut halves = [one, other].map(|(nonce, key)| [*nonce.as_bytes(), *key.as_bytes()].concat());
    halves.sort_unstable();
    let [lo, hi] = halves;
    let sas = Sha256::digest(Writer::labelled(SAS).fixed(&lo).fixed(&hi).finish());
    words::spell(&sas).into_iter().take(WORDS).map(str::to_owned).collect()
}

/// The sixty digits of two keys, in twelve groups of five; the same whichever key comes first.
///
/// Each key gives thirty: h₀ = SHA-512(label ‖ key), hᵢ = SHA-512(hᵢ₋₁ ‖ key), 5,200 times; of the last hash, six groups of
/// five bytes, each big-endian modulo 100,000. The two thirties are sorted.
#[must_use]
pub fn safety_digits(one: &ChannelVerifyingKey, other: &ChannelVerifyingKey) -> String {
    let mut thirties = [thirty_digits(one), thirty_digits(other)];
    thirties.sort_unstable();
    thirties.join(" ")
}

fn thirty_digits(key: &ChannelVerifyingKey) -> String {
    let mut hash = Sha512::digest(Writer::labelled(DIGITS).fixed(key.as_bytes()).finish());
    for _ in 0..ITERATIONS {
        hash = Sha512::new().chain_update(hash).chain_update(key.as_bytes()).finalize();
    }
    let groups: Vec<_> = hash.as_slice().chunks_exact(5).take(6).map(five_digits).collect();
    groups.join(" ")
}

fn five_digits(bytes: &[u8]) -> String {
    let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{:05}", number % 100_000)
}
