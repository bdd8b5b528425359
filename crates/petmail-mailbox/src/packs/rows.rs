//! The rows about packs: keyspaces, keys and records.

use petmail_proto::{
    content::PackId,
    server::account::AccountId,
    time::UnixMillis,
    wire::{Reader, Record},
};
use petmail_store::Keyspace;
use serde::{Deserialize, Serialize};

use super::PackError;

/// Pack id → [`PackRow`].
pub(super) const PACKS: Keyspace = Keyspace::new("packs");
/// Account id ‖ pack id → [`HeldRow`].
pub(super) const HELD: Keyspace = Keyspace::new("held");

pub(super) const KEYSPACES: &[Keyspace] = &[PACKS, HELD];

/// A pack on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackRow {
    pub(super) bytes: u32,
    /// How many accounts have stored it; the file goes with the last.
    pub(super) owners: u32,
}

impl Record for PackRow {
    const VERSION: u16 = 1;
}

/// A pack that an account has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldRow {
    pub(super) bytes: u32,
    /// Until when it stays, whatever its owner deletes.
    pub(super) lease: UnixMillis,
    /// Whether its owner has deleted it, and only the lease keeps it.
    pub(super) is_deleted: bool,
}

impl Record for HeldRow {
    const VERSION: u16 = 1;
}

pub(super) fn held_key(account: &AccountId, pack: &PackId) -> Vec<u8> {
    [account.as_bytes().as_slice(), pack.as_bytes()].concat()
}

pub(super) fn parse_held_key(key: &[u8]) -> Result<(AccountId, PackId), PackError> {
    let mut reader = Reader::new(key);
    let parsed = reader.array().and_then(|account| Ok((account, reader.array()?)));
    let (account, pack) = parsed.map_err(PackError::new)?;
    Ok((AccountId::from_bytes(account), PackId::from_bytes(pack)))
}

pub(super) fn decode<T: Record>(row: &[u8]) -> Result<T, PackError> {
    T::decode_record(row).map_err(PackError::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_these_bytes() {
        let pack = PackRow { bytes: 1, owners: 2 };
        let bytes = [&[0, 1][..], &1_u32.to_be_bytes(), &2_u32.to_be_bytes()].concat();
        assert_eq!(pack.encode_record().unwrap(), bytes);
        assert_eq!(decode::<PackRow>(&bytes).unwrap(), pack);
        let held = HeldRow { bytes: 3, lease: UnixMillis(4), is_deleted: true };
        let bytes = [&[0, 1][..], &3_u32.to_be_bytes(), &4_u64.to_be_bytes(), &[1]].concat();
        assert_eq!(held.encode_record().unwrap(), bytes);
        assert_eq!(decode::<HeldRow>(&bytes).unwrap(), held);
        let newer = [&[0, 2][..], &bytes[2..]].concat();
        assert!(decode::<HeldRow>(&newer).is_err());
        let (account, id) = (AccountId::from_bytes([5; 16]), PackId::of(b"x"));
        assert_eq!(parse_held_key(&held_key(&account, &id)).unwrap(), (account, id));
        assert!(parse_held_key(&[0; 47]).is_err());
    }
}
