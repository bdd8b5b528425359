//! One direction of a contact: what its receiver published, and the messages that travel through it.

pub mod record;
