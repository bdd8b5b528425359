//! What the end-to-end tests share: the real programs, other people's programs, and processes that end with their test.
//!
//! Knows how to find, build, start and stop; what is to be proven stands in `tests/`.

pub mod process;
pub mod programs;
pub mod python;
