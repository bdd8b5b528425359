//! Deliveries, which anybody may post to a mailbox server, and the tokens on them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::{
    delivery::{Bucket, open_delivery, seal_delivery},
    keys::DeliverySecretKey,
    token::{MessageToken, SlotElement, TokenSecretKey},
};

/// A server's keys, a slot, and a message for it.
struct Setting {
    keys: [DeliverySecretKey; 1],
    token_key: TokenSecretKey,
    slot: SlotElement,
    token: MessageToken,
    msg_c: Vec<u8>,
    honest: Vec<u8>,
}

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
    let mut rng = rng();
    let key = DeliverySecretKey::generate(&mut rng);
    let token_key = TokenSecretKey::generate(&mut rng);
    let slot = SlotElement::generate(&mut rng);
    let account = slot.seal(&token_key.public_key(), &mut rng).expect("a good key");
    let contact = account.for_contact(&token_key.public_key(), &mut rng).expect("a good token");
    let token = contact.for_message(&token_key.public_key(), &mut rng).expect("a good token");
    let msg_c = vec![1; Bucket::Kib4.msg_c_bytes()];
    let honest = seal_delivery(&msg_c, &token, &key.public_key(), &mut rng).expect("a good message");
    Setting { keys: [key], token_key, slot, token, msg_c, honest: honest.into_bytes() }
});

fuzz_target!(|data: &[u8]| {
    let Setting { keys, token_key, slot, token, msg_c, honest } = &*SETTING;
    let [key] = keys;
    let opened = open_delivery(honest, keys).expect("it is for us");
    assert_eq!(token_key.open(&opened.token), Ok(slot.slot_id()));

    let edited_outside = edited(honest, data);
    assert!(open_delivery(&edited_outside, keys).is_err() || edited_outside == *honest);
    drop(open_delivery(data, keys));

    // Whoever seals a delivery chooses what is inside.
    let mut msg_b = edited(&[b"b1t1", token.as_bytes().as_slice(), msg_c].concat(), data);
    msg_b.resize(Bucket::Kib4.msg_a_bytes() - 2 - 48, 0);
    let sealed = key.public_key().seal(&msg_b, &mut rng()).expect("a good key");
    if let Ok(delivery) = open_delivery(&[b"a1".as_slice(), &sealed].concat(), keys) {
        assert_eq!(delivery.msg_c.len(), Bucket::Kib4.msg_c_bytes());
        token_key.open(&delivery.token).ok();
    }
    token_key.open(&MessageToken::from_bytes(first_64(&edited(token.as_bytes(), data)))).ok();
});

fn first_64(bytes: &[u8]) -> [u8; 64] {
    let mut padded = bytes.to_vec();
    padded.resize(64, 0);
    padded.try_into().expect("it has 64 bytes")
}
