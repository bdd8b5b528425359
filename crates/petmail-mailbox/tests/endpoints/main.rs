//! Every endpoint over a real socket, with good and bad input.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod deliver;
mod hostile;
mod keys;
mod overload;
mod retrieve;
mod storage;
mod support;
