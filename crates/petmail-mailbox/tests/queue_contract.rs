//! What every queue must do, run on each engine: the contract of `QueueStore`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{path::Path, sync::Arc};

use petmail_mailbox::queue::{
    AccountChange, AccountSecrets, DeliverError, Delivered, MintError, NewAccount, NewSecrets, NewSlot,
    OfferTerms, QueueStore, RedeemError, RekeyError, RetrievalId, Usage, embedded::EmbeddedQueue,
    exported::Exported,
};
use petmail_proto::{
    delivery::{Bucket, MsgADigest},
    keys::{AccountSecretKey, AccountSigningKey, RedeemToken, RetrievalToken, SymmetricKey},
    retrieval::MessageNumber,
    server::{
        account::{AccountId, AccountState, Allowance, Quota, RedeemRequest, RekeyRequest},
        mint::{MintRequest, MintTerms},
    },
    time::UnixMillis,
    token::{SlotElement, SlotId, TokenKeyId, TokenSecretKey},
};
use petmail_store::EngineKind;
use rand_core::OsRng;

const NOW: UnixMillis = UnixMillis(1_000_000);
const RETENTION_SECONDS: u64 = 1_000;
const SMALL: usize = 3_978;
const LARGE: usize = 65_418;

fn terms(bytes: u64, messages: u64) -> OfferTerms {
    OfferTerms {
        quota: Quota { bytes, messages },
        retention_seconds: RETENTION_SECONDS,
        expires: UnixMillis(NOW.0 + 1_000),
        provider_total: None,
        given_by: None,
        storage_bytes: 0,
    }
}

fn secrets() -> AccountSecrets {
    let rng = &mut OsRng;
    AccountSecrets {
        retrieval_token: RetrievalToken::generate(rng),
        symmetric_key: SymmetricKey::generate(rng),
    }
}

fn new_account() -> NewAccount {
    NewAccount { id: AccountId::generate(&mut OsRng), secrets: secrets(), slot: new_slot() }
}

fn new_slot() -> NewSlot {
    let rng = &mut OsRng;
    let slot = SlotElement::generate(rng);
    let token = slot.seal(&TokenSecretKey::generate(rng).public_key(), rng).unwrap();
    NewSlot { slot, token, kid: TokenKeyId(1) }
}

fn same_slot() -> NewSecrets {
    NewSecrets { secrets: secrets(), slot: None }
}

fn request(offer: &RedeemToken) -> RedeemRequest {
    RedeemRequest {
        offer: offer.hash(),
        owner: AccountSigningKey::generate(&mut OsRng).verifying_key(),
        answer_key: AccountSecretKey::generate(&mut OsRng).public_key(),
    }
}

fn digest(number: u8) -> MsgADigest {
    MsgADigest::from_bytes([number; 32])
}

/// A queue with one account that may hold `bytes` and `messages`.
struct Made<Q> {
    queue: Arc<Q>,
    id: AccountId,
    slot: SlotId,
    request: RedeemRequest,
}

impl<Q: QueueStore> Made<Q> {
    async fn new(queue: Q, bytes: u64, messages: u64) -> Self {
        let offer = RedeemToken::generate(&mut OsRng);
        queue.add_offers(&[offer.hash()], terms(bytes, messages)).await.unwrap();
        let (request, new) = (request(&offer), new_account());
        let (id, slot) = (new.id, new.slot.slot.slot_id());
        queue.redeem(&request, new, NOW).await.unwrap();
        Self { queue: Arc::new(queue), id, slot, request }
    }

    async fn deliver(&self, number: u8, length: usize) -> Result<Delivered, DeliverError> {
        self.queue.deliver(&[self.slot], digest(number), vec![number; length], NOW).await
    }

    async fn stored(&self, number: u8, length: usize) -> MessageNumber {
        match self.deliver(number, length).await.unwrap() {
            Delivered::Stored(number) => number,
            Delivered::Repeated => panic!("{number} was new"),
        }
    }

    async fn numbers(&self) -> Vec<MessageNumber> {
        let waiting = self.queue.list(self.id, None, 1_000).await.unwrap();
        waiting.into_iter().map(|message| message.number).collect()
    }

