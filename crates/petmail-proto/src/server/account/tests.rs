use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use subtle::ConstantTimeEq;

use super::*;
use crate::{
    keys::ServerSigningKey,
    token::{SlotElement, TokenSecretKey},
};

struct Server {
    identity: ServerIdentityKey,
    keys: Vec<RetrievalSecretKey>,
}

fn server(rng: &mut ChaCha20Rng) -> Server {
    let identity = ServerSigningKey::generate(rng).verifying_key();
    Server { identity, keys: vec![RetrievalSecretKey::generate(rng), RetrievalSecretKey::generate(rng)] }
}

fn record(rng: &mut ChaCha20Rng) -> AccountRecord {
    AccountRecord {
        account: AccountId::generate(rng),
        generation: 0,
        retrieval_token: RetrievalToken::generate(rng),
        symmetric_key: SymmetricKey::generate(rng),
        token: SlotElement::generate(rng).seal(&TokenSecretKey::generate(rng).public_key(), rng).unwrap(),
        kid: TokenKeyId(1),
        slot: 0,
        quota: Quota { bytes: 1 << 20, messages: 100 },
        retention_seconds: 86_400,
        notices: vec![],
        state: AccountState::Active,
        allowance: None,
        used_bytes: None,
    }
}

#[test]
fn an_offer_is_redeemed_with_an_older_key_and_answered() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let server = server(rng);
    let (client, token) = (AccountKeys::generate(rng), RedeemToken::generate(rng));
    let older = server.keys[1].public_key();
    let bytes = client.seal_redeem(&token, &server.identity, &older, rng).unwrap();
    assert_eq!(bytes.len(), REDEEM_REQUEST_BYTES);
    let (request, key) = RedeemRequest::open(&bytes, &server.keys, &server.identity).unwrap();
    assert_eq!(request.offer, token.hash());
    assert_eq!(request.owner, client.signing.verifying_key());
    let record = AccountRecord { used_bytes: Some(7), ..record(rng) };
    let answer = record.seal_answer(&request.answer_key, key, rng).unwrap();
    let opened = AccountRecord::open_answer(&answer, &older, &client.answers).unwrap();
    assert_eq!(opened.used_bytes, Some(7));
    assert_eq!(opened.account, record.account);
    assert!(bool::from(opened.retrieval_token.ct_eq(&record.retrieval_token)));
    let current = server.keys[0].public_key();
    let forged = AccountRecord::open_answer(&answer, &current, &client.answers);
    assert_eq!(forged.unwrap_err(), AccountError::DoesNotOpen);
}

#[test]
fn a_rekey_request_is_answered_to_the_new_key() {
    let rng = &mut ChaCha20Rng::seed_from_u64(2);
    let server = server(rng);
    let (client, new) = (AccountKeys::generate(rng), AccountKeys::generate(rng));
    let public = server.keys[0].public_key();
    for new_slot in [false, true] {
        let bytes = client.seal_rekey(3, &new, new_slot, &server.identity, &public, rng).unwrap();
        assert_eq!(bytes.len(), REKEY_REQUEST_BYTES);
        let (request, _) = RekeyRequest::open(&bytes, &server.keys, &server.identity).unwrap();
        let (owner, new_owner) = (client.signing.verifying_key(), new.signing.verifying_key());
        let answer_key = new.answers.public_key();
        assert_eq!(request, RekeyRequest { owner, generation: 3, new_owner, answer_key, new_slot });
    }
    let bytes = client.seal_rekey(3, &new, false, &server.identity, &public, rng).unwrap();
    let (request, key) = RekeyRequest::open(&bytes, &server.keys, &server.identity).unwrap();
    let answer = record(rng).seal_answer(&request.answer_key, key, rng).unwrap();
    assert!(AccountRecord::open_answer(&answer, &public, &new.answers).is_ok());
    assert!(AccountRecord::open_answer(&answer, &public, &client.answers).is_err());
}

