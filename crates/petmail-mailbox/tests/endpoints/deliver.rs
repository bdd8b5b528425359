//! Deliveries: what is accepted is kept, what is refused leaves no trace.

use petmail_mailbox::{admin::OfferRequest, size::ByteSize};
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    keys::DeliverySecretKey,
    token::{MessageToken, SlotElement, TokenSecretKey},
};
use rand_core::OsRng;
use reqwest::StatusCode;

use crate::support::{Owner, TestServer, post};

#[tokio::test]
async fn every_size_arrives_in_order_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut owner = server.redeemed().await;
    for (byte, bucket) in (0..).zip(Bucket::ALL) {
        assert_eq!(owner.deliver(bucket, byte).await, StatusCode::NO_CONTENT);
    }
    server.stop().await;
    let server = TestServer::start(dir.path()).await;
    owner.base.clone_from(&server.base);
    let event = owner.poll().await;
    let lengths: Vec<_> = event.entries.iter().map(|entry| entry.length as usize).collect();
    assert_eq!(lengths, Bucket::ALL.map(Bucket::msg_c_bytes));
    let inline: Vec<_> = event.entries.iter().map(|entry| entry.message.is_some()).collect();
    assert_eq!(inline, [true, true, true, false]);
    let fetched = owner.fetched(&event.entries).await;
    for ((byte, message), bucket) in (0..).zip(fetched).zip(Bucket::ALL) {
        assert_eq!(message.unwrap(), vec![byte; bucket.msg_c_bytes()]);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_same_bytes_are_stored_once_even_after_deletion_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut owner = server.redeemed().await;
    let message = owner.seal(Bucket::Kib4, 7);
    for _ in 0..2 {
        assert_eq!(post(server.url("deliver"), message.clone()).await.status(), StatusCode::NO_CONTENT);
    }
    let event = owner.poll().await;
    assert_eq!(event.entries.len(), 1);
    assert_eq!(owner.delete(&event.entries).await, StatusCode::NO_CONTENT);
    server.stop().await;
    let server = TestServer::start(dir.path()).await;
    owner.base.clone_from(&server.base);
    assert_eq!(post(server.url("deliver"), message).await.status(), StatusCode::NO_CONTENT);
    assert!(owner.poll().await.entries.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_same_bytes_at_once_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let message = owner.seal(Bucket::Kib4, 7);
    let posts = (0..16).map(|_| post(server.url("deliver"), message.clone()));
    for response in futures::future::join_all(posts).await {
        let status = response.status();
        assert!(matches!(status, StatusCode::NO_CONTENT | StatusCode::SERVICE_UNAVAILABLE), "{status}");
    }
    assert_eq!(owner.poll().await.entries.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn concurrent_deliveries_share_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let client = reqwest::Client::new();
    let before = server.services.admin().status().await.unwrap().store;
    let deliver = |byte| client.post(server.url("deliver")).body(owner.seal(Bucket::Kib4, byte)).send();
    for response in futures::future::join_all((0..200).map(deliver)).await {
        assert_eq!(response.unwrap().status(), StatusCode::NO_CONTENT);
    }
    let after = server.services.admin().status().await.unwrap();
    assert_eq!(after.store.commits - before.commits, 200);
    assert!(after.store.flushes - before.flushes < 200, "{:?}", after.store);
    assert_eq!(after.messages, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_takes_again_after_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let request = OfferRequest { mailbox_quota: Some(ByteSize(10_000)), ..OfferRequest::default() };
    let owner = Owner::redeem(&server.base, &server.offer(request).await).await;
    for byte in 0..2 {
        assert_eq!(owner.deliver(Bucket::Kib4, byte).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(owner.deliver(Bucket::Kib4, 2).await, StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(owner.deliver(Bucket::Kib64, 2).await, StatusCode::INSUFFICIENT_STORAGE);
    let event = owner.poll().await;
    assert_eq!(event.entries.len(), 2);
    assert_eq!(owner.delete(&event.entries[..1]).await, StatusCode::NO_CONTENT);
    assert_eq!(owner.deliver(Bucket::Kib4, 3).await, StatusCode::NO_CONTENT);
    let account = &server.services.admin().accounts().await.unwrap()[0];
    assert_eq!((account.messages, account.used_bytes), (2, 2 * Bucket::Kib4.msg_c_bytes() as u64));
    server.stop().await;
}

#[tokio::test]
async fn tokens_of_another_server_and_bad_tokens_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let rng = &mut OsRng;
    let theirs = TokenSecretKey::generate(rng).public_key();
    let slot = SlotElement::generate(rng).seal(&theirs, rng).unwrap();
    let foreign = slot.for_contact(&theirs, rng).unwrap().for_message(&theirs, rng).unwrap();
    let msg_c = vec![0; Bucket::Kib4.msg_c_bytes()];
    let key = &owner.descriptor.delivery_key;
    let other_key = DeliverySecretKey::generate(rng).public_key();
    let own = owner.contact_token().for_message(owner.descriptor.token_key(owner.record.kid).unwrap(), rng);
    let cases = [
        (seal_delivery(&msg_c, &foreign, key, rng).unwrap(), StatusCode::NOT_FOUND),
        (
            seal_delivery(&msg_c, &MessageToken::from_bytes([0; 64]), key, rng).unwrap(),
            StatusCode::BAD_REQUEST,
        ),
        (seal_delivery(&msg_c, &own.unwrap(), &other_key, rng).unwrap(), StatusCode::BAD_REQUEST),
    ];
    let before = server.services.admin().status().await.unwrap();
    for (message, status) in cases {
        assert_eq!(post(server.url("deliver"), message.into_bytes()).await.status(), status);
    }
    assert_eq!(server.services.admin().status().await.unwrap(), before);
    server.stop().await;
}
