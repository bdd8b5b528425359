//! Reads the layouts that older versions of the program wrote. Each function knows every version but the present one.

use petmail_proto::{
    base_url::BaseUrl,
    channel::{
        MessageNumber,
        ack::{Previous, Retired},
        key_ring::KeyRing,
        own_half::{OwnChannel, OwnHalf},
        record::{ChannelRecord, KeyId, Transports},
        reset::ResetLimit,
        window::Windows,
    },
    keys::{
        AccountSecretKey, CertificatePin, ChannelSigningKey, CidKey, MessageId, ReceiverSecretKey,
        RedeemToken, RetrievalToken, SealSeed, ServerIdentityKey, SymmetricKey, TransportId, stored_secret,
    },
    outbox::{Entry, Kind},
    server::account::{AccountId, AccountKeys, AccountRecord, AccountState, Quota},
    time::UnixMillis,
    token::{AccountToken, TokenKeyId, TokenPublicKey},
    wire::{self, Record, WireError},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    Account, Contact, Home, InvitationRow, Mailbox, Message, Owed, Progress, Queued, Rekeying, Stage,
    TheirHalf, Trust,
};

/// Version 1 of an agent's half, in [`ContactV1`] and [`InvitationV1`].
#[derive(Deserialize)]
struct OwnHalfV1 {
    #[serde(with = "stored_secret")]
    signing_key: ChannelSigningKey,
    receiver_kid: KeyId,
    #[serde(with = "stored_secret")]
    receiver_key: ReceiverSecretKey,
    #[serde(with = "stored_secret")]
    cid_key: CidKey,
    transports: Transports,
}

/// Version 1 of [`Contact`].
#[derive(Deserialize)]
struct ContactV1 {
    cid: u32,
    petname: String,
    display_name: String,
    state: Trust,
    mine: OwnHalfV1,
    mailboxes: Vec<u32>,
    theirs: ChannelRecord,
    safety_words: String,
    since: UnixMillis,
    invitation: u32,
    introduction: Option<String>,
}

/// Version 2 of [`Contact`].
#[derive(Deserialize)]
struct ContactV2 {
    cid: u32,
    petname: String,
    display_name: String,
    state: Trust,
    mine: OwnChannel,
    homes: Vec<Home>,
    past_tids: Vec<TransportId>,
    theirs: ChannelRecord,
    safety_words: String,
    since: UnixMillis,
    invitation: u32,
    introduction: Option<String>,
    #[serde(skip)]
    unmoved_key: Option<KeyRing>,
}

/// Version 1 of [`InvitationRow`].
#[derive(Deserialize)]
struct InvitationV1 {
    id: u32,
    petname: Option<String>,
    mine: OwnHalfV1,
    mailboxes: Vec<u32>,
    cid: Option<u32>,
    machine: Vec<u8>,
}

/// Versions 1 and 2 of an account's record, in [`MailboxV1`] and [`MailboxV2`].
#[derive(Deserialize)]
struct AccountRecordV1 {
    account: AccountId,
    generation: u64,
    #[serde(with = "stored_secret")]
    retrieval_token: RetrievalToken,
    #[serde(with = "stored_secret")]
    symmetric_key: SymmetricKey,
    token: AccountToken,
    kid: TokenKeyId,
    quota: Quota,
    retention_seconds: u64,
    notices: Vec<String>,
    state: AccountState,
}

/// Versions 1 and 2 of [`Account`].
#[derive(Deserialize)]
struct AccountV1 {
    record: AccountRecordV1,
    token_key: TokenPublicKey,
}

/// Version 1 of [`Mailbox`], and the beginning of version 2.
#[derive(Deserialize)]
struct MailboxV1 {
    id: u32,
    url: BaseUrl,
    server: ServerIdentityKey,
    pin: Option<CertificatePin>,
    is_local: bool,
    keys: AccountKeys,
    #[serde(with = "stored_secret")]
    redeem_token: RedeemToken,
    account: Option<AccountV1>,
}

/// Version 2 of [`Mailbox`].
#[derive(Deserialize)]
struct MailboxV2 {
    first: MailboxV1,
    leaving: Option<UnixMillis>,
    rekeying: Option<RekeyingV2>,
}

/// Version 3 of an account's record, in [`MailboxV3`].
#[derive(Deserialize)]
struct AccountRecordV3 {
    account: AccountId,
    generation: u64,
    #[serde(with = "stored_secret")]
    retrieval_token: RetrievalToken,
    #[serde(with = "stored_secret")]
    symmetric_key: SymmetricKey,
    token: AccountToken,
    kid: TokenKeyId,
    slot: u64,
    quota: Quota,
    retention_seconds: u64,
    notices: Vec<String>,
    state: AccountState,
}

