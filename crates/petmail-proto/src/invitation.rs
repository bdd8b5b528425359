//! Invitations: two people type the same code and their agents exchange
//! introductions, with nobody else able to take part.
//!
//! Owns everything of an invitation that needs neither network, disk nor
//! clock: codes, the password-authenticated key exchange, the messages of the
//! rendezvous protocol, introductions, and the state machine that ties them
//! together. It must not know how its effects are carried out.
//! Specification: `docs/protocol/`, invitations (§2).

pub mod code;
pub mod hashcash;
pub mod introduction;
pub mod machine;
pub mod pake;
pub mod safety;
pub mod stretch;
pub mod words;
pub mod wormhole;
