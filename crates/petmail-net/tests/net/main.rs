//! The crate over real sockets: every limit bites, servers drain, clients refuse what they must.
#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod limits;
mod malformed;
mod proxies;
mod serving;
mod support;
mod ws;
