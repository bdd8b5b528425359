//! Flow control towards one contact: how much may be outstanding, so that an absent person's mailbox does not overflow.

use super::{Entry, Kind, MessageNumber};
use crate::channel::window::WINDOW;

/// The most bytes of msgA that may be outstanding.
pub const MAX_OUTSTANDING_BYTES: u64 = 4 << 20;

/// The least credit: one message of the largest size.
pub const MIN_CREDIT_BYTES: u64 = 256 << 10;

/// What is outstanding, and how much may be.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    outstanding_bytes: u64,
    /// What the contact lets be outstanding.
    advertised_bytes: u64,
    /// What its mailboxes showed to have room for.
    credit_bytes: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            outstanding_bytes: 0,
            advertised_bytes: MAX_OUTSTANDING_BYTES,
            credit_bytes: MAX_OUTSTANDING_BYTES,
        }
    }
}

impl Flow {
    /// Tells whether a message may become outstanding beside the others, of which `base` is the first. One always may.
    pub(super) fn admits(&self, entry: &Entry, base: Option<MessageNumber>) -> bool {
        if entry.kind != Kind::Content {
            return true;
        }
        let credit = self.credit_bytes.min(self.advertised_bytes).max(MIN_CREDIT_BYTES);
        let fits = self.outstanding_bytes.saturating_add(u64::from(entry.bytes)) <= credit;
        let in_window = base.is_none_or(|base| {
            base.epoch != entry.number.epoch || entry.number.seqnum.saturating_sub(base.seqnum) < WINDOW
        });
        in_window && (fits || self.outstanding_bytes == 0)
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        self.outstanding_bytes = self.outstanding_bytes.saturating_add(u64::from(entry.bytes));
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        if super::is_outstanding(entry) {
            self.outstanding_bytes = self.outstanding_bytes.saturating_sub(u64::from(entry.bytes));
        }
    }

    /// What is acknowledged has left the mailbox: there is room for as much, and a little more.
    pub(super) fn acknowledged(&mut self, entry: &Entry) {
        self.remove(entry);
        let more = self.credit_bytes.saturating_add(u64::from(entry.bytes));
        self.credit_bytes = more.min(MAX_OUTSTANDING_BYTES);
    }

    /// The mailbox is full.
    pub(super) fn halve(&mut self) {
        self.credit_bytes = (self.credit_bytes >> 1).max(MIN_CREDIT_BYTES);
    }

    pub(super) fn set_advertised(&mut self, bytes: Option<u64>) {
        self.advertised_bytes = bytes.unwrap_or(MAX_OUTSTANDING_BYTES).min(MAX_OUTSTANDING_BYTES);
    }
}
