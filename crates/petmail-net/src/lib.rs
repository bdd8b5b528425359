//! How Petmail's programs meet the network.
//!
//! Owns the bounded HTTPS server loop, the TLS modes, the HTTP and WebSocket clients with their guards on learnt
//! addresses, and what every program does at its start and end. Knows no Petmail message: bodies are bytes here.
//!
//! Source: `docs/protocol/`, "Network hygiene"; `docs/operating.md` for the limits.

pub mod address;
pub mod client;
pub mod clock;
pub mod health;
pub mod metrics;
pub mod program;
pub mod seconds;
pub mod server;
pub mod tls;
pub mod ws;

pub use tokio_util::sync::CancellationToken;