/// Version 3 of [`Account`].
#[derive(Deserialize)]
struct AccountV3 {
    record: AccountRecordV3,
    token_key: TokenPublicKey,
}

/// Version 3 of [`Mailbox`].
#[derive(Deserialize)]
struct MailboxV3 {
    id: u32,
    url: BaseUrl,
    server: ServerIdentityKey,
    pin: Option<CertificatePin>,
    is_local: bool,
    keys: AccountKeys,
    #[serde(with = "stored_secret")]
    redeem_token: RedeemToken,
    account: Option<AccountV3>,
    leaving: Option<UnixMillis>,
    rekeying: Option<Rekeying>,
    read_at: UnixMillis,
}

/// Version 2 of [`Rekeying`].
#[derive(Deserialize)]
struct RekeyingV2 {
    generation: u64,
    #[serde(with = "stored_secret")]
    answers: AccountSecretKey,
}

/// Version 1 of [`Progress`] in front of its windows.
#[derive(Deserialize)]
struct ProgressV1 {
    last_sent: MessageNumber,
    _sent: u64,
}

/// Version 2 of [`Progress`].
#[derive(Deserialize)]
struct ProgressV2 {
    last_sent: MessageNumber,
    last_content: Option<Previous>,
    skipped: Vec<MessageNumber>,
    delivered: u64,
    windows: Windows,
    owed: Option<Owed>,
    last_ack: UnixMillis,
    recent: Vec<Previous>,
    missing: Vec<MessageNumber>,
    retired: Vec<Retired>,
    resets: ResetLimit,
    last_reset: KeyId,
}

/// The length of [`ProgressV1`]: three fixed-width integers.
const PROGRESS_V1_HEAD_BYTES: usize = 24;

/// Version 1 of [`Queued`].
#[derive(Deserialize)]
struct QueuedV1 {
    number: MessageNumber,
    mid: MessageId,
    message: Option<u64>,
    announces_transports: bool,
    queued_at: UnixMillis,
}

/// Version 1 of [`Message`]; its states were the first three of today's.
#[derive(Deserialize)]
struct MessageV1 {
    id: u64,
    when: UnixMillis,
    state: Stage,
}

impl From<AccountV1> for AccountV3 {
    fn from(AccountV1 { record, token_key }: AccountV1) -> Self {
        let record = AccountRecordV3 {
            account: record.account,
            generation: record.generation,
            retrieval_token: record.retrieval_token,
            symmetric_key: record.symmetric_key,
            token: record.token,
            kid: record.kid,
            slot: 0,
            quota: record.quota,
            retention_seconds: record.retention_seconds,
            notices: record.notices,
            state: record.state,
        };
        Self { record, token_key }
    }
}

impl From<AccountV3> for Account {
    fn from(AccountV3 { record, token_key }: AccountV3) -> Self {
        let record = AccountRecord {
            account: record.account,
            generation: record.generation,
            retrieval_token: record.retrieval_token,
            symmetric_key: record.symmetric_key,
            token: record.token,
            kid: record.kid,
            slot: record.slot,
            quota: record.quota,
            retention_seconds: record.retention_seconds,
            notices: record.notices,
            state: record.state,
            allowance: None,
            used_bytes: None,
        };
        Self { record, token_key }
    }
}

impl From<MailboxV2> for MailboxV3 {
    fn from(MailboxV2 { first, leaving, rekeying }: MailboxV2) -> Self {
        let MailboxV1 { id, url, server, pin, is_local, keys, redeem_token, account } = first;
        let rekeying = rekeying.map(|RekeyingV2 { generation, answers }| {
            let keys = AccountKeys { answers, ..keys.clone() };
            Rekeying { generation, keys, new_slot: false }
        });
        let account = account.map(AccountV3::from);
        let read_at = UnixMillis::default();
        Self { id, url, server, pin, is_local, keys, redeem_token, account, leaving, rekeying, read_at }
    }
}

impl From<MailboxV1> for MailboxV2 {
    fn from(first: MailboxV1) -> Self {
        Self { first, leaving: None, rekeying: None }
    }
}

impl From<OwnHalfV1> for OwnHalf {
    fn from(half: OwnHalfV1) -> Self {
        let OwnHalfV1 { signing_key, receiver_kid, receiver_key, cid_key, transports } = half;
        Self { channel: OwnChannel { signing_key, cid_key, transports }, receiver_kid, receiver_key }
    }
}

impl From<ContactV1> for ContactV2 {
    fn from(old: ContactV1) -> Self {
        let OwnHalf { channel, receiver_kid, receiver_key } = old.mine.into();
        Self {
            cid: old.cid,
            petname: old.petname,
            display_name: old.display_name,
            state: old.state,
            mine: channel,
            homes: homes(old.mailboxes),
            past_tids: Vec::new(),
            theirs: old.theirs,
            safety_words: old.safety_words,
            since: old.since,
            invitation: old.invitation,
            introduction: old.introduction,
            unmoved_key: Some(KeyRing::new(receiver_kid, receiver_key)),
        }
    }
}

