//! The rendezvous server: two agents whose people typed the same code meet here.
//!
//! It speaks the magic-wormhole mailbox server protocol over WebSocket, and every answer means that what it
//! answers is on disk. Specification: `docs/protocol/`, invitations (§2), "Rendezvous protocol".
//!
//! The parts, from the inside out: [`state`] is the pure core (inputs in, changes and effects out), `writer` the one
//! task that commits those changes and then carries the effects out, `websocket` the edge, [`program`] the whole server.

pub mod config;
pub mod limits;
pub mod program;
pub mod refusal;
pub mod request;
pub mod state;
pub mod status;
mod storage;
mod websocket;
mod writer;
