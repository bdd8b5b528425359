//! The file `place`: which node this is, and where its folder was at the last start.

use petmail_proto::wire::Record;
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Keeps the digest apart from those that other programs make of the same id.
const MACHINE_CONTEXT: &[u8] = b"petmail place: machine v1";

/// How long a machine's id is, in hexadecimal digits.
const MACHINE_ID_DIGITS: usize = 32;

/// What the file `place` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) node: NodeId,
    pub(super) site: Site,
}

impl Record for Place {
    const VERSION: u16 = 1;
}

/// Names a node and its copies; random, and never sent to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeId([u8; 16]);

/// Where a folder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Site {
    /// Its path, without links.
    pub(super) path: Vec<u8>,
    /// The machine, where that can be told.
    pub(super) machine: Option<MachineDigest>,
    pub(super) folder: Folder,
}

/// What tells two folders of one machine apart, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Folder {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A digest of a machine's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MachineDigest([u8; 32]);

impl NodeId {
    pub(super) fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        Self(id)
    }

    #[cfg(test)]
    pub(super) const fn from_bytes(id: [u8; 16]) -> Self {
        Self(id)
    }
}

impl MachineDigest {
    /// Makes it of the text of `/etc/machine-id`; of none that is no id, such as `uninitialized`.
    pub(super) fn of(text: &str) -> Option<Self> {
        let id = text.trim_end();
        let is_id = id.len() == MACHINE_ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(Sha256::new().chain_update(MACHINE_CONTEXT).chain_update(id).finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Bytes that the first version wrote; they never change.
    const WRITTEN: &str = "0001010101010101010101010101010101010000000000000005\
        2f686f6d6501\
        61b8b167822ddd2548720fe79f1c1b3d62fed93f133e7567396749fe1fac166f\
        00000000000000070000000000000009";

    #[test]
    fn the_bytes_of_the_first_version_are_read_and_written() {
        let place = Place {
            node: NodeId::from_bytes([1; 16]),
            site: Site {
                path: b"/home".to_vec(),
                machine: MachineDigest::of("0123456789abcdef0123456789abcdef\n"),
                folder: Folder { device: 7, inode: 9 },
            },
        };
        assert_eq!(HEXLOWER.encode(&place.encode_record().unwrap()), WRITTEN);
        assert_eq!(Place::decode_record(&HEXLOWER.decode(WRITTEN.as_bytes()).unwrap()), Ok(place));
    }

    #[test]
    fn only_an_id_names_a_machine() {
        let id = "0123456789abcdef0123456789abcdef";
        assert!(MachineDigest::of(id).is_some());
        assert_eq!(MachineDigest::of(&format!("{id}\n")), MachineDigest::of(id));
        assert_ne!(MachineDigest::of(&id.replace('0', "1")), MachineDigest::of(id));
        for text in ["", "uninitialized\n", "0123", &id.replace('0', "x")] {
            assert_eq!(MachineDigest::of(text), None, "{text}");
        }
    }
}
