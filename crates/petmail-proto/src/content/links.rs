//! Links: how packs are read at a service that knows nothing of contacts. Its owner signs an address for each pack; whoever has
//! it may read that pack for a time.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{Damaged, MAX_CHUNK_BYTES, ManifestChunk, PackId};
use crate::wire::{Reader, Writer};

/// The longest link, in bytes.
pub const MAX_LINK_BYTES: usize = 2_048;

const PREFIX: &[u8; 2] = b"l1";

/// The address of one pack, signed: whoever knows it may read the pack. 1 to [`MAX_LINK_BYTES`] printable characters of ASCII.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Link(String);

impl Link {
    /// Takes an address; none if it is out of bounds. Whether it may be connected to is for the reader to judge.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_good =
            (1..=MAX_LINK_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        is_good.then(|| Self(text.to_owned()))
    }

    /// Returns the address.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(redacted)")
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom("the link is out of bounds"))
    }
}

/// A service that has the packs, and the link of the pack with the [`PackLinks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedPlace {
    /// Where that pack is.
    pub link: Link,
    /// Where the list is in it, and what opens it.
    pub list: ManifestChunk,
}

/// The links of all packs of an upload but the one that holds this list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackLinks(BTreeMap<PackId, Link>);

/// The list would be longer than a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are more links than one transfer can hold")]
pub struct TooManyLinks;

impl FromIterator<(PackId, Link)> for PackLinks {
    fn from_iter<I: IntoIterator<Item = (PackId, Link)>>(links: I) -> Self {
        Self(links.into_iter().collect())
    }
}

impl PackLinks {
    /// Returns the link of a pack.
    #[must_use]
    pub fn get(&self, pack: &PackId) -> Option<&Link> {
        self.0.get(pack)
    }

    /// Returns the bytes that are stored as a chunk: 1 to [`MAX_CHUNK_BYTES`].
    ///
    /// # Errors
    /// [`TooManyLinks`].
    pub fn encode(&self) -> Result<Vec<u8>, TooManyLinks> {
        let count = u32::try_from(self.0.len()).map_err(|_| TooManyLinks)?;
        let start = Writer::default().fixed(PREFIX).u32(count);
        let writer = self.0.iter().fold(start, |writer, (pack, link)| {
            writer.fixed(pack.as_bytes()).variable(link.expose().as_bytes())
        });
        let bytes = writer.finish();
        if bytes.len() <= MAX_CHUNK_BYTES { Ok(bytes) } else { Err(TooManyLinks) }
    }

    /// Reads what [`encode`](Self::encode) returns, and nothing else.
    ///
    /// # Errors
    /// [`Damaged`]: cut, too long, out of order, or with a link that is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        reader.expect(PREFIX).map_err(|_| Damaged)?;
        let count = reader.u32().map_err(|_| Damaged)?;
        let mut links = BTreeMap::new();
        for _ in 0..count {
            let pack = PackId::from_bytes(reader.array().map_err(|_| Damaged)?);
            let link = reader.variable(MAX_LINK_BYTES).map_err(|_| Damaged)?;
            let link = std::str::from_utf8(link).ok().and_then(Link::new).ok_or(Damaged)?;
            if links.last_key_value().is_some_and(|(before, _)| *before >= pack) {
                return Err(Damaged);
            }
            links.insert(pack, link);
        }
        reader.finish().map_err(|_| Damaged)?;
        Ok(Self(links))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(count: usize, length: usize) -> PackLinks {
        let link = Link::new(&"x".repeat(length)).unwrap();
        (0..count).map(|i| (PackId::of(&i.to_be_bytes()), link.clone())).collect()
    }

    #[test]
    fn a_list_is_read_as_it_was_written_and_in_no_other_form() {
        for list in [links(0, 1), links(1, 1), links(100, MAX_LINK_BYTES)] {
            let bytes = list.encode().unwrap();
            assert_eq!(PackLinks::decode(&bytes).unwrap(), list);
            assert_eq!(PackLinks::decode(&[&bytes[..], b"x"].concat()), Err(Damaged));
            assert_eq!(PackLinks::decode(&bytes[..bytes.len() - 1]), Err(Damaged));
        }
        let list = links(2, 3).encode().unwrap();
        let (head, (one, two)) = (&list[..6], list[6..].split_at(39));
        assert_eq!(PackLinks::decode(&[head, two, one].concat()), Err(Damaged), "another order");
        assert_eq!(PackLinks::decode(&[head, one, one].concat()), Err(Damaged), "one twice");
        assert_eq!(PackLinks::decode(b"l1\xff\xff\xff\xff"), Err(Damaged));
        assert_eq!(links(2_100, MAX_LINK_BYTES).encode(), Err(TooManyLinks));
    }

    #[test]
    fn links_are_bounded_and_not_shown() {
        for bad in ["", "https://a b", "https://a\n", "https://ä", &"x".repeat(MAX_LINK_BYTES + 1)] {
            assert_eq!(Link::new(bad), None, "{bad}");
            assert!(serde_json::from_value::<Link>(bad.into()).is_err());
        }
        let link: Link = serde_json::from_str("\"https://store.example/p?signature=secret\"").unwrap();
        assert!(!format!("{link:?}").contains("secret"));
    }
}
