//! What the node stores, row by row. Every type is a versioned [`Record`]; every row's keyspace stands beside it; what older
//! versions wrote is read in [`migrate`].

use petmail_proto::{
    base_url::BaseUrl,
    channel::{
        MessageNumber,
        ack::{Previous, Retired},
        channel_reset::{ChannelReset, ResetDigest},
        key_ring::KeyRing,
        own_half::{OwnChannel, OwnHalf},
        record::{ChannelRecord, KeyId},
        reset::ResetLimit,
        window::Windows,
    },
    invitation::code::BurntCode,
    keys::{
        CertificatePin, ChannelSigningKey, ChannelVerifyingKey, CidKey, MessageId, RedeemToken,
        ServerIdentityKey, TransportId, stored_secret,
    },
    outbox::Entry,
    server::account::{AccountKeys, AccountRecord},
    time::UnixMillis,
    token::TokenPublicKey,
    wire::{Record, WireError},
};
use petmail_store::Keyspace;
use serde::{Deserialize, Serialize};

/// Singletons: [`Settings`].
pub(crate) const AGENT: Keyspace = Keyspace::new("agent");
/// [`Contact`]s by cid.
pub(crate) const CONTACTS: Keyspace = Keyspace::new("contacts");
/// [`Keys`] by cid.
pub(crate) const KEYS: Keyspace = Keyspace::new("receiver-keys");
/// [`Progress`] by cid: what changes with every message.
pub(crate) const PROGRESS: Keyspace = Keyspace::new("progress");
/// [`InvitationRow`]s by id.
pub(crate) const INVITATIONS: Keyspace = Keyspace::new("invitations");
/// [`Mailbox`]es by id.
pub(crate) const MAILBOXES: Keyspace = Keyspace::new("mailboxes");
/// [`Queued`] messages by cid ‖ epoch ‖ seqnum.
pub(crate) const OUTBOX: Keyspace = Keyspace::new("outbox");
/// The JSON of the packets that a queued message carries for the other agent, under its key in [`OUTBOX`].
pub(crate) const EXTRAS: Keyspace = Keyspace::new("outbox-extras");
/// [`Message`]s by cid ‖ direction ‖ epoch ‖ seqnum.
pub(crate) const MESSAGES: Keyspace = Keyspace::new("messages");
/// The JSON of a message's packets, under its key in [`MESSAGES`].
pub(crate) const BODIES: Keyspace = Keyspace::new("bodies");
/// A message's key in [`MESSAGES`] by its id.
pub(crate) const MESSAGE_IDS: Keyspace = Keyspace::new("message-ids");
/// The ids of messages that bring a file; the rows are empty.
pub(crate) const FILES: Keyspace = Keyspace::new("files");
/// When messages for people came in ([`UnixMillis`], big-endian), by cid ‖ mid.
pub(crate) const MIDS: Keyspace = Keyspace::new("mids");
/// When a contact was heard of last, to the minute ([`UnixMillis`], big-endian), by cid.
pub(crate) const HEARD: Keyspace = Keyspace::new("heard");
/// What a contact and this node know of each other's profile ([`Profiles`]), by cid.
pub(crate) const PROFILES: Keyspace = Keyspace::new("profiles");
/// The pictures that contacts have given themselves, by cid.
pub(crate) const PICTURES: Keyspace = Keyspace::new("pictures");
/// The text of a mailbox offer that a contact's introduction brought and that nobody has taken yet, by cid.
pub(crate) const OFFERS: Keyspace = Keyspace::new("offers");
/// Texts that are being written (UTF-8), by cid.
pub(crate) const DRAFTS: Keyspace = Keyspace::new("drafts");
/// [`Quarantined`] messages by number of arrival.
pub(crate) const QUARANTINE: Keyspace = Keyspace::new("quarantine");

/// All keyspaces of a node's store.
pub(crate) static KEYSPACES: &[Keyspace] = &[
    AGENT,
    CONTACTS,
    KEYS,
    PROGRESS,
    INVITATIONS,
    MAILBOXES,
    OUTBOX,
    EXTRAS,
    MESSAGES,
    BODIES,
    MESSAGE_IDS,
    FILES,
    MIDS,
    HEARD,
    PROFILES,
    PICTURES,
    OFFERS,
    DRAFTS,
    QUARANTINE,
    transfers::UPLOADS,
    transfers::SHARES,
    transfers::DOWNLOADS,
    transfers::PACKS,
    transfers::PACK_USES,
    transfers::LOCATIONS,
    transfers::QUESTIONS,
    transfers::FETCH_LIMITS,
    services::SERVICES,
];