pub(super) fn contact(version: u16, body: &[u8]) -> Result<Contact, WireError> {
    let old: ContactV2 = match version {
        1 => wire::decode::<ContactV1>(body)?.into(),
        2 => wire::decode(body)?,
        _ => return Err(WireError::UnknownVersion { found: version, known: Contact::VERSION }),
    };
    Ok(Contact {
        cid: old.cid,
        petname: old.petname,
        display_name: old.display_name,
        state: old.state,
        mine: old.mine,
        homes: old.homes,
        past_tids: old.past_tids,
        theirs: old.theirs,
        safety_words: old.safety_words,
        since: old.since,
        invitation: old.invitation,
        introduction: old.introduction,
        generation: 0,
        resets: Vec::new(),
        their_half: TheirHalf::default(),
        unmoved_key: old.unmoved_key,
    })
}

pub(super) fn invitation(version: u16, body: &[u8]) -> Result<InvitationRow, WireError> {
    known::<InvitationRow>(version)?;
    let InvitationV1 { id, petname, mine, mailboxes, cid, machine } = wire::decode(body)?;
    let mine = Some(mine.into()).filter(|_| cid.is_none());
    Ok(InvitationRow { id, petname, mine, homes: homes(mailboxes), cid, machine })
}

pub(super) fn mailbox(version: u16, body: &[u8]) -> Result<Mailbox, WireError> {
    let old: MailboxV3 = match version {
        1 => MailboxV2::from(wire::decode::<MailboxV1>(body)?).into(),
        2 => wire::decode::<MailboxV2>(body)?.into(),
        3 => wire::decode(body)?,
        _ => return Err(WireError::UnknownVersion { found: version, known: Mailbox::VERSION }),
    };
    Ok(Mailbox {
        id: old.id,
        url: old.url,
        server: old.server,
        pin: old.pin,
        is_local: old.is_local,
        keys: old.keys,
        redeem_token: old.redeem_token,
        account: old.account.map(Account::from),
        leaving: old.leaving,
        rekeying: old.rekeying,
        read_at: old.read_at,
        invitation: None,
        refused: None,
    })
}

fn homes(mailboxes: Vec<u32>) -> Vec<Home> {
    mailboxes.into_iter().map(|mailbox| Home { mailbox, slot: 0 }).collect()
}

pub(super) fn progress(version: u16, body: &[u8]) -> Result<Progress, WireError> {
    match version {
        1 => progress_v1(body),
        2 => Ok(wire::decode::<ProgressV2>(body)?.into()),
        _ => Err(WireError::UnknownVersion { found: version, known: Progress::VERSION }),
    }
}

impl From<ProgressV2> for Progress {
    fn from(old: ProgressV2) -> Self {
        Self {
            last_sent: old.last_sent,
            last_content: old.last_content,
            skipped: old.skipped,
            delivered: old.delivered,
            windows: old.windows,
            owed: old.owed,
            last_ack: old.last_ack,
            recent: old.recent,
            missing: old.missing,
            retired: old.retired,
            resets: old.resets,
            last_reset: old.last_reset,
            ..Self::default()
        }
    }
}

fn progress_v1(body: &[u8]) -> Result<Progress, WireError> {
    let (head, windows) = body.split_at_checked(PROGRESS_V1_HEAD_BYTES).ok_or(WireError::Truncated)?;
    let ProgressV1 { last_sent, .. } = wire::decode(head)?;
    Ok(Progress { last_sent, windows: Windows::decode_v1(windows)?, ..Progress::default() })
}

pub(super) fn queued(version: u16, body: &[u8]) -> Result<Queued, WireError> {
    known::<Queued>(version)?;
    let QueuedV1 { number, mid, message, announces_transports, queued_at } = wire::decode(body)?;
    // The mid is secret until the message is opened, by the one who may know everything about it.
    let seed = SealSeed::from_bytes(Sha256::digest(mid.as_bytes()).into());
    let entry =
        Entry { number, mid, kind: Kind::Content, message, queued_at, bytes: 0, seed, deposits: Vec::new() };
    Ok(Queued { entry, unfrozen: Some(announces_transports) })
}

pub(super) fn message(version: u16, body: &[u8]) -> Result<Message, WireError> {
    known::<Message>(version)?;
    let MessageV1 { id, when, state } = wire::decode(body)?;
    Ok(Message { id, when, state, mid: None })
}

pub(super) fn known<T: Record>(version: u16) -> Result<(), WireError> {
    if version == 1 { Ok(()) } else { Err(WireError::UnknownVersion { found: version, known: T::VERSION }) }
}
