//! How a program stores a secret: `#[serde(with = "petmail_proto::keys::stored_secret")]` on the field, and nowhere else.
//!
//! In JSON a value is unpadded base64url (RFC 4648, section 5); in records it is its bytes.

use core::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{
    Deserializer, Serializer,
    de::{Error, SeqAccess, Visitor},
    ser::SerializeTuple,
};
use zeroize::{Zeroize, Zeroizing};

/// A secret of `N` bytes that may be stored.
pub trait StoredSecret<const N: usize>: Sized {
    /// Copies the bytes out for storage.
    fn to_stored(&self) -> Zeroizing<[u8; N]>;
    /// Takes stored bytes back.
    fn from_stored(bytes: Zeroizing<[u8; N]>) -> Self;
}

/// Writes a secret.
///
/// # Errors
/// Whatever the format reports.
pub fn serialize<S: Serializer, T: StoredSecret<N>, const N: usize>(
    secret: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_bytes(&secret.to_stored(), serializer)
}

/// Reads a secret.
///
/// # Errors
/// If the text is not canonical base64url, or of another length.
pub fn deserialize<'de, D: Deserializer<'de>, T: StoredSecret<N>, const N: usize>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserialize_bytes(deserializer).map(|bytes| T::from_stored(Zeroizing::new(bytes)))
}

pub(crate) fn serialize_bytes<S: Serializer, const N: usize>(
    bytes: &[u8; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.serialize_str(&Zeroizing::new(BASE64URL_NOPAD.encode(bytes)));
    }
    let mut tuple = serializer.serialize_tuple(N)?;
    for byte in bytes {
        tuple.serialize_element(byte)?;
    }
    tuple.end()
}

pub(crate) fn deserialize_bytes<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(BytesVisitor)
    } else {
        deserializer.deserialize_tuple(N, BytesVisitor)
    }
}

struct BytesVisitor<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for BytesVisitor<N> {
    type Value = [u8; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N} bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        let mut decoded =
            BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| E::custom("malformed base64url"))?;
        let bytes = decoded.as_slice().try_into().map_err(|_| E::invalid_length(decoded.len(), &self));
        decoded.zeroize();
        bytes
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<[u8; N], A::Error> {
        let mut bytes = [0; N];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = sequence.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        Ok(bytes)
    }
}
