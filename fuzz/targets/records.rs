//! What programs store for themselves: a damaged disk must end in an error value.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{HALF, edited, rng};
use petmail_proto::{
    channel::{
        own_half::OwnHalf,
        record::{ChannelRecord, Transports},
        window::Windows,
    },
    invitation::{
        introduction::{Introduction, Purpose},
        machine::{Invitation, InvitationRecord, Terms},
    },
    server::account::AccountKeys,
    time::UnixMillis,
    wire::{self, Record},
};

/// Good records, one of each kind.
struct Good {
    half: Vec<u8>,
    channel: Vec<u8>,
    transports: Vec<u8>,
    account: Vec<u8>,
    windows: Vec<u8>,
    invitation: Vec<u8>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| Good {
    half: encode(&*HALF),
    channel: encode(&HALF.record()),
    transports: encode(&HALF.channel.transports),
    account: encode(&AccountKeys::generate(&mut rng())),
    windows: encode(&Windows::default()),
    invitation: invitation(),
});

fuzz_target!(|data: &[u8]| {
    decode::<OwnHalf>(&GOOD.half, data);
    decode::<ChannelRecord>(&GOOD.channel, data);
    decode::<Transports>(&GOOD.transports, data);
    decode::<AccountKeys>(&GOOD.account, data);
    decode::<Windows>(&GOOD.windows, data);
    if let Ok(record) = InvitationRecord::decode_record(&edited(&GOOD.invitation, data)) {
        let step = Invitation::restore(record, UnixMillis(1));
        assert!(step.next.record().encode_record().is_ok());
    }
    assert!(InvitationRecord::decode_record(&GOOD.invitation).is_ok());
});

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    wire::encode(value).expect("a small record")
}

/// What can be read can be written, and then read again as it was written.
fn decode<T: serde::Serialize + serde::de::DeserializeOwned>(template: &[u8], data: &[u8]) {
    assert!(wire::decode::<T>(template).is_ok());
    for bytes in [data, &edited(template, data)] {
        if let Ok(value) = wire::decode::<T>(bytes) {
            let written = wire::encode(&value).expect("what was read can be written");
            let again: T = wire::decode(&written).expect("what was written can be read");
            assert_eq!(wire::encode(&again), Ok(written));
        }
    }
}

fn invitation() -> Vec<u8> {
    let half = &HALF;
    let introduction =
        Introduction { channel: half.record(), name: "Alice".into(), purpose: Purpose::Contact, offer: None };
    let terms =
        Terms { introduction, signing_key: half.channel.signing_key.clone(), expires: UnixMillis(u64::MAX) };
    let code = "7-adroitness-aardvark-adviser".parse().expect("a good code");
    let step = Invitation::with_code(terms, code, UnixMillis(0), &mut rng()).expect("good terms");
    step.next.record().encode_record().expect("a small record")
}
