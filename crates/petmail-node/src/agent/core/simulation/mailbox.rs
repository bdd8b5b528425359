//! A mailbox server in memory, with the real cryptography of tokens and deliveries.

use std::{collections::BTreeMap, time::Duration};

use petmail_proto::{
    delivery::{MsgADigest, msg_a_digest, open_delivery},
    keys::{
        AccountVerifyingKey, DeliverySecretKey, RedeemToken, RetrievalToken, ServerSigningKey, SymmetricKey,
    },
    server::{
        account::{AccountId, AccountRecord, AccountState, Quota},
        offer::{Offer, RedeemTokenHash},
    },
    time::UnixMillis,
    token::{SlotElement, SlotId, TokenKeyId, TokenPublicKey, TokenSecretKey},
};
use rand_chacha::ChaCha20Rng;

use crate::agent::{
    core::{self, Packets},
    records::{Account, Mailbox},
};

/// How many messages a former slot takes in a day, and how long they may be.
const FORMER_SLOT: (usize, usize) = (32, 16_384);

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The token leads nowhere.
    Unknown,
    /// A former slot takes no more.
    Full,
}

/// An account with its messages.
#[derive(Debug)]
struct Held {
    owner: AccountVerifyingKey,
    account: Account,
    /// Where messages come in, and until when they do.
    slots: BTreeMap<SlotId, Option<UnixMillis>>,
    /// When messages came through former slots.
    through_former: Vec<UnixMillis>,
    messages: BTreeMap<u64, Kept>,
}