    async fn usage(&self) -> Usage {
        let accounts = self.queue.accounts(NOW).await.unwrap();
        accounts.iter().find(|found| found.account.id == self.id).unwrap().usage
    }
}

fn mint(owner: &RedeemRequest, offer: &RedeemToken, mailbox_bytes: u64) -> MintRequest {
    let terms =
        MintTerms { mailbox_bytes, storage_bytes: 0, retention_seconds: RETENTION_SECONDS, life_seconds: 1 };
    MintRequest { owner: owner.owner, offer: offer.hash(), terms }
}

async fn providers_give_what_they_have(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    let provider = &made.request;
    let tokens: Vec<_> = (0..6).map(|_| RedeemToken::generate(&mut OsRng)).collect();
    let allowance = async |at: u64| made.queue.allowance(made.id, UnixMillis(NOW.0 + at)).await.unwrap();
    let minted =
        async |offer: usize, bytes| made.queue.mint(&mint(provider, &tokens[offer], bytes), NOW).await;
    assert!(matches!(minted(0, 1).await, Err(MintError::NotProvider)));
    assert_eq!(allowance(0).await, None);
    let change = AccountChange { provider_total: Some(100), ..AccountChange::default() };
    made.queue.change(made.id, &change).await.unwrap().unwrap();
    minted(0, 60).await.unwrap();
    minted(0, 60).await.unwrap();
    assert!(matches!(minted(0, 61).await, Err(MintError::Taken)));
    assert!(matches!(minted(1, 41).await, Err(MintError::Exhausted)));
    minted(1, 40).await.unwrap();
    assert_eq!(allowance(0).await, Some(Allowance { total_bytes: 100, given_bytes: 100 }));
    // An offer that nobody redeemed in time gives its share back.
    let customer = request(&tokens[0]);
    let account = made.queue.redeem(&customer, new_account(), NOW).await.unwrap();
    assert_eq!((account.quota.bytes, account.given_by, account.provider_total), (60, Some(made.id), None));
    assert_eq!(allowance(1_001).await, Some(Allowance { total_bytes: 100, given_bytes: 60 }));
    // The operator's change of a customer counts, and so does its removal.
    let quota = Some(Quota { bytes: 70, messages: 5 });
    made.queue.change(account.id, &AccountChange { quota, ..AccountChange::default() }).await.unwrap();
    assert_eq!(allowance(1_001).await.unwrap().given_bytes, 70);
    made.queue.remove(account.id).await.unwrap();
    assert_eq!(allowance(1_001).await.unwrap().given_bytes, 0);
    // Nobody gives what only others have, or for longer, or while suspended, or as somebody else.
    let stranger = mint(&request(&tokens[2]), &tokens[2], 1);
    assert!(matches!(made.queue.mint(&stranger, NOW).await, Err(MintError::UnknownAccount)));
    let mut long = mint(provider, &tokens[2], 1);
    long.terms.retention_seconds += 1;
    assert!(matches!(made.queue.mint(&long, NOW).await, Err(MintError::TooLong)));
    let suspended = AccountChange { state: Some(AccountState::Suspended), ..AccountChange::default() };
    made.queue.change(made.id, &suspended).await.unwrap();
    assert!(matches!(minted(2, 1).await, Err(MintError::NotProvider)));
    // The open offers of a provider end with its account.
    made.queue.remove(made.id).await.unwrap();
    let late = made.queue.redeem(&request(&tokens[1]), new_account(), NOW).await;
    assert!(matches!(late, Err(RedeemError::UnknownOffer)));
}