#[test]
fn requests_hold_for_one_server_and_one_purpose() {
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    let server = server(rng);
    let other = ServerSigningKey::generate(rng).verifying_key();
    let client = AccountKeys::generate(rng);
    let public = server.keys[0].public_key();
    let redeem = client.seal_redeem(&RedeemToken::generate(rng), &other, &public, rng).unwrap();
    let opened = RedeemRequest::open(&redeem, &server.keys, &server.identity);
    assert_eq!(opened.unwrap_err(), AccountError::BadSignature);
    let opened = RekeyRequest::open(&redeem, &server.keys, &other);
    assert_eq!(opened.unwrap_err(), AccountError::Malformed);
    let rekey = client.seal_rekey(1, &client, false, &other, &public, rng).unwrap();
    let opened = RekeyRequest::open(&rekey, &server.keys, &server.identity);
    assert_eq!(opened.unwrap_err(), AccountError::BadSignature);
}

#[test]
fn an_answer_key_of_low_order_is_refused() {
    let rng = &mut ChaCha20Rng::seed_from_u64(4);
    let server = server(rng);
    let plaintext = Writer::new().fixed(PREFIX_REDEEM).fixed(&[1; 16]).fixed(&[2; 32]).fixed(&[0; 32]);
    let plaintext = plaintext.fixed(&[3; 64]).finish();
    let sealed = server.keys[0].public_key().seal(&plaintext, rng).unwrap();
    let opened = RedeemRequest::open(&sealed, &server.keys, &server.identity);
    assert_eq!(opened.unwrap_err(), AccountError::BadKey);
}

#[test]
fn records_out_of_bounds_are_refused_on_both_sides() {
    let rng = &mut ChaCha20Rng::seed_from_u64(5);
    let (key, owner) = (RetrievalSecretKey::generate(rng), AccountSecretKey::generate(rng));
    let good = record(rng);
    let many = AccountRecord { notices: vec![String::new(); MAX_NOTICES + 1], ..good.clone() };
    let long = AccountRecord { notices: vec!["n".repeat(MAX_ACCOUNT_RECORD_BYTES)], ..good.clone() };
    let no_token = AccountRecord { token: AccountToken::from_bytes([0; 64]), ..good };
    for bad in [many, long, no_token] {
        let sealed = bad.seal_answer(&owner.public_key(), &key, rng);
        assert_eq!(sealed.unwrap_err(), AccountError::BadRecord);
        let json = serde_json::to_vec(&bad).unwrap();
        let boxed = key.seal_box(owner.public_key().as_bytes(), &json, rng).unwrap();
        let opened = AccountRecord::open_answer(&boxed, &key.public_key(), &owner);
        assert_eq!(opened.unwrap_err(), AccountError::BadRecord);
    }
}

#[test]
fn debug_shows_no_secret() {
    let rng = &mut ChaCha20Rng::seed_from_u64(6);
    let text = format!("{:?} {:?}", record(rng), AccountKeys::generate(rng));
    assert_eq!(text.matches("(redacted)").count(), 4, "{text}");
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
        let rng = &mut ChaCha20Rng::seed_from_u64(seed);
        let server = server(rng);
        let client = AccountKeys::generate(rng);
        let public = server.keys[0].public_key();
        let mut bytes = client.seal_redeem(&RedeemToken::generate(rng), &server.identity, &public, rng).unwrap();
        let index = position.index(bytes.len());
        bytes[index] ^= 1 << bit;
        prop_assert!(RedeemRequest::open(&bytes, &server.keys, &server.identity).is_err());
    }

    #[test]
    fn opening_never_panics(seed: u64, plaintext: Vec<u8>) {
        let rng = &mut ChaCha20Rng::seed_from_u64(seed);
        let server = server(rng);
        for prefix in [PREFIX_REDEEM, PREFIX_REKEY] {
            let plaintext = [prefix.as_slice(), &plaintext].concat();
            let bytes = server.keys[0].public_key().seal(&plaintext, rng).unwrap();
            prop_assert!(RedeemRequest::open(&bytes, &server.keys, &server.identity).is_err());
            prop_assert!(RekeyRequest::open(&bytes, &server.keys, &server.identity).is_err());
        }
        let owner = AccountSecretKey::generate(rng);
        let boxed = server.keys[0].seal_box(owner.public_key().as_bytes(), &plaintext, rng).unwrap();
        prop_assert!(AccountRecord::open_answer(&boxed, &server.keys[0].public_key(), &owner).is_err());
    }
}
