//! Invitations against vectors made by an independent script (`vectors/make_invitation.py`).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

use petmail_proto::{
    invitation::{
        introduction::{
            Commitment, IntroductionError, IntroductionNonce, SignedIntroduction, Unverified,
            VerifiedIntroduction,
        },
        pake::PakeSecret,
        safety::{safety_digits, safety_words},
        stretch::StretchedCode,
        words,
        wormhole::{Body, Phase, SharedKey, Side},
    },
    keys::{ChannelSigningKey, ChannelVerifyingKey},
};
use proptest::prelude::*;
use rand_chacha::rand_core::{CryptoRng, Error, RngCore};
use serde_json::Value;

/// Hands out fixed bytes, where the protocol draws random ones.
struct Fixed(Vec<u8>);

impl RngCore for Fixed {
    fn next_u32(&mut self) -> u32 {
        unreachable!("nothing draws numbers")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nothing draws numbers")
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        target.copy_from_slice(&self.0);
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Fixed {}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/invitation.json")).unwrap()
}

fn text<'a>(vector: &'a Value, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_else(|| panic!("{name} is missing"))
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text(vector, name).as_bytes()).unwrap()
}

fn array<const N: usize>(vector: &Value, name: &str) -> [u8; N] {
    bytes(vector, name).try_into().unwrap()
}

fn list(name: &str) -> Vec<Value> {
    vectors()[name].as_array().unwrap().clone()
}

/// The name of the fault, and what has it.
fn faults(name: &str) -> Vec<(String, Value)> {
    let all = vectors()[name].as_object().unwrap().clone();
    assert!(!all.is_empty());
    all.into_iter().collect()
}

