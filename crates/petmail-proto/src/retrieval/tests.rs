use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use subtle::ConstantTimeEq;

use super::*;
use crate::{
    delivery::Bucket,
    keys::{RetrievalSecretKey, RetrievalToken, SymmetricKey},
    server::account::AccountId,
    time::UnixMillis,
};

const NOW: UnixMillis = UnixMillis(10_000_000);
const LATE: UnixMillis = UnixMillis(NOW.0 + 3_600_001);
const ACCOUNT: AccountId = AccountId::from_bytes([9; 16]);
const REQUEST: RequestKey = RequestKey::from_bytes([8; 32]);
const NUMBER: MessageNumber = MessageNumber(77);

fn symmetric() -> SymmetricKey {
    SymmetricKey::from_bytes([7; 32])
}

fn entry(length: usize, inline: bool) -> Entry {
    Entry {
        fetch: FetchToken::from_bytes([1; 73]),
        delete: DeleteToken::from_bytes([2; 73]),
        length: length.try_into().unwrap(),
        message: inline.then(|| vec![3; length]),
    }
}

fn event(number: u64, entries: Vec<Entry>) -> Event {
    Event { number, entries, more: false }
}

fn sealed(event: &Event) -> Vec<u8> {
    seal_event(event, &REQUEST, &symmetric(), &mut ChaCha20Rng::seed_from_u64(event.number)).unwrap()
}

fn reader() -> EventReader {
    EventReader::new(REQUEST, symmetric())
}

#[test]
fn a_list_request_opens_with_an_older_key() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let keys = [RetrievalSecretKey::generate(rng), RetrievalSecretKey::generate(rng)];
    let token = RetrievalToken::generate(rng);
    let (bytes, request_key) = seal_list_request(NOW, &token, &keys[1].public_key(), rng).unwrap();
    assert_eq!(bytes.len(), LIST_REQUEST_BYTES);
    let request = ListRequest::open(&bytes, &keys).unwrap();
    assert_eq!((request.time, request.request_key), (NOW, request_key));
    assert!(bool::from(request.token.ct_eq(&token)));
}

#[test]
fn the_window_is_five_minutes_either_way_and_begins_with_the_server() {
    let token = RetrievalToken::from_bytes([1; 32]);
    let at = |time| ListRequest { time: UnixMillis(time), token: token.clone(), request_key: REQUEST };
    let start = UnixMillis(0);
    assert_eq!(at(NOW.0 - 300_000).check_time(start, NOW), Ok(()));
    assert_eq!(at(NOW.0 + 300_000).check_time(start, NOW), Ok(()));
    assert_eq!(at(NOW.0 - 300_001).check_time(start, NOW), Err(RefusalReason::Clock));
    assert_eq!(at(NOW.0 + 300_001).check_time(start, NOW), Err(RefusalReason::Clock));
    assert_eq!(at(NOW.0 - 1).check_time(NOW, NOW), Err(RefusalReason::BeforeStart));
    assert_eq!(at(NOW.0).check_time(NOW, NOW), Ok(()));
}

#[test]
fn tickets_hold_for_one_server_purpose_and_hour() {
    let rng = &mut ChaCha20Rng::seed_from_u64(2);
    let (key, other) = (TicketKey::generate(rng), TicketKey::generate(rng));
    let fetch = FetchToken::seal(&key, &ACCOUNT, NUMBER, NOW, rng);
    let delete = DeleteToken::seal(&key, &ACCOUNT, NUMBER, NOW, rng);
    assert_eq!(fetch.open(&key, NOW.plus(TICKET_LIFE)), Ok((ACCOUNT, NUMBER)));
    assert_eq!(fetch.open(&key, LATE), Err(TicketError::Expired));
    assert_eq!(fetch.open(&other, NOW), Err(TicketError::Forged));
    assert_eq!(delete.open(&key, NOW), Ok((ACCOUNT, NUMBER)));
    assert_eq!(FetchToken::from_bytes(*delete.as_bytes()).open(&key, NOW), Err(TicketError::Forged));
    assert_eq!(DeleteToken::from_bytes(*fetch.as_bytes()).open(&key, NOW), Err(TicketError::Forged));
}

#[test]
fn events_are_read_in_order_and_for_one_request() {
    let first = event(0, vec![entry(5, true), entry(MAX_INLINE_BYTES + 1, false)]);
    let second = Event { more: true, ..event(1, vec![]) };
    let mut reader = reader();
    assert_eq!(reader.open(&sealed(&second)), Err(RetrievalError::OutOfOrder { expected: 0, found: 1 }));
    assert_eq!(reader.open(&sealed(&first)), Ok(Answer::Event(first.clone())));
    assert_eq!(reader.open(&sealed(&first)), Err(RetrievalError::OutOfOrder { expected: 1, found: 0 }));
    assert_eq!(reader.open(&sealed(&second)), Ok(Answer::Event(second)));
    let mut other = EventReader::new(RequestKey::from_bytes([0; 32]), symmetric());
    assert_eq!(other.open(&sealed(&first)), Err(RetrievalError::OtherRequest));
    let mut other = EventReader::new(REQUEST, SymmetricKey::from_bytes([0; 32]));
    assert_eq!(other.open(&sealed(&first)), Err(RetrievalError::DoesNotOpen));
}