/// The keyspaces that no backup has: what must not come back to life. The secrets of a key exchange are used once, and keys
/// that were erased stay erased.
pub(crate) static NOT_IN_BACKUP: &[Keyspace] = &[INVITATIONS, KEYS];

/// The key in [`AGENT`] of the mark that a backup was restored: Unix milliseconds u64, until the agent has acted on it.
pub(crate) const RESTORED_KEY: &[u8] = b"restored";

/// The key of [`Settings`] in [`AGENT`].
pub(crate) const SETTINGS_KEY: &[u8] = b"settings";

/// The agent's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The epoch of the running node; outgoing messages are numbered within it.
    pub(crate) epoch: u64,
    /// The last contact number given out.
    pub(crate) last_cid: u32,
    /// The last invitation number given out.
    pub(crate) last_invitation: u32,
    /// The last mailbox number given out.
    pub(crate) last_mailbox: u32,
    /// Human-made codes that somebody answered; they are refused for a while.
    pub(crate) burnt_codes: Vec<BurntCode>,
    /// Removed contacts whose conversations are still being deleted.
    pub(crate) removing: Vec<u32>,
}

impl Record for Settings {
    const VERSION: u16 = 1;
}

/// The key of [`OwnProfile`] in [`AGENT`].
pub(crate) const PROFILE_KEY: &[u8] = b"profile";

/// What contacts are told of this node's person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnProfile {
    /// Rises with every change; 0 before the first.
    pub(crate) serial: u64,
    pub(crate) name: String,
    /// A picture's file.
    pub(crate) picture: Option<Vec<u8>>,
}

impl Record for OwnProfile {
    const VERSION: u16 = 1;
}

/// How much a contact and this node know of each other's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profiles {
    /// The serial that the contact was told last.
    pub(crate) told: u64,
    /// The serial that the contact told last.
    pub(crate) heard: u64,
    /// Names the contact's picture in [`PICTURES`].
    pub(crate) picture: Option<String>,
}

impl Record for Profiles {
    const VERSION: u16 = 1;
}

/// An address-book entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub(crate) cid: u32,
    pub(crate) petname: String,
    pub(crate) display_name: String,
    pub(crate) state: Trust,
    pub(crate) mine: OwnChannel,
    /// Where the transports in `mine` lead, one for each.
    pub(crate) homes: Vec<Home>,
    /// Transports that the contact was told of before, the last few: messages on their way bear them.
    pub(crate) past_tids: Vec<TransportId>,
    pub(crate) theirs: ChannelRecord,
    pub(crate) safety_words: String,
    pub(crate) since: UnixMillis,
    /// The invitation that it came from.
    pub(crate) invitation: u32,
    /// The JSON of the `introduction` packet, carried by every payload until the contact is confirmed.
    pub(crate) introduction: Option<String>,
    /// How often this side's half was replaced.
    pub(crate) generation: u64,
    /// The last few times.
    pub(crate) resets: Vec<OwnReset>,
    /// What is known of the contact's half.
    pub(crate) their_half: TheirHalf,
    /// Only in rows of version 1, which have none in [`KEYS`].
    #[serde(skip)]
    pub(crate) unmoved_key: Option<KeyRing>,
}

/// Where a transport leads: a slot of the account at a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Home {
    /// The mailbox, by id.
    pub(crate) mailbox: u32,
    /// Which of the account's slots, by the generation that brought it.
    pub(crate) slot: u64,
}

/// A replacement of this side's half of a contact, and what it replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OwnReset {
    /// The first message that carried it: signed, like all later ones, by the new key.
    pub(crate) number: MessageNumber,
    pub(crate) made_at: UnixMillis,
    /// What the contact gets.
    pub(crate) packet: ChannelReset,
    /// Who signed before.
    pub(crate) old_verifying_key: ChannelVerifyingKey,
    /// Signs what was queued before; gone once the contact has the new one.
    pub(crate) old_signing_key: Option<OldSigningKey>,
    /// Marked what was received before: some of that may be under way, or come from a restored backup.
    #[serde(with = "stored_secret")]
    pub(crate) old_cid_key: CidKey,
}

/// A signing key that was replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OldSigningKey(#[serde(with = "stored_secret")] pub(crate) ChannelSigningKey);

/// How often a contact replaced its half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TheirHalf {
    pub(crate) generation: u64,
    /// The replacement that brought the present half.
    pub(crate) last: Option<TheirReset>,
}

