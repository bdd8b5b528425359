use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::*;
use crate::wire;

#[derive(Serialize, Deserialize)]
struct Keeps {
    #[serde(with = "stored_secret")]
    key: CidKey,
    id: TransportId,
}

#[test]
fn secrets_are_redacted() {
    let key = CidKey::from_bytes([7; 32]);
    assert_eq!(format!("{key:?}"), "CidKey(redacted)");
    let key = ReceiverSecretKey::from_bytes([7; 32]);
    assert_eq!(format!("{key:?}"), "ReceiverSecretKey(redacted)");
    let key = ChannelSigningKey::from_bytes([7; 32]);
    assert_eq!(format!("{key:?}"), "ChannelSigningKey(redacted)");
}

#[test]
fn public_values_print_and_parse() {
    let id = TransportId::from_bytes([0, 1, 2, 3, 4, 5, 6, 255]);
    assert_eq!(id.to_string(), "AAECAwQFBv8");
    assert_eq!("AAECAwQFBv8".parse::<TransportId>().unwrap(), id);
    assert_eq!(format!("{id:?}"), "TransportId(AAECAwQF…)");
    for bad in ["", "AAECAwQFBv", "AAECAwQFBv9", "AAECAwQFBv8=", "AAECAwQFBv8A", "AAECAwQ+Bv8"] {
        assert!(bad.parse::<TransportId>().is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_stored_only_on_request() {
    let keeps = Keeps { key: CidKey::from_bytes([9; 32]), id: TransportId::from_bytes([1; 8]) };
    let json = serde_json::to_string(&keeps).unwrap();
    assert_eq!(json, r#"{"key":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk","id":"AQEBAQEBAQE"}"#);
    let back: Keeps = serde_json::from_str(&json).unwrap();
    assert!(bool::from(back.key.ct_eq(&keeps.key)));
    let record = wire::encode(&keeps).unwrap();
    assert_eq!(record, [[9; 32].as_slice(), &[1; 8]].concat());
    assert_eq!(wire::decode::<Keeps>(&record).unwrap().id, keeps.id);
}

#[test]
fn a_signature_holds_for_its_context_key_and_message_only() {
    let key = ChannelSigningKey::from_bytes([3; 32]);
    let signature = key.sign(SigningContext::Introduction, b"message");
    let public = key.verifying_key();
    assert_eq!(public.verify(SigningContext::Introduction, b"message", &signature), Ok(()));
    assert_eq!(public.verify(SigningContext::Ephemeral, b"message", &signature), Err(BadSignature));
    assert_eq!(public.verify(SigningContext::Introduction, b"messagf", &signature), Err(BadSignature));
    let other = ChannelSigningKey::from_bytes([4; 32]).verifying_key();
    assert_eq!(other.verify(SigningContext::Introduction, b"message", &signature), Err(BadSignature));
}

#[test]
fn a_small_order_key_verifies_nothing() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let key = ChannelVerifyingKey::from_bytes(identity);
    let mut signature = [0; 64];
    signature[0] = 1;
    assert_eq!(key.verify(SigningContext::Ephemeral, b"anything", &signature), Err(BadSignature));
}

proptest! {
    #[test]
    fn boxes_open_for_their_key_and_any_flipped_bit_is_refused(
        seed: [u8; 32], plaintext: Vec<u8>, position: prop::sample::Index, bit in 0_u8..8,
    ) {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let alice = EphemeralSecretKey::generate(&mut rng);
        let bob = ReceiverSecretKey::generate(&mut rng);
        let sealed = bob.public_key().seal(&plaintext, &mut rng).unwrap();
        prop_assert_eq!(bob.open_sealed(&sealed).unwrap(), plaintext.clone());
        let boxed = alice.seal_box(bob.public_key().as_bytes(), &plaintext, &mut rng).unwrap();
        prop_assert_eq!(bob.open_box(alice.public_key().as_bytes(), &boxed).unwrap(), plaintext);
        for (bytes, is_sealed) in [(sealed, true), (boxed, false)] {
            let mut bytes = bytes;
            let index = position.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let opened = if is_sealed {
                bob.open_sealed(&bytes)
            } else {
                bob.open_box(alice.public_key().as_bytes(), &bytes)
            };
            prop_assert!(opened.is_err());
        }
    }
}
