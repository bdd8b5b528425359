//! The bytes of every record as they stand on disks: a changed layout needs a new version and a migration.

use std::time::Duration;

use petmail_proto::{
    channel::ack::ContentDigest,
    channel::channel_reset::NewHalf,
    channel::record::{KeyId, ReceiverKey, TransportRecord, Transports},
    keys::{
        AccountSecretKey, AccountSigningKey, ChannelSigningKey, ChannelVerifyingKey, CidKey, MessageId,
        ReceiverPublicKey, ReceiverSecretKey, RetrievalToken, SealSeed, SymmetricKey, TransportId,
    },
    outbox::{Deposit, Kind},
    server::account::{AccountId, AccountState, Allowance, Quota},
    token::{AccountToken, SenderToken, TokenKeyId},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

use super::*;

/// One line a record: its name and its bytes in hex, as written by each version. Bytes of a file never change.
const WRITTEN: [(u16, &str); 4] = [
    (1, include_str!("../../../tests/fixtures/records-v1.txt")),
    (2, include_str!("../../../tests/fixtures/records-v2.txt")),
    (3, include_str!("../../../tests/fixtures/records-v3.txt")),
    (4, include_str!("../../../tests/fixtures/records-v4.txt")),
];

fn written(version: u16, name: &str) -> Vec<u8> {
    let (_, lines) = WRITTEN.iter().find(|(of, _)| *of == version).unwrap();
    let line = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap_or_else(|| panic!("version {version} has no {name}"));
    data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
}

/// A record that stays as it is when its bytes are read and written again, in the present version.
fn check<T: Record>(name: &str, sample: &T) {
    let bytes = sample.encode_record().unwrap();
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    assert_eq!(data_encoding::HEXLOWER.encode(&written(T::VERSION, name)), hex, "{name}");
    assert_eq!(T::decode_record(&bytes).unwrap().encode_record().unwrap(), bytes, "{name}");
    let (mut newer, found) = (bytes, T::VERSION + 1);
    newer[..2].copy_from_slice(&found.to_be_bytes());
    let refused = T::decode_record(&newer).map(drop);
    assert_eq!(refused, Err(WireError::UnknownVersion { found, known: T::VERSION }), "{name}");
}

/// The bytes of an older version become this record; cut short or lengthened they become nothing.
fn migrates<T: Record>(name: &str, version: u16, expected: &T) {
    let bytes = written(version, name);
    let migrated = T::decode_record(&bytes).unwrap();
    assert_eq!(migrated.encode_record().unwrap(), expected.encode_record().unwrap(), "{name}");
    for length in 0..bytes.len() {
        assert!(T::decode_record(&bytes[..length]).is_err(), "{name}, {length} bytes");
    }
    assert!(T::decode_record(&[bytes, vec![0]].concat()).is_err(), "{name} and a byte");
}

fn number(seqnum: u64) -> MessageNumber {
    MessageNumber { epoch: 0x0102, seqnum }
}

fn transports() -> Transports {
    let transport = TransportRecord {
        tid: TransportId::from_bytes([1; 8]),
        url: "https://mail.example.org".parse().unwrap(),
        server: ServerIdentityKey::from_bytes([2; 32]),
        pin: Some(CertificatePin::from_bytes([3; 32])),
        kid: TokenKeyId(4),
        token: SenderToken::from_bytes([5; 64]),
        retention_seconds: 6,
    };
    Transports { serial: 7, list: vec![transport] }
}

fn own_half() -> OwnHalf {
    OwnHalf {
        channel: OwnChannel {
            signing_key: ChannelSigningKey::from_bytes([8; 32]),
            cid_key: CidKey::from_bytes([12; 32]),
            transports: transports(),
        },
        receiver_kid: KeyId { epoch: 9, index: 10 },
        receiver_key: ReceiverSecretKey::from_bytes([11; 32]),
    }
}

fn channel_record() -> ChannelRecord {
    ChannelRecord {
        verifying_key: ChannelVerifyingKey::from_bytes([13; 32]),
        receiver_key: ReceiverKey {
            kid: KeyId { epoch: 14, index: 15 },
            key: ReceiverPublicKey::from_bytes([16; 32]),
        },
        cid_key: CidKey::from_bytes([17; 32]),
        transports: Transports { serial: 18, list: Vec::new() },
        suites: vec!["c1".to_owned()],
    }
}

#[test]
fn settings() {
    let burnt = BurntCode { digest: [1; 32], until: UnixMillis(2) };
    let settings = Settings {
        epoch: 3,
        last_cid: 4,
        last_invitation: 5,
        last_mailbox: 6,
        burnt_codes: vec![burnt],
        removing: vec![7],
    };
    check("settings", &settings);
}

#[test]
fn contact() {
    for (name, state) in [
        ("contact-pending", Trust::Pending),
        ("contact-confirmed", Trust::Confirmed),
        ("contact-verified", Trust::Verified),
        ("contact-blocked", Trust::Blocked),
        ("contact-disputed", Trust::Disputed),
    ] {
        let contact = Contact {
            cid: 1,
            petname: "Bob".to_owned(),
            display_name: "Robert".to_owned(),
            state,
            mine: own_half().channel,
            homes: vec![Home { mailbox: 2, slot: 0 }],
            past_tids: vec![TransportId::from_bytes([5; 8])],
            theirs: channel_record(),
            safety_words: "one two".to_owned(),
            since: UnixMillis(3),
            invitation: 4,
            introduction: Some("{}".to_owned()),
            generation: 0,
            resets: Vec::new(),
            their_half: TheirHalf::default(),
            unmoved_key: None,
        };
        check(name, &contact);
        if state == Trust::Disputed {
            check("contact-reset", &after_resets(contact));
            continue;
        }
        migrates(name, 2, &contact);
        if state != Trust::Blocked {
            migrates(name, 1, &Contact { past_tids: Vec::new(), ..contact });
        }
    }
    let old = Contact::decode_record(&written(1, "contact-pending")).unwrap();
    assert_eq!(old.unmoved_key.unwrap().newest().kid, KeyId { epoch: 9, index: 10 });
}

fn after_resets(contact: Contact) -> Contact {
    let [old, new] = [1, 2].map(|byte| ChannelSigningKey::from_bytes([byte; 32]));
    let receiver_key = ReceiverSecretKey::from_bytes([9; 32]).public_key();
    let receiver_key = ReceiverKey { key: receiver_key, ..channel_record().receiver_key };
    let record = ChannelRecord { verifying_key: new.verifying_key(), receiver_key, ..channel_record() };
    let packet = ChannelReset::sign(&NewHalf { generation: 6, record }, &old, &new).unwrap();
    let reset = |old_signing_key| OwnReset {
        number: number(7),
        made_at: UnixMillis(8),
        packet: packet.clone(),
        old_verifying_key: old.verifying_key(),
        old_signing_key,
        old_cid_key: CidKey::from_bytes([9; 32]),
    };
    let last =
        TheirReset { digest: packet.digest(), former: new.verifying_key(), adopted_at: UnixMillis(10) };
    Contact {
        generation: 6,
        resets: vec![reset(None), reset(Some(OldSigningKey(old.clone())))],
        their_half: TheirHalf { generation: 11, last: Some(last) },
        ..contact
    }
}

#[test]
fn keys() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut keys = KeyRing::new(KeyId { epoch: 1, index: 2 }, ReceiverSecretKey::from_bytes([3; 32]));
    for _ in 0..10 {
        let newest = keys.newest();
        keys.used(&newest.key, 4, UnixMillis(5), &mut rng);
        keys.peer_uses(newest.kid);
    }
    check("keys", &Keys(keys));
}

