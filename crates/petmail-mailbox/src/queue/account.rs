//! An account as it is stored, and what it is made of.

use std::time::Duration;

use petmail_proto::{
    keys::{AccountPublicKey, AccountVerifyingKey, RetrievalToken, SymmetricKey, stored_secret},
    server::account::{AccountId, AccountRecord, AccountState, Allowance, Quota, RekeyRequest},
    time::UnixMillis,
    token::{AccountToken, SlotElement, SlotId, TokenKeyId},
    wire::{self, Record, WireError},
};
use serde::{Deserialize, Serialize};

/// How many former slots of an account are remembered: more changes within the retention time end the oldest.
const MAX_FORMER_SLOTS: usize = 4;

/// The secrets of an account that a rekey replaces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountSecrets {
    /// Finds the account in list requests.
    #[serde(with = "stored_secret")]
    pub retrieval_token: RetrievalToken,
    /// Seals what lists say.
    #[serde(with = "stored_secret")]
    pub symmetric_key: SymmetricKey,
}

/// An account as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Names it.
    pub id: AccountId,
    /// Who owns it.
    pub owner: AccountVerifyingKey,
    /// What answers to its owner are boxed to.
    pub answer_key: AccountPublicKey,
    /// How often its secrets were replaced.
    pub generation: u64,
    /// The secrets shared with its owner.
    pub secrets: AccountSecrets,
    /// Its slot, known to the server only.
    #[serde(with = "stored_secret")]
    pub slot: SlotElement,
    /// The owner's token for the slot.
    pub token: AccountToken,
    /// The token key that it was made for.
    pub kid: TokenKeyId,
    /// What it may hold.
    pub quota: Quota,
    /// How long its messages are kept, in seconds.
    pub retention_seconds: u64,
    /// What it may do.
    pub state: AccountState,
    /// When it was made.
    pub created: UnixMillis,
    /// The generation that brought its slot.
    pub slot_generation: u64,
    /// The slots that it had before: contacts that do not know the new one yet still reach it by them.
    pub former_slots: Vec<FormerSlot>,
    /// What the operator has to say to the owner.
    pub notices: Vec<String>,
    /// How many bytes of quota its owner may give away; `None` if it is no provider.
    pub provider_total: Option<u64>,
    /// Whose offer it was made from; `None` for the operator.
    pub given_by: Option<AccountId>,
    /// Bytes of packs that it may store; 0 for none.
    pub storage_bytes: u64,
}

/// What the operator changes of an account; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// What it may hold. What is there stays, even if it is more.
    pub quota: Option<Quota>,
    /// How long messages are kept that come from now on, in seconds.
    pub retention_seconds: Option<u64>,
    /// What it may do.
    pub state: Option<AccountState>,
    /// All that the operator has to say to the owner, at most [`MAX_NOTICES`](petmail_proto::server::account::MAX_NOTICES).
    pub notices: Option<Vec<String>>,
    /// How many bytes of quota its owner may give away; 0 if it is to be no provider any more.
    pub provider_total: Option<u64>,
    /// Bytes of packs that it may store. What is there stays, even if it is more.
    pub storage_bytes: Option<u64>,
}

/// A slot that was replaced. It takes little, and not for long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FormerSlot {
    /// Known to the server only.
    #[serde(with = "stored_secret")]
    pub slot: SlotElement,
    /// When it ends.
    pub until: UnixMillis,
}

/// How a message gets into an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// Through its slot.
    Slot,
    /// Through a slot that was replaced: what comes by it is restricted.
    FormerSlot,
}

/// Version 3 of [`Account`].
#[derive(Deserialize)]
struct AccountV3 {
    second: AccountV2,
    provider_total: Option<u64>,
    given_by: Option<AccountId>,
}

/// Version 2 of [`Account`], and the beginning of version 3.
#[derive(Deserialize)]
struct AccountV2 {
    first: AccountV1,
    slot_generation: u64,
    former_slots: Vec<FormerSlot>,
    notices: Vec<String>,
}

/// Version 1 of [`Account`], and the beginning of version 2.
#[derive(Deserialize)]
struct AccountV1 {
    id: AccountId,
    owner: AccountVerifyingKey,
    answer_key: AccountPublicKey,
    generation: u64,
    secrets: AccountSecrets,
    #[serde(with = "stored_secret")]
    slot: SlotElement,
    token: AccountToken,
    kid: TokenKeyId,
    quota: Quota,
    retention_seconds: u64,
    state: AccountState,
    created: UnixMillis,
}

