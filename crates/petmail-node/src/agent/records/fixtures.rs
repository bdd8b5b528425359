//! The bytes of every record as they stand on disks: a changed layout needs a new version and a migration.

use petmail_proto::{
    channel::record::{KeyId, ReceiverKey, TransportRecord, Transports},
    keys::{
        AccountSecretKey, AccountSigningKey, ChannelSigningKey, ChannelVerifyingKey, CidKey, MessageId,
        ReceiverPublicKey, ReceiverSecretKey, RetrievalToken, SymmetricKey, TransportId,
    },
    server::account::{AccountId, AccountState, Quota},
    token::{AccountToken, SenderToken, TokenKeyId},
    wire::WireError,
};

use super::*;

/// One line a record: its name and its bytes in hex, written by version 1.
const VERSION_1: &str = include_str!("../../../tests/fixtures/records-v1.txt");

/// A record that stays as it is when its old bytes are read and written again.
fn check<T: Record>(name: &str, sample: &T) {
    let bytes = sample.encode_record().unwrap();
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let kept = VERSION_1.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert_eq!(kept, Some(hex.as_str()), "{name}");
    assert_eq!(T::decode_record(&bytes).unwrap().encode_record().unwrap(), bytes, "{name}");
    let mut newer = bytes;
    newer[..2].copy_from_slice(&2_u16.to_be_bytes());
    let refused = T::decode_record(&newer).map(drop);
    assert_eq!(refused, Err(WireError::UnknownVersion { found: 2, known: 1 }), "{name}");
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
        signing_key: ChannelSigningKey::from_bytes([8; 32]),
        receiver_kid: KeyId { epoch: 9, index: 10 },
        receiver_key: ReceiverSecretKey::from_bytes([11; 32]),
        cid_key: CidKey::from_bytes([12; 32]),
        transports: transports(),
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
    ] {
        let contact = Contact {
            cid: 1,
            petname: "Bob".to_owned(),
            display_name: "Robert".to_owned(),
            state,
            mine: own_half(),
            mailboxes: vec![2],
            theirs: channel_record(),
            safety_words: "one two".to_owned(),
            since: UnixMillis(3),
            invitation: 4,
            introduction: Some("{}".to_owned()),
        };
        check(name, &contact);
    }
}

#[test]
fn invitation() {
    let row = InvitationRow {
        id: 1,
        petname: Some("Bob".to_owned()),
        mine: own_half(),
        mailboxes: vec![2],
        cid: Some(3),
        machine: vec![4, 5],
    };
    check("invitation", &row);
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
        quota: Quota { bytes: 7, messages: 8 },
        retention_seconds: 9,
        notices: vec!["news".to_owned()],
        state: AccountState::Active,
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
    };
    check("mailbox-unredeemed", &mailbox(None));
    check("mailbox", &mailbox(Some(Account { record, token_key: TokenPublicKey::from_bytes([15; 32]) })));
}

#[test]
fn progress() {
    let mut windows = Windows::default();
    for seqnum in [1, 3] {
        windows.receive(number(seqnum));
    }
    check("progress", &Progress { last_sent: number(4), sent: 5, windows });
}

#[test]
fn queued() {
    let entry = Entry {
        number: number(1),
        mid: MessageId::from_bytes([2; 16]),
        message: Some(3),
        announces_transports: true,
        queued_at: UnixMillis(4),
    };
    check("queued", &Queued(entry));
}

#[test]
fn message() {
    for (name, state) in [
        ("message-waiting", Stage::Waiting),
        ("message-sent", Stage::Sent),
        ("message-received", Stage::Received),
    ] {
        check(name, &Message { id: 1, when: UnixMillis(2), state });
    }
}

#[test]
fn quarantined() {
    check("quarantined", &Quarantined { received: UnixMillis(1), msg_c: vec![2, 3] });
}
