//! What a queue holds, record by record, as it travels from one queue to another: nothing of it depends on the engine.

use petmail_proto::{
    delivery::{Bucket, MsgADigest},
    retrieval::MessageNumber,
    server::{account::AccountId, offer::RedeemTokenHash},
    time::UnixMillis,
    wire::{Reader, Record, WireError, Writer},
};

use super::{Account, StoredOffer};

/// The longest encoded record: the longest message with what is known of it, and room to spare.
pub const MAX_EXPORTED_BYTES: usize = Bucket::Kib256.msg_c_bytes() + 4_096;

/// One record. A queue hands out the serial, then accounts, offers, messages and digests; messages of an account in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Exported {
    /// The last serial that was given.
    Serial(u64),
    /// An account.
    Account(Box<Account>),
    /// An offer, by the hash of its redeem token.
    Offer(RedeemTokenHash, StoredOffer),
    /// A message that waits.
    Message(ExportedMessage),
    /// A message that is remembered, so that it is not stored twice.
    Digest(ExportedDigest),
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedMessage {
    /// Whose it is.
    pub account: AccountId,
    /// Its number.
    pub number: MessageNumber,
    /// When it came.
    pub received: UnixMillis,
    /// Whether it came through a slot that had been replaced.
    pub is_former_slot: bool,
    /// The message.
    pub msg_c: Vec<u8>,
}

/// A message that is remembered, whether it still waits or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedDigest {
    /// Of its msgA.
    pub digest: MsgADigest,
    /// When it is forgotten, and deleted if it is still there.
    pub expiry: UnixMillis,
    /// Whose it is.
    pub account: AccountId,
    /// Its number.
    pub number: MessageNumber,
}

const SERIAL: u8 = b's';
const ACCOUNT: u8 = b'a';
const OFFER: u8 = b'o';
const MESSAGE: u8 = b'm';
const DIGEST: u8 = b'd';

impl Exported {
    /// Returns the record's kind and its bytes, at most [`MAX_EXPORTED_BYTES`].
    ///
    /// # Errors
    /// [`WireError`] if it is longer than any record can be.
    pub fn encode(&self) -> Result<(u8, Vec<u8>), WireError> {
        let writer = Writer::default();
        Ok(match self {
            Self::Serial(serial) => (SERIAL, writer.u64(*serial).finish()),
            Self::Account(account) => (ACCOUNT, account.encode_record()?),
            Self::Offer(hash, offer) => {
                (OFFER, writer.fixed(hash.as_bytes()).fixed(&offer.encode_record()?).finish())
            }
            Self::Message(message) => {
                let head = writer.fixed(message.account.as_bytes()).u64(message.number.0);
                let head = head.u64(message.received.0).u8(u8::from(message.is_former_slot));
                (MESSAGE, head.fixed(&message.msg_c).finish())
            }
            Self::Digest(remembered) => {
                let head = writer.fixed(remembered.digest.as_bytes()).u64(remembered.expiry.0);
                (DIGEST, head.fixed(remembered.account.as_bytes()).u64(remembered.number.0).finish())
            }
        })
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for a kind that is none of a queue's.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let mut reader = Reader::new(bytes);
        let record = match kind {
            SERIAL => Self::Serial(reader.u64()?),
            ACCOUNT => Self::Account(Box::new(Account::decode_record(reader.rest())?)),
            OFFER => {
                let hash = RedeemTokenHash::from_bytes(reader.array()?);
                Self::Offer(hash, StoredOffer::decode_record(reader.rest())?)
            }
            MESSAGE => Self::Message(ExportedMessage {
                account: AccountId::from_bytes(reader.array()?),
                number: MessageNumber(reader.u64()?),
                received: UnixMillis(reader.u64()?),
                is_former_slot: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(WireError::Malformed),
                },
                msg_c: reader.rest().to_vec(),
            }),
            DIGEST => Self::Digest(ExportedDigest {
                digest: MsgADigest::from_bytes(reader.array()?),
                expiry: UnixMillis(reader.u64()?),
                account: AccountId::from_bytes(reader.array()?),
                number: MessageNumber(reader.u64()?),
            }),
            _ => return Ok(None),
        };
        reader.finish()?;
        Ok(Some(record))
    }
}