async fn offers_become_accounts_once(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    let same = made.queue.redeem(&made.request, new_account(), NOW).await.unwrap();
    assert_eq!(same.id, made.id);
    let another = RedeemRequest {
        owner: AccountSigningKey::generate(&mut OsRng).verifying_key(),
        ..made.request.clone()
    };
    let refused = made.queue.redeem(&another, new_account(), NOW).await;
    assert!(matches!(refused, Err(RedeemError::UsedByAnother)), "{refused:?}");
    let offer = RedeemToken::generate(&mut OsRng);
    let refused = made.queue.redeem(&request(&offer), new_account(), NOW).await;
    assert!(matches!(refused, Err(RedeemError::UnknownOffer)), "{refused:?}");
    made.queue.add_offers(&[offer.hash()], terms(1, 1)).await.unwrap();
    let greedy = RedeemRequest { offer: offer.hash(), ..made.request.clone() };
    let refused = made.queue.redeem(&greedy, new_account(), NOW).await;
    assert!(matches!(refused, Err(RedeemError::KeyInUse)), "{refused:?}");
    let late = UnixMillis(NOW.0 + 1_001);
    let refused = made.queue.redeem(&request(&offer), new_account(), late).await;
    assert!(matches!(refused, Err(RedeemError::Expired)), "{refused:?}");
    let still = made.queue.redeem(&made.request, new_account(), late).await.unwrap();
    assert_eq!(still.id, made.id, "who has redeemed keeps the account");
    assert_eq!(made.queue.accounts(NOW).await.unwrap().len(), 1);
}

async fn secrets_are_replaced_by_generation(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    let old = made.queue.accounts(NOW).await.unwrap()[0].account.clone();
    let old_id = RetrievalId::of(&old.secrets.retrieval_token);
    assert_eq!(made.queue.find(old_id).await.unwrap().unwrap().id, made.id);
    let answer_key = AccountSecretKey::generate(&mut OsRng).public_key();
    let owner = made.request.owner;
    let rekey = RekeyRequest { owner, generation: 2, new_owner: owner, answer_key, new_slot: false };
    let new = made.queue.rekey(&rekey, same_slot(), NOW).await.unwrap();
    assert!(new.is_new);
    let new = new.account;
    let new_id = RetrievalId::of(&new.secrets.retrieval_token);
    assert!(made.queue.find(old_id).await.unwrap().is_none());
    assert_eq!(made.queue.find(new_id).await.unwrap().unwrap().generation, 2);
    let again = made.queue.rekey(&rekey, same_slot(), NOW).await.unwrap();
    assert!(!again.is_new && RetrievalId::of(&again.account.secrets.retrieval_token) == new_id);
    let stale = RekeyRequest { generation: 1, ..rekey.clone() };
    let refused = made.queue.rekey(&stale, same_slot(), NOW).await;
    assert!(matches!(refused, Err(RekeyError::StaleGeneration)), "{refused:?}");
    let stranger = AccountSigningKey::generate(&mut OsRng).verifying_key();
    let strange = RekeyRequest { owner: stranger, new_owner: stranger, ..rekey };
    let refused = made.queue.rekey(&strange, same_slot(), NOW).await;
    assert!(matches!(refused, Err(RekeyError::UnknownAccount)), "{refused:?}");
    assert!(matches!(made.deliver(1, SMALL).await, Ok(Delivered::Stored(_))), "the slot stays");
}

async fn an_account_goes_to_another_key_for_good(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    let new_owner = AccountSigningKey::generate(&mut OsRng).verifying_key();
    let rekey = |generation, owner, new_owner| RekeyRequest {
        owner,
        generation,
        new_owner,
        answer_key: AccountSecretKey::generate(&mut OsRng).public_key(),
        new_slot: false,
    };
    let handed_over = rekey(5, made.request.owner, new_owner);
    let new = made.queue.rekey(&handed_over, same_slot(), NOW).await.unwrap().account;
    let again = made.queue.rekey(&handed_over, same_slot(), NOW).await.unwrap().account;
    assert!(RetrievalId::of(&new.secrets.retrieval_token) == RetrievalId::of(&again.secrets.retrieval_token));
    let refused = made.queue.rekey(&rekey(6, made.request.owner, made.request.owner), same_slot(), NOW).await;
    assert!(matches!(refused, Err(RekeyError::UnknownAccount)), "{refused:?}");
    let offer = RedeemToken::generate(&mut OsRng);
    made.queue.add_offers(&[offer.hash()], terms(1, 1)).await.unwrap();
    let other = request(&offer);
    made.queue.redeem(&other, new_account(), NOW).await.unwrap();
    let refused = made.queue.rekey(&rekey(7, other.owner, new_owner), same_slot(), NOW).await;
    assert!(matches!(refused, Err(RekeyError::KeyInUse)), "{refused:?}");
    let refused = made.queue.redeem(&made.request, new_account(), NOW).await;
    assert!(matches!(refused, Err(RedeemError::UsedByAnother)), "{refused:?}");
    made.queue.rekey(&rekey(7, new_owner, new_owner), same_slot(), NOW).await.unwrap();
}

