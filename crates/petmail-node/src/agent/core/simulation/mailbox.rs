//! A mailbox server in memory, with the real cryptography of tokens and deliveries.

use std::{collections::BTreeMap, time::Duration};

use petmail_proto::{
    delivery::{MsgADigest, msg_a_digest, open_delivery},
    keys::{DeliverySecretKey, RedeemToken, RetrievalToken, ServerSigningKey, SymmetricKey},
    server::{
        account::{AccountId, AccountRecord, AccountState, Quota},
        offer::{Offer, RedeemTokenHash},
    },
    time::UnixMillis,
    token::{SlotElement, SlotId, TokenKeyId, TokenSecretKey},
};
use rand_chacha::ChaCha20Rng;

use crate::agent::{
    core::{self, Packets},
    records::{Account, Mailbox},
};

const KID: TokenKeyId = TokenKeyId(1);

/// How long messages are kept.
pub(super) const RETENTION: Duration = Duration::from_secs(86_400);

/// A message, and when it came.
#[derive(Debug)]
struct Kept {
    came: UnixMillis,
    msg_c: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct MailServer {
    name: String,
    identity: ServerSigningKey,
    token_key: TokenSecretKey,
    delivery_key: DeliverySecretKey,
    accounts: BTreeMap<RedeemTokenHash, (SlotId, Account)>,
    slots: BTreeMap<SlotId, BTreeMap<u64, Kept>>,
    seen: BTreeMap<MsgADigest, UnixMillis>,
    last_number: u64,
}

impl MailServer {
    pub(super) fn new(name: &str, rng: &mut ChaCha20Rng) -> Self {
        Self {
            name: name.to_owned(),
            identity: ServerSigningKey::generate(rng),
            token_key: TokenSecretKey::generate(rng),
            delivery_key: DeliverySecretKey::generate(rng),
            accounts: BTreeMap::new(),
            slots: BTreeMap::new(),
            seen: BTreeMap::new(),
            last_number: 0,
        }
    }

    pub(super) fn offer(&self, rng: &mut ChaCha20Rng) -> Offer {
        Offer {
            url: format!("https://{}.example.org", self.name).parse().unwrap(),
            identity: self.identity.verifying_key(),
            pin: None,
            token: RedeemToken::generate(rng),
        }
    }

    pub(super) fn is(&self, mailbox: &Mailbox) -> bool {
        self.identity.verifying_key() == mailbox.server
    }

    /// Gives the account of an offer; the same one when asked again.
    pub(super) fn redeem(&mut self, mailbox: &Mailbox, rng: &mut ChaCha20Rng) -> Account {
        let known = self.accounts.entry(mailbox.redeem_token.hash());
        let (_, account) = known.or_insert_with(|| {
            let element = SlotElement::generate(rng);
            let token_key = self.token_key.public_key();
            let record = AccountRecord {
                account: AccountId::generate(rng),
                generation: 0,
                retrieval_token: RetrievalToken::generate(rng),
                symmetric_key: SymmetricKey::generate(rng),
                token: element.seal(&token_key, rng).unwrap(),
                kid: KID,
                quota: Quota { bytes: 1 << 30, messages: 1 << 20 },
                retention_seconds: RETENTION.as_secs(),
                notices: Vec::new(),
                state: AccountState::Active,
            };
            self.slots.insert(element.slot_id(), BTreeMap::new());
            (element.slot_id(), Account { record, token_key })
        });
        account.clone()
    }

    /// Whether a sender would come here with this offer.
    pub(super) fn serves(&self, offer: &core::Offer) -> bool {
        self.identity.verifying_key() == offer.transport.server
    }

    /// What a sender posts here.
    pub(super) fn seal(&self, offer: &core::Offer, packets: Packets) -> Vec<u8> {
        assert_eq!(offer.transport.kid, KID);
        let (token_key, delivery_key) = (self.token_key.public_key(), self.delivery_key.public_key());
        offer.sealing.seal(&offer.transport, &token_key, &delivery_key, packets).unwrap().into_bytes()
    }

    /// What of a delivery the owner of the account gets.
    pub(super) fn open(&self, msg_a: &[u8]) -> Vec<u8> {
        open_delivery(msg_a, std::slice::from_ref(&self.delivery_key)).unwrap().msg_c
    }

    /// Keeps a message, once; tells its number if it is new.
    pub(super) fn deliver(&mut self, msg_a: &[u8], now: UnixMillis) -> Option<u64> {
        self.seen.retain(|_, came| now.since(*came) < RETENTION);
        let delivery = open_delivery(msg_a, std::slice::from_ref(&self.delivery_key)).unwrap();
        let slot = self.token_key.open(&delivery.token).unwrap();
        if self.seen.insert(msg_a_digest(msg_a), now).is_some() {
            return None;
        }
        self.last_number += 1;
        let slot = self.slots.get_mut(&slot).expect("the token leads to a slot");
        slot.retain(|_, kept| now.since(kept.came) < RETENTION);
        slot.insert(self.last_number, Kept { came: now, msg_c: delivery.msg_c });
        Some(self.last_number)
    }

    /// Tells whether a message lies here.
    pub(super) fn has(&self, number: u64, now: UnixMillis) -> bool {
        let kept = self.slots.values().find_map(|slot| slot.get(&number));
        kept.is_some_and(|kept| now.since(kept.came) < RETENTION)
    }

    pub(super) fn list(&self, mailbox: &Mailbox, now: UnixMillis) -> Vec<(u64, Vec<u8>)> {
        let Some((slot, _)) = self.accounts.get(&mailbox.redeem_token.hash()) else { return Vec::new() };
        let kept = self.slots[slot].iter().filter(|(_, kept)| now.since(kept.came) < RETENTION);
        kept.map(|(number, kept)| (*number, kept.msg_c.clone())).collect()
    }

    pub(super) fn delete(&mut self, mailbox: &Mailbox, number: u64) {
        let (slot, _) = &self.accounts[&mailbox.redeem_token.hash()];
        self.slots.get_mut(slot).unwrap().remove(&number);
    }
}
