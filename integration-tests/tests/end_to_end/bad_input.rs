//! Bad input to the running servers: a clear answer, no panic, no change of state, one log line without contents.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod hostile;
mod mailbox;
mod node;
mod rendezvous;