async fn what_the_operator_changes_holds_at_once(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    made.stored(1, SMALL).await;
    let change = AccountChange {
        state: Some(AccountState::Suspended),
        notices: Some(vec!["please pay".to_owned()]),
        ..AccountChange::default()
    };
    let changed = made.queue.change(made.id, &change).await.unwrap().unwrap();
    assert_eq!(
        (changed.record(None).state, changed.record(None).notices),
        (AccountState::Suspended, vec!["please pay".to_owned()])
    );
    assert_eq!(changed.quota.bytes, 1 << 20, "what is not said stays");
    assert!(matches!(made.deliver(2, SMALL).await, Err(DeliverError::Full)));
    assert_eq!(made.numbers().await.len(), 1, "what is there can be fetched");
    let quota = Some(Quota { bytes: 10, messages: 100 });
    let resumed = AccountChange { state: Some(AccountState::Active), quota, ..AccountChange::default() };
    made.queue.change(made.id, &resumed).await.unwrap().unwrap();
    assert!(matches!(made.deliver(3, SMALL).await, Err(DeliverError::Full)), "it holds more than it may");
    let retention_seconds = Some(RETENTION_SECONDS / 2);
    let quota = Some(Quota { bytes: 1 << 20, messages: 100 });
    let shorter = AccountChange { retention_seconds, quota, ..AccountChange::default() };
    made.queue.change(made.id, &shorter).await.unwrap().unwrap();
    made.stored(4, SMALL).await;
    let half = UnixMillis(NOW.0 + RETENTION_SECONDS * 500 + 1);
    made.queue.sweep(half, 100).await.unwrap();
    assert_eq!(made.usage().await.messages, 1, "the earlier one keeps its time");
    let stranger = AccountId::generate(&mut OsRng);
    assert!(made.queue.change(stranger, &shorter).await.unwrap().is_none());
}

async fn a_removed_account_is_gone_with_all_it_held(queue: impl QueueStore) {
    let made = Made::new(queue, 64 << 20, 1_000).await;
    for number in 0..=255 {
        made.stored(number, if number % 64 == 0 { LARGE } else { SMALL }).await;
    }
    assert!(made.queue.remove(made.id).await.unwrap());
    assert!(!made.queue.remove(made.id).await.unwrap());
    assert!(made.queue.accounts(NOW).await.unwrap().is_empty() && made.numbers().await.is_empty());
    assert!(matches!(made.deliver(1, SMALL).await, Err(DeliverError::UnknownSlot)));
    let refused = made.queue.redeem(&made.request, new_account(), NOW).await;
    assert!(matches!(refused, Err(RedeemError::UsedByAnother)), "its offer is used up: {refused:?}");
    let end = UnixMillis(NOW.0 + RETENTION_SECONDS * 1_000 + 1);
    while made.queue.sweep(end, 100).await.unwrap() == 100 {}
}