impl Record for Account {
    const VERSION: u16 = 4;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        let AccountV3 { second, provider_total, given_by } = match version {
            1 => AccountV2::from(wire::decode::<AccountV1>(body)?).into(),
            2 => wire::decode::<AccountV2>(body)?.into(),
            3 => wire::decode(body)?,
            _ => return Err(WireError::UnknownVersion { found: version, known: Self::VERSION }),
        };
        let AccountV2 { first: old, slot_generation, former_slots, notices } = second;
        Ok(Self {
            id: old.id,
            owner: old.owner,
            answer_key: old.answer_key,
            generation: old.generation,
            secrets: old.secrets,
            slot: old.slot,
            token: old.token,
            kid: old.kid,
            quota: old.quota,
            retention_seconds: old.retention_seconds,
            state: old.state,
            created: old.created,
            slot_generation,
            former_slots,
            notices,
            provider_total,
            given_by,
            storage_bytes: 0,
        })
    }
}

impl From<AccountV2> for AccountV3 {
    fn from(second: AccountV2) -> Self {
        Self { second, provider_total: None, given_by: None }
    }
}

impl From<AccountV1> for AccountV2 {
    fn from(first: AccountV1) -> Self {
        Self { first, slot_generation: 0, former_slots: Vec::new(), notices: Vec::new() }
    }
}

impl Account {
    /// Returns what its owner is told, with what it may give away.
    #[must_use]
    pub fn record(&self, allowance: Option<Allowance>) -> AccountRecord {
        AccountRecord {
            account: self.id,
            generation: self.generation,
            retrieval_token: self.secrets.retrieval_token.clone(),
            symmetric_key: self.secrets.symmetric_key.clone(),
            token: self.token,
            kid: self.kid,
            slot: self.slot_generation,
            quota: self.quota,
            retention_seconds: self.retention_seconds,
            notices: self.notices.clone(),
            state: self.state,
            allowance,
            used_bytes: None,
        }
    }

    /// Returns every slot that leads to this account, or did so lately: a former one with when it ends.
    pub fn slots(&self) -> impl Iterator<Item = (SlotId, Option<UnixMillis>)> {
        let former = self.former_slots.iter().map(|former| (former.slot.slot_id(), Some(former.until)));
        std::iter::once((self.slot.slot_id(), None)).chain(former)
    }

    /// Returns the account with a change.
    #[must_use]
    pub fn changed(&self, change: &AccountChange) -> Self {
        let AccountChange { quota, retention_seconds, state, notices, provider_total, storage_bytes } =
            change.clone();
        let provider_total = match provider_total {
            None => self.provider_total,
            Some(total) => (total > 0).then_some(total),
        };
        Self {
            quota: quota.unwrap_or(self.quota),
            retention_seconds: retention_seconds.unwrap_or(self.retention_seconds),
            state: state.unwrap_or(self.state),
            notices: notices.unwrap_or_else(|| self.notices.clone()),
            provider_total,
            storage_bytes: storage_bytes.unwrap_or(self.storage_bytes),
            ..self.clone()
        }
    }

    /// Returns the account as a request makes it. A slot that is replaced stays for the retention time.
    #[must_use]
    pub fn rekeyed(&self, request: &RekeyRequest, new: NewSecrets, now: UnixMillis) -> Self {
        let mut account = Self {
            owner: request.new_owner,
            answer_key: request.answer_key,
            generation: request.generation,
            secrets: new.secrets,
            ..self.clone()
        };
        account.former_slots.retain(|former| former.until > now);
        if let Some(NewSlot { slot, token, kid }) = new.slot {
            let until = now.plus(Duration::from_secs(self.retention_seconds));
            let former = std::mem::replace(&mut account.slot, slot);
            account.former_slots.push(FormerSlot { slot: former, until });
            let too_many = account.former_slots.len().saturating_sub(MAX_FORMER_SLOTS);
            account.former_slots.drain(..too_many);
            (account.token, account.kid) = (token, kid);
            account.slot_generation = request.generation;
        }
        account
    }
}

/// What a new account starts with, beside its offer's terms.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Names it.
    pub id: AccountId,
    /// The secrets shared with its owner.
    pub secrets: AccountSecrets,
    /// Its slot.
    pub slot: NewSlot,
}

/// A slot with the owner's token for it.
#[derive(Clone, Debug)]
pub struct NewSlot {
    /// Known to the server only.
    pub slot: SlotElement,
    /// The owner's token for it.
    pub token: AccountToken,
    /// The token key that the token was made for.
    pub kid: TokenKeyId,
}

/// What an account goes on with after a rekey.
#[derive(Clone, Debug)]
pub struct NewSecrets {
    /// The secrets shared with its owner.
    pub secrets: AccountSecrets,
    /// A new slot, if the request asks for one.
    pub slot: Option<NewSlot>,
}

#[cfg(test)]
mod tests {
    use petmail_proto::keys::AccountSecretKey;
    use rand_core::OsRng;

    use super::*;

