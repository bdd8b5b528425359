//! How an account's owner gets at its packs: a list request, posted to another endpoint, is answered by a grant.
//!
//! A grant is nonce ‖ secretbox(symmetric key, `"g1"` ‖ request key ‖ ticket [73] ‖ quota u64 ‖ used u64). A refusal is that of
//! a list request.

use rand_core::CryptoRngCore;

use super::{
    Answer, EventReader, Refusal, RequestKey, RetrievalError, StorageTicket,
    event::{open, seal},
};
use crate::{
    content::{MAX_PACK_BYTES, PackId},
    keys::SymmetricKey,
    wire::{Reader, WireError, Writer},
};

/// The most packs in one question.
pub const MAX_LOOK_UPS: usize = 1_024;

const PREFIX_GRANT: &[u8; 2] = b"g1";
const PREFIX_LOOK_UP: &[u8; 2] = b"q1";
const PREFIX_FOUND: &[u8; 2] = b"u1";

/// What an owner may store, and the ticket for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageGrant {
    /// Shown with every request about packs, for an hour.
    pub ticket: StorageTicket,
    /// How many bytes of packs the account may hold.
    pub quota_bytes: u64,
    /// How many it holds.
    pub used_bytes: u64,
}

/// An answer to a request for a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageAnswer {
    /// Granted.
    Granted(StorageGrant),
    /// The request was too old, or seen before.
    Refused(Refusal),
}

impl StorageGrant {
    /// Makes the answer, at the server.
    pub fn seal(
        &self,
        request_key: &RequestKey,
        key: &SymmetricKey,
        rng: &mut impl CryptoRngCore,
    ) -> Vec<u8> {
        let plaintext = Writer::new()
            .fixed(PREFIX_GRANT)
            .fixed(request_key.as_bytes())
            .fixed(self.ticket.as_bytes())
            .u64(self.quota_bytes)
            .u64(self.used_bytes);
        seal(&plaintext.finish(), key, rng)
    }
}

impl StorageAnswer {
    /// Opens the answer to the request with this key.
    ///
    /// # Errors
    /// [`RetrievalError`].
    pub fn open(bytes: &[u8], request_key: &RequestKey, key: &SymmetricKey) -> Result<Self, RetrievalError> {
        let plaintext = open(bytes, key)?;
        let mut reader = Reader::new(&plaintext);
        if reader.expect(PREFIX_GRANT).is_err() {
            return match EventReader::new(*request_key, key.clone()).open(bytes)? {
                Answer::Refused(refusal) => Ok(Self::Refused(refusal)),
                Answer::Event(_) => Err(RetrievalError::Malformed),
            };
        }
        if RequestKey::from_bytes(reader.array()?) != *request_key {
            return Err(RetrievalError::OtherRequest);
        }
        let ticket = StorageTicket::from_bytes(reader.array()?);
        let (quota_bytes, used_bytes) = (reader.u64()?, reader.u64()?);
        reader.finish()?;
        Ok(Self::Granted(StorageGrant { ticket, quota_bytes, used_bytes }))
    }
}

/// How far a pack is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackState {
    /// So many of its bytes have arrived; perhaps none.
    Arriving(u32),
    /// All of it is on disk, and stays for 48 hours whatever is deleted.
    Stored,
}

/// Asks about an account's packs: `"q1"` ‖ count u32 ‖ ids.
///
/// # Errors
/// [`RetrievalError::TooLarge`] over [`MAX_LOOK_UPS`].
pub fn encode_look_up(packs: &[PackId]) -> Result<Vec<u8>, RetrievalError> {
    if packs.len() > MAX_LOOK_UPS {
        return Err(RetrievalError::TooLarge);
    }
    let count = u32::try_from(packs.len()).map_err(|_| RetrievalError::TooLarge)?;
    let start = Writer::new().fixed(PREFIX_LOOK_UP).u32(count);
    Ok(packs.iter().fold(start, |frame, pack| frame.fixed(pack.as_bytes())).finish())
}

/// Reads a question about packs, at the server.
///
/// # Errors
/// [`RetrievalError::Malformed`], [`RetrievalError::TooLarge`].
pub fn decode_look_up(bytes: &[u8]) -> Result<Vec<PackId>, RetrievalError> {
    let mut reader = Reader::new(bytes);
    reader.expect(PREFIX_LOOK_UP)?;
    let count = bounded(&mut reader)?;
    let packs: Result<Vec<_>, _> = (0..count).map(|_| reader.array().map(PackId::from_bytes)).collect();
    let packs = packs?;
    reader.finish()?;
    Ok(packs)
}

/// Answers a question about packs, in its order: `"u1"` ‖ count u32 ‖ for each what has arrived u32; all ones if it is stored.
#[must_use]
pub fn encode_found(states: &[PackState]) -> Vec<u8> {
    let start = Writer::new().fixed(PREFIX_FOUND).u32(u32::try_from(states.len()).unwrap_or(u32::MAX));
    let state = |frame: Writer, state: &PackState| match state {
        PackState::Arriving(bytes) => frame.u32(*bytes),
        PackState::Stored => frame.u32(u32::MAX),
    };
    states.iter().fold(start, state).finish()
}