/// A replacement that a contact made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TheirReset {
    /// Another one of the same generation shows that the key before is in two hands.
    pub(crate) digest: ResetDigest,
    /// The key before.
    pub(crate) former: ChannelVerifyingKey,
    pub(crate) adopted_at: UnixMillis,
}

impl Record for Contact {
    const VERSION: u16 = 3;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::contact(version, body)
    }
}

/// The keys that open what a contact sends. A backup leaves them out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Keys(pub(crate) KeyRing);

impl Record for Keys {
    const VERSION: u16 = 1;
}

/// How far a contact is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trust {
    /// Introductions are exchanged.
    Pending,
    /// A message came through the channel.
    Confirmed,
    /// The people compared safety words.
    Verified,
    /// Nothing is taken in from it any more, and nothing sent to it.
    Blocked,
    /// Two parties claim to be it: nothing is sent to it.
    Disputed,
}

/// An invitation, under way or ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InvitationRow {
    pub(crate) id: u32,
    pub(crate) petname: Option<String>,
    /// The half of the contact that may come of it; none once it has, or nothing can.
    pub(crate) mine: Option<OwnHalf>,
    /// Where the transports in `mine` lead, one for each.
    pub(crate) homes: Vec<Home>,
    /// The contact that came of it.
    pub(crate) cid: Option<u32>,
    /// The state machine's own versioned record.
    pub(crate) machine: Vec<u8>,
}

impl Record for InvitationRow {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::invitation(version, body)
    }
}

/// An account at a mailbox server, or one that is being redeemed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mailbox {
    pub(crate) id: u32,
    pub(crate) url: BaseUrl,
    pub(crate) server: ServerIdentityKey,
    pub(crate) pin: Option<CertificatePin>,
    /// Whether the server runs inside this node.
    pub(crate) is_local: bool,
    pub(crate) keys: AccountKeys,
    /// Redeems the offer; a killed node asks again with the same keys and gets the same account.
    #[serde(with = "stored_secret")]
    pub(crate) redeem_token: RedeemToken,
    /// What the server gave, once it did.
    pub(crate) account: Option<Account>,
    /// When it was removed: contacts are told, and what is on its way is still taken in.
    pub(crate) leaving: Option<UnixMillis>,
    /// A request for new secrets that the server may not have answered yet.
    pub(crate) rekeying: Option<Rekeying>,
    /// When it was last known to be read, to the hour.
    pub(crate) read_at: UnixMillis,
    /// The invitation that brought its offer; `None` if the person had it.
    pub(crate) invitation: Option<u32>,
    /// Why the server gave nothing for the offer; it is not asked again.
    pub(crate) refused: Option<String>,
}

/// A request that replaces an account's secrets: repeated until it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rekeying {
    /// Greater than any before, of this node or of a copy of it: Unix ms.
    pub(crate) generation: u64,
    /// What the account is owned by from then on: they open the answer, and sign the next request.
    pub(crate) keys: AccountKeys,
    /// Whether the account gets a new slot, of which nobody knows who is not told.
    pub(crate) new_slot: bool,
}

impl Record for Mailbox {
    const VERSION: u16 = 4;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::mailbox(version, body)
    }
}

/// What a server gave for an offer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) record: AccountRecord,
    /// The server's token key that `record.token` was made for.
    pub(crate) token_key: TokenPublicKey,
}

/// What changes with every message of a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The last number given to an outgoing message.
    pub(crate) last_sent: MessageNumber,
    /// The last outgoing message that is not ack-only.
    pub(crate) last_content: Option<Previous>,
    /// Outgoing messages that were given up, the last few.
    pub(crate) skipped: Vec<MessageNumber>,
    /// How many texts the contact's agent has acknowledged.
    pub(crate) delivered: u64,
    /// What was received.
    pub(crate) windows: Windows,
    /// The acknowledgement that the contact has to get.
    pub(crate) owed: Option<Owed>,
    /// When the last ack-only message was queued.
    pub(crate) last_ack: UnixMillis,
    /// The last few messages received that were not ack-only.
    pub(crate) recent: Vec<Previous>,
    /// Messages that later ones named, and that have not come.
    pub(crate) missing: Vec<MessageNumber>,
    /// Messages that came too late for their key, to be told.
    pub(crate) retired: Vec<Retired>,
    /// How often the contact may be told of new keys.
    pub(crate) resets: ResetLimit,
    /// The key of the contact's last reset: for each, what is outstanding is sent again once.
    pub(crate) last_reset: KeyId,
    /// How far the person here has read.
    pub(crate) read: MessageNumber,
    /// How far the contact says that its person has read.
    pub(crate) read_there: MessageNumber,
}

