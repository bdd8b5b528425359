//! The invitation machine, driven by hand and by chance.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests stop at the first surprise and print their seeds"
)]

mod party;
mod scripted;
mod server;
mod simulated;
mod world;
