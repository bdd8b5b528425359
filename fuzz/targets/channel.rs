//! What comes through a channel: msgC from anybody, and what a contact may have put into it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{HALF, edited, rng};
use petmail_proto::{
    channel::{
        MessageNumber,
        cid::{CidSubkeys, Envelope},
        message::{MsgC, Outgoing},
        own_half::OwnHalf,
        payload::{BASIC, INTRODUCTION, Payload, TRANSPORTS},
        record::Transports,
    },
    delivery::Bucket,
    invitation::introduction::IntroductionPacket,
    keys::{EphemeralSecretKey, MessageId, TransportId},
    wire::Writer,
};
use sha2::{Digest, Sha256};

const NUMBER: MessageNumber = MessageNumber { epoch: 1, seqnum: 2 };

fuzz_target!(|data: &[u8]| {
    let half = &HALF;
    outside(half, data);
    inside(half, data);
    payload(half, data);
});

/// Anybody can hand a mailbox any bytes.
fn outside(half: &OwnHalf, data: &[u8]) {
    let subkeys = CidSubkeys::derive(&half.cid_key);
    let outgoing = Outgoing {
        signing_key: &half.signing_key,
        receiver_key: &half.receiver_key.public_key(),
        cid_subkeys: &subkeys,
        tid: &TransportId::from_bytes([0; 8]),
        attempt: 0,
        number: NUMBER,
    };
    let sealed = outgoing.seal(b"{}", Bucket::Kib4.msg_c_bytes(), &mut rng()).expect("a good message");
    for bytes in [data, &edited(&sealed, data)] {
        let opened = open(bytes, &subkeys, half);
        assert!(opened.is_none() || bytes == sealed, "an edited message was accepted");
    }
    assert_eq!(open(&sealed, &subkeys, half).as_deref(), Some(b"{}".as_slice()));
}

fn open(bytes: &[u8], subkeys: &CidSubkeys, half: &OwnHalf) -> Option<Vec<u8>> {
    let message = MsgC::parse(bytes).ok()?;
    let token = subkeys.token(&TransportId::from_bytes([0; 8]), 0, NUMBER);
    let envelope = subkeys.open(&message.cid_box).ok().filter(|_| message.token == token)?;
    message.open(&envelope, &half.receiver_key).ok()?.verify(&half.signing_key.verifying_key()).ok()
}

/// A contact seals what it wants.
fn inside(half: &OwnHalf, data: &[u8]) {
    let ephemeral = EphemeralSecretKey::generate(&mut rng());
    let honest =
        Writer::new().u64(NUMBER.epoch).u64(NUMBER.seqnum).fixed(&[0; 64]).variable(b"p1{}").fixed(&[0; 9]);
    let msg_e = edited(&honest.finish(), data);
    let receiver_key = half.receiver_key.public_key();
    let boxed = ephemeral.seal_box(receiver_key.as_bytes(), &msg_e, &mut rng()).expect("a good key");
    let msg_d = [ephemeral.public_key().as_bytes().as_slice(), &boxed].concat();
    let envelope =
        Envelope { attempt: 0, number: NUMBER, msg_d_hash: Sha256::digest(&msg_d).into(), receiver_key };
    let subkeys = CidSubkeys::derive(&half.cid_key);
    let token = subkeys.token(&TransportId::from_bytes([0; 8]), 0, NUMBER);
    let head = Writer::new().fixed(b"c1").fixed(token.as_bytes()).fixed(&subkeys.seal(&envelope, &mut rng()));
    let msg_c = head.fixed(&msg_d).finish();
    let message = MsgC::parse(&msg_c).expect("a good frame");
    if let Ok(unverified) = message.open(&envelope, &half.receiver_key) {
        assert!(unverified.verify(&half.signing_key.verifying_key()).is_err(), "nobody has signed this");
    }
}

/// A contact says what it wants.
fn payload(half: &OwnHalf, data: &[u8]) {
    let honest =
        Payload::new(MessageId::from_bytes([1; 16])).with(BASIC, &"hello").with(TRANSPORTS, &half.transports);
    for json in [data, &edited(&honest.encode(), data)] {
        let Ok(payload) = Payload::decode(json) else { continue };
        drop(payload.packet::<String>(BASIC));
        drop(payload.packet::<IntroductionPacket>(INTRODUCTION));
        if let Some(transports) = payload.packet::<Transports>(TRANSPORTS) {
            transports.check().ok();
        }
        assert!(Payload::decode(&payload.encode()).is_ok());
    }
}
