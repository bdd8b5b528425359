use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde_json::Value;

use super::*;
use crate::{
    channel::payload::{BASIC, Payload},
    delivery::Bucket,
    keys::{CidKey, MessageId},
};

struct Pair {
    rng: ChaCha20Rng,
    signing: ChannelSigningKey,
    receiver: ReceiverSecretKey,
    subkeys: CidSubkeys,
    tid: TransportId,
}

const NUMBER: MessageNumber = MessageNumber { epoch: 1_700_000_000_000, seqnum: 3 };
const SIZE: usize = 3_980;

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        Self {
            signing: ChannelSigningKey::generate(&mut rng),
            receiver: ReceiverSecretKey::generate(&mut rng),
            subkeys: CidSubkeys::derive(&CidKey::generate(&mut rng)),
            tid: TransportId::generate(&mut rng),
            rng,
        }
    }

    fn seal(&mut self, json: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_to(json, SIZE)
    }

    fn seal_to(&mut self, json: &[u8], msg_c_bytes: usize) -> Result<Vec<u8>, SealError> {
        let outgoing = Outgoing {
            signing_key: &self.signing,
            receiver_key: &self.receiver.public_key(),
            cid_subkeys: &self.subkeys,
            tid: &self.tid,
            attempt: 0,
            number: NUMBER,
        };
        outgoing.seal(json, msg_c_bytes, &mut self.rng)
    }

    fn open(&self, msg_c: &[u8]) -> Result<Vec<u8>, Damaged> {
        let msg_c = MsgC::parse(msg_c)?;
        let envelope = self.subkeys.open(&msg_c.cid_box).map_err(|_| Damaged::Envelope)?;
        if self.subkeys.token(&self.tid, envelope.attempt, envelope.number) != msg_c.token {
            return Err(Damaged::Envelope);
        }
        let opened = msg_c.open(&envelope, &self.receiver)?;
        opened.verify(&self.signing.verifying_key()).map(<[u8]>::to_vec)
    }
}

#[test]
fn a_message_comes_out_as_it_went_in_and_always_has_the_size_asked_for() {
    let mut pair = Pair::new(1);
    let largest = vec![b'x'; SIZE - MSG_C_OVERHEAD_BYTES];
    for json in [b"{}".as_slice(), b"", &largest] {
        let sealed = pair.seal(json).unwrap();
        assert_eq!(sealed.len(), SIZE);
        assert_eq!(pair.open(&sealed).unwrap(), json);
    }
    assert_eq!(pair.seal(&[largest, vec![b'x']].concat()), Err(SealError::TooLarge));
}

#[test]
fn two_encryptions_share_no_key() {
    let mut pair = Pair::new(2);
    let (first, second) = (pair.seal(b"{}").unwrap(), pair.seal(b"{}").unwrap());
    let pubkey2 = |bytes: &[u8]| MsgC::parse(bytes).unwrap().msg_d[..32].to_vec();
    assert_ne!(pubkey2(&first), pubkey2(&second));
}

#[test]
fn another_contact_opens_nothing_and_another_signature_is_refused() {
    let mut pair = Pair::new(3);
    let sealed = pair.seal(b"{}").unwrap();
    assert!(Pair::new(4).open(&sealed).is_err());
    pair.signing = ChannelSigningKey::generate(&mut pair.rng);
    assert_eq!(pair.open(&sealed), Err(Damaged::Signature));
}

#[test]
fn an_envelope_does_not_cover_another_message() {
    let mut pair = Pair::new(5);
    let (first, second) = (pair.seal(b"{}").unwrap(), pair.seal(b"[]").unwrap());
    let head = SUITE_C1.len() + 32 + CID_BOX_BYTES;
    let spliced = [&first[..head], &second[head..]].concat();
    assert_eq!(pair.open(&spliced), Err(Damaged::Envelope));
}

proptest! {
    #[test]
    fn any_flipped_bit_is_refused(seed: u64, position: prop::sample::Index, bit in 0_u8..8) {
        let mut pair = Pair::new(seed);
        let mut sealed = pair.seal(b"{\"a\":1}").unwrap();
        let index = position.index(sealed.len());
        sealed[index] ^= 1 << bit;
        prop_assert!(pair.open(&sealed).is_err());
    }

    #[test]
    fn parsing_never_panics(bytes: Vec<u8>) {
        prop_assert!(Pair::new(6).open(&bytes).is_err());
        prop_assert!(Pair::new(6).open(&[b"c1".as_slice(), &bytes].concat()).is_err());
    }

    #[test]
    fn any_payload_comes_back_from_the_smallest_message_that_holds_it(
        seed: u64,
        mid: [u8; 16],
        packets in prop::collection::btree_map("[a-z-]{1,12}", json_value(), 0..6),
        text in prop::collection::vec(any::<char>(), 0..200),
        wanted_bytes in sizes(),
    ) {
        let mut payload = Payload { mid: MessageId::from_bytes(mid), packets: packets.into_iter().collect() };
        payload = payload.with(BASIC, &text.iter().collect::<String>());
        let missing = wanted_bytes.saturating_sub(payload.with_filler(0).encode().len());
        payload = payload.with_filler(missing);
        let json = payload.encode();
        let mut pair = Pair::new(seed);
        let needed = json.len().saturating_add(MSG_C_OVERHEAD_BYTES);
        let bucket = Bucket::with_room_for(needed).unwrap();
        let sealed = pair.seal_to(&json, bucket.msg_c_bytes()).unwrap();
        prop_assert_eq!(sealed.len(), bucket.msg_c_bytes());
        prop_assert_eq!(Payload::decode(&pair.open(&sealed).unwrap()).unwrap(), payload);
        for smaller in Bucket::ALL.into_iter().filter(|other| *other < bucket) {
            prop_assert_eq!(pair.seal_to(&json, smaller.msg_c_bytes()), Err(SealError::TooLarge));
        }
    }
}

impl Payload {
    fn with_filler(&self, length: usize) -> Self {
        self.clone().with("filler", &"x".repeat(length))
    }
}

/// JSON of every kind; no fractions, which do not all survive a decimal form.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Lengths of JSON: small ones, and those around every edge up to the last that fits.
fn sizes() -> impl Strategy<Value = usize> {
    let room = |bucket: Bucket| bucket.msg_c_bytes().saturating_sub(MSG_C_OVERHEAD_BYTES);
    let from = |start: usize| (0_usize..4).prop_map(move |more| start.saturating_add(more));
    let around = |bucket| from(room(bucket).saturating_sub(2));
    prop_oneof![
        8 => 0..room(Bucket::Kib4),
        2 => around(Bucket::Kib4),
        2 => around(Bucket::Kib16),
        1 => around(Bucket::Kib64),
        1 => from(room(Bucket::Kib256).saturating_sub(3)),
    ]
}