#[test]
fn invitation() {
    let row = InvitationRow {
        id: 1,
        petname: Some("Bob".to_owned()),
        mine: Some(own_half()),
        homes: vec![Home { mailbox: 2, slot: 0 }],
        cid: None,
        machine: vec![4, 5],
    };
    check("invitation", &row);
    let completed = InvitationRow { mine: None, cid: Some(3), ..row };
    check("invitation-completed", &completed);
    migrates("invitation", 1, &completed);
}

#[test]
fn mailbox() {
    let record = AccountRecord {
        account: AccountId::from_bytes([1; 16]),
        generation: 2,
        retrieval_token: RetrievalToken::from_bytes([3; 32]),
        symmetric_key: SymmetricKey::from_bytes([4; 32]),
        token: AccountToken::from_bytes([5; 64]),
        kid: TokenKeyId(6),
        slot: 0,
        quota: Quota { bytes: 7, messages: 8 },
        retention_seconds: 9,
        notices: vec!["news".to_owned()],
        state: AccountState::Active,
        allowance: None,
        used_bytes: None,
    };
    let mailbox = |account| Mailbox {
        id: 10,
        url: "https://mail.example.org".parse().unwrap(),
        server: ServerIdentityKey::from_bytes([11; 32]),
        pin: None,
        is_local: true,
        keys: AccountKeys {
            signing: AccountSigningKey::from_bytes([12; 32]),
            answers: AccountSecretKey::from_bytes([13; 32]),
        },
        redeem_token: RedeemToken::from_bytes([14; 16]),
        account,
        leaving: None,
        rekeying: None,
        read_at: UnixMillis::default(),
        invitation: None,
        refused: None,
    };
    let account = Account { record, token_key: TokenPublicKey::from_bytes([15; 32]) };
    check("mailbox-unredeemed", &mailbox(None));
    migrates("mailbox-unredeemed", 1, &mailbox(None));
    migrates("mailbox-unredeemed", 2, &mailbox(None));
    migrates("mailbox-unredeemed", 3, &mailbox(None));
    check("mailbox", &mailbox(Some(account.clone())));
    migrates("mailbox", 1, &mailbox(Some(account.clone())));
    migrates("mailbox", 2, &mailbox(Some(account.clone())));
    migrates("mailbox", 3, &mailbox(Some(account.clone())));
    let left = Mailbox { leaving: Some(UnixMillis(16)), ..mailbox(Some(account.clone())) };
    check("mailbox-left", &left);
    migrates("mailbox-left", 2, &left);
    migrates("mailbox-left", 3, &left);
    let rekeying = |signing, new_slot| {
        let answers = AccountSecretKey::from_bytes([18; 32]);
        let keys = AccountKeys { signing: AccountSigningKey::from_bytes([signing; 32]), answers };
        let rekeying = Some(Rekeying { generation: 17, keys, new_slot });
        Mailbox { rekeying, ..mailbox(Some(account.clone())) }
    };
    migrates("mailbox-rekeying", 2, &rekeying(12, false));
    check("mailbox-rekeying", &rekeying(19, true));
    migrates("mailbox-rekeying", 3, &rekeying(19, true));
    let record = AccountRecord { slot: 20, ..account.record.clone() };
    let read_at = UnixMillis(21);
    let other_slot = Mailbox { read_at, ..mailbox(Some(Account { record, ..account.clone() })) };
    check("mailbox-other-slot", &other_slot);
    migrates("mailbox-other-slot", 3, &other_slot);
    let allowance = Some(Allowance { total_bytes: 22, given_bytes: 23 });
    let record = AccountRecord { allowance, ..account.record };
    check("mailbox-provider", &mailbox(Some(Account { record, ..account })));
    let refused = Some("used".to_owned());
    check("mailbox-refused", &Mailbox { invitation: Some(24), refused, ..mailbox(None) });
}

