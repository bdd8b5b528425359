//! What transport tokens do *not* hide, kept as a test so that nobody claims it again.
//!
//! Two senders who only look at their tokens learn nothing. But the scheme is homomorphic: if they pool their tokens, one
//! of them can build a probe that arrives in an account exactly if both tokens lead there.
#![expect(clippy::unwrap_used, reason = "tests")]

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use petmail_proto::token::{MessageToken, SenderToken, SlotElement, TokenSecretKey};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

fn points(token: &SenderToken) -> (RistrettoPoint, RistrettoPoint) {
    let (c1, c2) = token.as_bytes().split_at(32);
    let point = |bytes| CompressedRistretto::from_slice(bytes).unwrap().decompress().unwrap();
    (point(c1), point(c2))
}

/// 2·first − second: an encryption of 2·M1 − M2, which is M1 exactly if M1 = M2.
fn probe(first: &SenderToken, second: &SenderToken) -> MessageToken {
    let ((a1, a2), (b1, b2)) = (points(first), points(second));
    let [c1, c2] = [a1 + a1 - b1, a2 + a2 - b2].map(|point| point.compress().to_bytes());
    MessageToken::from_bytes([c1, c2].concat().try_into().unwrap())
}

#[test]
fn pooled_tokens_and_a_probe_tell_whether_two_tokens_lead_to_one_account() {
    let rng = &mut ChaCha20Rng::seed_from_u64(7);
    let server = TokenSecretKey::generate(rng);
    let key = server.public_key();
    let (carol, dave) = (SlotElement::generate(rng), SlotElement::generate(rng));
    let carols = carol.seal(&key, rng).unwrap();
    let to_carol_from_alice = carols.for_contact(&key, rng).unwrap();
    let to_carol_from_bob = carols.for_contact(&key, rng).unwrap();
    let to_dave_from_bob = dave.seal(&key, rng).unwrap().for_contact(&key, rng).unwrap();

    let delivered = |probe: &MessageToken| server.open(probe).unwrap() == carol.slot_id();
    assert!(delivered(&probe(&to_carol_from_alice, &to_carol_from_bob)), "one account: the probe arrives");
    assert!(!delivered(&probe(&to_carol_from_alice, &to_dave_from_bob)), "two accounts: it does not");
}

#[test]
fn tokens_for_one_account_share_no_element() {
    let rng = &mut ChaCha20Rng::seed_from_u64(8);
    let key = TokenSecretKey::generate(rng).public_key();
    let account = SlotElement::generate(rng).seal(&key, rng).unwrap();
    let tokens: Vec<SenderToken> = (0..64).map(|_| account.for_contact(&key, rng).unwrap()).collect();
    let mut elements: Vec<[u8; 32]> = tokens
        .iter()
        .flat_map(|token| {
            let (c1, c2) = points(token);
            // The differences that a looking sender could compute.
            [c1, c2, c2 - c1].map(|point| point.compress().to_bytes())
        })
        .collect();
    let all = elements.len();
    elements.sort_unstable();
    elements.dedup();
    assert_eq!(elements.len(), all);
}
