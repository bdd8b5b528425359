//! Wrapped keys: a damaged disk, or a backup that somebody forged, must end in an error value, and in one of a bounded cost.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use petmail_fuzz::{edited, rng};
use petmail_proto::at_rest::{DataKey, DataKeyId, Passphrase, Purpose, WrappedKey};
use sha2::{Digest, Sha256};

/// How long the check at the end is.
const CHECK_BYTES: usize = 8;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good);

fuzz_target!(|data: &[u8]| {
    let edited = edited(&GOOD, data);
    for bytes in [data, &edited, &checked(&edited)] {
        if let Ok(wrapped) = WrappedKey::decode(Purpose::Backup, bytes) {
            assert_eq!(wrapped.encode(), bytes);
        }
        assert!(WrappedKey::decode(Purpose::Vault, bytes).is_err());
    }
    assert!(WrappedKey::decode(Purpose::Backup, &GOOD).is_ok());
});

/// Repairs the check, as a forger would.
fn checked(bytes: &[u8]) -> Vec<u8> {
    let body = bytes.get(..bytes.len().saturating_sub(CHECK_BYTES)).unwrap_or_default();
    let check = Sha256::digest(body);
    [body, check.get(..CHECK_BYTES).unwrap_or_default()].concat()
}

fn good() -> Vec<u8> {
    let (id, key) = (DataKeyId::generate(&mut rng()), DataKey::generate(&mut rng()));
    let passphrase = Passphrase::new("correct horse".to_owned().into()).expect("a good passphrase");
    WrappedKey::wrap(Purpose::Backup, id, &key, &passphrase, &mut rng()).encode()
}
