//! Tokens, deliveries, retrieval, descriptors, offers and accounts against vectors that `vectors/make_server.py` made
//! without this crate: the same bytes from the same randomness, and a refusal for each fault.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "vectors/reader.rs"]
mod reader;

use petmail_proto::{
    content::PackId,
    delivery::{Bucket, open_delivery, seal_delivery},
    keys::{
        AccountSecretKey, AccountSigningKey, CertificatePin, DeliverySecretKey, RedeemToken,
        RetrievalSecretKey, RetrievalToken, ServerSigningKey, SymmetricKey,
    },
    retrieval::{
        Answer, DeleteRequest, DeleteToken, Entry, Event, EventReader, FetchAnswer, FetchRequest, FetchToken,
        ListRequest, MessageNumber, PackState, Refusal, RefusalReason, RequestKey, StorageAnswer,
        StorageGrant, StorageTicket, TicketKey, decode_found, decode_look_up, encode_found, encode_look_up,
        seal_event, seal_list_request, seal_refusal,
    },
    server::{
        account::{AccountId, AccountKeys, AccountRecord, RedeemRequest, RekeyRequest},
        descriptor::Descriptor,
        mint::{MintRequest, MintTerms},
        offer::Offer,
    },
    time::UnixMillis,
    token::{MessageToken, SlotElement, TokenSecretKey},
};
use reader::{Recorded, Vectors, sha256};
use sha2::{Digest, Sha512};

fn now(vectors: &Vectors) -> UnixMillis {
    UnixMillis(vectors.number("now"))
}

fn labelled(label: &str, length: usize) -> Vec<u8> {
    let blocks =
        (0..).flat_map(|counter| Sha512::digest(format!("petmail vector {label} {counter}")).to_vec());
    blocks.take(length).collect()
}

#[test]
fn tokens() {
    let vectors = Vectors::new(include_str!("vectors/token.json"));
    let random = |name: &str| Recorded::new(&[&vectors.bytes(name)]);
    let secret = TokenSecretKey::generate(&mut random("secret_key_uniform"));
    assert_eq!(secret.expose_bytes(), &vectors.array("secret_key"));
    let key = secret.public_key();
    assert_eq!(key.as_bytes(), &vectors.array("public_key"));
    let slot = SlotElement::generate(&mut random("slot_uniform"));
    assert_eq!(slot.expose_bytes(), &vectors.array("slot"));
    assert_eq!(slot.slot_id().as_bytes(), &vectors.array("slot_id"));
    let account = slot.seal(&key, &mut random("account_randomness")).unwrap();
    assert_eq!(account.as_bytes(), &vectors.array("account_token"));
    let sender = account.for_contact(&key, &mut random("sender_randomness")).unwrap();
    assert_eq!(sender.as_bytes(), &vectors.array("sender_token"));
    let message = sender.for_message(&key, &mut random("message_randomness")).unwrap();
    assert_eq!(message.as_bytes(), &vectors.array("message_token"));
    assert_eq!(secret.open(&message).unwrap(), slot.slot_id());
    vectors
        .check_refused("refused", |bytes| secret.open(&MessageToken::from_bytes(bytes.try_into().unwrap())));
}

#[test]
fn deliveries() {
    let vectors = Vectors::new(include_str!("vectors/delivery.json"));
    let keys = [DeliverySecretKey::from_bytes(vectors.array("delivery_key"))];
    let public = keys[0].public_key();
    assert_eq!(public.as_bytes(), &vectors.array("delivery_public_key"));
    let token = MessageToken::from_bytes(vectors.array("token"));
    for (case, bucket) in vectors.0["delivered"].as_array().unwrap().iter().zip(Bucket::ALL) {
        let case = Vectors(case.clone());
        assert_eq!(case.text("bucket"), format!("{bucket:?}"));
        let msg_c = labelled(case.text("msg_c_label"), bucket.msg_c_bytes());
        assert_eq!(sha256(&msg_c), case.bytes("msg_c_sha256"));
        let rng = &mut Recorded::new(&[&case.bytes("ephemeral")]);
        let msg_a = seal_delivery(&msg_c, &token, &public, rng).unwrap();
        assert_eq!(sha256(msg_a.as_bytes()), case.bytes("msg_a_sha256"));
        let opened = open_delivery(msg_a.as_bytes(), &keys).unwrap();
        assert_eq!((opened.token, opened.msg_c), (token, msg_c));
    }
    vectors.check_refused("refused", |bytes| open_delivery(bytes, &keys));
}

