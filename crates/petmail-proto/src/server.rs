//! What a mailbox server and its customers tell each other outside of mail: who the server is, offers, accounts.
//!
//! Owns the formats and their checks on both sides. Must not know where a server keeps accounts, nor how requests travel.
//! Specification: Servers, accounts, offers.

pub mod account;
pub mod descriptor;
pub mod mint;
pub mod offer;