fn windows() -> Windows {
    let mut windows = Windows::default();
    for seqnum in [1, 3] {
        windows.receive(number(seqnum));
    }
    windows
}

#[test]
fn progress() {
    let previous = |seqnum| Previous { number: number(seqnum), digest: ContentDigest::from_bytes([6; 32]) };
    let progress = Progress {
        last_sent: number(4),
        last_content: Some(previous(3)),
        skipped: vec![number(2)],
        delivered: 5,
        windows: windows(),
        owed: Some(Owed { due: UnixMillis(7), messages: 8 }),
        last_ack: UnixMillis(9),
        recent: vec![previous(1)],
        missing: vec![number(2)],
        retired: vec![Retired { number: number(10), attempt: 11 }],
        resets: {
            let mut limit = ResetLimit::default();
            limit.admits(UnixMillis(12));
            limit
        },
        last_reset: KeyId { epoch: 13, index: 14 },
        read: number(15),
        read_there: number(16),
    };
    check("progress", &progress);
    let unread = MessageNumber::default();
    migrates("progress", 2, &Progress { read: unread, read_there: unread, ..progress });
    let old = Progress { last_sent: number(4), windows: windows(), ..Progress::default() };
    migrates("progress", 1, &old);
}

fn entry() -> Entry {
    Entry {
        number: number(1),
        mid: MessageId::from_bytes([2; 16]),
        kind: Kind::Content,
        message: Some(3),
        queued_at: UnixMillis(4),
        bytes: 4_096,
        seed: SealSeed::from_bytes([5; 32]),
        deposits: vec![Deposit {
            tid: TransportId::from_bytes([6; 8]),
            attempts: 7,
            taken_at: vec![UnixMillis(8)],
            again_at: UnixMillis(9),
            retention: Duration::from_secs(10),
        }],
    }
}

#[test]
fn queued() {
    check("queued", &Queued { entry: entry(), unfrozen: None });
    let ack_only = Entry { kind: Kind::AckOnly, message: None, deposits: Vec::new(), ..entry() };
    let reset = Entry { kind: Kind::Reset, message: None, deposits: Vec::new(), ..entry() };
    check("queued-reset", &Queued { entry: reset, unfrozen: None });
    check("queued-ack-only", &Queued { entry: ack_only, unfrozen: None });
    let seed = SealSeed::from_bytes(Sha256::digest([2; 16]).into());
    let old = Queued { entry: Entry { bytes: 0, seed, deposits: Vec::new(), ..entry() }, unfrozen: None };
    migrates("queued", 1, &old);
    assert_eq!(Queued::decode_record(&written(1, "queued")).unwrap().unfrozen, Some(true));
}