#[test]
fn list_requests() {
    let vectors = Vectors::new(include_str!("vectors/retrieval.json"));
    let keys = [RetrievalSecretKey::from_bytes(vectors.array("retrieval_key"))];
    let token = RetrievalToken::from_bytes(vectors.array("retrieval_token"));
    let rng = &mut Recorded::new(&[&vectors.bytes("list_ephemeral")]);
    let (bytes, request_key) = seal_list_request(now(&vectors), &token, &keys[0].public_key(), rng).unwrap();
    assert_eq!(bytes, vectors.bytes("list_request"));
    assert_eq!(request_key.as_bytes(), &vectors.array("request_key"));
    let request = ListRequest::open(&bytes, &keys).unwrap();
    assert_eq!((request.time, request.request_key), (now(&vectors), request_key));
    assert_eq!(request.token.expose_bytes(), token.expose_bytes());
    vectors.check_refused("list_refused", |bytes| ListRequest::open(bytes, &keys));
}

#[test]
fn tickets() {
    let vectors = Vectors::new(include_str!("vectors/retrieval.json"));
    let key = TicketKey::from_bytes(vectors.array("ticket_key"));
    let account = AccountId::from_bytes(vectors.array("account"));
    let number = MessageNumber(vectors.number("number"));
    let rng = &mut Recorded::new(&[&vectors.bytes("fetch_nonce"), &vectors.bytes("delete_nonce")]);
    let fetch = FetchToken::seal(&key, &account, number, now(&vectors), rng);
    assert_eq!(fetch.as_bytes().as_slice(), vectors.bytes("fetch_token"));
    let delete = DeleteToken::seal(&key, &account, number, now(&vectors), rng);
    assert_eq!(delete.as_bytes().as_slice(), vectors.bytes("delete_token"));
    assert_eq!(delete.open(&key, now(&vectors)), Ok((account, number)));
    vectors.check_refused("fetch_token_refused", |bytes| {
        FetchToken::from_bytes(bytes.try_into().unwrap()).open(&key, now(&vectors))
    });
}

#[test]
fn events() {
    let vectors = Vectors::new(include_str!("vectors/retrieval.json"));
    let key = SymmetricKey::from_bytes(vectors.array("symmetric_key"));
    let request_key = RequestKey::from_bytes(vectors.array("request_key"));
    let entry = |length, message: Option<&[u8]>| Entry {
        fetch: FetchToken::from_bytes(vectors.array("fetch_token")),
        delete: DeleteToken::from_bytes(vectors.array("delete_token")),
        length,
        message: message.map(<[u8]>::to_vec),
    };
    let event =
        Event { number: 0, entries: vec![entry(5, Some(b"hello")), entry(200_000, None)], more: false };
    let nonce = || Recorded::new(&[&vectors.bytes("event_nonce")]);
    let sealed = seal_event(&event, &request_key, &key, &mut nonce()).unwrap();
    assert_eq!(sealed, vectors.bytes("event"));
    let open = |bytes: &[u8]| EventReader::new(request_key, key.clone()).open(bytes);
    assert_eq!(open(&sealed), Ok(Answer::Event(event)));
    let refusal = Refusal { server_time: now(&vectors), reason: RefusalReason::Clock };
    let sealed = seal_refusal(refusal, &request_key, &key, &mut nonce());
    assert_eq!(sealed, vectors.bytes("refusal"));
    assert_eq!(open(&sealed), Ok(Answer::Refused(refusal)));
    vectors.check_refused("event_refused", open);
}