/// A message, and when it came.
#[derive(Debug)]
struct Kept {
    came: UnixMillis,
    msg_c: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct MailServer {
    name: String,
    /// How long messages are kept.
    pub(super) retention: Duration,
    identity: ServerSigningKey,
    /// In the order in which they were made; each has the next number.
    token_keys: Vec<TokenSecretKey>,
    delivery_key: DeliverySecretKey,
    accounts: BTreeMap<RedeemTokenHash, Held>,
    seen: BTreeMap<MsgADigest, UnixMillis>,
    last_number: u64,
}

impl MailServer {
    pub(super) fn new(name: &str, rng: &mut ChaCha20Rng) -> Self {
        Self {
            name: name.to_owned(),
            retention: Duration::from_secs(86_400),
            identity: ServerSigningKey::generate(rng),
            token_keys: vec![TokenSecretKey::generate(rng)],
            delivery_key: DeliverySecretKey::generate(rng),
            accounts: BTreeMap::new(),
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
        let (kid, token_key) = (self.newest_kid(), self.newest_key());
        let known = self.accounts.entry(mailbox.redeem_token.hash());
        let retention = self.retention;
        let held = known.or_insert_with(|| {
            let element = SlotElement::generate(rng);
            let record = AccountRecord {
                account: AccountId::generate(rng),
                generation: 0,
                retrieval_token: RetrievalToken::generate(rng),
                symmetric_key: SymmetricKey::generate(rng),
                token: element.seal(&token_key, rng).unwrap(),
                kid,
                slot: 0,
                quota: Quota { bytes: 1 << 30, messages: 1 << 20 },
                retention_seconds: retention.as_secs(),
                notices: Vec::new(),
                state: AccountState::Active,
                allowance: None,
                used_bytes: None,
            };
            Held {
                owner: mailbox.keys.signing.verifying_key(),
                account: Account { record, token_key },
                slots: BTreeMap::from([(element.slot_id(), None)]),
                through_former: Vec::new(),
                messages: BTreeMap::new(),
            }
        });
        held.account.clone()
    }

    /// Replaces the secrets of an account, once for each generation; `None` for who does not own it any more.
    pub(super) fn rekey(
        &mut self,
        mailbox: &Mailbox,
        now: UnixMillis,
        rng: &mut ChaCha20Rng,
    ) -> Option<Account> {
        let asked = mailbox.rekeying.as_ref().unwrap();
        let retention = self.retention;
        let (kid, token_key) = (self.newest_kid(), self.newest_key());
        let held = self.accounts.get_mut(&mailbox.redeem_token.hash()).unwrap();
        let record = &mut held.account.record;
        if asked.keys.signing.verifying_key() == held.owner && asked.generation == record.generation {
            return Some(held.account.clone());
        }
        if mailbox.keys.signing.verifying_key() != held.owner || asked.generation <= record.generation {
            return None;
        }
        held.owner = asked.keys.signing.verifying_key();
        record.generation = asked.generation;
        record.retrieval_token = RetrievalToken::generate(rng);
        if asked.new_slot {
            let element = SlotElement::generate(rng);
            record.slot = asked.generation;
            record.token = element.seal(&token_key, rng).unwrap();
            record.kid = kid;
            held.account.token_key = token_key;
            let former = held.slots.values_mut().filter(|until| until.is_none());
            former.for_each(|until| *until = Some(now.plus(retention)));
            held.slots.insert(element.slot_id(), None);
        }
        Some(held.account.clone())
    }

    /// Makes another token key; the earlier ones stay. Returns its number.
    pub(super) fn rotate_keys(&mut self, rng: &mut ChaCha20Rng) -> TokenKeyId {
        self.token_keys.push(TokenSecretKey::generate(rng));
        self.newest_kid()
    }

    /// The number of the token key in use.
    pub(super) fn newest_kid(&self) -> TokenKeyId {
        TokenKeyId(u32::try_from(self.token_keys.len()).unwrap())
    }

    fn newest_key(&self) -> TokenPublicKey {
        self.token_keys.last().unwrap().public_key()
    }

    /// Whether a sender would come here with this offer.
    pub(super) fn serves(&self, offer: &core::Offer) -> bool {
        self.identity.verifying_key() == offer.transport.server
    }

    /// What a sender posts here.
    pub(super) fn seal(&self, offer: &core::Offer, packets: Packets) -> Vec<u8> {
        let nth = usize::try_from(offer.transport.kid.0).unwrap() - 1;
        let (token_key, delivery_key) = (self.token_keys[nth].public_key(), self.delivery_key.public_key());
        offer.sealing.seal(&offer.transport, &token_key, &delivery_key, packets).unwrap().into_bytes()
    }

    /// What of a delivery the owner of the account gets.
    pub(super) fn open(&self, msg_a: &[u8]) -> Vec<u8> {
        open_delivery(msg_a, std::slice::from_ref(&self.delivery_key)).unwrap().msg_c
    }

    /// Keeps a message, once; tells its number if it is new.
    pub(super) fn deliver(&mut self, msg_a: &[u8], now: UnixMillis) -> Result<Option<u64>, Refusal> {
        let retention = self.retention;
        self.seen.retain(|_, came| now.since(*came) < retention);
        let delivery = open_delivery(msg_a, std::slice::from_ref(&self.delivery_key)).unwrap();
        let slots: Vec<_> = self.token_keys.iter().map(|key| key.open(&delivery.token).unwrap()).collect();
        let mut held = self.accounts.values_mut().filter_map(|held| {
            let slot = *slots.iter().find(|slot| held.slots.contains_key(slot))?;
            Some((held, slot))
        });
        let (held, slot) = held.next().expect("the token leads to a slot");
        let until = held.slots[&slot];
        if until.is_some_and(|until| until <= now) {
            return Err(Refusal::Unknown);
        }
        if self.seen.contains_key(&msg_a_digest(msg_a)) {
            return Ok(None);
        }
        if until.is_some() {
            let (most, longest) = FORMER_SLOT;
            held.through_former.retain(|came| now.since(*came) < Duration::from_secs(86_400));
            if held.through_former.len() >= most || msg_a.len() > longest {
                return Err(Refusal::Full);
            }
            held.through_former.push(now);
        }
        self.seen.insert(msg_a_digest(msg_a), now);
        self.last_number += 1;
        held.messages.retain(|_, kept| now.since(kept.came) < retention);
        held.messages.insert(self.last_number, Kept { came: now, msg_c: delivery.msg_c });
        Ok(Some(self.last_number))
    }

    /// Tells whether a message lies here.
    pub(super) fn has(&self, number: u64, now: UnixMillis) -> bool {
        let kept = self.accounts.values().find_map(|held| held.messages.get(&number));
        kept.is_some_and(|kept| now.since(kept.came) < self.retention)
    }

    /// What an account holds, for who has its present secrets.
    pub(super) fn list(&self, mailbox: &Mailbox, now: UnixMillis) -> Vec<(u64, Vec<u8>)> {
        let Some(held) = self.accounts.get(&mailbox.redeem_token.hash()) else { return Vec::new() };
        let known = mailbox.account.as_ref().map(|account| account.record.generation);
        if known != Some(held.account.record.generation) {
            return Vec::new();
        }
        let kept = held.messages.iter().filter(|(_, kept)| now.since(kept.came) < self.retention);
        kept.map(|(number, kept)| (*number, kept.msg_c.clone())).collect()
    }

    pub(super) fn delete(&mut self, mailbox: &Mailbox, number: u64) {
        let held = self.accounts.get_mut(&mailbox.redeem_token.hash()).unwrap();
        held.messages.remove(&number);
    }
}