async fn a_former_slot_takes_little_and_not_for_long(queue: impl QueueStore) {
    let made = Made::new(queue, 10 * SMALL as u64, 10).await;
    let (owner, fresh) = (made.request.owner, new_slot());
    let answer_key = AccountSecretKey::generate(&mut OsRng).public_key();
    let rekey = RekeyRequest { owner, generation: 3, new_owner: owner, answer_key, new_slot: true };
    let new_slot = fresh.slot.slot_id();
    let new = NewSecrets { secrets: secrets(), slot: Some(fresh.clone()) };
    let account = made.queue.rekey(&rekey, new, NOW).await.unwrap().account;
    assert!(account.token == fresh.token);
    assert_eq!((account.slot_generation, account.record(None).slot), (3, 3));
    let into = async |slot: SlotId, number: u8, length: usize, now: UnixMillis| {
        made.queue.deliver(&[slot], digest(number), vec![number; length], now).await
    };
    let refused = into(made.slot, 200, 65_418, NOW).await;
    assert!(matches!(refused, Err(DeliverError::Full)), "{refused:?}");
    for number in 0..32 {
        assert!(matches!(into(made.slot, number, SMALL, NOW).await, Ok(Delivered::Stored(_))), "{number}");
    }
    let refused = into(made.slot, 201, SMALL, NOW).await;
    assert!(matches!(refused, Err(DeliverError::Full)), "{refused:?}");
    assert!(matches!(into(made.slot, 31, SMALL, NOW).await, Ok(Delivered::Repeated)));
    for number in 100..110 {
        let taken = into(new_slot, number, SMALL, NOW).await;
        assert!(matches!(taken, Ok(Delivered::Stored(_))), "the account's own room is its own: {taken:?}");
    }
    assert_eq!((made.usage().await.messages, made.numbers().await.len()), (42, 42));
    made.queue.delete(made.id, &made.numbers().await).await.unwrap();
    assert_eq!(made.usage().await, Usage::default());
    let end = UnixMillis(NOW.0 + RETENTION_SECONDS * 1_000);
    let refused = into(made.slot, 202, SMALL, end).await;
    assert!(matches!(refused, Err(DeliverError::UnknownSlot)), "{refused:?}");
    assert!(matches!(into(new_slot, 202, SMALL, end).await, Ok(Delivered::Stored(_))));
}

async fn messages_come_in_order_and_once(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    let first = made.stored(1, SMALL).await;
    let second = made.stored(2, LARGE).await;
    assert_eq!(made.deliver(1, SMALL).await.unwrap(), Delivered::Repeated);
    assert_eq!(made.numbers().await, [first, second]);
    assert_eq!(made.queue.message(made.id, first).await.unwrap().unwrap(), vec![1; SMALL]);
    assert_eq!(made.queue.message(made.id, second).await.unwrap().unwrap(), vec![2; LARGE]);
    let after = made.queue.list(made.id, Some(first), 1_000).await.unwrap();
    assert_eq!((after[0].number, after[0].length as usize), (second, LARGE));
    assert_eq!(made.queue.list(made.id, None, 1).await.unwrap().len(), 1);
    let nowhere = made.queue.deliver(&[SlotId::from_bytes([0; 32])], digest(3), vec![0], NOW).await;
    assert!(matches!(nowhere, Err(DeliverError::UnknownSlot)), "{nowhere:?}");
    let older_key =
        made.queue.deliver(&[SlotId::from_bytes([0; 32]), made.slot], digest(3), vec![0], NOW).await;
    assert!(matches!(older_key, Ok(Delivered::Stored(_))), "{older_key:?}");
    assert!(made.queue.list(AccountId::from_bytes([0; 16]), None, 10).await.unwrap().is_empty());
}

async fn quotas_hold_in_bytes_and_messages(queue: impl QueueStore) {
    let made = Made::new(queue, 2 * SMALL as u64, 2).await;
    let first = made.stored(1, SMALL).await;
    assert!(matches!(made.deliver(2, SMALL + 1).await, Err(DeliverError::Full)));
    made.stored(3, 1).await;
    assert!(matches!(made.deliver(4, 1).await, Err(DeliverError::Full)));
    let held = Usage { bytes: SMALL as u64 + 1, messages: 2 };
    assert_eq!((made.usage().await, made.queue.usage(made.id).await.unwrap()), (held, held));
    for _ in 0..2 {
        made.queue.delete(made.id, &[first]).await.unwrap();
        assert_eq!(made.usage().await, Usage { bytes: 1, messages: 1 });
    }
    assert!(made.queue.message(made.id, first).await.unwrap().is_none());
    made.stored(4, SMALL).await;
    assert!(matches!(made.deliver(1, SMALL).await, Ok(Delivered::Repeated)), "a repeat needs no room");
}

