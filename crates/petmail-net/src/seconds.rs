//! Durations in configuration files: a number of seconds, fractions allowed. Use with `#[serde(with = "…::seconds")]`
//! and name the key `…_seconds`, so that the unit is visible where a person types it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes `duration` as a number of seconds.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Reads a number of seconds, whole or fractional.
///
/// # Errors
/// Refuses what is negative, not finite, zero, or no number: a limit of zero seconds would refuse everything.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(D::Error::custom("expected a positive number of seconds")),
    }
}
