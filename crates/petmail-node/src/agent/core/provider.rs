//! Giving mailboxes to others: which of the node's accounts can.

use std::time::Duration;

use petmail_proto::server::mint::MintTerms;

use super::Core;
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::Mailbox,
    },
    api::types::OfferMailboxRequest,
};

/// How large a mailbox is unless it is said.
const DEFAULT_QUOTA_BYTES: u64 = 100_000_000;

/// How long an offer can be redeemed: a good deal longer than the invitation that brings it lives.
const OFFER_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Core {
    /// Chooses the account with the most left to give, and the terms for it.
    ///
    /// # Errors
    /// If none may give so much.
    pub(crate) fn provider(
        &self,
        request: &OfferMailboxRequest,
    ) -> Result<(Mailbox, MintTerms), CommandError> {
        let mailbox_bytes = request.mailbox_quota.unwrap_or(DEFAULT_QUOTA_BYTES);
        let storage_bytes = request.storage_quota.unwrap_or_default();
        if (mailbox_bytes == 0 && storage_bytes == 0) || request.retention_days == Some(0) {
            return Err(CommandError::new(
                Fault::BadRequest,
                "a mailbox without room, or that keeps nothing, is of no use",
                "leave it out, or choose at least one byte and one day",
            ));
        }
        let gives = |mailbox: &&Mailbox| {
            let allowance = mailbox.account.as_ref()?.record.allowance?;
            Some(allowance.total_bytes.saturating_sub(allowance.given_bytes))
        };
        let lasting = self.mailboxes.values().filter(|mailbox| mailbox.leaving.is_none());
        let best =
            lasting.filter_map(|mailbox| Some((gives(&mailbox)?, mailbox))).max_by_key(|(left, _)| *left);
        let Some((_, mailbox)) = best else {
            return Err(CommandError::new(
                Fault::Conflict,
                "none of your mailboxes lets you give mailboxes to others",
                "ask the operator of your mailbox server for that (petmail-mailbox account set ID --provider-total SIZE)",
            ));
        };
        let own = mailbox.account.as_ref().map_or(0, |account| account.record.retention_seconds);
        let asked = request.retention_days.map(|days| u64::from(days).saturating_mul(24 * 3_600));
        let terms = MintTerms {
            mailbox_bytes,
            storage_bytes,
            retention_seconds: asked.unwrap_or(own),
            life_seconds: OFFER_LIFE.as_secs(),
        };
        Ok((mailbox.clone(), terms))
    }
}
