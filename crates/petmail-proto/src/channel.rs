//! One direction of a contact: what its receiver published, and the messages that travel through it.
//!
//! Each side of a contact owns a [`own_half::OwnHalf`] and knows the other's [`record::ChannelRecord`]. Messages are
//! sealed and opened in [`message`] ([`attempt`] for a certain mailbox), their marks for the receiver made and found in
//! [`cid`] and [`lookup`], and counted once by [`window`], whose numbers go back to the sender in [`ack`]. Specification:
//! Delivery.

pub mod ack;
pub mod attempt;
pub mod channel_reset;
pub mod cid;
pub mod file;
pub mod key_ring;
pub mod lookup;
pub mod message;
pub mod own_half;
pub mod payload;
pub mod profile;
pub mod record;
pub mod reset;
pub mod window;

use serde::{Deserialize, Serialize};

/// Numbers a message of a channel; numbers rise and are never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageNumber {
    /// The sender's epoch, in Unix milliseconds; a new one at every start of its node.
    pub epoch: u64,
    /// The number within the epoch, from 1.
    pub seqnum: u64,
}
