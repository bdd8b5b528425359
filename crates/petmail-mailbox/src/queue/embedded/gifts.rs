//! What providers have given away: their open offers, and the accounts that were made from others.

use std::collections::{BTreeMap, BTreeSet};

use petmail_proto::{
    server::{account::AccountId, offer::RedeemTokenHash},
    time::UnixMillis,
};

/// The most offers of one provider that may be open at a time: a bound on its share of memory.
const MAX_OPEN_OFFERS: usize = 1_000;

/// What one provider has given away.
#[derive(Debug, Default)]
pub(super) struct Gifts {
    open: BTreeMap<RedeemTokenHash, OpenOffer>,
    customers: BTreeSet<AccountId>,
}

#[derive(Debug)]
struct OpenOffer {
    bytes: u64,
    expires: UnixMillis,
}

impl Gifts {
    pub(super) fn open(&mut self, offer: RedeemTokenHash, bytes: u64, expires: UnixMillis) {
        self.open.insert(offer, OpenOffer { bytes, expires });
    }

    /// Forgets an offer: it was redeemed.
    pub(super) fn close(&mut self, offer: &RedeemTokenHash) {
        self.open.remove(offer);
    }

    /// Forgets the offers that can no longer be redeemed.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        self.open.retain(|_, offer| offer.expires >= now);
    }

    pub(super) fn add_customer(&mut self, account: AccountId) {
        self.customers.insert(account);
    }

    pub(super) fn remove_customer(&mut self, account: &AccountId) {
        self.customers.remove(account);
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.open.len() >= MAX_OPEN_OFFERS
    }

    pub(super) fn open_offers(&self) -> impl Iterator<Item = &RedeemTokenHash> {
        self.open.keys()
    }

    /// Bytes that were given: the offers that can still be redeemed, and the accounts, of which `quota` tells the size.
    pub(super) fn bytes(&self, now: UnixMillis, quota: impl Fn(&AccountId) -> u64) -> u64 {
        let open = self.open.values().filter(|offer| offer.expires >= now).map(|offer| offer.bytes);
        open.chain(self.customers.iter().map(quota)).fold(0, u64::saturating_add)
    }
}
