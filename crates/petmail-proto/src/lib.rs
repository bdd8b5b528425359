//! The Petmail protocol: bytes in, bytes out.
//!
//! This crate composes every format and every piece of cryptography that Petmail has, and nothing else: no I/O,
//! no clock, no global randomness. Time and randomness are arguments; the state machines take `(input, now, rng)` and
//! return the next state with the effects that a program has to carry out. `docs/protocol/` is the specification; its
//! contents page says which page is about which module here.
#![warn(clippy::arithmetic_side_effects, clippy::wildcard_enum_match_arm)]

pub mod at_rest;
pub mod base_url;
pub mod channel;
pub mod content;
pub mod delivery;
pub mod invitation;
pub mod keys;
pub mod outbox;
pub mod retrieval;
pub mod server;
pub mod time;
pub mod token;
pub mod wire;
