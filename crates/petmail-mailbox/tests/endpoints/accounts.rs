//! Offers, accounts and their keys.

use petmail_mailbox::{
    admin::{DEFAULT_MAILBOX, OfferRequest},
    size::ByteSize,
};
use petmail_proto::{
    delivery::Bucket,
    keys::RedeemToken,
    server::{
        account::{AccountKeys, AccountRecord, Allowance},
        mint::MintTerms,
        offer::Offer,
    },
};
use rand_core::OsRng;
use reqwest::StatusCode;
use subtle::ConstantTimeEq;

use crate::support::{Owner, TestServer, descriptor, now, post, redeem_body};

#[tokio::test]
async fn an_offer_is_redeemed_once_but_answered_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    assert_eq!(owner.record.quota.bytes, DEFAULT_MAILBOX.0);
    let again = redeem_body(&owner.keys, &owner.offer.token, &owner.offer, &owner.descriptor);
    let response = post(server.url("redeem"), again).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = response.bytes().await.unwrap();
    let key = &owner.descriptor.retrieval_key;
    let record = AccountRecord::open_answer(&answer, key, &owner.keys.answers).unwrap();
    assert_eq!(record.account, owner.record.account);
    assert!(bool::from(record.retrieval_token.ct_eq(&owner.record.retrieval_token)));
    let other = AccountKeys::generate(&mut OsRng);
    let body = redeem_body(&other, &owner.offer.token, &owner.offer, &owner.descriptor);
    let response = post(server.url("redeem"), body).await;
    assert_eq!(response.status(), StatusCode::GONE);
    assert_eq!(response.text().await.unwrap(), "offer-used: the offer is already used by someone else\n");
    assert_eq!(server.services.admin().accounts().await.unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn offers_that_are_not_ours_or_too_old_give_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let offer = server.offer(OfferRequest::default()).await;
    let descriptor = descriptor(&server.base, &offer).await;
    let keys = AccountKeys::generate(&mut OsRng);
    let unknown = redeem_body(&keys, &RedeemToken::generate(&mut OsRng), &offer, &descriptor);
    assert_eq!(post(server.url("redeem"), unknown).await.status(), StatusCode::NOT_FOUND);
    let long_ago = petmail_proto::time::UnixMillis(now().0 - 2 * 24 * 3_600_000);
    let request = OfferRequest { expires_days: 1, ..OfferRequest::default() };
    let old = server.services.admin().mint_offers(&request, long_ago).await.unwrap();
    let old: Offer = old.offers[0].parse().unwrap();
    let body = redeem_body(&keys, &old.token, &old, &descriptor);
    let response = post(server.url("redeem"), body).await;
    assert_eq!(response.status(), StatusCode::GONE);
    assert!(response.text().await.unwrap().starts_with("offer-expired:"));
    assert!(server.services.admin().accounts().await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn one_key_owns_one_account() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let second = server.offer(OfferRequest::default()).await;
    let body = redeem_body(&owner.keys, &second.token, &second, &owner.descriptor);
    assert_eq!(post(server.url("redeem"), body).await.status(), StatusCode::CONFLICT);
    let other = Owner::redeem(&server.base, &second).await;
    assert_ne!(other.record.account, owner.record.account);
    server.stop().await;
}

#[tokio::test]
async fn a_rekey_replaces_the_secrets_and_ends_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut owner = server.redeemed().await;
    assert_eq!(owner.deliver(Bucket::Kib4, 1).await, StatusCode::NO_CONTENT);
    let mut stream = owner.open_stream().await;
    assert_eq!(stream.event().await.entries.len(), 1);
    let new = AccountKeys::generate(&mut OsRng);
    let body = owner.rekey_body(1, &new, false);
    let response = post(server.url("rekey"), body.clone()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = response.bytes().await.unwrap();
    let retrieval_key = owner.descriptor.retrieval_key;
    let record = AccountRecord::open_answer(&answer, &retrieval_key, &new.answers).unwrap();
    assert_eq!((record.generation, record.slot), (1, 0));
    assert!(!bool::from(record.retrieval_token.ct_eq(&owner.record.retrieval_token)));
    assert_eq!(stream.block().await.unwrap(), "event: superseded\ndata: superseded");
    let (old, _) = owner.list_request(now());
    assert_eq!(post(server.url("list"), old).await.status(), StatusCode::FORBIDDEN);
    let repeated = post(server.url("rekey"), body).await.bytes().await.unwrap();
    let repeated = AccountRecord::open_answer(&repeated, &retrieval_key, &new.answers).unwrap();
    assert!(bool::from(record.retrieval_token.ct_eq(&repeated.retrieval_token)));
    owner.keys.signing = new.signing.clone();
    for (generation, stale) in [(0, &new), (1, &AccountKeys::generate(&mut OsRng))] {
        let stale = post(server.url("rekey"), owner.rekey_body(generation, stale, true)).await;
        assert_eq!(stale.status(), StatusCode::CONFLICT);
    }
    owner.record = record;
    assert_eq!(owner.poll().await.entries.len(), 1);
    let stranger = AccountKeys::generate(&mut OsRng);
    let key = &owner.descriptor.retrieval_key;
    let body = stranger.seal_rekey(2, &new, false, &owner.offer.identity, key, &mut OsRng).unwrap();
    assert_eq!(post(server.url("rekey"), body).await.status(), StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn a_new_slot_leaves_the_old_one_restricted() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut owner = server.redeemed().await;
    let old_token = owner.contact_token();
    let new = AccountKeys::generate(&mut OsRng);
    let answer = post(server.url("rekey"), owner.rekey_body(9, &new, true)).await.bytes().await.unwrap();
    owner.record =
        AccountRecord::open_answer(&answer, &owner.descriptor.retrieval_key, &new.answers).unwrap();
    owner.keys = new;
    assert_eq!((owner.record.generation, owner.record.slot), (9, 9));
    assert_eq!(owner.deliver(Bucket::Kib64, 1).await, StatusCode::NO_CONTENT);
    let through_the_old = async |bucket, fill| owner.deliver_with(&old_token, bucket, fill).await;
    assert_eq!(through_the_old(Bucket::Kib64, 2).await, StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(through_the_old(Bucket::Kib16, 3).await, StatusCode::NO_CONTENT);
    assert_eq!(owner.poll().await.entries.len(), 2, "what comes by either is fetched from one place");
    server.stop().await;
    let server = TestServer::start(dir.path()).await;
    owner.base.clone_from(&server.base);
    for fill in 4..35 {
        assert_eq!(
            owner.deliver_with(&old_token, Bucket::Kib4, fill).await,
            StatusCode::NO_CONTENT,
            "{fill}"
        );
    }
    let refused = owner.deliver_with(&old_token, Bucket::Kib4, 35).await;
    assert_eq!(
        refused,
        StatusCode::INSUFFICIENT_STORAGE,
        "32 a day, and a restart forgives none that is stored"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_provider_makes_offers_that_others_redeem() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let total = ByteSize(1_000);
    let offer = server
        .offer(OfferRequest { provider_total: Some(total), retention_days: 3, ..OfferRequest::default() })
        .await;
    let provider = Owner::redeem(&server.base, &offer).await;
    let allowance = provider.record.allowance;
    assert_eq!(allowance, Some(Allowance { total_bytes: 1_000, given_bytes: 0 }));
    let token = RedeemToken::generate(&mut OsRng);
    let day = 24 * 3_600;
    let good =
        MintTerms { mailbox_bytes: 500, storage_bytes: 100, retention_seconds: 3 * day, life_seconds: day };
    let mint = async |keys: &AccountKeys, token: &RedeemToken, terms: MintTerms| {
        let Owner { offer, descriptor, .. } = &provider;
        let key = &descriptor.retrieval_key;
        let body = keys.seal_mint(token.hash(), terms, &offer.identity, key, &mut OsRng).unwrap();
        post(server.url("mint"), body).await.status()
    };
    assert_eq!(mint(&provider.keys, &token, good).await, StatusCode::NO_CONTENT);
    // The answer was lost: the same again.
    assert_eq!(mint(&provider.keys, &token, good).await, StatusCode::NO_CONTENT);
    let other = RedeemToken::generate(&mut OsRng);
    let bad = [
        (MintTerms { mailbox_bytes: 301, ..good }, StatusCode::CONFLICT),
        (MintTerms { storage_bytes: u64::MAX, ..good }, StatusCode::CONFLICT),
        (MintTerms { mailbox_bytes: 0, storage_bytes: 0, ..good }, StatusCode::BAD_REQUEST),
        (MintTerms { retention_seconds: 4 * day, ..good }, StatusCode::BAD_REQUEST),
        (MintTerms { retention_seconds: day - 1, ..good }, StatusCode::BAD_REQUEST),
        (MintTerms { life_seconds: 0, ..good }, StatusCode::BAD_REQUEST),
        (MintTerms { life_seconds: u64::MAX, ..good }, StatusCode::BAD_REQUEST),
    ];
    for (terms, status) in bad {
        assert_eq!(mint(&provider.keys, &other, terms).await, status, "{terms:?}");
    }
    let stranger = AccountKeys::generate(&mut OsRng);
    assert_eq!(mint(&stranger, &other, good).await, StatusCode::FORBIDDEN);
    let given = Offer { token, ..provider.offer.clone() };
    let customer = Owner::redeem(&server.base, &given).await;
    assert_eq!((customer.record.quota.bytes, customer.record.allowance), (500, None));
    let small = MintTerms { mailbox_bytes: 1, ..good };
    assert_eq!(mint(&customer.keys, &other, small).await, StatusCode::FORBIDDEN);
    server.stop().await;
}
