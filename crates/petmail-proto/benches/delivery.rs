//! What the cryptography of one delivery costs, on one thread: sealing it, and opening it as a mailbox server does.
//!
//! Run with `cargo bench -p petmail-proto --bench delivery`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::hint::black_box;
use std::time::Instant;

use petmail_proto::{
    delivery::{Bucket, msg_a_digest, open_delivery, seal_delivery},
    keys::DeliverySecretKey,
    token::{SlotElement, TokenSecretKey},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// The median batch counts: short enough that most run without a pause for other programs.
const BATCHES: usize = 250;
const BATCH: u32 = 20;

fn main() {
    // `cargo test --all-targets` runs this program too, without that argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let (delivery, tokens) = (DeliverySecretKey::generate(rng), TokenSecretKey::generate(rng));
    let (delivery_key, token_key) = (delivery.public_key(), tokens.public_key());
    let account = SlotElement::generate(rng).seal(&token_key, rng).unwrap();
    let sender = account.for_contact(&token_key, rng).unwrap();
    let msg_c = vec![7; Bucket::Kib4.msg_c_bytes()];
    let mut seal = || {
        let token = sender.for_message(&token_key, rng).unwrap();
        seal_delivery(&msg_c, &token, &delivery_key, rng).unwrap()
    };
    let message = seal();
    let keys = [delivery];
    report("seal", || drop(black_box(seal())));
    report("open", || {
        let opened = open_delivery(message.as_bytes(), &keys).unwrap();
        black_box((tokens.open(&opened.token).unwrap(), msg_a_digest(message.as_bytes())));
    });
}

fn report(name: &str, mut act: impl FnMut()) {
    let mut batch = || {
        let begun = Instant::now();
        for _ in 0..BATCH {
            act();
        }
        begun.elapsed() / BATCH
    };
    let mut times: Vec<_> = (0..BATCHES).map(|_| batch()).collect();
    times.sort_unstable();
    println!("{name}: {:.1} µs", times.get(BATCHES / 2).unwrap().as_secs_f64() * 1e6);
}