#[test]
fn refusals_carry_the_servers_time() {
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    for reason in [RefusalReason::Clock, RefusalReason::BeforeStart, RefusalReason::Replayed] {
        let refusal = Refusal { server_time: NOW, reason };
        let bytes = seal_refusal(refusal, &REQUEST, &symmetric(), rng);
        assert_eq!(reader().open(&bytes), Ok(Answer::Refused(refusal)));
        let mut other = EventReader::new(RequestKey::from_bytes([0; 32]), symmetric());
        assert_eq!(other.open(&bytes), Err(RetrievalError::OtherRequest));
    }
}

#[test]
fn events_are_bounded_and_filled_to_the_bound() {
    let rng = &mut ChaCha20Rng::seed_from_u64(4);
    let mut try_seal = |entries| seal_event(&event(0, entries), &REQUEST, &symmetric(), rng);
    assert_eq!(try_seal(vec![entry(1, false); MAX_ENTRIES + 1]), Err(RetrievalError::TooLarge));
    assert_eq!(try_seal(vec![entry(MAX_INLINE_BYTES + 1, true)]), Err(RetrievalError::TooLarge));
    assert_eq!(try_seal(vec![entry(Bucket::Kib256.msg_c_bytes() + 1, false)]), Err(RetrievalError::TooLarge));
    let wrong_length = Entry { length: 4, ..entry(5, true) };
    assert_eq!(try_seal(vec![wrong_length]), Err(RetrievalError::TooLarge));
    let large = entry(MAX_INLINE_BYTES, true);
    let bytes = large.encoded_bytes();
    assert!(Event::has_room(2, 2 * bytes, &large) && !Event::has_room(3, 3 * bytes, &large));
    assert!(try_seal(vec![large.clone(); 3]).unwrap().len() <= MAX_EVENT_BYTES);
    assert_eq!(try_seal(vec![large; 4]), Err(RetrievalError::TooLarge));
    assert!(!Event::has_room(MAX_ENTRIES, 0, &entry(1, true)));
}

#[test]
fn token_lists_are_bounded() {
    let fetch = FetchRequest { tokens: vec![FetchToken::from_bytes([1; 73]); MAX_FETCH_TOKENS] };
    let bytes = fetch.encode().unwrap();
    assert_eq!(bytes.len(), FetchRequest::MAX_BYTES);
    assert_eq!(FetchRequest::decode(&bytes), Ok(fetch.clone()));
    let many = FetchRequest { tokens: [fetch.tokens.clone(), fetch.tokens].concat() };
    assert_eq!(many.encode(), Err(RetrievalError::TooLarge));
    let delete = DeleteRequest { tokens: vec![DeleteToken::from_bytes([1; 73]); MAX_DELETE_TOKENS] };
    let bytes = delete.encode().unwrap();
    assert_eq!(bytes.len(), DeleteRequest::MAX_BYTES);
    assert_eq!(DeleteRequest::decode(&bytes), Ok(delete));
    let mut absurd = bytes;
    absurd[2..6].copy_from_slice(&[0xff; 4]);
    assert_eq!(DeleteRequest::decode(&absurd), Err(RetrievalError::TooLarge));
    let answer =
        FetchAnswer { messages: vec![Some(vec![1; Bucket::Kib256.msg_c_bytes()]); MAX_FETCH_TOKENS] };
    assert_eq!(answer.encode().unwrap().len(), FetchAnswer::MAX_BYTES);
    assert_eq!(FetchAnswer::decode(&answer.encode().unwrap()), Ok(answer));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
        let rng = &mut ChaCha20Rng::seed_from_u64(seed);
        let keys = [RetrievalSecretKey::generate(rng)];
        let token = RetrievalToken::generate(rng);
        let flip = |bytes: &mut [u8]| {
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
        };
        let (mut request, _) = seal_list_request(NOW, &token, &keys[0].public_key(), rng).unwrap();
        flip(&mut request);
        prop_assert!(ListRequest::open(&request, &keys).is_err());
        let mut bytes = sealed(&event(0, vec![entry(5, true)]));
        flip(&mut bytes);
        prop_assert_eq!(reader().open(&bytes), Err(RetrievalError::DoesNotOpen));
        let key = TicketKey::generate(rng);
        let mut ticket = *FetchToken::seal(&key, &ACCOUNT, NUMBER, NOW, rng).as_bytes();
        flip(&mut ticket);
        prop_assert_eq!(FetchToken::from_bytes(ticket).open(&key, NOW), Err(TicketError::Forged));
    }

    #[test]
    fn decoding_never_panics_and_is_canonical(bytes: Vec<u8>, prefix in "[elfxmr]1") {
        let bytes = [prefix.as_bytes(), &bytes].concat();
        if let Ok(request) = FetchRequest::decode(&bytes) {
            prop_assert_eq!(request.encode().unwrap(), bytes.clone());
        }
        if let Ok(request) = DeleteRequest::decode(&bytes) {
            prop_assert_eq!(request.encode().unwrap(), bytes.clone());
        }
        if let Ok(answer) = FetchAnswer::decode(&bytes) {
            prop_assert_eq!(answer.encode().unwrap(), bytes.clone());
        }
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let key = RetrievalSecretKey::generate(rng);
        let request = key.public_key().seal(&bytes, rng).unwrap();
        let is_list_request = bytes.len() == 42 && prefix == "l1";
        prop_assert_eq!(ListRequest::open(&request, &[key]).is_ok(), is_list_request);
        prop_assert!(reader().open(&bytes).is_err());
    }
}
