//! What comes through a channel: msgC from anybody, and what a contact may have put into it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{HALF, edited, rng};
use petmail_proto::{
    channel::{
        MessageNumber,
        ack::AckPacket,
        channel_reset::{ChannelReset, NewHalf, follow},
        cid::{CidSubkeys, Envelope},
        key_ring::{KeyPacket, adopt},
        message::{MsgC, Outgoing},
        own_half::OwnHalf,
        payload::{ACK, BASIC, CHANNEL_RESET, INTRODUCTION, KEY, PROFILE, Payload, TRANSPORTS},
        profile::{Picture, ProfilePacket},
        record::{KeyId, Transports},
        window::Windows,
    },
    delivery::Bucket,
    invitation::introduction::IntroductionPacket,
    keys::{EphemeralSecretKey, MessageId, SealSeed, TransportId},
    outbox::{Entry, Kind, Outbox},
    time::UnixMillis,
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
    let subkeys = CidSubkeys::derive(&half.channel.cid_key);
    let outgoing = Outgoing {
        signing_key: &half.channel.signing_key,
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
    message
        .open(&envelope, &half.receiver_key)
        .ok()?
        .verify(&half.channel.signing_key.verifying_key())
        .ok()
        .map(<[u8]>::to_vec)
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
    let subkeys = CidSubkeys::derive(&half.channel.cid_key);
    let token = subkeys.token(&TransportId::from_bytes([0; 8]), 0, NUMBER);
    let head = Writer::new().fixed(b"c1").fixed(token.as_bytes()).fixed(&subkeys.seal(&envelope, &mut rng()));
    let msg_c = head.fixed(&msg_d).finish();
    let message = MsgC::parse(&msg_c).expect("a good frame");
    if let Ok(unverified) = message.open(&envelope, &half.receiver_key) {
        assert!(
            unverified.verify(&half.channel.signing_key.verifying_key()).is_err(),
            "nobody has signed this"
        );
    }
}

/// A contact acknowledges what it wants.
fn hear(acks: &AckPacket) {
    let entry = |seqnum| Entry {
        number: MessageNumber { epoch: NUMBER.epoch, seqnum },
        mid: MessageId::from_bytes([1; 16]),
        kind: Kind::Content,
        message: None,
        queued_at: UnixMillis(0),
        bytes: 4_096,
        seed: SealSeed::from_bytes([0; 32]),
        deposits: Vec::new(),
    };
    let mut outbox = Outbox::new((1..9).map(entry));
    outbox.set_credit(acks.credit);
    outbox.acknowledge(acks, UnixMillis(1));
    assert!(outbox.entry(MessageNumber { epoch: NUMBER.epoch, seqnum: 2 }).is_some(), "it was never offered");
    let mut windows = Windows::default();
    windows.receive(NUMBER);
    windows.close_below(acks.base);
}

/// The half with itself for a successor: one key is enough here.
fn channel_reset(half: &OwnHalf) -> ChannelReset {
    let (key, next) = (&half.channel.signing_key, NewHalf { generation: 1, record: half.record() });
    ChannelReset::sign(&next, key, key).expect("a good record")
}

/// A contact says what it wants.
fn payload(half: &OwnHalf, data: &[u8]) {
    let acks = AckPacket { base: NUMBER, ..AckPacket::default() };
    let keys = KeyPacket { newest: None, using: KeyId { epoch: 1, index: 2 } };
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x40\x08\x06\0\0\0".to_vec();
    let profile = ProfilePacket { serial: 1, name: "Bob".to_owned(), picture: Picture::parse(png).ok() };
    // Any kind of picture, not only what an edit of that one makes.
    drop(Picture::parse(data.to_vec()));
    let honest = Payload::new(MessageId::from_bytes([1; 16]))
        .with(PROFILE, &profile)
        .with(BASIC, &"hello")
        .with(ACK, &acks)
        .with(KEY, &keys)
        .with(TRANSPORTS, &half.channel.transports)
        .with(CHANNEL_RESET, &[channel_reset(half)]);
    for json in [data, &edited(&honest.encode(), data)] {
        let Ok(payload) = Payload::decode(json) else { continue };
        drop(payload.packet::<String>(BASIC));
        drop(payload.packet::<IntroductionPacket>(INTRODUCTION));
        if let Some(transports) = payload.packet::<Transports>(TRANSPORTS) {
            transports.check().ok();
        }
        if let Some(profile) = payload.packet::<ProfilePacket>(PROFILE) {
            assert!(!profile.is_bounded() || !profile.name.contains('\n'));
        }
        if let Some(newest) = payload.packet::<KeyPacket>(KEY).and_then(|keys| keys.newest) {
            let mut known = half.record().receiver_key;
            assert_eq!(adopt(&mut known, newest), known == newest && newest.kid > half.receiver_kid);
        }
        if let Some(resets) = payload.packet::<Vec<ChannelReset>>(CHANNEL_RESET) {
            let known = (half.channel.signing_key.verifying_key(), 0);
            let honest = channel_reset(half);
            assert!(follow(&resets, known).all(|(reset, _)| *reset == honest), "nobody else has the key");
        }
        if let Some(acks) = payload.packet::<AckPacket>(ACK).filter(AckPacket::is_bounded) {
            hear(&acks);
        }
        assert!(Payload::decode(&payload.encode()).is_ok());
    }
}