    fn account() -> Account {
        Account {
            id: AccountId::from_bytes([1; 16]),
            owner: AccountVerifyingKey::from_bytes([2; 32]),
            answer_key: AccountPublicKey::from_bytes([3; 32]),
            generation: 4,
            secrets: AccountSecrets {
                retrieval_token: RetrievalToken::from_bytes([5; 32]),
                symmetric_key: SymmetricKey::from_bytes([6; 32]),
            },
            slot: SlotElement::from_bytes([7; 32]),
            token: AccountToken::from_bytes([8; 64]),
            kid: TokenKeyId(9),
            quota: Quota { bytes: 10, messages: 11 },
            retention_seconds: 12,
            state: AccountState::Suspended,
            created: UnixMillis(13),
            slot_generation: 14,
            former_slots: vec![FormerSlot { slot: SlotElement::from_bytes([15; 32]), until: UnixMillis(16) }],
            notices: vec!["hi".to_owned()],
            provider_total: Some(17),
            given_by: Some(AccountId::from_bytes([18; 16])),
            storage_bytes: 19,
        }
    }

    /// The bytes of every version: a row of each begins with its number.
    fn written() -> [Vec<u8>; 4] {
        let fields: [&[u8]; 7] =
            [&[1; 16], &[2; 32], &[3; 32], &4_u64.to_be_bytes(), &[5; 32], &[6; 32], &[7; 32]];
        let token_and_kid = [&[8; 64][..], &9_u32.to_be_bytes()].concat();
        let numbers = [10_u64, 11, 12].map(u64::to_be_bytes).concat();
        let rest = [&1_u32.to_be_bytes()[..], &13_u64.to_be_bytes()].concat();
        let body = [fields.concat(), token_and_kid, numbers, rest].concat();
        let slots =
            [&14_u64.to_be_bytes()[..], &1_u64.to_be_bytes(), &[15; 32], &16_u64.to_be_bytes()].concat();
        let notices = [&1_u64.to_be_bytes()[..], &2_u64.to_be_bytes(), b"hi"].concat();
        let slots = [slots, notices].concat();
        let provider = [&[1][..], &17_u64.to_be_bytes(), &[1], &[18; 16]].concat();
        [
            [vec![0, 1], body.clone()].concat(),
            [vec![0, 2], body.clone(), slots.clone()].concat(),
            [vec![0, 3], body.clone(), slots.clone(), provider.clone()].concat(),
            [vec![0, 4], body, slots, provider, 19_u64.to_be_bytes().to_vec()].concat(),
        ]
    }

    #[test]
    fn the_bytes_of_all_versions_are_read() {
        let [first, second, third, fourth] = written();
        assert_eq!(account().encode_record().unwrap(), fourth);
        assert_eq!(Account::decode_record(&fourth).unwrap().encode_record().unwrap(), fourth);
        let before_storage = Account { storage_bytes: 0, ..account() };
        let before_providers = Account { provider_total: None, given_by: None, ..before_storage.clone() };
        let before_slots = Account {
            slot_generation: 0,
            former_slots: Vec::new(),
            notices: Vec::new(),
            ..before_providers.clone()
        };
        for (bytes, migrated) in [(first, before_slots), (second, before_providers), (third, before_storage)]
        {
            let read = Account::decode_record(&bytes).unwrap();
            assert_eq!(read.encode_record().unwrap(), migrated.encode_record().unwrap());
            assert!(Account::decode_record(&bytes[..bytes.len() - 1]).is_err());
            assert!(Account::decode_record(&[bytes, vec![0]].concat()).is_err());
        }
        let newer = [vec![0, 5], fourth[2..].to_vec()].concat();
        assert!(matches!(Account::decode_record(&newer), Err(WireError::UnknownVersion { found: 5, .. })));
    }

    #[test]
    fn a_few_former_slots_stay_for_the_retention_time() {
        let mut account = Account { retention_seconds: 1, ..account() };
        let rekey = |account: &Account, generation: u64, new_slot: bool, now: u64| {
            let request = RekeyRequest {
                owner: account.owner,
                generation,
                new_owner: account.owner,
                answer_key: AccountSecretKey::generate(&mut OsRng).public_key(),
                new_slot,
            };
            let fresh = |byte| NewSlot {
                slot: SlotElement::from_bytes([byte; 32]),
                token: AccountToken::from_bytes([byte; 64]),
                kid: TokenKeyId(u32::from(byte)),
            };
            let slot = new_slot.then(|| fresh(u8::try_from(generation).unwrap()));
            account.rekeyed(&request, NewSecrets { secrets: account.secrets.clone(), slot }, UnixMillis(now))
        };
        account = rekey(&account, 20, true, 10);
        assert_eq!(
            (account.slot_generation, account.kid, account.former_slots.len()),
            (20, TokenKeyId(20), 2)
        );
        assert_eq!(account.former_slots[1].until, UnixMillis(1_010));
        account = rekey(&account, 21, false, 16);
        assert_eq!((account.slot_generation, account.generation, account.former_slots.len()), (20, 21, 1));
        for generation in 22..32 {
            account = rekey(&account, generation, true, 17);
        }
        let left: Vec<_> = account.former_slots.iter().map(|former| former.slot.expose_bytes()[0]).collect();
        assert_eq!(left, [27, 28, 29, 30]);
        assert!(rekey(&account, 32, false, 1_017).former_slots.is_empty());
    }
}