/// An acknowledgement that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// When it is sent at the latest.
    pub(crate) due: UnixMillis,
    /// How many messages it is for.
    pub(crate) messages: u32,
}

impl Record for Progress {
    const VERSION: u16 = 3;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::progress(version, body)
    }
}

/// A message that waits for one of the contact's mailboxes, or for its acknowledgement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Queued {
    pub(crate) entry: Entry,
    /// Only in rows of version 1, which have no row in [`EXTRAS`]: whether the transports are to be announced.
    #[serde(skip)]
    pub(crate) unfrozen: Option<bool>,
}

impl Record for Queued {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::queued(version, body)
    }
}

/// A message in or out, without its packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) when: UnixMillis,
    pub(crate) state: Stage,
    /// Its name for good; not known of those that the first version of the program stored.
    pub(crate) mid: Option<MessageId>,
}

impl Record for Message {
    const VERSION: u16 = 2;

    fn migrate(version: u16, body: &[u8]) -> Result<Self, WireError> {
        migrate::message(version, body)
    }
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Queued; no mailbox has it.
    Waiting,
    /// A mailbox of the contact has it.
    Sent,
    /// It came in.
    Received,
    /// The contact's agent has it.
    Delivered,
    /// It was given up.
    Failed(Failure),
}

/// Why a message was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// A person called it off.
    Cancelled,
    /// It was not acknowledged for too long.
    Expired,
}

/// A message that no contact's key opened; tried again when there is a new contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub(crate) received: UnixMillis,
    pub(crate) msg_c: Vec<u8>,
}

impl Record for Quarantined {
    const VERSION: u16 = 1;
}

/// Which way a message went, as its key says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    In = 0,
    Out = 1,
}

/// The key of a message: what it is listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageKey {
    pub(crate) cid: u32,
    pub(crate) way: Way,
    pub(crate) number: MessageNumber,
}

impl MessageKey {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut key = self.cid.to_be_bytes().to_vec();
        key.push(self.way as u8);
        key.extend(number_key(self.number));
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let (cid, rest) = key.split_first_chunk::<4>()?;
        let (way, rest) = rest.split_first()?;
        let (epoch, seqnum) = rest.split_first_chunk::<8>()?;
        let number = MessageNumber {
            epoch: u64::from_be_bytes(*epoch),
            seqnum: u64::from_be_bytes(seqnum.try_into().ok()?),
        };
        let way = match way {
            0 => Way::In,
            1 => Way::Out,
            _ => return None,
        };
        Some(Self { cid: u32::from_be_bytes(*cid), way, number })
    }
}

/// The key of a queued message.
pub(crate) fn outbox_key(cid: u32, number: MessageNumber) -> Vec<u8> {
    [cid.to_be_bytes().as_slice(), &number_key(number)].concat()
}

fn number_key(number: MessageNumber) -> [u8; 16] {
    let mut key = [0; 16];
    let (epoch, seqnum) = key.split_at_mut(8);
    epoch.copy_from_slice(&number.epoch.to_be_bytes());
    seqnum.copy_from_slice(&number.seqnum.to_be_bytes());
    key
}

/// The key of an incoming message's mid.
pub(crate) fn mid_key(cid: u32, mid: MessageId) -> Vec<u8> {
    [cid.to_be_bytes().as_slice(), mid.as_bytes()].concat()
}

mod migrate;
pub(crate) mod services;
pub(crate) mod transfers;

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_keys_sort_by_contact_way_and_number() {
        let key = |cid, way, epoch, seqnum| MessageKey { cid, way, number: MessageNumber { epoch, seqnum } };
        let sorted = [
            key(1, Way::In, 1, 2),
            key(1, Way::In, 2, 1),
            key(1, Way::Out, 1, 1),
            key(2, Way::In, 0, 1),
            key(256, Way::In, 0, 0),
        ];
        let encoded: Vec<_> = sorted.iter().map(|key| key.encode()).collect();
        assert!(encoded.is_sorted());
        for (key, bytes) in sorted.iter().zip(&encoded) {
            assert_eq!(MessageKey::decode(bytes), Some(*key));
        }
        assert_eq!(MessageKey::decode(&[0; 20]), None);
        assert_eq!(MessageKey::decode(&[9; 21]), None);
    }
}
