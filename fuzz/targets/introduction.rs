//! Introductions, as phase `0` of the rendezvous exchange and as a packet of the channel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{HALF, edited, rng};
use petmail_proto::invitation::{
    introduction::{Commitment, Introduction, IntroductionPacket, Purpose, SignedIntroduction, Unverified},
    wormhole::{SharedKey, Side},
};

fuzz_target!(|data: &[u8]| {
    let half = &HALF;
    let shared = SharedKey::from_bytes([1; 32]);
    let side = Side::new("00ff").expect("a good side");
    let introduction =
        Introduction { channel: half.record(), name: "Alice".into(), purpose: Purpose::Contact, offer: None };
    let body0 = introduction.to_body0().expect("a good introduction");

    // A peer with keys of its own signs whatever it wants, and keeps the promise it made.
    let hostile = String::from_utf8_lossy(&edited(body0.as_bytes(), data)).into_owned();
    let signed = SignedIntroduction::sign(hostile.clone(), &half.channel.signing_key, &shared, &mut rng());
    let commitment = signed.commitment(&side);
    if let Ok(unverified) = Unverified::<SignedIntroduction>::decode(&signed.encode()) {
        let verified = unverified.verify(&side, &commitment, &shared);
        assert!(verified.is_ok() || hostile != body0);
        if let Ok(verified) = verified {
            assert_eq!(verified.introduction.channel.verifying_key, half.channel.signing_key.verifying_key());
        }
    }
    frame(&edited(&signed.encode(), data), &side, &commitment, &shared);
    packet(&signed.into_packet(&side, &shared), data, &side, &commitment, &shared);
});

fn frame(bytes: &[u8], side: &Side, commitment: &Commitment, shared: &SharedKey) {
    if let Ok(unverified) = Unverified::<SignedIntroduction>::decode(bytes) {
        drop(unverified.verify(side, commitment, shared));
    }
}

fn packet(
    packet: &IntroductionPacket,
    data: &[u8],
    side: &Side,
    commitment: &Commitment,
    shared: &SharedKey,
) {
    let json = serde_json::to_vec(packet).expect("a packet has a JSON form");
    if let Ok(packet) = serde_json::from_slice::<IntroductionPacket>(&edited(&json, data)) {
        drop(Unverified::<IntroductionPacket>::new(packet.clone()).dangerous_claimed_key());
        drop(Unverified::<IntroductionPacket>::new(packet).verify(side, commitment, shared));
    }
}
