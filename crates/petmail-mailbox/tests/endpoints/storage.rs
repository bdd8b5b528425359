//! The storage role over a real socket.

use petmail_mailbox::{
    admin::{AccountRequest, ChangeRequest, OfferRequest},
    size::ByteSize,
};
use petmail_proto::{
    content::{ContentSecret, Pack, PackId, PackWriter},
    retrieval::{PackState, StorageAnswer, StorageGrant, StorageTicket, decode_found, encode_look_up},
    server::account::AccountState,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};

use crate::support::{Owner, TestServer, now, post};

const QUOTA: u64 = 100_000;

fn pack(name: u8, length: usize) -> Pack {
    let mut writer = PackWriter::new();
    writer.add(&ContentSecret::from_bytes([1; 32]).seal(&vec![name; length]));
    writer.take().unwrap()
}

async fn owner(server: &TestServer) -> Owner {
    let request = OfferRequest { storage_quota: Some(ByteSize(QUOTA)), ..OfferRequest::default() };
    Owner::redeem(&server.base, &server.offer(request).await).await
}

async fn grant(owner: &Owner) -> StorageGrant {
    let (body, key) = owner.list_request(now());
    let response = post(format!("{}/storage", owner.base), body).await;
    assert_eq!(response.status(), StatusCode::OK);
    match StorageAnswer::open(&response.bytes().await.unwrap(), &key, &owner.record.symmetric_key).unwrap() {
        StorageAnswer::Granted(grant) => grant,
        StorageAnswer::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn url(base: &str, id: &PackId) -> String {
    format!("{base}/packs/{id}")
}

fn put(base: &str, pack: &Pack, ticket: &StorageTicket) -> RequestBuilder {
    Client::new().put(url(base, &pack.id)).bearer_auth(ticket).body(pack.bytes.clone())
}

async fn put_part(base: &str, pack: &Pack, ticket: &StorageTicket, from: usize, to: usize) -> Response {
    let range = format!("bytes {from}-{}/{}", to - 1, pack.bytes.len());
    let request = Client::new().put(url(base, &pack.id)).bearer_auth(ticket);
    request.header(header::CONTENT_RANGE, range).body(pack.bytes[from..to].to_vec()).send().await.unwrap()
}

async fn look_up(base: &str, ticket: &StorageTicket, ids: &[PackId]) -> Vec<PackState> {
    let request = Client::new().post(format!("{base}/packs")).bearer_auth(ticket);
    let response = request.body(encode_look_up(ids).unwrap()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    decode_found(&response.bytes().await.unwrap(), ids.len()).unwrap()
}

#[tokio::test]
async fn a_pack_is_stored_in_parts_read_by_anybody_and_deleted_by_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let owner = owner(&server).await;
    let granted = grant(&owner).await;
    assert_eq!((granted.quota_bytes, granted.used_bytes), (QUOTA, 0));
    let (pack, ticket) = (pack(1, 50_000), granted.ticket);
    let base = &server.base;
    let response = put_part(base, &pack, &ticket, 0, 20_000).await;
    assert_eq!(
        (response.status(), &response.headers()["upload-offset"]),
        (StatusCode::ACCEPTED, &"20000".parse().unwrap())
    );
    let response = put_part(base, &pack, &ticket, 30_000, 40_000).await;
    assert_eq!(
        (response.status(), &response.headers()["upload-offset"]),
        (StatusCode::CONFLICT, &"20000".parse().unwrap())
    );
    assert_eq!(look_up(base, &ticket, &[pack.id]).await, [PackState::Arriving(20_000)]);
    assert_eq!(reqwest::get(url(base, &pack.id)).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(put_part(base, &pack, &ticket, 20_000, pack.bytes.len()).await.status(), StatusCode::CREATED);
    assert_eq!(put(base, &pack, &ticket).send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(
        look_up(base, &ticket, &[pack.id, PackId::of(b"x")]).await,
        [PackState::Stored, PackState::Arriving(0)]
    );
    assert_eq!(grant(&owner).await.used_bytes, pack.bytes.len() as u64);

    // Nobody needs a ticket to read; there is nothing that says whose it is, or when it came.
    let response = reqwest::get(url(base, &pack.id)).await.unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert!(response.headers().keys().all(|name| name != header::LAST_MODIFIED && name != header::ETAG));
    assert_eq!(response.bytes().await.unwrap(), pack.bytes);
    let range = Client::new().get(url(base, &pack.id)).header(header::RANGE, "bytes=100-299");
    let response = range.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(response.bytes().await.unwrap(), pack.bytes[100..300]);
    let beyond = Client::new().get(url(base, &pack.id)).header(header::RANGE, "bytes=9999999-");
    assert_eq!(beyond.send().await.unwrap().status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let head = Client::new().head(url(base, &pack.id)).send().await.unwrap();
    assert_eq!(head.headers()[header::CONTENT_LENGTH], pack.bytes.len().to_string());

    let delete = Client::new().delete(url(base, &pack.id)).bearer_auth(ticket).send().await.unwrap();
    assert_eq!((delete.status(), grant(&owner).await.used_bytes), (StatusCode::NO_CONTENT, 0));
    server.stop().await;
}

#[tokio::test]
async fn without_a_right_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::start(dir.path()).await;
    let (owner, base) = (owner(&server).await, server.base.clone());
    let ticket = grant(&owner).await.ticket;
    let small = pack(1, 1_000);
    let unsigned = Client::new().put(url(&base, &small.id)).body(small.bytes.clone());
    assert_eq!(unsigned.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    for forged in [StorageTicket::from_bytes([7; 73]), StorageTicket::from_bytes([0; 73])] {
        assert_eq!(put(&base, &small, &forged).send().await.unwrap().status(), StatusCode::FORBIDDEN);
        let delete = Client::new().delete(url(&base, &small.id)).bearer_auth(forged).send().await.unwrap();
        assert_eq!(delete.status(), StatusCode::FORBIDDEN);
    }
    // A request for a list, used a second time, is refused here as there.
    let (body, _) = owner.list_request(now());
    assert_eq!(post(format!("{base}/list"), body.clone()).await.status(), StatusCode::OK);
    assert_eq!(post(format!("{base}/storage"), body).await.status(), StatusCode::CONFLICT);

    let full = put(&base, &pack(2, 200_000), &ticket).send().await.unwrap();
    assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert!(full.text().await.unwrap().starts_with("storage-full"));
    let mut wrong = small.clone();
    wrong.bytes[500] ^= 1;
    let refused = put(&base, &wrong, &ticket).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().starts_with("wrong-pack"));
    let huge = Client::new().put(url(&base, &small.id)).bearer_auth(ticket).body(vec![0; 3 << 20]);
    assert_eq!(huge.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    for bad in ["x", "..%2F..%2Fserver.json", &"A".repeat(44), &"A".repeat(42)] {
        let response = Client::new().get(format!("{base}/packs/{bad}")).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{bad}");
    }

    // What an account may store by itself, one without a storage quota, and a suspended one.
    let none = server.redeemed().await;
    assert_eq!(grant(&none).await.quota_bytes, 1_000_000_000);
    let nothing = ChangeRequest {
        account: none.record.account,
        mailbox_quota: None,
        storage_quota: Some(ByteSize(0)),
        retention_days: None,
        state: None,
        notice: None,
        provider_total: None,
        clear_notices: false,
    };
    server.services.admin().change(&nothing).await.unwrap();
    let granted = grant(&none).await;
    assert_eq!(granted.quota_bytes, 0);
    let refused = put(&base, &small, &granted.ticket).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(put(&base, &small, &ticket).send().await.unwrap().status(), StatusCode::CREATED);
    let change = |state| ChangeRequest {
        account: owner.record.account,
        storage_quota: None,
        state: Some(state),
        ..nothing.clone()
    };
    server.services.admin().change(&change(AccountState::Suspended)).await.unwrap();
    let refused = put(&base, &pack(3, 1_000), &ticket).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(reqwest::get(url(&base, &small.id)).await.unwrap().status(), StatusCode::OK);

    // With the account goes what it has stored.
    server.services.remove_account(AccountRequest { account: owner.record.account }).await.unwrap();
    assert_eq!(reqwest::get(url(&base, &small.id)).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(put(&base, &small, &ticket).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    server.stop().await;
}
