//! How bytes are laid out: the one place that knows the binary encodings.
//!
//! Two forms exist. *Frames* that programs exchange, and every byte string that is hashed or signed, are written field by
//! field with [`Writer`] and read with [`Reader`]: fixed-width big-endian integers, and a `u32` length before each part of
//! variable length. *Records* that one program keeps for itself are bincode with fixed-width big-endian integers behind a
//! two-byte version. Decoding is bounded, consumes everything, and never panics.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The largest encoded record that is written or read, in bytes: what a store's row and its companion file may hold.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// Why bytes could not be decoded, or a value not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end before the value does.
    #[error("the data is truncated")]
    Truncated,
    /// Bytes follow the value.
    #[error("unexpected bytes follow the data")]
    TrailingBytes,
    /// A length or the whole value is over its bound.
    #[error("the data is larger than allowed")]
    TooLarge,
    /// The bytes are no value of this type.
    #[error("the data is malformed")]
    Malformed,
    /// The record was written by a newer program.
    #[error("the record has version {found}; this program knows versions up to {known}")]
    UnknownVersion {
        /// The version that the record carries.
        found: u16,
        /// The newest version that this program can read.
        known: u16,
    },
}

/// A value that a program stores for itself, with the version of its layout.
///
/// A new layout raises [`Record::VERSION`] and extends [`Record::migrate`]; the bytes of every older version stay in the
/// tests as fixtures.
pub trait Record: Serialize + DeserializeOwned {
    /// The version of the layout that [`Record::encode_record`] writes.
    const VERSION: u16;

    /// Reads the layout of an older `version`.
    ///
    /// # Errors
    /// [`WireError::UnknownVersion`] unless the type knows that version.
    fn migrate(version: u16, _body: &[u8]) -> Result<Self, WireError> {
        Err(WireError::UnknownVersion { found: version, known: Self::VERSION })
    }

    /// Encodes the record: version `u16`, then bincode.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] over [`MAX_RECORD_BYTES`].
    fn encode_record(&self) -> Result<Vec<u8>, WireError> {
        let mut bytes = Self::VERSION.to_be_bytes().to_vec();
        bytes.extend(encode(self)?);
        Ok(bytes)
    }

    /// Decodes what [`Record::encode_record`] wrote, in this or an older version.
    ///
    /// # Errors
    /// Any [`WireError`]; nothing is half-read.
    fn decode_record(bytes: &[u8]) -> Result<Self, WireError> {
        let (version, body) = bytes.split_first_chunk::<2>().ok_or(WireError::Truncated)?;
        match u16::from_be_bytes(*version) {
            version if version == Self::VERSION => decode(body),
            version if version > Self::VERSION => {
                Err(WireError::UnknownVersion { found: version, known: Self::VERSION })
            }
            version => Self::migrate(version, body),
        }
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<MAX_RECORD_BYTES>()
}

/// Encodes a value without a version; the caller's frame says what it is.
///
/// # Errors
/// [`WireError::TooLarge`] over [`MAX_RECORD_BYTES`].
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    let bytes = bincode::serde::encode_to_vec(value, config()).map_err(|_| WireError::Malformed)?;
    if bytes.len() > MAX_RECORD_BYTES { Err(WireError::TooLarge) } else { Ok(bytes) }
}

/// Decodes what [`encode`] wrote, all of it.
///
/// # Errors
/// Any [`WireError`] but `UnknownVersion`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    use bincode::error::DecodeError;
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(WireError::TooLarge);
    }
    let decoded = bincode::serde::decode_from_slice(bytes, config());
    match decoded {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok(_) => Err(WireError::TrailingBytes),
        Err(DecodeError::UnexpectedEnd { .. }) => Err(WireError::Truncated),
        Err(DecodeError::LimitExceeded) => Err(WireError::TooLarge),
        Err(_) => Err(WireError::Malformed),
    }
}

