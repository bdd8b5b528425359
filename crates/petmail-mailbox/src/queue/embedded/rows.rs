//! The rows of the embedded queue: keyspaces, keys and records.

use petmail_proto::{
    delivery::MsgADigest,
    retrieval::MessageNumber,
    server::{
        account::{AccountId, Quota},
        offer::RedeemTokenHash,
    },
    time::UnixMillis,
    wire::{self, Reader, Record, WireError},
};
use petmail_store::{BlobName, Keyspace};
use serde::{Deserialize, Serialize};

use crate::queue::{OfferTerms, QueueError, Waiting};

/// Account id → [`Account`](crate::queue::Account).
pub(super) const ACCOUNTS: Keyspace = Keyspace::new("accounts");
/// Hash of a redeem token → [`OfferRow`].
pub(super) const OFFERS: Keyspace = Keyspace::new("offers");
/// Account id ‖ number → [`MessageRow`]. Apart from the bodies, so that counting at start reads little.
pub(super) const MESSAGES: Keyspace = Keyspace::new("messages");
/// Account id ‖ number → msgC, if it is no file.
pub(super) const BODIES: Keyspace = Keyspace::new("bodies");
/// Digest of a msgA → when it is forgotten.
pub(super) const REPLAYS: Keyspace = Keyspace::new("replays");
/// When ‖ digest of a msgA → account id ‖ number: what is to be forgotten, soonest first.
pub(super) const EXPIRY: Keyspace = Keyspace::new("expiry");
/// The server's own numbers.
pub(super) const META: Keyspace = Keyspace::new("meta");

pub(super) const KEYSPACES: &[Keyspace] = &[ACCOUNTS, OFFERS, MESSAGES, BODIES, REPLAYS, EXPIRY, META];

/// An offer that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRow {
    /// What it gives.
    pub terms: OfferTerms,
    /// The account that it became.
    pub redeemed: Option<AccountId>,
}

/// Version 2 of [`OfferRow`].
#[derive(Deserialize)]
struct OfferRowV2 {
    quota: Quota,
    retention_seconds: u64,
    expires: UnixMillis,
    provider_total: Option<u64>,
    given_by: Option<AccountId>,
    redeemed: Option<AccountId>,
}

/// Version 1 of [`OfferRow`].
#[derive(Deserialize)]
struct OfferRowV1 {
    quota: Quota,
    retention_seconds: u64,
    expires: UnixMillis,
    redeemed: Option<AccountId>,
}

impl Record for OfferRow {
    const VERSION: u16 = 3;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        let old = match version {
            1 => wire::decode::<OfferRowV1>(body)?.into(),
            2 => wire::decode::<OfferRowV2>(body)?,
            _ => return Err(WireError::UnknownVersion { found: version, known: Self::VERSION }),
        };
        let OfferRowV2 { quota, retention_seconds, expires, provider_total, given_by, redeemed } = old;
        let terms =
            OfferTerms { quota, retention_seconds, expires, provider_total, given_by, storage_bytes: 0 };
        Ok(Self { terms, redeemed })
    }
}

impl From<OfferRowV1> for OfferRowV2 {
    fn from(old: OfferRowV1) -> Self {
        let OfferRowV1 { quota, retention_seconds, expires, redeemed } = old;
        Self { quota, retention_seconds, expires, provider_total: None, given_by: None, redeemed }
    }
}

/// A message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MessageRow {
    pub(super) received: UnixMillis,
    /// Bytes of msgC.
    pub(super) length: u32,
    pub(super) place: Place,
    /// Whether it came through a slot that had been replaced.
    pub(super) is_former_slot: bool,
}

/// Version 1 of [`MessageRow`].
#[derive(Deserialize)]
struct MessageRowV1 {
    received: UnixMillis,
    length: u32,
    place: Place,
}

impl Record for MessageRow {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        if version != 1 {
            return Err(WireError::UnknownVersion { found: version, known: Self::VERSION });
        }
        let MessageRowV1 { received, length, place } = wire::decode(body)?;
        Ok(Self { received, length, place, is_former_slot: false })
    }
}

/// Where a msgC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// In [`BODIES`].
    Row,
    /// In a file of this name.
    File([u8; 16]),
}

impl Place {
    pub(super) fn blob(&self) -> Option<BlobName> {
        match self {
            Self::Row => None,
            Self::File(name) => Some(BlobName::from_bytes(*name)),
        }
    }
}

pub(super) fn message_key(account: &AccountId, number: MessageNumber) -> Vec<u8> {
    [account.as_bytes().as_slice(), &number.0.to_be_bytes()].concat()
}

pub(super) fn parse_message_key(key: &[u8]) -> Result<(AccountId, MessageNumber), QueueError> {
    let mut reader = Reader::new(key);
    let account = AccountId::from_bytes(reader.array().map_err(QueueError::new)?);
    let number = MessageNumber(reader.u64().map_err(QueueError::new)?);
    reader.finish().map_err(QueueError::new)?;
    Ok((account, number))
}

