//! The messages of a channel against vectors that `vectors/make_channel.py` made without this crate: the same bytes from the
//! same randomness, from the payload's JSON to msgA and back, and a refusal by the right check for each fault.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

#[path = "vectors/reader.rs"]
mod reader;

use core::fmt::Debug;

use petmail_proto::{
    channel::{
        MessageNumber,
        channel_reset::ChannelReset,
        cid::{CID_BOX_BYTES, CidSubkeys, CidToken},
        message::{MSG_C_OVERHEAD_BYTES, MsgC, Outgoing, SealError},
        payload::{BASIC, Payload},
        record::{KeyId, ReceiverKey},
        reset::{OutgoingReset, Reset},
    },
    delivery::{Bucket, open_delivery, seal_delivery},
    keys::{
        ChannelSigningKey, ChannelVerifyingKey, CidKey, DeliverySecretKey, EphemeralSecretKey, MessageId,
        ReceiverPublicKey, ReceiverSecretKey, SigningContext, TransportId,
    },
    token::MessageToken,
};
use reader::{Recorded, Vectors, sha256};
use serde_json::Value;

/// Both ends of the vectors' channel.
struct Channel {
    vectors: Vectors,
    signing: ChannelSigningKey,
    receiver: ReceiverSecretKey,
    subkeys: CidSubkeys,
    tid: TransportId,
    attempt: u8,
    number: MessageNumber,
}

impl Channel {
    fn new() -> Self {
        let vectors = Vectors::new(include_str!("vectors/channel.json"));
        Self {
            signing: ChannelSigningKey::from_bytes(vectors.array("signing_seed")),
            receiver: ReceiverSecretKey::from_bytes(vectors.array("receiver_key")),
            subkeys: CidSubkeys::derive(&CidKey::from_bytes(vectors.array("cid_key"))),
            tid: TransportId::from_bytes(vectors.array("tid")),
            attempt: vectors.number("attempt").try_into().unwrap(),
            number: MessageNumber { epoch: vectors.number("epoch"), seqnum: vectors.number("seqnum") },
            vectors,
        }
    }

    fn seal(&self, json: &[u8], msg_c_bytes: usize) -> Result<Vec<u8>, SealError> {
        let parts = ["ephemeral_key", "box_nonce", "cid_nonce"].map(|name| self.vectors.bytes(name));
        let outgoing = Outgoing {
            signing_key: &self.signing,
            receiver_key: &self.receiver.public_key(),
            cid_subkeys: &self.subkeys,
            tid: &self.tid,
            attempt: self.attempt,
            number: self.number,
        };
        outgoing.seal(json, msg_c_bytes, &mut Recorded::new(&parts.each_ref().map(Vec::as_slice)))
    }

    /// Does what a receiver does, in its order; the error is the first check that refuses.
    fn open(&self, msg_c: &[u8], sender: &ChannelVerifyingKey) -> Result<Payload, Box<dyn Debug>> {
        let message = MsgC::parse(msg_c).map_err(boxed)?;
        let envelope = self.subkeys.open(&message.cid_box).map_err(boxed)?;
        if self.subkeys.token(&self.tid, envelope.attempt, envelope.number) != message.token {
            return Err(boxed(Token));
        }
        let opened = message.open(&envelope, &self.receiver).map_err(boxed)?;
        let json = opened.verify(sender).map_err(boxed)?;
        Payload::decode(json).map_err(boxed)
    }
}

/// The CIDToken is not the one that the envelope calls for.
#[derive(Debug)]
struct Token;

fn boxed(error: impl Debug + 'static) -> Box<dyn Debug> {
    Box::new(error)
}

#[test]
fn keys_tokens_and_signatures() {
    let channel = Channel::new();
    let vectors = &channel.vectors;
    assert_eq!(channel.signing.verifying_key().as_bytes(), &vectors.array("verifying_key"));
    assert_eq!(channel.receiver.public_key().as_bytes(), &vectors.array("receiver_public_key"));
    let token = channel.subkeys.token(&channel.tid, channel.attempt, channel.number);
    assert_eq!(token, CidToken::from_bytes(vectors.array("cid_token")));
    let signature = channel.signing.sign(SigningContext::Ephemeral, &vectors.bytes("transcript"));
    assert_eq!(signature, vectors.array("signature"));
    let ephemeral = EphemeralSecretKey::from_bytes(vectors.array("ephemeral_key"));
    assert_eq!(ephemeral.public_key().as_bytes(), &vectors.array("pubkey2"));
}

#[test]
fn a_message_and_its_parts() {
    let channel = Channel::new();
    let vectors = &channel.vectors;
    let json = vectors.text("json").as_bytes();
    let msg_c = channel.seal(json, json.len() + MSG_C_OVERHEAD_BYTES + 8).unwrap();
    assert_eq!(msg_c, vectors.bytes("msg_c"));
    let message = MsgC::parse(&msg_c).unwrap();
    assert_eq!(message.cid_box, vectors.array::<CID_BOX_BYTES>("cid_box"));
    assert_eq!(message.msg_d, vectors.bytes("msg_d"));
    let envelope = channel.subkeys.open(&message.cid_box).unwrap();
    assert_eq!((envelope.attempt, envelope.number), (channel.attempt, channel.number));
    assert_eq!(envelope.receiver_key, ReceiverPublicKey::from_bytes(vectors.array("receiver_public_key")));
    let msg_e = channel.receiver.open_box(&vectors.array("pubkey2"), &message.msg_d[32..]).unwrap();
    assert_eq!(msg_e, vectors.bytes("msg_e"));
    let payload = channel.open(&msg_c, &channel.signing.verifying_key()).unwrap();
    assert_eq!(payload.encode(), json);
}

