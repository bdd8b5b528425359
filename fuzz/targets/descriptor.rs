//! Server descriptors: from anybody who answers at an address, and from a hostile server that signs its own.
#![no_main]

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::{
    keys::{CertificatePin, DeliverySecretKey, RetrievalSecretKey, ServerSigningKey, SigningContext},
    server::descriptor::{Descriptor, MovedTo, ServerLimits, TokenKey},
    time::UnixMillis,
    token::{TokenKeyId, TokenSecretKey},
};

static KEY: LazyLock<ServerSigningKey> = LazyLock::new(|| ServerSigningKey::generate(&mut rng()));
static DESCRIPTOR: LazyLock<Descriptor> = LazyLock::new(descriptor);
static HONEST: LazyLock<Vec<u8>> = LazyLock::new(|| DESCRIPTOR.sign(&KEY).expect("a good descriptor"));

fuzz_target!(|data: &[u8]| {
    let identity = KEY.verifying_key();
    let now = UnixMillis(1);
    assert_eq!(Descriptor::verify(&HONEST, &identity, now).as_ref(), Ok(&*DESCRIPTOR));

    for bytes in [data, &edited(&HONEST, data)] {
        assert!(Descriptor::verify(bytes, &identity, now).is_err() || bytes == *HONEST);
    }
    let json = edited(&serde_json::to_vec(&*DESCRIPTOR).expect("a descriptor has a JSON form"), data);
    let signature = BASE64URL_NOPAD.encode(&KEY.sign(SigningContext::Descriptor, &json));
    let signed = [b"petmail-server-1 ", signature.as_bytes(), b"\n", &json].concat();
    if let Ok(descriptor) = Descriptor::verify(&signed, &identity, now) {
        assert!(descriptor.sign(&KEY).is_ok(), "what is accepted could have been published");
    }
});

fn descriptor() -> Descriptor {
    let mut rng = rng();
    Descriptor {
        serial: 3,
        url: "https://mail.example.org".parse().expect("a good address"),
        roles: vec!["mailbox".into(), "storage".into()],
        delivery_key: DeliverySecretKey::generate(&mut rng).public_key(),
        retrieval_key: RetrievalSecretKey::generate(&mut rng).public_key(),
        token_keys: vec![TokenKey {
            kid: TokenKeyId(1),
            key: TokenSecretKey::generate(&mut rng).public_key(),
        }],
        limits: ServerLimits { max_message_bytes: 1 << 18, max_tokens: 256 },
        pins: vec![CertificatePin::generate(&mut rng)],
        not_after: UnixMillis(1 << 40),
        moved_to: Some(MovedTo {
            url: "https://new.example.org".parse().expect("a good address"),
            identity: ServerSigningKey::generate(&mut rng).verifying_key(),
            pin: Some(CertificatePin::from_bytes([7; 32])),
        }),
    }
}
