//! Redeeming, rekeying and minting: requests that anybody may post, and answers of a hostile server.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::{
    keys::{
        AccountSecretKey, RedeemToken, RetrievalSecretKey, RetrievalToken, ServerIdentityKey,
        ServerSigningKey, SymmetricKey,
    },
    server::{
        account::{AccountId, AccountKeys, AccountRecord, AccountState, Quota, RedeemRequest, RekeyRequest},
        mint::{MintRequest, MintTerms},
    },
    token::{SlotElement, TokenKeyId, TokenSecretKey},
};
use rand_chacha::ChaCha20Rng;

/// A server, the owner of an account, and what they send each other.
struct Setting {
    server: ServerIdentityKey,
    keys: [RetrievalSecretKey; 1],
    account: AccountKeys,
    redeem: Vec<u8>,
    rekey: Vec<u8>,
    mint: Vec<u8>,
    record: Vec<u8>,
}

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
    let mut rng = rng();
    let server = ServerSigningKey::generate(&mut rng).verifying_key();
    let key = RetrievalSecretKey::generate(&mut rng);
    let account = AccountKeys::generate(&mut rng);
    let public = key.public_key();
    let redeem = account.seal_redeem(&RedeemToken::generate(&mut rng), &server, &public, &mut rng);
    let rekey = account.seal_rekey(1, &AccountKeys::generate(&mut rng), true, &server, &public, &mut rng);
    let terms = MintTerms { mailbox_bytes: 1, storage_bytes: 4, retention_seconds: 2, life_seconds: 3 };
    let offer = RedeemToken::generate(&mut rng).hash();
    let mint = account.seal_mint(offer, terms, &server, &public, &mut rng);
    let record = serde_json::to_vec(&record(&mut rng)).expect("a record has a JSON form");
    let [redeem, rekey, mint] = [redeem, rekey, mint].map(|request| request.expect("a good key"));
    Setting { server, keys: [key], account, redeem, rekey, mint, record }
});

fuzz_target!(|data: &[u8]| {
    let Setting { server, keys, account, redeem, rekey, mint, record } = &*SETTING;
    let [key] = keys;
    let redeems = |bytes: &[u8]| RedeemRequest::open(bytes, keys, server).is_ok();
    let rekeys = |bytes: &[u8]| RekeyRequest::open(bytes, keys, server).is_ok();
    let mints = |bytes: &[u8]| MintRequest::open(bytes, keys, server).is_ok();
    assert!(!redeems(data) && !rekeys(data) && !mints(data));
    request(redeem, data, key, redeems);
    request(rekey, data, key, rekeys);
    request(mint, data, key, mints);
    answer(record, data, key, &account.answers);
});

/// The fuzzer edits what is inside the sealed box. The owner has signed every part of it that matters.
fn request(honest: &[u8], data: &[u8], key: &RetrievalSecretKey, opens: impl Fn(&[u8]) -> bool) {
    assert!(opens(honest));
    let plaintext = key.open_sealed(honest).expect("it was sealed for this key");
    let hostile = edited(&plaintext, data);
    let sealed = key.public_key().seal(&hostile, &mut rng()).expect("a good key");
    assert_eq!(opens(&sealed), hostile == plaintext);
}

fn answer(honest: &[u8], data: &[u8], server: &RetrievalSecretKey, owner: &AccountSecretKey) {
    let mut rng = rng();
    let hostile = edited(honest, data);
    let sealed = server.seal_box(owner.public_key().as_bytes(), &hostile, &mut rng).expect("a good key");
    match AccountRecord::open_answer(&sealed, &server.public_key(), owner) {
        Ok(record) => assert!(record.seal_answer(&owner.public_key(), server, &mut rng).is_ok()),
        Err(_) => assert!(hostile != honest),
    }
}

fn record(rng: &mut ChaCha20Rng) -> AccountRecord {
    AccountRecord {
        account: AccountId::generate(rng),
        generation: 1,
        retrieval_token: RetrievalToken::generate(rng),
        symmetric_key: SymmetricKey::generate(rng),
        token: SlotElement::generate(rng)
            .seal(&TokenSecretKey::generate(rng).public_key(), rng)
            .expect("a good key"),
        kid: TokenKeyId(1),
        slot: 0,
        quota: Quota { bytes: 1 << 30, messages: 1000 },
        retention_seconds: 86_400,
        notices: vec!["maintenance on Sunday".into()],
        state: AccountState::Active,
        allowance: None,
        used_bytes: None,
    }
}
