//! Retrieval: requests at the server, answers at the client, and tokens that only the server can read.
#![no_main]

use crypto_secretbox::{
    XSalsa20Poly1305,
    aead::{Aead, KeyInit},
};
use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::{
    content::PackId,
    keys::{RetrievalSecretKey, RetrievalToken, SymmetricKey},
    retrieval::{
        DeleteRequest, DeleteToken, Entry, Event, EventReader, FetchAnswer, FetchRequest, FetchToken,
        ListRequest, MessageNumber, PackState, StorageAnswer, StorageGrant, StorageTicket, TicketKey,
        decode_found, decode_look_up, encode_found, encode_look_up, seal_event, seal_list_request,
    },
    server::account::AccountId,
    time::UnixMillis,
};

fuzz_target!(|data: &[u8]| {
    list(data);
    frames(data);
    events(data);
    tickets(data);
});

fn list(data: &[u8]) {
    let mut rng = rng();
    let keys = [RetrievalSecretKey::generate(&mut rng)];
    let [key] = &keys;
    let token = RetrievalToken::generate(&mut rng);
    let (honest, _) =
        seal_list_request(UnixMillis(5), &token, &key.public_key(), &mut rng).expect("a good key");
    assert!(ListRequest::open(&honest, &keys).is_ok());
    drop(ListRequest::open(data, &keys));
    let plaintext = key.open_sealed(&honest).expect("it was sealed for this key");
    let sealed = key.public_key().seal(&edited(&plaintext, data), &mut rng).expect("a good key");
    if let Ok(request) = ListRequest::open(&sealed, &keys) {
        request.check_time(UnixMillis(1), UnixMillis(5)).ok();
    }
}

/// These have one encoding each.
fn frames(data: &[u8]) {
    let fetch =
        FetchRequest { tokens: vec![FetchToken::from_bytes([1; 73]), FetchToken::from_bytes([2; 73])] };
    let delete = DeleteRequest { tokens: vec![DeleteToken::from_bytes([3; 73])] };
    let answer = FetchAnswer { messages: vec![Some(b"message".to_vec()), None] };
    for bytes in versions(fetch.encode().expect("two tokens"), data) {
        let decoded = FetchRequest::decode(&bytes);
        assert!(decoded.is_err() || decoded.and_then(|request| request.encode()) == Ok(bytes));
    }
    for bytes in versions(delete.encode().expect("one token"), data) {
        let decoded = DeleteRequest::decode(&bytes);
        assert!(decoded.is_err() || decoded.and_then(|request| request.encode()) == Ok(bytes));
    }
    let packs = [PackId::of(b"one"), PackId::of(b"two")];
    for bytes in versions(encode_look_up(&packs).expect("two packs"), data) {
        let decoded = decode_look_up(&bytes);
        assert!(decoded.is_err() || decoded.and_then(|packs| encode_look_up(&packs)) == Ok(bytes));
    }
    for bytes in versions(encode_found(&[PackState::Stored, PackState::Arriving(7)]), data) {
        let decoded = decode_found(&bytes, packs.len());
        assert!(decoded.is_err() || decoded.is_ok_and(|states| encode_found(&states) == bytes));
    }
    for bytes in versions(answer.encode().expect("two messages"), data) {
        let decoded = FetchAnswer::decode(&bytes);
        assert!(decoded.is_err() || decoded.and_then(|answer| answer.encode()) == Ok(bytes));
    }
}

fn versions(honest: Vec<u8>, data: &[u8]) -> [Vec<u8>; 3] {
    let edited = edited(&honest, data);
    [data.to_vec(), edited, honest]
}

/// The server has the key and says what it wants.
fn events(data: &[u8]) {
    let mut rng = rng();
    let server = RetrievalSecretKey::generate(&mut rng).public_key();
    let token = RetrievalToken::generate(&mut rng);
    let (_, request_key) = seal_list_request(UnixMillis(5), &token, &server, &mut rng).expect("a good key");
    let key = SymmetricKey::generate(&mut rng);
    let entry = |length: u32, message| Entry {
        fetch: FetchToken::from_bytes([1; 73]),
        delete: DeleteToken::from_bytes([2; 73]),
        length,
        message,
    };
    let entries = vec![entry(7, Some(b"message".to_vec())), entry(100_000, None)];
    let event = Event { number: 0, entries, more: true };
    let honest = seal_event(&event, &request_key, &key, &mut rng).expect("a small event");
    let mut reader = EventReader::new(request_key, key.clone());
    assert!(reader.open(&honest).is_ok());
    drop(EventReader::new(request_key, key.clone()).open(data));

    let cipher = XSalsa20Poly1305::new(key.expose_bytes().into());
    let (nonce, sealed) = honest.split_at(24);
    let plaintext = cipher.decrypt(nonce.into(), sealed).expect("it was sealed with this key");
    let hostile = cipher.encrypt(nonce.into(), edited(&plaintext, data).as_slice()).expect("a small event");
    drop(EventReader::new(request_key, key.clone()).open(&[nonce, &hostile].concat()));

    let ticket = StorageTicket::from_bytes([6; 73]);
    let grant = StorageGrant { ticket, quota_bytes: 2, used_bytes: 1 };
    let honest = grant.seal(&request_key, &key, &mut rng);
    assert_eq!(StorageAnswer::open(&honest, &request_key, &key), Ok(StorageAnswer::Granted(grant)));
    drop(StorageAnswer::open(data, &request_key, &key));
    let (nonce, sealed) = honest.split_at(24);
    let plaintext = cipher.decrypt(nonce.into(), sealed).expect("it was sealed with this key");
    let hostile = cipher.encrypt(nonce.into(), edited(&plaintext, data).as_slice()).expect("a small grant");
    drop(StorageAnswer::open(&[nonce, &hostile].concat(), &request_key, &key));
}

fn tickets(data: &[u8]) {
    let (key, account, now) = (TicketKey::from_bytes([4; 32]), AccountId::from_bytes([5; 16]), UnixMillis(1));
    let honest = FetchToken::seal(&key, &account, MessageNumber(6), now, &mut rng());
    assert_eq!(honest.open(&key, now), Ok((account, MessageNumber(6))));
    let mut bytes = edited(honest.as_bytes(), data);
    bytes.resize(73, 0);
    let hostile: [u8; 73] = bytes.try_into().expect("it has 73 bytes");
    assert!(FetchToken::from_bytes(hostile).open(&key, now).is_err() || hostile == *honest.as_bytes());
    assert!(DeleteToken::from_bytes(hostile).open(&key, now).is_err());
}