#[test]
fn storing() {
    let vectors = Vectors::new(include_str!("vectors/retrieval.json"));
    let tickets = TicketKey::from_bytes(vectors.array("ticket_key"));
    let account = AccountId::from_bytes(vectors.array("account"));
    let nonce = &mut Recorded::new(&[&vectors.bytes("store_nonce")]);
    let ticket = StorageTicket::seal(&tickets, &account, now(&vectors), nonce);
    assert_eq!(ticket.as_bytes().as_slice(), vectors.bytes("storage_ticket"));
    assert_eq!(ticket.open(&tickets, now(&vectors)), Ok(account));
    vectors.check_refused("storage_ticket_refused", |bytes| {
        StorageTicket::from_bytes(bytes.try_into().unwrap()).open(&tickets, now(&vectors))
    });

    let key = SymmetricKey::from_bytes(vectors.array("symmetric_key"));
    let request = RequestKey::from_bytes(vectors.array("request_key"));
    let grant = StorageGrant { ticket, quota_bytes: 1_000_000_000, used_bytes: 8_388_608 };
    let sealed = grant.seal(&request, &key, &mut Recorded::new(&[&vectors.bytes("grant_nonce")]));
    assert_eq!(sealed, vectors.bytes("grant"));
    let open = |bytes: &[u8]| StorageAnswer::open(bytes, &request, &key);
    assert_eq!(open(&sealed), Ok(StorageAnswer::Granted(grant)));
    vectors.check_refused("grant_refused", open);

    let packs: Vec<PackId> = vectors.0["packs"].as_array().unwrap().iter().map(pack_id).collect();
    assert_eq!(encode_look_up(&packs).unwrap(), vectors.bytes("look_up"));
    assert_eq!(decode_look_up(&vectors.bytes("look_up")), Ok(packs));
    vectors.check_refused("look_up_refused", decode_look_up);
    let states = [PackState::Arriving(0), PackState::Arriving(8_388_607), PackState::Stored];
    assert_eq!(encode_found(&states), vectors.bytes("found"));
    assert_eq!(decode_found(&vectors.bytes("found"), 3), Ok(states.to_vec()));
    vectors.check_refused("found_refused", |bytes| decode_found(bytes, 3));
}

fn pack_id(hex: &serde_json::Value) -> PackId {
    let bytes = data_encoding::HEXLOWER.decode(hex.as_str().unwrap().as_bytes()).unwrap();
    PackId::from_bytes(bytes.try_into().unwrap())
}

#[test]
fn fetching_and_deleting() {
    let vectors = Vectors::new(include_str!("vectors/retrieval.json"));
    let fetch = FetchToken::from_bytes(vectors.array("fetch_token"));
    let delete = DeleteToken::from_bytes(vectors.array("delete_token"));
    let request = FetchRequest { tokens: vec![fetch; 2] };
    assert_eq!(request.encode().unwrap(), vectors.bytes("fetch_request"));
    assert_eq!(FetchRequest::decode(&vectors.bytes("fetch_request")), Ok(request));
    let request = DeleteRequest { tokens: vec![delete] };
    assert_eq!(request.encode().unwrap(), vectors.bytes("delete_request"));
    assert_eq!(DeleteRequest::decode(&vectors.bytes("delete_request")), Ok(request));
    let answer = FetchAnswer { messages: vec![Some(b"hello".to_vec()), None] };
    assert_eq!(answer.encode().unwrap(), vectors.bytes("fetch_answer"));
    assert_eq!(FetchAnswer::decode(&vectors.bytes("fetch_answer")), Ok(answer));
    vectors.check_refused("fetch_request_refused", FetchRequest::decode);
    vectors.check_refused("fetch_answer_refused", FetchAnswer::decode);
}

#[test]
fn descriptors() {
    let vectors = Vectors::new(include_str!("vectors/server.json"));
    let key = ServerSigningKey::from_bytes(vectors.array("identity_seed"));
    let identity = key.verifying_key();
    assert_eq!(identity.as_bytes(), &vectors.array("identity_key"));
    let bytes = vectors.text("descriptor").as_bytes();
    let descriptor = Descriptor::verify(bytes, &identity, now(&vectors)).unwrap();
    assert_eq!((descriptor.serial, descriptor.url.as_str()), (7, vectors.text("url")));
    assert_eq!(descriptor.pins[0].as_bytes(), &vectors.array("pin"));
    assert_eq!(descriptor.sign(&key).unwrap(), bytes);
    let open = |bytes: &[u8]| Descriptor::verify(bytes, &identity, now(&vectors));
    vectors.check_refused("descriptor_refused", open);
}

