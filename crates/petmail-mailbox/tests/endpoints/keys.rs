//! Keys that are replaced while owners and senders go by the earlier ones.

use std::time::Duration;

use petmail_mailbox::admin::OfferRequest;
use petmail_proto::{delivery::Bucket, server::account::AccountKeys, time::UnixMillis};
use rand_core::OsRng;
use reqwest::StatusCode;

use crate::support::{Owner, TestServer, descriptor, now, post};

const DAY: Duration = Duration::from_secs(86_400);

fn kids(descriptor: &petmail_proto::server::descriptor::Descriptor) -> Vec<u32> {
    descriptor.token_keys.iter().map(|key| key.kid.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_keys_are_good_for_the_longest_time_that_messages_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let offer = server.offer(OfferRequest { retention_days: 50, ..OfferRequest::default() }).await;
    let mut owner = Owner::redeem(&server.base, &offer).await;
    let before = owner.descriptor.clone();
    let mut stream = owner.open_stream().await;
    stream.event().await;
    let rotated_at = now();
    let rotated = server.services.rotate_keys(rotated_at).await.unwrap();
    assert_eq!(rotated.kid.unwrap().0, 2);
    assert_eq!(stream.block().await.unwrap(), "event: account\ndata: account", "the owner is told");

    // The descriptor says so at once, with a greater serial; whoever goes by the earlier one goes on.
    let after = descriptor(&server.base, &offer).await;
    assert!(after.serial > before.serial && kids(&after) == [2, 1]);
    assert_ne!(after.delivery_key, before.delivery_key);
    assert_ne!(after.retrieval_key, before.retrieval_key);
    assert_eq!(owner.deliver(Bucket::Kib4, 1).await, StatusCode::NO_CONTENT);
    assert_eq!(stream.event().await.entries.len(), 1);
    assert_eq!(owner.poll().await.entries.len(), 1);

    // With new secrets comes a token for the new key; the one of before still leads there.
    let earlier = [2, 3].map(|byte| owner.seal(Bucket::Kib4, byte));
    let answers = AccountKeys { signing: owner.keys.signing.clone(), ..AccountKeys::generate(&mut OsRng) };
    let answer = post(server.url("rekey"), owner.rekey_body(now().0, &answers, true)).await;
    owner.take_rekeyed(answers, &answer.bytes().await.unwrap()).await;
    assert_eq!(owner.record.kid.0, 2);
    let [second, third] = earlier;
    assert_eq!(post(server.url("deliver"), second).await.status(), StatusCode::NO_CONTENT);

    let last_moment = rotated_at.plus(DAY * 50).minus(Duration::from_millis(1));
    server.services.end_keys(last_moment).await.unwrap();
    assert_eq!(kids(&descriptor(&server.base, &offer).await), [2, 1]);
    server.services.end_keys(rotated_at.plus(DAY * 50)).await.unwrap();
    let ended = descriptor(&server.base, &offer).await;
    assert!(ended.serial > after.serial && kids(&ended) == [2]);
    assert_eq!(post(server.url("deliver"), third).await.status(), StatusCode::BAD_REQUEST);
    owner.descriptor = ended;
    assert_eq!(owner.deliver(Bucket::Kib4, 4).await, StatusCode::NO_CONTENT);
    assert_eq!(owner.poll().await.entries.len(), 3);
    server.stop().await;

    // What has ended is in no file any more.
    let text = std::fs::read_to_string(dir.path().join("server.json")).unwrap();
    assert_eq!(text.matches("token_key").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_keys_are_good_for_as_long_as_a_descriptor_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let offer = server.offer(OfferRequest { retention_days: 1, ..OfferRequest::default() }).await;
    Owner::redeem(&server.base, &offer).await;
    let rotated_at = UnixMillis(now().0 + 1_000);
    server.services.rotate_keys(rotated_at).await.unwrap();
    let signed = descriptor(&server.base, &offer).await;
    assert!(signed.not_after <= rotated_at.plus(DAY * 14));
    server.services.end_keys(signed.not_after.minus(Duration::from_millis(1))).await.unwrap();
    assert_eq!(kids(&descriptor(&server.base, &offer).await).len(), 2);
    server.stop().await;
}
