//! Padmé: lengths with few significant bits (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication
//! with PURBs", 2019, section 4).

/// Returns the padded length of `bytes`: the next one whose binary form has no more significant bits than its exponent has
/// bits. At most 12 % longer, and 3 % from 1 MiB on.
#[must_use]
pub const fn padded_bytes(bytes: u64) -> u64 {
    let Some(exponent) = bytes.checked_ilog2() else { return 0 };
    let Some(exponent_bits) = exponent.checked_ilog2() else { return bytes };
    let kept = exponent_bits.saturating_add(1);
    let mask = match 1_u64.checked_shl(exponent.saturating_sub(kept)) {
        Some(unit) => unit.saturating_sub(1),
        None => 0,
    };
    bytes.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_paper() {
        // "9 is padded to 10", and lengths around powers of two.
        for (bytes, padded) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (8, 8),
            (9, 10),
            (10, 10),
            (11, 12),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, (1 << 20) + (1 << 15)),
        ] {
            assert_eq!(padded_bytes(bytes), padded, "{bytes}");
        }
        assert_eq!(padded_bytes(u64::MAX) & 1, 0);
    }

    #[test]
    fn padding_adds_little_and_is_stable() {
        for bytes in (1_u64..5_000).chain((1 << 20..1 << 22).step_by(997)) {
            let padded = padded_bytes(bytes);
            assert!(bytes <= padded && padded <= bytes + bytes / 8, "{bytes}");
            assert_eq!(padded_bytes(padded), padded, "{bytes}");
        }
    }
}
