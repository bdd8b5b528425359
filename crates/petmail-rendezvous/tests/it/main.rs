//! The real program over real sockets: protocol, hostile clients, durability, command line.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod client;
mod command_line;
mod durability;
mod hostile;
mod operation;
mod process;
mod protocol;