/// Builds a frame or a transcript to hash or sign.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts an empty frame.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Starts a transcript with a context label and the zero byte that ends it.
    #[must_use]
    pub fn labelled(label: &str) -> Self {
        Self::new().fixed(label.as_bytes()).fixed(&[0])
    }

    /// Appends bytes whose length the format fixes.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Appends bytes of variable length behind their `u32` length.
    ///
    /// # Panics
    /// If `bytes` is longer than 4 GiB, which no value of this crate can be.
    #[must_use]
    pub fn variable(self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("protocol values are bounded far below 4 GiB");
        self.u32(length).fixed(bytes)
    }

    /// Appends one byte.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.fixed(&[value])
    }

    /// Appends a big-endian `u32`.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Appends a big-endian `u64`.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.fixed(&value.to_be_bytes())
    }

    /// Returns the bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a frame apart; the caller ends with [`Reader::finish`].
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes exactly `N` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// Takes exactly `length` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// Takes a part of variable length, at most `max_bytes` long.
    ///
    /// # Errors
    /// [`WireError::Truncated`], [`WireError::TooLarge`].
    pub fn variable(&mut self, max_bytes: usize) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.u32()?).map_err(|_| WireError::TooLarge)?;
        if length > max_bytes {
            return Err(WireError::TooLarge);
        }
        self.bytes(length)
    }

    /// Takes the literal `prefix`.
    ///
    /// # Errors
    /// [`WireError::Truncated`], or [`WireError::Malformed`] if other bytes stand there.
    pub fn expect(&mut self, prefix: &[u8]) -> Result<(), WireError> {
        if self.bytes(prefix.len())? == prefix { Ok(()) } else { Err(WireError::Malformed) }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a big-endian `u32`.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a big-endian `u64`.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes all that is left.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`WireError::TrailingBytes`] if anything is left.
    pub const fn finish(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u64,
        text: String,
        flag: Option<bool>,
    }

    impl Record for Sample {
        const VERSION: u16 = 2;
    }

    fn sample() -> Sample {
        Sample { number: 258, text: "hé".into(), flag: Some(true) }
    }

    #[test]
    fn a_record_has_these_bytes() {
        let bytes = sample().encode_record().unwrap();
        let expected: &[u8] = &[0, 2, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, b'h', 0xc3, 0xa9, 1, 1];
        assert_eq!(bytes, expected);
        assert_eq!(Sample::decode_record(&bytes).unwrap(), sample());
    }

    #[test]
    fn damaged_records_are_refused() {
        let bytes = sample().encode_record().unwrap();
        let mut newer = bytes.clone();
        newer[1] = 3;
        assert_eq!(Sample::decode_record(&newer), Err(WireError::UnknownVersion { found: 3, known: 2 }));
        let mut older = bytes.clone();
        older[1] = 1;
        assert_eq!(Sample::decode_record(&older), Err(WireError::UnknownVersion { found: 1, known: 2 }));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Sample::decode_record(&longer), Err(WireError::TrailingBytes));
        for length in 0..bytes.len() {
            assert_eq!(Sample::decode_record(&bytes[..length]), Err(WireError::Truncated), "length {length}");
        }
    }

    #[test]
    fn an_absurd_length_allocates_nothing() {
        let mut bytes = vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(u64::MAX.to_be_bytes());
        assert!(Sample::decode_record(&bytes).is_err());
    }

    #[test]
    fn frames_round_trip_and_are_consumed_whole() {
        let frame = Writer::labelled("x").u8(1).u32(2).u64(3).variable(b"abc").fixed(b"z").finish();
        let mut reader = Reader::new(&frame);
        reader.expect(b"x\0").unwrap();
        assert_eq!((reader.u8(), reader.u32(), reader.u64()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(reader.clone().variable(2), Err(WireError::TooLarge));
        assert_eq!(reader.variable(3), Ok(&b"abc"[..]));
        assert_eq!(reader.clone().finish(), Err(WireError::TrailingBytes));
        assert_eq!(reader.rest(), b"z");
        assert_eq!(reader.finish(), Ok(()));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(sample) = Sample::decode_record(&bytes) {
                prop_assert_eq!(sample.encode_record().unwrap(), bytes);
            }
        }
    }
}