#[test]
fn message() {
    for (name, state) in [
        ("message-waiting", Stage::Waiting),
        ("message-sent", Stage::Sent),
        ("message-received", Stage::Received),
        ("message-delivered", Stage::Delivered),
        ("message-cancelled", Stage::Failed(Failure::Cancelled)),
        ("message-expired", Stage::Failed(Failure::Expired)),
    ] {
        let message =
            Message { id: 1, when: UnixMillis(2), state, mid: Some(MessageId::from_bytes([3; 16])) };
        check(name, &message);
    }
    for (name, state) in [
        ("message-waiting", Stage::Waiting),
        ("message-sent", Stage::Sent),
        ("message-received", Stage::Received),
    ] {
        migrates(name, 1, &Message { id: 1, when: UnixMillis(2), state, mid: None });
    }
}

#[test]
fn profiles() {
    let own = OwnProfile { serial: 1, name: "Alice".to_owned(), picture: Some(vec![2, 3]) };
    check("own-profile", &own);
    check("own-profile-bare", &OwnProfile::default());
    check("profiles", &Profiles { told: 1, heard: 2, picture: Some("abcd".to_owned()) });
}

#[test]
fn quarantined() {
    check("quarantined", &Quarantined { received: UnixMillis(1), msg_c: vec![2, 3] });
}

#[test]
fn transfers() {
    use petmail_proto::{channel::file::StoredKind, content::ChunkHash};

    use super::transfers::{
        Download, Hitch, Located, Phase, Saved, Share, Source, StoredChunk, StoredPack, Target, Upload,
    };
    let mid = MessageId::from_bytes([3; 16]);
    let upload = Upload {
        id: 1,
        cid: 2,
        mid,
        name: "a.iso".to_owned(),
        source: Source::Path("/home/a.iso".to_owned()),
        kind: StoredKind::File,
        size: 4,
        count: 5,
        keep_days: 6,
        phase: Phase::Active,
    };
    check("upload", &upload);
    migrates("upload", 1, &upload);
    let (source, kind) = (Source::Spool, StoredKind::Folder);
    let failed = Upload { source, kind, phase: Phase::Failed(Hitch::other("full".to_owned())), ..upload };
    migrates("upload-failed", 1, &failed);
    let (code, detail) = ("storage-full".to_owned(), Some("there".to_owned()));
    let phase = Phase::Failed(Hitch { code, detail, text: "it is full".to_owned() });
    check("upload-failed", &Upload { phase, ..failed });
    let share = Share { cid: 1, mid, mailbox: 2, until: UnixMillis(4), fetched: Some(UnixMillis(5)) };
    check("share", &share);
    let download = Download {
        id: 1,
        cid: 2,
        mid,
        target: Target::Folder("/home".to_owned()),
        mode: 0o600,
        renaming: Some("/home/a".to_owned()),
        phase: Phase::Paused,
        saved: None,
    };
    check("download", &download);
    migrates("download", 1, &download);
    check("download-asked", &Download { phase: Phase::Asked, ..download.clone() });
    let saved = Some(Saved { path: "/home/a".to_owned(), picture: Some("image/png".to_owned()) });
    let saved = Download { target: Target::Exactly("/home/a".to_owned()), saved, ..download };
    check("download-saved", &saved);
    migrates("download-saved", 1, &saved);
    let location = serde_json::from_str(r#"{"places":[{"url":"https://store.example"}]}"#).unwrap();
    check("located", &Located::new(Some(&location), UnixMillis(1)));
    check("located-nowhere", &Located::new(None, UnixMillis(1)));
    let chunk = StoredChunk { hash: ChunkHash::from_bytes([7; 32]), offset: 8, length: 9 };
    check("pack", &StoredPack { bytes: 10, chunks: vec![chunk] });
}

#[test]
fn services() {
    use petmail_objects::{Account, Secret, ServiceKind};

    use super::services::Service;
    let options = [("bucket".to_owned(), "files".to_owned())].into();
    let secret = Some(Secret::new("secret".to_owned()));
    let account = Account { kind: ServiceKind::S3, options, secret };
    let service = Service { id: 1, account };
    check("service", &service);
    check(
        "service-folder",
        &Service { account: Account { kind: ServiceKind::Fs, secret: None, ..service.account }, ..service },
    );
}