async fn what_is_due_is_swept_and_nothing_else(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    for number in 1..=5 {
        made.stored(number, if number == 5 { LARGE } else { SMALL }).await;
    }
    let later = UnixMillis(NOW.0 + 1);
    made.queue.deliver(&[made.slot], digest(6), vec![6], later).await.unwrap();
    let due = UnixMillis(NOW.0 + RETENTION_SECONDS * 1_000);
    assert_eq!(made.queue.sweep(due, 10).await.unwrap(), 0, "kept until the last moment");
    let over = UnixMillis(due.0 + 1);
    assert_eq!(made.queue.sweep(over, 2).await.unwrap(), 2);
    assert_eq!(made.queue.sweep(over, 10).await.unwrap(), 3);
    assert_eq!(made.numbers().await.len(), 1);
    assert_eq!(made.usage().await, Usage { bytes: 1, messages: 1 });
    let again = made.queue.deliver(&[made.slot], digest(1), vec![1], over).await.unwrap();
    assert!(matches!(again, Delivered::Stored(_)), "what is forgotten counts as new");
}

/// The same bytes come again after their time, but before they were swept.
async fn what_comes_again_late_is_remembered_anew(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    made.stored(1, SMALL).await;
    let over = UnixMillis(NOW.0 + RETENTION_SECONDS * 1_000 + 1);
    let again = made.queue.deliver(&[made.slot], digest(1), vec![1], over).await.unwrap();
    assert!(matches!(again, Delivered::Stored(_)));
    assert_eq!(made.queue.sweep(over, 10).await.unwrap(), 1);
    let third = made.queue.deliver(&[made.slot], digest(1), vec![1], over).await.unwrap();
    assert_eq!(third, Delivered::Repeated);
    assert_eq!(made.usage().await, Usage { bytes: 1, messages: 1 });
}

/// Whoever follows the arrivals sees every message, in order, although many are stored at once.
async fn followers_miss_nothing(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 30, 1_000).await;
    let mut arrivals = made.queue.arrivals(made.id).unwrap();
    let deliveries = (0..200).map(|number| {
        let (queue, slot) = (Arc::clone(&made.queue), made.slot);
        tokio::spawn(async move {
            queue.deliver(&[slot], digest(number), vec![number; SMALL], NOW).await.unwrap()
        })
    });
    let deliveries: Vec<_> = deliveries.collect();
    let (mut seen, mut last) = (Vec::new(), None);
    while seen.len() < 200 {
        arrivals.changed().await.unwrap();
        for message in made.queue.list(made.id, last, 1_000).await.unwrap() {
            assert!(last < Some(message.number));
            last = Some(message.number);
            seen.push(message.number);
        }
    }
    for delivery in deliveries {
        assert!(matches!(delivery.await.unwrap(), Delivered::Stored(number) if seen.contains(&number)));
    }
}

async fn serials_only_rise(queue: impl QueueStore) {
    assert_eq!(queue.next_serial(5).await.unwrap(), 5);
    assert_eq!(queue.next_serial(5).await.unwrap(), 6);
    assert_eq!(queue.next_serial(0).await.unwrap(), 7);
    assert_eq!(queue.next_serial(100).await.unwrap(), 100);
}

/// Everything that a queue hands out, as it travels.
async fn everything(queue: &impl QueueStore) -> Vec<(u8, Vec<u8>)> {
    handed_out(queue).await.iter().map(|record| record.encode().unwrap()).collect()
}

async fn handed_out(queue: &impl QueueStore) -> Vec<Exported> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(3);
    let take = async {
        let mut records = Vec::new();
        while let Some(record) = receiver.recv().await {
            records.push(record);
        }
        records
    };
    let (exported, records) = tokio::join!(queue.export(sender), take);
    exported.unwrap();
    records
}