#[test]
fn messages_of_every_size() {
    let channel = Channel::new();
    let mid = MessageId::from_bytes(channel.vectors.array("mid"));
    for case in channel.vectors.0["messages"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap();
        let number = |name: &str| usize::try_from(case[name].as_u64().unwrap()).unwrap();
        let payload = Payload::new(mid).with(BASIC, &text("character").repeat(number("characters")));
        let json = payload.encode();
        assert_eq!(json.len(), number("json_bytes"), "{}", text("name"));
        let bucket = Bucket::with_room_for(json.len() + MSG_C_OVERHEAD_BYTES).unwrap();
        assert_eq!(bucket.msg_c_bytes(), number("msg_c_bytes"), "{}", text("name"));
        let msg_c = channel.seal(&json, bucket.msg_c_bytes()).unwrap();
        let head = text("msg_c_head");
        assert_eq!(data_encoding::HEXLOWER.encode(&msg_c[..head.len() / 2]), head, "{}", text("name"));
        check_delivery(&channel, case, &msg_c);
        assert_eq!(channel.open(&msg_c, &channel.signing.verifying_key()).unwrap(), payload);
    }
}

fn check_delivery(channel: &Channel, case: &Value, msg_c: &[u8]) {
    let vectors = &channel.vectors;
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&sha256(bytes));
    assert_eq!(hex(msg_c), case["msg_c_sha256"], "{}", case["name"]);
    let key = DeliverySecretKey::from_bytes(vectors.array("delivery_key"));
    let token = MessageToken::from_bytes(vectors.array("message_token"));
    let rng = &mut Recorded::new(&[&vectors.bytes("delivery_ephemeral")]);
    let msg_a = seal_delivery(msg_c, &token, &key.public_key(), rng).unwrap();
    assert_eq!(hex(msg_a.as_bytes()), case["msg_a_sha256"], "{}", case["name"]);
    assert_eq!(open_delivery(msg_a.as_bytes(), &[key]).unwrap().msg_c, msg_c);
}

#[test]
fn a_key_reset() {
    let channel = Channel::new();
    let vectors = &channel.vectors;
    let kid = KeyId {
        epoch: vectors.number("reset_epoch"),
        index: vectors.number("reset_index").try_into().unwrap(),
    };
    let key = ReceiverPublicKey::from_bytes(vectors.array("reset_public_key"));
    let transports = Some(serde_json::from_str(vectors.text("reset_transports")).unwrap());
    let seen_epoch = vectors.number("seen_epoch");
    let channel_resets = serde_json::from_str(vectors.text("reset_channel_resets")).unwrap();
    let reset = Reset { key: ReceiverKey { kid, key }, seen_epoch, transports, channel_resets };
    let receiver = ChannelVerifyingKey::from_bytes(vectors.array("their_verifying_key"));
    let outgoing = OutgoingReset {
        signing_key: &channel.signing,
        their_verifying_key: &receiver,
        cid_subkeys: &channel.subkeys,
        tid: &channel.tid,
        attempt: channel.attempt,
        number: channel.number,
    };
    let parts = ["reset_random", "reset_nonce", "cid_nonce"].map(|name| vectors.bytes(name));
    let msg_c = outgoing.seal(&reset, &mut Recorded::new(&parts.each_ref().map(Vec::as_slice)));
    assert_eq!(msg_c, vectors.bytes("reset_msg_c"));
    let open = |bytes: &[u8]| -> Result<Reset, Box<dyn Debug>> {
        let message = MsgC::parse(bytes).map_err(boxed)?;
        let envelope = channel.subkeys.open(&message.cid_box).map_err(boxed)?;
        let sender = channel.signing.verifying_key();
        let opened = Reset::open(&message, &envelope, &channel.subkeys, &receiver).map_err(boxed)?;
        opened.verify(&sender).cloned().map_err(boxed)
    };
    assert_eq!(open(&msg_c).unwrap(), reset);
    vectors.check_refused("reset_refused", open);
}

#[test]
fn each_fault_is_found_by_its_check() {
    let channel = Channel::new();
    let sender = channel.signing.verifying_key();
    channel.vectors.check_refused("refused", |bytes| channel.open(bytes, &sender));
}

#[test]
fn a_key_whose_signatures_anybody_can_make_verifies_nothing() {
    let channel = Channel::new();
    let sender = ChannelVerifyingKey::from_bytes(channel.vectors.array("small_order_key"));
    let error = channel.open(&channel.vectors.bytes("small_order_msg_c"), &sender).unwrap_err();
    assert_eq!(format!("{error:?}"), "Signature");
}

#[test]
fn a_channel_reset() {
    let vectors = Vectors::new(include_str!("vectors/channel.json"));
    let read = |bytes: &[u8]| serde_json::from_slice::<ChannelReset>(bytes).unwrap();
    let [old, new] =
        ["signing_seed", "new_signing_seed"].map(|name| ChannelSigningKey::from_bytes(vectors.array(name)));
    let expected = read(&vectors.bytes("channel_reset"));
    let half = expected.verify(&old.verifying_key()).unwrap();
    assert_eq!((half.generation, half.record.verifying_key), (5, new.verifying_key()));
    assert_eq!(ChannelReset::sign(&half, &old, &new).unwrap(), expected);
    vectors.check_refused("channel_reset_refused", |bytes| read(bytes).verify(&old.verifying_key()));
}