/// Reads the answer about `count` packs.
///
/// # Errors
/// [`RetrievalError::Malformed`], also if it is about another number of packs.
pub fn decode_found(bytes: &[u8], count: usize) -> Result<Vec<PackState>, RetrievalError> {
    let mut reader = Reader::new(bytes);
    reader.expect(PREFIX_FOUND)?;
    if bounded(&mut reader)? != count {
        return Err(RetrievalError::Malformed);
    }
    let state = |number: u32| match number {
        u32::MAX => Ok(PackState::Stored),
        bytes if bytes < MAX_PACK_BYTES => Ok(PackState::Arriving(bytes)),
        _ => Err(RetrievalError::Malformed),
    };
    let states: Result<Vec<_>, RetrievalError> =
        (0..count).map(|_| reader.u32().map_err(RetrievalError::from).and_then(state)).collect();
    let states = states?;
    reader.finish()?;
    Ok(states)
}

fn bounded(reader: &mut Reader<'_>) -> Result<usize, WireError> {
    let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if count > MAX_LOOK_UPS { Err(WireError::TooLarge) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;
    use crate::{
        retrieval::{RefusalReason, TICKET_LIFE, TicketError, TicketKey, seal_refusal},
        server::account::AccountId,
        time::UnixMillis,
    };

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn rng() -> rand_chacha::ChaCha20Rng {
        rand_chacha::ChaCha20Rng::from_seed([9; 32])
    }

    #[test]
    fn a_grant_is_for_one_request_and_one_key() {
        let (tickets, account) = (TicketKey::from_bytes([1; 32]), AccountId::from_bytes([2; 16]));
        let ticket = StorageTicket::seal(&tickets, &account, NOW, &mut rng());
        let grant = StorageGrant { ticket, quota_bytes: 5, used_bytes: 4 };
        let (request, key) = (RequestKey::from_bytes([3; 32]), SymmetricKey::from_bytes([4; 32]));
        let sealed = grant.seal(&request, &key, &mut rng());
        assert_eq!(StorageAnswer::open(&sealed, &request, &key), Ok(StorageAnswer::Granted(grant)));
        let (other_request, other_key) = (RequestKey::from_bytes([5; 32]), SymmetricKey::from_bytes([6; 32]));
        assert_eq!(StorageAnswer::open(&sealed, &other_request, &key), Err(RetrievalError::OtherRequest));
        assert_eq!(StorageAnswer::open(&sealed, &request, &other_key), Err(RetrievalError::DoesNotOpen));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(StorageAnswer::open(&damaged, &request, &key).is_err(), "byte {at}");
        }
        let refusal = Refusal { server_time: NOW, reason: RefusalReason::Clock };
        let sealed = seal_refusal(refusal, &request, &key, &mut rng());
        assert_eq!(StorageAnswer::open(&sealed, &request, &key), Ok(StorageAnswer::Refused(refusal)));
    }

    #[test]
    fn a_ticket_is_for_its_purpose_and_its_hour() {
        let (tickets, account) = (TicketKey::from_bytes([1; 32]), AccountId::from_bytes([2; 16]));
        let ticket = StorageTicket::seal(&tickets, &account, NOW, &mut rng());
        assert_eq!(ticket.open(&tickets, NOW.plus(TICKET_LIFE)), Ok(account));
        let later = NOW.plus(TICKET_LIFE + core::time::Duration::from_millis(1));
        assert_eq!(ticket.open(&tickets, later), Err(TicketError::Expired));
        assert_eq!(ticket.open(&TicketKey::from_bytes([2; 32]), NOW), Err(TicketError::Forged));
        let fetch = crate::retrieval::FetchToken::from_bytes(*ticket.as_bytes());
        assert_eq!(fetch.open(&tickets, NOW), Err(TicketError::Forged));
    }

    #[test]
    fn questions_and_answers_are_bounded() {
        let packs = [PackId::of(b"a"), PackId::of(b"b")];
        let question = encode_look_up(&packs).unwrap();
        assert_eq!(decode_look_up(&question).unwrap(), packs);
        let states = [PackState::Stored, PackState::Arriving(7)];
        let answer = encode_found(&states);
        assert_eq!(decode_found(&answer, 2).unwrap(), states);
        assert_eq!(decode_found(&answer, 3), Err(RetrievalError::Malformed));
        for bytes in [&question[..], &answer] {
            for length in 0..bytes.len() {
                assert!(
                    decode_look_up(&bytes[..length]).is_err() && decode_found(&bytes[..length], 2).is_err()
                );
            }
            let longer = [bytes, &[0]].concat();
            assert!(decode_look_up(&longer).is_err() && decode_found(&longer, 2).is_err());
        }
        assert_eq!(encode_look_up(&[packs[0]; MAX_LOOK_UPS + 1]), Err(RetrievalError::TooLarge));
        assert_eq!(decode_look_up(b"q1\xff\xff\xff\xff"), Err(RetrievalError::TooLarge));
        let beyond = [b"u1\0\0\0\x01".as_slice(), &MAX_PACK_BYTES.to_be_bytes()].concat();
        assert_eq!(decode_found(&beyond, 1), Err(RetrievalError::Malformed));
    }
}