async fn what_is_handed_out_travels_as_it_is(queue: impl QueueStore) {
    let made = Made::new(queue, 1 << 20, 100).await;
    made.stored(1, SMALL).await;
    for record in handed_out(&*made.queue).await {
        let (kind, bytes) = record.encode().unwrap();
        let read = Exported::decode(kind, &bytes).unwrap().unwrap();
        assert_eq!(read.encode().unwrap(), (kind, bytes.clone()));
        if !matches!(record, Exported::Message(_)) {
            assert!(Exported::decode(kind, &[bytes.as_slice(), &[0]].concat()).is_err());
        }
        assert!(Exported::decode(kind, &bytes[..7]).is_err());
        assert!(Exported::decode(b'?', &bytes).unwrap().is_none());
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(receiver);
    assert!(made.queue.export(sender).await.is_err(), "nobody takes it");
}

async fn open(dir: &Path, engine: EngineKind) -> EmbeddedQueue {
    EmbeddedQueue::open(dir, Some(engine)).await.unwrap()
}

macro_rules! contract {
    ($engine:ident, $kind:expr, $($check:ident),*) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $check() {
                    let dir = tempfile::tempdir().unwrap();
                    super::$check(super::open(dir.path(), $kind).await).await;
                }
            )*
        }
    };
    ($($check:ident),* $(,)?) => {
        contract!(sled, petmail_store::EngineKind::Sled, $($check),*);
        contract!(redb, petmail_store::EngineKind::Redb, $($check),*);
    };
}

contract!(
    offers_become_accounts_once,
    providers_give_what_they_have,
    secrets_are_replaced_by_generation,
    an_account_goes_to_another_key_for_good,
    what_the_operator_changes_holds_at_once,
    a_removed_account_is_gone_with_all_it_held,
    a_former_slot_takes_little_and_not_for_long,
    messages_come_in_order_and_once,
    quotas_hold_in_bytes_and_messages,
    what_is_due_is_swept_and_nothing_else,
    what_comes_again_late_is_remembered_anew,
    followers_miss_nothing,
    serials_only_rise,
    what_is_handed_out_travels_as_it_is,
);

/// From engine to engine and back: nobody can tell that anything was moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_moves_between_engines_is_the_same() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let made = Made::new(open(dirs[0].path(), EngineKind::Sled).await, 1 << 20, 100).await;
    made.queue.next_serial(41).await.unwrap();
    let deleted = made.stored(1, SMALL).await;
    made.queue.delete(made.id, &[deleted]).await.unwrap();
    made.stored(2, LARGE).await;
    let (old_slot, owner) = (made.slot, made.request.owner);
    let answer_key = AccountSecretKey::generate(&mut OsRng).public_key();
    let rekey = RekeyRequest { owner, generation: 5, new_owner: owner, answer_key, new_slot: true };
    let secrets = NewSecrets { secrets: secrets(), slot: Some(new_slot()) };
    made.queue.rekey(&rekey, secrets, NOW).await.unwrap();
    made.stored(3, SMALL).await;
    let last = made.queue.deliver(&[old_slot], digest(4), vec![4; SMALL], NOW).await.unwrap();
    let free = RedeemToken::generate(&mut OsRng);
    made.queue.add_offers(&[free.hash()], terms(7, 7)).await.unwrap();
    for number in 5..40 {
        made.queue
            .deliver(&[present_slot(&made).await], digest(number), vec![number; SMALL], NOW)
            .await
            .unwrap();
    }
    let before = everything(&*made.queue).await;
    let usage = made.usage().await;

    let mut queue = Arc::clone(&made.queue);
    for (dir, engine) in [(&dirs[1], EngineKind::Redb), (&dirs[2], EngineKind::Sled)] {
        let next = open(dir.path(), engine).await;
        for some in handed_out(&*queue).await.chunks(7) {
            next.import(some.to_vec()).await.unwrap();
        }
        queue.close().await;
        assert_eq!(everything(&next).await, before);
        assert_eq!(next.accounts(NOW).await.unwrap()[0].usage, usage, "counted at once");
        next.close().await;
        // Files and rows are there, too, and not only what was counted.
        queue = Arc::new(open(dir.path(), engine).await);
        assert_eq!(everything(&*queue).await, before);
    }
    let made = Made { queue, ..made };
    assert_eq!(made.usage().await, usage);
    assert_eq!(made.deliver(1, SMALL).await.unwrap(), Delivered::Repeated, "what was deleted is remembered");
    assert_eq!(made.queue.next_serial(0).await.unwrap(), 42);
    let redeemed = made.queue.redeem(&made.request, new_account(), NOW).await.unwrap();
    assert_eq!(redeemed.id, made.id, "the offer is used, by the same owner");
    assert_eq!(made.queue.redeem(&request(&free), new_account(), NOW).await.unwrap().quota.bytes, 7);
    let through = made.queue.deliver(&[old_slot], digest(99), vec![9; SMALL], NOW).await.unwrap();
    assert!(
        matches!((last, through), (Delivered::Stored(last), Delivered::Stored(through)) if last < through)
    );
    let big = made.queue.deliver(&[old_slot], digest(98), vec![9; LARGE], NOW).await;
    assert!(matches!(big, Err(DeliverError::Full)), "the former slot is still a former one");
}

