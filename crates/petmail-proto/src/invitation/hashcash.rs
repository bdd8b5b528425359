//! Hashcash stamps, with which a rendezvous server under attack makes each connection cost something.
//!
//! Owns minting and verifying version 1 stamps (`1:bits:date:resource:ext:rand:counter`, SHA-1). That a stamp is used
//! once is the server's business: it hands out a fresh resource with every welcome. Specification: `docs/protocol/`,
//! invitations (§2), and hashcash.org.

use data_encoding::HEXLOWER;
use rand_core::CryptoRngCore;
use sha1::{Digest, Sha1};

use crate::time::UnixMillis;

use super::wormhole::HashcashChallenge;

/// The most work that a client does for a server: some seconds.
pub const MAX_BITS: u32 = 24;

/// The longest stamp that is read, in bytes.
pub const MAX_STAMP_BYTES: usize = 512;

/// The longest resource that a client makes a stamp for, in bytes.
pub const MAX_RESOURCE_BYTES: usize = 128;

/// Why a challenge is not taken up, or a stamp refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashcashError {
    /// The server asks for more than [`MAX_BITS`] of work.
    #[error("the server asks for too much work")]
    TooExpensive,
    /// The resource is too long, or has a colon or a character that is not printable ASCII.
    #[error("the server's hashcash resource is malformed")]
    Resource,
    /// The stamp is not of the form above.
    #[error("the stamp is malformed")]
    Malformed,
    /// The stamp was made for something else.
    #[error("the stamp is for another resource")]
    OtherResource,
    /// The stamp costs less than was asked for.
    #[error("the stamp is not worth enough")]
    TooCheap,
}

impl HashcashChallenge {
    /// Makes a stamp. Takes 2^bits hashes on average, so a program runs it off its event loop.
    ///
    /// # Errors
    /// [`HashcashError::TooExpensive`] or [`HashcashError::Resource`] before any work.
    pub fn mint(&self, now: UnixMillis, rng: &mut impl CryptoRngCore) -> Result<String, HashcashError> {
        if self.bits > MAX_BITS {
            return Err(HashcashError::TooExpensive);
        }
        let bad = |b: u8| !b.is_ascii_graphic() || b == b':';
        if self.resource.len() > MAX_RESOURCE_BYTES || self.resource.bytes().any(bad) {
            return Err(HashcashError::Resource);
        }
        let mut random = [0; 8];
        rng.fill_bytes(&mut random);
        let front = format!("1:{}:{}:{}::{}:", self.bits, date(now), self.resource, HEXLOWER.encode(&random));
        let stamps = (0_u64..).map(|counter| format!("{front}{counter:x}"));
        let mut worthy = stamps.filter(|stamp| leading_zero_bits(stamp) >= self.bits);
        worthy.next().ok_or(HashcashError::TooExpensive)
    }

    /// Checks a stamp for this challenge.
    ///
    /// # Errors
    /// [`HashcashError`] naming the fault.
    pub fn verify(&self, stamp: &str) -> Result<(), HashcashError> {
        if stamp.len() > MAX_STAMP_BYTES {
            return Err(HashcashError::Malformed);
        }
        let fields: Vec<_> = stamp.split(':').collect();
        let ["1", bits, _date, resource, _ext, _random, _counter] = fields.as_slice() else {
            return Err(HashcashError::Malformed);
        };
        let bits: u32 = bits.parse().map_err(|_| HashcashError::Malformed)?;
        if *resource != self.resource {
            return Err(HashcashError::OtherResource);
        }
        if bits < self.bits || leading_zero_bits(stamp) < self.bits {
            return Err(HashcashError::TooCheap);
        }
        Ok(())
    }
}

fn leading_zero_bits(stamp: &str) -> u32 {
    let mut bits = 0_u32;
    for byte in Sha1::digest(stamp) {
        bits = bits.saturating_add(byte.leading_zeros());
        if byte != 0 {
            break;
        }
    }
    bits
}

/// The day in UTC as `YYMMDD` (Howard Hinnant's civil-from-days, in years that begin in March).
fn date(now: UnixMillis) -> String {
    const DAY_MS: u64 = 86_400_000;
    const DAYS_FROM_0000_03_01: u64 = 719_468;
    let days = (now.0 / DAY_MS).saturating_add(DAYS_FROM_0000_03_01);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = (day_of_era / 1_460, day_of_era / 36_524, day_of_era / 146_096);
    let year_of_era =
        day_of_era.saturating_sub(leap_days.0).saturating_add(leap_days.1).saturating_sub(leap_days.2) / 365;
    let days_before =
        year_of_era.saturating_mul(365).saturating_add(year_of_era / 4).saturating_sub(year_of_era / 100);
    let day_of_year = day_of_era.saturating_sub(days_before);
    let march_month = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let day =
        day_of_year.saturating_sub(march_month.saturating_mul(153).saturating_add(2) / 5).saturating_add(1);
    let month = march_month.saturating_add(2) % 12;
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(u64::from(month < 2));
    format!("{:02}{:02}{day:02}", year % 100, month.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    use super::*;

    fn challenge(bits: u32) -> HashcashChallenge {
        HashcashChallenge { bits, resource: "resource-string".into() }
    }

    #[test]
    fn a_minted_stamp_verifies_for_its_challenge_only() {
        let now = UnixMillis(1_700_000_000_000);
        let stamp = challenge(8).mint(now, &mut ChaCha20Rng::seed_from_u64(5)).unwrap();
        assert!(stamp.starts_with("1:8:231114:resource-string::"), "{stamp}");
        assert_eq!(challenge(8).verify(&stamp), Ok(()));
        assert_eq!(challenge(9).verify(&stamp), Err(HashcashError::TooCheap));
        let other = HashcashChallenge { bits: 8, resource: "other".into() };
        assert_eq!(other.verify(&stamp), Err(HashcashError::OtherResource));
        let claimed = stamp.replacen("1:8:", "1:30:", 1);
        assert_eq!(challenge(30).verify(&claimed), Err(HashcashError::TooCheap));
    }

    #[test]
    fn the_stamp_of_the_protocols_documentation_verifies() {
        let stamp = "1:6:210723:resource-string::NmZNF4eIbk87mqYz:000003n";
        assert_eq!(challenge(6).verify(stamp), Ok(()));
    }

    #[test]
    fn bad_stamps_and_challenges_are_refused() {
        for stamp in ["", "1:6", "0:6:210723:resource-string::x:1", "1:x:210723:resource-string::x:1"] {
            assert_eq!(challenge(0).verify(stamp), Err(HashcashError::Malformed), "{stamp}");
        }
        let long = format!("1:0:210723:resource-string::x:{}", "1".repeat(MAX_STAMP_BYTES));
        assert_eq!(challenge(0).verify(&long), Err(HashcashError::Malformed));
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let now = UnixMillis(0);
        assert_eq!(challenge(MAX_BITS + 1).mint(now, &mut rng), Err(HashcashError::TooExpensive));
        let colon = HashcashChallenge { bits: 1, resource: "a:b".into() };
        assert_eq!(colon.mint(now, &mut rng), Err(HashcashError::Resource));
    }

    #[test]
    fn dates_are_right_around_leap_days_and_years() {
        for (seconds, expected) in [
            (0, "700101"),
            (951_782_400, "000229"),
            (951_868_800, "000301"),
            (1_709_164_800, "240229"),
            (1_735_603_200, "241231"),
            (1_735_689_600, "250101"),
            (4_102_444_800, "000101"),
        ] {
            assert_eq!(date(UnixMillis(seconds * 1000)), expected, "{seconds}");
        }
    }
}