fn kind(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn secret(vector: &Value, seed: &str) -> PakeSecret {
    let password = StretchedCode::from_bytes(array(vector, "stretched"));
    PakeSecret::generate(password, &mut Fixed(bytes(vector, seed)))
}

#[test]
fn codes_are_stretched_as_specified() {
    for vector in list("stretch") {
        let code = text(&vector, "code").parse().unwrap();
        assert_eq!(StretchedCode::derive(&code).expose_bytes().as_slice(), bytes(&vector, "stretched"));
    }
}

#[test]
fn the_key_exchange_is_that_of_python_spake2() {
    for vector in list("pake") {
        let (a, b) = (secret(&vector, "seed_a"), secret(&vector, "seed_b"));
        assert_eq!(a.message(), bytes(&vector, "message_a"));
        assert_eq!(b.message(), bytes(&vector, "message_b"));
        assert_eq!(a.message(), bytes(&vector, "message_a"), "the same at every call");
        for key in [a.finish(&b.message()).unwrap(), b.finish_body(&a.body()).unwrap()] {
            assert_eq!(key.expose_bytes().as_slice(), bytes(&vector, "key"));
        }
    }
}

#[test]
fn bad_key_exchange_messages_are_refused_by_name() {
    let ours = secret(&list("pake")[0], "seed_a");
    for (name, message) in faults("bad_pake") {
        let message = data_encoding::HEXLOWER.decode(message.as_str().unwrap().as_bytes()).unwrap();
        let error = ours.finish(&message).expect_err(&name);
        assert_eq!(kind(&error), name.split(':').next().unwrap(), "{name}");
    }
}

#[test]
fn a_key_exchange_body_is_json_with_hex_inside() {
    let ours = secret(&list("pake")[0], "seed_a");
    for body in ["", "{}", "[]", r#"{"pake_v1": 5}"#, r#"{"pake_v1": "5x"}"#, "\u{fe}"] {
        let error = ours.finish_body(&Body::new(body.into()).unwrap()).expect_err(body);
        assert_eq!(kind(&error), "Malformed", "{body}");
    }
}

#[test]
fn phases_are_sealed_as_magic_wormhole_seals_them() {
    for vector in list("seal") {
        let key = SharedKey::from_bytes(array(&vector, "key"));
        let side = Side::new(text(&vector, "side")).unwrap();
        let phase = Phase::new(text(&vector, "phase")).unwrap();
        let (plaintext, body) = (bytes(&vector, "plaintext"), bytes(&vector, "body"));
        let sealed = key.seal(&side, &phase, &plaintext, &mut Fixed(bytes(&vector, "nonce"))).unwrap();
        assert_eq!(sealed.as_bytes(), body);
        assert_eq!(key.open(&side, &phase, &sealed).unwrap().as_slice(), plaintext);
        assert_eq!(key.verifier().as_slice(), bytes(&vector, "verifier"));
    }
}

struct Good {
    key: SharedKey,
    side: Side,
    commitment: Commitment,
    frame: Vec<u8>,
    packet: String,
}

fn good() -> Good {
    let vector = vectors()["introduction"].clone();
    Good {
        key: SharedKey::from_bytes(array(&vector, "key")),
        side: Side::new(text(&vector, "side")).unwrap(),
        commitment: Commitment::from_bytes(array(&vector, "commitment")),
        frame: bytes(&vector, "frame"),
        packet: text(&vector, "packet").into(),
    }
}

impl Good {
    fn open_frame(
        &self,
        frame: &[u8],
        commitment: &Commitment,
    ) -> Result<VerifiedIntroduction, IntroductionError> {
        Unverified::decode(frame)?.verify(&self.side, commitment, &self.key)
    }

    fn open_packet(&self, packet: &str) -> Result<VerifiedIntroduction, IntroductionError> {
        let packet = serde_json::from_str(packet).map_err(|_| IntroductionError::Malformed)?;
        Unverified::new(packet).verify(&self.side, &self.commitment, &self.key)
    }
}

#[test]
fn an_introduction_is_signed_committed_to_and_framed_as_specified() {
    let (good, vector) = (good(), vectors()["introduction"].clone());
    let signing_key = ChannelSigningKey::from_bytes(array(&vector, "signing_seed"));
    let mut rng = Fixed(bytes(&vector, "n"));
    let signed = SignedIntroduction::sign(text(&vector, "body0").into(), &signing_key, &good.key, &mut rng);
    assert_eq!(signed.signature.as_bytes().as_slice(), bytes(&vector, "sig0"));
    assert_eq!(signed.commitment(&good.side), good.commitment);
    assert_eq!(signed.encode(), good.frame);
    let packet = serde_json::to_value(signed.into_packet(&good.side, &good.key)).unwrap();
    assert_eq!(packet, serde_json::from_str::<Value>(&good.packet).unwrap());
}

#[test]
fn a_good_introduction_is_verified_in_both_dresses() {
    let good = good();
    for verified in [good.open_frame(&good.frame, &good.commitment), good.open_packet(&good.packet)] {
        let verified = verified.unwrap();
        assert_eq!(verified.introduction.name, "Zoë");
        assert!(!verified.introduction.has_transport());
    }
}

#[test]
fn bad_introductions_are_refused_by_name() {
    let good = good();
    for (name, vector) in faults("bad_introduction") {
        let commitment = Commitment::from_bytes(array(&vector, "commitment"));
        let error = good.open_frame(&bytes(&vector, "frame"), &commitment).expect_err(&name);
        assert_eq!(kind(&error), name.split(':').next().unwrap(), "{name}");
    }
}

#[test]
fn bad_introduction_packets_are_refused_by_name() {
    let good = good();
    for (name, packet) in faults("bad_packet") {
        let error = good.open_packet(packet.as_str().unwrap()).expect_err(&name);
        assert_eq!(kind(&error), name.split(':').next().unwrap(), "{name}");
    }
}

#[test]
fn both_sides_compare_the_same_words_and_digits() {
    for vector in list("safety") {
        let [n_a, n_b] = ["n_a", "n_b"].map(|name| IntroductionNonce::from_bytes(array(&vector, name)));
        let [v_a, v_b] = ["v_a", "v_b"].map(|name| ChannelVerifyingKey::from_bytes(array(&vector, name)));
        assert_eq!(safety_words((&n_a, &v_a), (&n_b, &v_b)), words::spell(&bytes(&vector, "first_48_bits")));
        assert_eq!(safety_words((&n_b, &v_b), (&n_a, &v_a)), safety_words((&n_a, &v_a), (&n_b, &v_b)));
        assert_eq!(safety_digits(&v_a, &v_b), text(&vector, "digits"));
        assert_eq!(safety_digits(&v_b, &v_a), text(&vector, "digits"));
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_of_an_introduction_is_refused(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let good = good();
        let mut frame = good.frame.clone();
        let index = place.index(frame.len());
        frame[index] ^= 1_u8 << bit;
        prop_assert!(good.open_frame(&frame, &good.commitment).is_err());
    }

    #[test]
    fn any_flipped_bit_of_a_packet_is_refused_or_no_change(place in any::<prop::sample::Index>(), bit in 0_u8..7) {
        let good = good();
        let mut packet = good.packet.clone().into_bytes();
        let index = place.index(packet.len());
        packet[index] ^= 1_u8 << bit;
        let Ok(packet) = String::from_utf8(packet) else { return Ok(()) };
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        if value(&packet) != value(&good.packet) {
            prop_assert!(good.open_packet(&packet).is_err());
        }
    }

    #[test]
    fn any_flipped_bit_of_a_key_exchange_message_gives_an_error_or_another_key(index in 0_usize..33, bit in 0_u8..8) {
        let vector = &list("pake")[0];
        let mut message = bytes(vector, "message_b");
        message[index] ^= 1_u8 << bit;
        if let Ok(key) = secret(vector, "seed_a").finish(&message) {
            prop_assert_ne!(key.expose_bytes().as_slice(), bytes(vector, "key"));
        }
    }

    #[test]
    fn reading_introductions_never_panics(frame in prop::collection::vec(any::<u8>(), 0..300)) {
        let good = good();
        prop_assert!(good.open_frame(&frame, &good.commitment).is_err());
    }
}
