//! What the fuzz targets share: valid messages to start from, and edits that keep most of one intact.
//!
//! Random bytes end at the first check of a length, a prefix, or an authenticator. So a target takes a valid message,
//! lets the fuzzer edit it, and then signs or seals the result as a hostile peer would: the decoders below the
//! cryptography see bytes that are nearly right.

use std::sync::LazyLock;

use petmail_proto::{
    channel::{
        own_half::OwnHalf,
        record::{TransportRecord, Transports},
    },
    keys::{CertificatePin, ServerSigningKey, TransportId},
    token::{SlotElement, TokenKeyId, TokenSecretKey},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The edits of one input are bounded, so that an input stays a list of edits and does not become a message.
const MAX_EDITS: usize = 16;

/// Returns the randomness of a run: the same in every run, so that a find can be repeated.
#[must_use]
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([7; 32])
}

/// Edits a message as `data` says: places, kinds of edit, and bytes. Without data it stays as it is.
#[must_use]
pub fn edited(message: &[u8], data: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    for edit in data.chunks(6).take(MAX_EDITS) {
        let [kind, high, low, bytes @ ..] = edit else { break };
        let place = usize::from(u16::from_be_bytes([*high, *low])) % (message.len() + 1);
        let end = (place + bytes.len()).min(message.len());
        match kind % 4 {
            0 => drop(message.splice(place..end, bytes.iter().copied())),
            1 => drop(message.splice(place..place, bytes.iter().copied())),
            2 => drop(message.drain(place..end)),
            _ => message.truncate(place),
        }
    }
    message
}

/// The half of a contact with one transport.
pub static HALF: LazyLock<OwnHalf> = LazyLock::new(own_half);

fn own_half() -> OwnHalf {
    let mut rng = rng();
    let key = TokenSecretKey::generate(&mut rng).public_key();
    let account = SlotElement::generate(&mut rng).seal(&key, &mut rng).expect("a good key");
    let transport = TransportRecord {
        tid: TransportId::generate(&mut rng),
        url: "https://mail.example.org:8443/mail".parse().expect("a good address"),
        server: ServerSigningKey::generate(&mut rng).verifying_key(),
        pin: Some(CertificatePin::generate(&mut rng)),
        kid: TokenKeyId(1),
        token: account.for_contact(&key, &mut rng).expect("a good token"),
        retention_seconds: 86_400,
    };
    OwnHalf::generate(1, Transports { serial: 1, list: vec![transport] }, &mut rng)
}