/// The slot that the account has now.
async fn present_slot<Q: QueueStore>(made: &Made<Q>) -> SlotId {
    made.queue.accounts(NOW).await.unwrap()[0].account.slot.slot_id()
}

/// A number that a deleted message had is remembered for as long as its digest: else the message that gets it again would
/// be swept in place of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_not_given_again_after_reopening() {
    for engine in [EngineKind::Sled, EngineKind::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::new(open(dir.path(), engine).await, 1 << 20, 100).await;
        let first = made.stored(1, SMALL).await;
        made.queue.delete(made.id, &[first]).await.unwrap();
        made.queue.close().await;
        let made = Made { queue: Arc::new(open(dir.path(), engine).await), ..made };
        let later = UnixMillis(NOW.0 + 10);
        let second = made.queue.deliver(&[made.slot], digest(2), vec![2], later).await.unwrap();
        let due = UnixMillis(NOW.0 + RETENTION_SECONDS * 1_000 + 1);
        assert_eq!(made.queue.sweep(due, 10).await.unwrap(), 1);
        assert_eq!(made.numbers().await.len(), 1, "{second:?} is not due yet");
    }
}

/// The embedded queue counts in memory: after reopening it must come to the same numbers.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_queue_is_the_same_after_reopening() {
    for engine in [EngineKind::Sled, EngineKind::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let made = Made::new(open(dir.path(), engine).await, 1 << 20, 100).await;
        let first = made.stored(1, SMALL).await;
        let second = made.stored(2, LARGE).await;
        made.queue.delete(made.id, &[first]).await.unwrap();
        let usage = made.usage().await;
        let provider = AccountChange { provider_total: Some(100), ..AccountChange::default() };
        made.queue.change(made.id, &provider).await.unwrap();
        let tokens: Vec<_> = (0..2).map(|_| RedeemToken::generate(&mut OsRng)).collect();
        for token in &tokens {
            made.queue.mint(&mint(&made.request, token, 10), NOW).await.unwrap();
        }
        made.queue.redeem(&request(&tokens[0]), new_account(), NOW).await.unwrap();
        made.queue.close().await;
        std::fs::write(dir.path().join("blobs").join("0".repeat(32)), b"orphan").unwrap();
        let queue = Arc::new(EmbeddedQueue::open(dir.path(), None).await.unwrap());
        let made = Made { queue, ..made };
        let given = |allowance: Option<Allowance>| allowance.unwrap().given_bytes;
        assert_eq!(given(made.queue.allowance(made.id, NOW).await.unwrap()), 20);
        let late = UnixMillis(NOW.0 + 1_001);
        assert_eq!(given(made.queue.allowance(made.id, late).await.unwrap()), 10);
        assert_eq!(made.usage().await, usage);
        assert_eq!(made.numbers().await, [second]);
        assert_eq!(made.deliver(1, SMALL).await.unwrap(), Delivered::Repeated);
        assert!(made.stored(3, Bucket::Kib256.msg_c_bytes()).await > second);
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 2, "the orphan is gone");
    }
}
