//! What the end-to-end tests share: the real programs, other people's programs, and processes that end with their test.
//!
//! Knows how to find, build, start, command and stop; what is to be proven stands in `tests/`.

pub mod api;
pub mod browser;
pub mod chance;
pub mod commodity;
pub mod deploy;
pub mod failing_disk;
pub mod hostile;
pub mod lossy;
pub mod mailbox;
pub mod node;
pub mod npm;
pub mod outcome;
pub mod process;
pub mod programs;
pub mod python;
pub mod rendezvous;
pub mod schemathesis;
pub mod small_disk;
pub mod tor;
pub mod traffic;
pub mod wait;
pub mod world;
