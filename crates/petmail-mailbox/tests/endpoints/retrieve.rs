//! Lists, streams, fetching and deleting.

use petmail_proto::{
    delivery::Bucket,
    retrieval::{
        Answer, Entry, FetchToken, LIST_WINDOW, MAX_ENTRIES, Refusal, RefusalReason, RetrievalError,
    },
};
use rand_core::OsRng;
use reqwest::StatusCode;

use crate::support::{Owner, TestServer, now, post};

async fn refusal(owner: &Owner, body: Vec<u8>, key: petmail_proto::retrieval::RequestKey) -> Refusal {
    let response = post(format!("{}/list", owner.base), body).await;
    assert_eq!(response.status(), StatusCode::CONFLICT);
    match owner.reader(key).open(&response.bytes().await.unwrap()).unwrap() {
        Answer::Refused(refusal) => refusal,
        Answer::Event(event) => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn replayed_and_misdated_requests_are_refused_in_a_box() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    owner.deliver(Bucket::Kib4, 1).await;
    let (body, key) = owner.list_request(now());
    let first = post(server.url("list"), body.clone()).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(refusal(&owner, body, key).await.reason, RefusalReason::Replayed);
    let (body, key) = owner.list_request(now().plus(LIST_WINDOW * 2));
    let refused = refusal(&owner, body, key).await;
    assert_eq!(refused.reason, RefusalReason::Clock);
    let (body, key) = owner.list_request(refused.server_time);
    let corrected = post(server.url("list"), body).await.bytes().await.unwrap();
    assert!(matches!(owner.reader(key).open(&corrected), Ok(Answer::Event(_))));
    let (body, key) = owner.list_request(now().minus(LIST_WINDOW / 2));
    assert_eq!(refusal(&owner, body, key).await.reason, RefusalReason::BeforeStart);
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_not_replayed_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut owner = server.redeemed().await;
    let (body, key) = owner.list_request(now());
    assert_eq!(post(server.url("list"), body.clone()).await.status(), StatusCode::OK);
    let entries = {
        owner.deliver(Bucket::Kib4, 1).await;
        owner.poll().await.entries
    };
    server.stop().await;
    let server = TestServer::start(dir.path()).await;
    owner.base.clone_from(&server.base);
    assert_eq!(refusal(&owner, body, key).await.reason, RefusalReason::BeforeStart);
    assert_eq!(owner.fetch(&entries).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(owner.delete(&entries).await, StatusCode::FORBIDDEN);
    assert_eq!(owner.poll().await.entries.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn strangers_see_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let mut stranger = server.redeemed().await;
    stranger.record.retrieval_token = petmail_proto::keys::RetrievalToken::generate(&mut OsRng);
    let (body, _) = stranger.list_request(now());
    assert_eq!(post(server.url("list"), body).await.status(), StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn a_stream_shows_what_waits_then_what_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let mut stream = owner.open_stream().await;
    let first = stream.event().await;
    assert!(first.entries.is_empty() && !first.more);
    for byte in 1..=3 {
        assert_eq!(owner.deliver(Bucket::Kib4, byte).await, StatusCode::NO_CONTENT);
        let event = stream.event().await;
        assert_eq!(event.number, u64::from(byte));
        assert_eq!(event.entries[0].message.as_ref().unwrap()[0], byte);
    }
    server.stop().await;
    assert_eq!(stream.block().await, None, "the stream ends with the server");
}

#[tokio::test]
async fn a_long_backlog_comes_in_several_events_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let count = MAX_ENTRIES + 20;
    for number in 0..count {
        let status = owner.deliver(Bucket::Kib4, u8::try_from(number % 256).unwrap()).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    assert!(owner.poll().await.more);
    let mut stream = owner.open_stream().await;
    let mut seen = Vec::new();
    loop {
        let event = stream.event().await;
        seen.extend(event.entries.iter().map(|entry| entry.message.as_ref().unwrap()[0]));
        if !event.more {
            break;
        }
    }
    let expected: Vec<_> = (0..count).map(|number| u8::try_from(number % 256).unwrap()).collect();
    assert_eq!(seen, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_second_stream_ends_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let mut first = owner.open_stream().await;
    first.event().await;
    let mut second = owner.open_stream().await;
    second.event().await;
    assert_eq!(first.block().await.unwrap(), "event: superseded\ndata: superseded");
    assert_eq!(first.block().await, None);
    assert_eq!(server.services.retrieval().open_streams(), 1);
    owner.deliver(Bucket::Kib4, 9).await;
    assert_eq!(second.event().await.entries.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn deleting_twice_is_no_error_and_one_bad_token_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    for byte in 0..2 {
        owner.deliver(Bucket::Kib256, byte).await;
    }
    let entries = owner.poll().await.entries;
    let mut damaged = entries.clone();
    let mut bytes = *damaged[1].delete.as_bytes();
    bytes[40] ^= 1;
    damaged[1].delete = petmail_proto::retrieval::DeleteToken::from_bytes(bytes);
    damaged[1].fetch = FetchToken::from_bytes(bytes);
    assert_eq!(owner.delete(&damaged).await, StatusCode::FORBIDDEN);
    assert_eq!(owner.fetch(&damaged).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(owner.poll().await.entries.len(), 2);
    for _ in 0..2 {
        assert_eq!(owner.delete(&entries[..1]).await, StatusCode::NO_CONTENT);
    }
    let fetched = owner.fetched(&entries).await;
    assert!(fetched[0].is_none() && fetched[1].as_ref().is_some_and(|message| message[0] == 1));
    let blobs = std::fs::read_dir(dir.path().join("queue/blobs")).unwrap().count();
    assert_eq!(blobs, 1, "the deleted message's file is gone");
    server.stop().await;
}

#[tokio::test]
async fn an_event_of_another_request_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let (body, _) = owner.list_request(now());
    let answer = post(server.url("list"), body).await.bytes().await.unwrap();
    let (_, other) = owner.list_request(now());
    assert_eq!(owner.reader(other).open(&answer), Err(RetrievalError::OtherRequest));
    server.stop().await;
}

#[tokio::test]
async fn messages_are_kept_for_their_time_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = server.redeemed().await;
    let message = owner.seal(Bucket::Kib4, 1);
    post(server.url("deliver"), message.clone()).await;
    owner.deliver(Bucket::Kib256, 2).await;
    let retention = std::time::Duration::from_secs(owner.record.retention_seconds);
    let almost = now().plus(retention).minus(std::time::Duration::from_secs(3_600));
    server.services.sweep(almost).await.unwrap();
    assert_eq!(owner.poll().await.entries.len(), 2);
    let over = now().plus(retention).plus(std::time::Duration::from_secs(1));
    assert!(!server.services.sweep(over).await.unwrap(), "nothing is left to sweep");
    assert_eq!(owner.poll().await.entries, Vec::<Entry>::new());
    assert_eq!(std::fs::read_dir(dir.path().join("queue/blobs")).unwrap().count(), 0);
    assert_eq!(server.services.admin().status().await.unwrap().message_bytes, 0);
    post(server.url("deliver"), message).await;
    assert_eq!(owner.poll().await.entries.len(), 1, "what was forgotten counts as new");
    server.stop().await;
}