#[test]
fn offers() {
    let vectors = Vectors::new(include_str!("vectors/server.json"));
    let identity = ServerSigningKey::from_bytes(vectors.array("identity_seed")).verifying_key();
    for (name, pin) in
        [("offer", Some(CertificatePin::from_bytes(vectors.array("pin")))), ("offer_without_pin", None)]
    {
        let offer: Offer = vectors.text(name).parse().unwrap();
        assert_eq!((offer.url.as_str(), offer.identity, offer.pin), (vectors.text("url"), identity, pin));
        assert_eq!(offer.token.expose_bytes(), &vectors.array("redeem_token"));
        assert_eq!(offer.token.hash().as_bytes(), &vectors.array("redeem_token_hash"));
        assert_eq!(offer.expose_text(), vectors.text(name));
    }
    vectors.check_refused("offer_refused", |bytes| core::str::from_utf8(bytes).unwrap().parse::<Offer>());
}

#[test]
fn accounts() {
    let vectors = Vectors::new(include_str!("vectors/server.json"));
    let server = ServerSigningKey::from_bytes(vectors.array("identity_seed")).verifying_key();
    let keys = [RetrievalSecretKey::from_bytes(vectors.array("retrieval_key"))];
    let public = keys[0].public_key();
    let owner = AccountKeys {
        signing: AccountSigningKey::from_bytes(vectors.array("account_signing_seed")),
        answers: AccountSecretKey::from_bytes(vectors.array("account_answers_key")),
    };
    let token = RedeemToken::from_bytes(vectors.array("redeem_token"));
    let rng = &mut Recorded::new(&[&vectors.bytes("redeem_ephemeral")]);
    let bytes = owner.seal_redeem(&token, &server, &public, rng).unwrap();
    assert_eq!(bytes, vectors.bytes("redeem_request"));
    let (request, _) = RedeemRequest::open(&bytes, &keys, &server).unwrap();
    assert_eq!((request.offer, request.owner), (token.hash(), owner.signing.verifying_key()));
    vectors.check_refused("redeem_refused", |bytes| RedeemRequest::open(bytes, &keys, &server));

    let new = AccountKeys {
        signing: AccountSigningKey::from_bytes(vectors.array("new_signing_seed")),
        answers: AccountSecretKey::from_bytes(vectors.array("new_answers_key")),
    };
    let rng = &mut Recorded::new(&[&vectors.bytes("rekey_ephemeral")]);
    let bytes = owner.seal_rekey(vectors.number("generation"), &new, true, &server, &public, rng).unwrap();
    assert_eq!(bytes, vectors.bytes("rekey_request"));
    let (request, _) = RekeyRequest::open(&bytes, &keys, &server).unwrap();
    assert_eq!((request.generation, request.answer_key), (3, new.answers.public_key()));
    assert_eq!((request.new_owner, request.new_slot), (new.signing.verifying_key(), true));
    vectors.check_refused("rekey_refused", |bytes| RekeyRequest::open(bytes, &keys, &server));

    let rng = &mut Recorded::new(&[&vectors.bytes("mint_ephemeral")]);
    let terms = MintTerms { mailbox_bytes: 60, storage_bytes: 65, retention_seconds: 70, life_seconds: 80 };
    let bytes = owner.seal_mint(token.hash(), terms, &server, &public, rng).unwrap();
    assert_eq!(bytes, vectors.bytes("mint_request"));
    let request = MintRequest::open(&bytes, &keys, &server).unwrap();
    assert_eq!((request.owner, request.terms), (owner.signing.verifying_key(), terms));
    vectors.check_refused("mint_refused", |bytes| MintRequest::open(bytes, &keys, &server));

    let answer = vectors.bytes("answer");
    let record = AccountRecord::open_answer(&answer, &public, &owner.answers).unwrap();
    let rng = &mut Recorded::new(&[&vectors.bytes("answer_nonce")]);
    assert_eq!(record.seal_answer(&owner.answers.public_key(), &keys[0], rng).unwrap(), answer);
    vectors
        .check_refused("answer_refused", |bytes| AccountRecord::open_answer(bytes, &public, &owner.answers));
}
