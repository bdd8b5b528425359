//! Sizes as people write them: a number and a unit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A number of bytes: `500 MB`, `64KiB`, `2 GiB`, `1000 B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number and one of B, kB, MB, GB, KiB, MiB, GiB, such as 500MB")]
pub struct ParseByteSizeError;

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, ParseByteSizeError> {
        let text = text.trim();
        let split = |(unit, factor): &(&str, u64)| text.strip_suffix(unit).map(|number| (number, *factor));
        let (number, factor) = UNITS.iter().find_map(split).ok_or(ParseByteSizeError)?;
        let number: u64 = number.trim_end().parse().map_err(|_| ParseByteSizeError)?;
        number.checked_mul(factor).map(Self).ok_or(ParseByteSizeError)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).copied().unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = ParseByteSizeError;

    fn try_from(text: String) -> Result<Self, ParseByteSizeError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_and_print() {
        for (text, bytes, printed) in [
            ("500MB", 500_000_000, "500 MB"),
            ("64 KiB", 65_536, "64 KiB"),
            (" 2GiB ", 2 << 30, "2 GiB"),
            ("7B", 7, "7 B"),
            ("1024 kB", 1_024_000, "1000 KiB"),
            ("0B", 0, "0 B"),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), printed);
        }
        for text in ["", "5", "MB", "-1MB", "1.5MB", "1mb", "99999999999999GiB", "1 M B"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ParseByteSizeError), "{text}");
        }
    }
}