pub(super) fn parse_offer_key(key: &[u8]) -> Result<RedeemTokenHash, QueueError> {
    let hash: [u8; 32] = key.try_into().map_err(QueueError::new)?;
    Ok(RedeemTokenHash::from_bytes(hash))
}

pub(super) fn expiry_key(expiry: UnixMillis, digest: &MsgADigest) -> Vec<u8> {
    [expiry.0.to_be_bytes().as_slice(), digest.as_bytes()].concat()
}

pub(super) fn parse_expiry_key(key: &[u8]) -> Result<(UnixMillis, MsgADigest), QueueError> {
    let mut reader = Reader::new(key);
    let expiry = UnixMillis(reader.u64().map_err(QueueError::new)?);
    let digest = MsgADigest::from_bytes(reader.array().map_err(QueueError::new)?);
    reader.finish().map_err(QueueError::new)?;
    Ok((expiry, digest))
}

pub(super) fn waiting(key: &[u8], row: &[u8]) -> Result<Waiting, QueueError> {
    let (_, number) = parse_message_key(key)?;
    let row = MessageRow::decode_record(row).map_err(QueueError::new)?;
    Ok(Waiting { number, length: row.length })
}

pub(super) fn length_of(msg_c: &[u8]) -> Result<u32, QueueError> {
    u32::try_from(msg_c.len()).map_err(QueueError::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_all_versions_are_read() {
        let old = MessageRow {
            received: UnixMillis(1),
            length: 2,
            place: Place::File([3; 16]),
            is_former_slot: false,
        };
        let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1];
        bytes.extend([3; 16]);
        assert_eq!(MessageRow::decode_record(&bytes).unwrap(), old);
        let row = MessageRow { is_former_slot: true, ..old };
        bytes[1] = 2;
        bytes.push(1);
        assert_eq!(row.encode_record().unwrap(), bytes);
        assert_eq!(MessageRow::decode_record(&bytes).unwrap(), row);
        bytes[1] = 3;
        let newer = Err(WireError::UnknownVersion { found: 3, known: 2 });
        assert_eq!(MessageRow::decode_record(&bytes), newer);
    }

    #[test]
    fn the_bytes_of_all_versions_of_an_offer_are_read() {
        let terms = OfferTerms {
            quota: Quota { bytes: 1, messages: 2 },
            retention_seconds: 3,
            expires: UnixMillis(4),
            provider_total: None,
            given_by: None,
            storage_bytes: 0,
        };
        let old = OfferRow { terms, redeemed: Some(AccountId::from_bytes([5; 16])) };
        let numbers = [1_u64, 2, 3, 4].map(u64::to_be_bytes).concat();
        let redeemed = [&[1][..], &[5; 16]].concat();
        let first = [&[0, 1][..], &numbers, &redeemed].concat();
        assert_eq!(OfferRow::decode_record(&first).unwrap(), old);
        let given_by = Some(AccountId::from_bytes([7; 16]));
        let terms = OfferTerms { provider_total: Some(6), given_by, ..terms };
        let provider = [&[1][..], &6_u64.to_be_bytes(), &[1], &[7; 16]].concat();
        let second = [&[0, 2][..], &numbers, &provider, &redeemed].concat();
        let row = OfferRow { terms, ..old };
        assert_eq!(OfferRow::decode_record(&second).unwrap(), row);
        let row = OfferRow { terms: OfferTerms { storage_bytes: 8, ..terms }, ..old };
        let third = [&[0, 3][..], &numbers, &provider, &8_u64.to_be_bytes(), &redeemed].concat();
        assert_eq!(row.encode_record().unwrap(), third);
        assert_eq!(OfferRow::decode_record(&third).unwrap(), row);
        let newer = [&[0, 4][..], &third[2..]].concat();
        let refused = Err(WireError::UnknownVersion { found: 4, known: 3 });
        assert_eq!(OfferRow::decode_record(&newer), refused);
    }

    #[test]
    fn keys_are_taken_apart_and_others_refused() {
        let (account, number) = (AccountId::from_bytes([7; 16]), MessageNumber(258));
        assert_eq!(parse_message_key(&message_key(&account, number)).unwrap(), (account, number));
        let digest = MsgADigest::from_bytes([9; 32]);
        assert_eq!(parse_expiry_key(&expiry_key(UnixMillis(5), &digest)).unwrap(), (UnixMillis(5), digest));
        assert!(parse_message_key(&[0; 23]).is_err() && parse_message_key(&[0; 25]).is_err());
        assert!(parse_expiry_key(&[0; 39]).is_err() && parse_expiry_key(&[0; 41]).is_err());
    }
}
