//! Servers as a whole while nobody serves them: verified, damaged, exported and imported.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, io::Cursor, os::unix::fs::PermissionsExt, path::PathBuf};

use petmail_mailbox::{
    admin::OfferRequest,
    basedir::{Basedir, InitError},
    check::{ProblemKind, check},
    config::Settings,
    identity::Identity,
    queue::{Delivered, exported::Exported},
    server::Mailbox,
    transfer::{
        TransferError, export,
        file::{ExportReader, ExportWriter, FileError, Part},
        import,
    },
};
use petmail_net::clock::unix_ms;
use petmail_proto::{
    delivery::{Bucket, seal_delivery},
    server::{
        account::{AccountKeys, AccountRecord},
        descriptor::Descriptor,
        offer::Offer,
    },
    time::UnixMillis,
};
use petmail_store::{Batch, Direction, EngineKind, Keyspace, Row, Store};
use proptest::{prelude::any, prop_assert, proptest, sample::Index};
use rand_core::OsRng;
use zeroize::Zeroizing;

const ACCOUNTS: Keyspace = Keyspace::new("accounts");
const OFFERS: Keyspace = Keyspace::new("offers");
const MESSAGES: Keyspace = Keyspace::new("messages");
const BODIES: Keyspace = Keyspace::new("bodies");
const REPLAYS: Keyspace = Keyspace::new("replays");
const EXPIRY: Keyspace = Keyspace::new("expiry");
const META: Keyspace = Keyspace::new("meta");
const KEYSPACES: &[Keyspace] = &[ACCOUNTS, OFFERS, MESSAGES, BODIES, REPLAYS, EXPIRY, META];

fn now() -> UnixMillis {
    UnixMillis(unix_ms())
}

/// A stopped server with two accounts; one of them holds a small and a large message.
struct Stopped {
    dir: tempfile::TempDir,
    basedir: Basedir,
    delivery: Vec<u8>,
}

impl Stopped {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path().join("mailbox"));
        basedir.init("https://127.0.0.1:8443".parse().unwrap()).unwrap();
        let mailbox = opened(&basedir).await;
        let mut last = None;
        for _ in 0..2 {
            last = Some(redeemed(&mailbox).await);
        }
        let (record, descriptor) = last.unwrap();
        let key = descriptor.token_key(record.kid).unwrap();
        let sender = record.token.for_contact(key, &mut OsRng).unwrap();
        let mut delivery = Vec::new();
        for bucket in [Bucket::Kib64, Bucket::Kib4] {
            let token = sender.for_message(key, &mut OsRng).unwrap();
            let msg_c = vec![7; bucket.msg_c_bytes()];
            delivery =
                seal_delivery(&msg_c, &token, &descriptor.delivery_key, &mut OsRng).unwrap().into_bytes();
            let stored =
                mailbox.services().deliveries().deliver(delivery.clone().into(), now()).await.unwrap();
            assert!(matches!(stored, Delivered::Stored(_)));
        }
        mailbox.close().await;
        Self { dir, basedir, delivery }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the store behind the server's back.
    fn store(&self) -> Store {
        Store::open(&self.basedir.queue_dir().join("store"), EngineKind::Sled, KEYSPACES).unwrap()
    }

    async fn rows(&self, keyspace: Keyspace) -> Vec<Row> {
        let store = self.store();
        let rows = store.range(keyspace, .., Direction::Ascending, 100).await.unwrap();
        store.close().await;
        rows
    }

    async fn damage(&self, batch: Batch) {
        let store = self.store();
        store.commit(batch).await.unwrap();
        store.close().await;
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let blobs = fs::read_dir(self.basedir.queue_dir().join("blobs")).unwrap();
        blobs.map(|entry| entry.unwrap().path()).collect()
    }

    /// What `check` finds.
    async fn problems(&self) -> Vec<(ProblemKind, String)> {
        let report = check(&self.basedir, None).await.unwrap();
        report.problems.into_iter().map(|problem| (problem.problem, problem.text)).collect()
    }

    #[track_caller]
    fn has(problems: &[(ProblemKind, String)], expected: &[ProblemKind]) {
        let kinds: Vec<_> = problems.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, expected, "{problems:?}");
    }

    async fn exported(&self) -> Vec<u8> {
        let (transferred, bytes) = export(&self.basedir, Vec::new()).await.unwrap();
        assert_eq!((transferred.accounts, transferred.offers, transferred.messages), (2, 2, 2));
        bytes
    }
}

async fn opened(basedir: &Basedir) -> Mailbox {
    Mailbox::open_stopped(basedir.clone(), Settings::default()).await.unwrap()
}

async fn redeemed(mailbox: &Mailbox) -> (AccountRecord, Descriptor) {
    let offer = mailbox.mint_offer(OfferRequest::default()).await.unwrap();
    let offer: Offer = offer.parse().unwrap();
    let descriptor = Descriptor::verify(&mailbox.services().descriptor(), &offer.identity, now()).unwrap();
    let keys = AccountKeys::generate(&mut OsRng);
    let key = &descriptor.retrieval_key;
    let body = keys.seal_redeem(&offer.token, &offer.identity, key, &mut OsRng).unwrap();
    let answer = mailbox.services().accounts().redeem(body, now()).await.unwrap();
    (AccountRecord::open_answer(&answer, key, &keys.answers).unwrap(), descriptor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_well_has_no_problems() {
    let server = Stopped::new().await;
    let report = check(&server.basedir, None).await.unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!((report.accounts, report.offers, report.messages, report.digests), (2, 2, 2, 2));
    // Accounts whose key has ended are no problem: their owners get new addresses when they come.
    let identity = Identity::load(&server.basedir.identity_file()).unwrap();
    let rotated = identity.rotated(now(), now(), &mut OsRng).unwrap();
    rotated.without_ended(UnixMillis(u64::MAX)).unwrap().store(&server.basedir.identity_file()).unwrap();
    let report = check(&server.basedir, None).await.unwrap();
    assert!(report.problems.is_empty() && report.behind == 2, "{report:?}");
    let empty = Basedir::new(server.path("empty"));
    empty.init("http://127.0.0.1:1".parse().unwrap()).unwrap();
    assert!(check(&empty, None).await.unwrap().problems.is_empty());
    assert!(!empty.queue_dir().exists(), "nothing is made");
    let mailbox = opened(&server.basedir).await;
    assert!(check(&server.basedir, None).await.is_err(), "somebody uses it");
    mailbox.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_bodies_and_files_are_named() {
    let server = Stopped::new().await;
    let [file] = server.blobs().try_into().unwrap();
    let contents = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let problems = server.problems().await;
    Stopped::has(&problems, &[ProblemKind::BodyMissing]);
    assert!(problems[0].1.contains("message 0 of account "), "{problems:?}");
    fs::write(&file, &contents[1..]).unwrap();
    Stopped::has(&server.problems().await, &[ProblemKind::BodyLength]);
    fs::write(&file, contents).unwrap();
    fs::write(file.with_file_name("0".repeat(32)), "orphan").unwrap();
    fs::write(file.with_file_name(format!("{}.tmp", "1".repeat(32))), "unfinished").unwrap();
    Stopped::has(&server.problems().await, &[ProblemKind::FileOrphan; 2]);
    opened(&server.basedir).await.close().await;
    Stopped::has(&server.problems().await, &[]);

    let [(key, body)] = server.rows(BODIES).await.try_into().unwrap();
    server.damage(Batch::new().put(BODIES, key.clone(), &body[1..])).await;
    Stopped::has(&server.problems().await, &[ProblemKind::BodyLength]);
    server.damage(Batch::new().delete(BODIES, key.clone())).await;
    Stopped::has(&server.problems().await, &[ProblemKind::BodyMissing]);
    let [_, (_, row)] = server.rows(MESSAGES).await.try_into().unwrap();
    server.damage(Batch::new().put(BODIES, key.clone(), body).delete(MESSAGES, key.clone())).await;
    Stopped::has(&server.problems().await, &[ProblemKind::BodyOrphan]);
    server.damage(Batch::new().put(MESSAGES, key.clone(), row)).await;
    let [(_, large), _] = server.rows(MESSAGES).await.try_into().unwrap();
    let mut twice = key.clone();
    twice[23] = 9;
    server.damage(Batch::new().put(MESSAGES, twice, large)).await;
    Stopped::has(&server.problems().await, &[ProblemKind::FileShared, ProblemKind::NeverSwept]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_agree_are_named() {
    let server = Stopped::new().await;
    let [(digest, until), (other, _)] = server.rows(REPLAYS).await.try_into().unwrap();
    server.damage(Batch::new().delete(REPLAYS, digest.clone())).await;
    Stopped::has(&server.problems().await, &[ProblemKind::DigestForgotten]);
    server.damage(Batch::new().put(REPLAYS, digest, until.clone())).await;
    server.damage(Batch::new().put(REPLAYS, vec![1; 32], until)).await;
    Stopped::has(&server.problems().await, &[ProblemKind::DigestForever]);
    server.damage(Batch::new().delete(REPLAYS, vec![1; 32])).await;
    let expiry = server.rows(EXPIRY).await.into_iter().find(|(key, _)| key.ends_with(&other)).unwrap();
    server.damage(Batch::new().delete(EXPIRY, expiry.0.clone())).await;
    Stopped::has(&server.problems().await, &[ProblemKind::NeverSwept, ProblemKind::DigestForever]);
    server.damage(Batch::new().put(EXPIRY, expiry.0, expiry.1)).await;
    Stopped::has(&server.problems().await, &[]);

    let [(first, account), _] = server.rows(ACCOUNTS).await.try_into().unwrap();
    server.damage(Batch::new().put(ACCOUNTS, vec![3; 16], account.clone())).await;
    let expected = [ProblemKind::AccountMisplaced, ProblemKind::AccountsCollide];
    let problems = server.problems().await;
    let kinds: std::collections::HashSet<_> = problems.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, expected.into(), "{problems:?}");
    server.damage(Batch::new().delete(ACCOUNTS, vec![3; 16])).await;

    // What cannot be read is named, and the rest looked at all the same.
    for keyspace in KEYSPACES {
        let rows = server.rows(*keyspace).await;
        let (key, value) = rows.first().unwrap();
        let shorter = value[..value.len() - 1].to_vec();
        if *keyspace == BODIES {
            continue;
        }
        server.damage(Batch::new().put(*keyspace, key.clone(), shorter)).await;
        let problems = server.problems().await;
        let is_named = |(kind, text): &(ProblemKind, String)| {
            *kind == ProblemKind::RowDamaged && text.contains(&format!("`{}`", keyspace.name()))
        };
        assert!(problems.iter().any(is_named), "{problems:?}");
        server.damage(Batch::new().put(*keyspace, key.clone(), value.clone())).await;
    }
    assert_eq!(server.rows(ACCOUNTS).await[0], (first, account));
    Stopped::has(&server.problems().await, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_those_of_the_accounts_are_named() {
    let server = Stopped::new().await;
    let file = server.basedir.identity_file();
    let before = Identity::load(&file).unwrap();
    let mailbox = opened(&server.basedir).await;
    mailbox.services().rotate_keys(now()).await.unwrap();
    redeemed(&mailbox).await;
    mailbox.close().await;
    let after = fs::read(&file).unwrap();
    before.store(&file).unwrap();
    let problems = server.problems().await;
    Stopped::has(&problems, &[ProblemKind::KeyUnknown]);
    assert!(problems[0].1.contains("has a token for key 2"), "{problems:?}");
    let other = Identity::generate(before.url().clone(), &mut OsRng);
    other.rotated(now(), UnixMillis(u64::MAX), &mut OsRng).unwrap().store(&file).unwrap();
    Stopped::has(&server.problems().await, &[ProblemKind::TokenAstray; 3]);
    fs::write(&file, &after[1..]).unwrap();
    Stopped::has(&server.problems().await, &[ProblemKind::KeysUnreadable]);
    fs::write(&file, after).unwrap();
    Stopped::has(&server.problems().await, &[]);
    let store = server.basedir.queue_dir().join("store");
    fs::rename(&store, store.with_file_name("elsewhere")).unwrap();
    fs::write(&store, "no folder").unwrap();
    Stopped::has(&server.problems().await, &[ProblemKind::StoreUnreadable]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_to_another_folder_and_engine() {
    let server = Stopped::new().await;
    let last_serial = serial(&server.basedir).await;
    let file = server.exported().await;
    for engine in [EngineKind::Redb, EngineKind::Sled] {
        let moved = Basedir::new(server.path(&engine.to_string()));
        let transferred = import(&moved, Cursor::new(file.clone()), Some(engine)).await.unwrap();
        assert_eq!((transferred.accounts, transferred.offers, transferred.messages), (2, 2, 2));
        assert!(check(&moved, None).await.unwrap().problems.is_empty());
        let (_, again) = export(&moved, Vec::new()).await.unwrap();
        assert!(again == file, "what is exported again is the same");
        for name in ["server.json", "tls-cert.pem", "tls-key.pem"] {
            let [old, new] = [&server.basedir, &moved].map(|basedir| basedir.path().join(name));
            assert_eq!(fs::read(&old).unwrap(), fs::read(&new).unwrap());
            assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!moved.import_dir().exists());
        assert!(serial(&moved).await > last_serial, "the serial goes on");
        let mailbox = opened(&moved).await;
        let again = mailbox.services().deliveries().deliver(server.delivery.clone().into(), now()).await;
        assert_eq!(again.unwrap(), Delivered::Repeated);
        mailbox.close().await;
        let refused = import(&moved, Cursor::new(file.clone()), None).await;
        assert!(matches!(refused, Err(TransferError::NotEmpty(_))));
    }
}

async fn serial(basedir: &Basedir) -> u64 {
    let mailbox = opened(basedir).await;
    let identity = Identity::load(&basedir.identity_file()).unwrap().public();
    let serial = Descriptor::verify(&mailbox.services().descriptor(), &identity, now()).unwrap().serial;
    mailbox.close().await;
    serial
}

/// Tries to import `file`; nothing may be left.
async fn refused(server: &Stopped, file: Vec<u8>) -> TransferError {
    let target = Basedir::new(server.path("target"));
    let error = import(&target, Cursor::new(file), None).await.unwrap_err();
    assert!(!target.path().exists(), "{error}");
    error
}

type Expected = fn(&FileError) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_good_makes_nothing() {
    let server = Stopped::new().await;
    let file = server.exported().await;
    let with = |from: &[u8], to: &[u8]| {
        let at = file.windows(from.len()).position(|window| window == from).unwrap();
        [&file[..at], to, &file[at + from.len()..]].concat()
    };
    let mut flipped = file.clone();
    flipped[file.len() / 2] ^= 1;
    let cases: [(Vec<u8>, Expected); 8] = [
        (Vec::new(), |error| matches!(error, FileError::Foreign)),
        (b"{\"version\": 1, \"something\": \"else\"}".to_vec(), |error| matches!(error, FileError::Foreign)),
        (with(b"export 1", b"export 2"), |error| matches!(error, FileError::Newer)),
        (file[..file.len() - 1].to_vec(), |error| matches!(error, FileError::Truncated)),
        (file[..file.len() / 2].to_vec(), |error| matches!(error, FileError::Truncated)),
        (flipped, |error| matches!(error, FileError::Damaged)),
        ([file.as_slice(), b"\n"].concat(), |error| matches!(error, FileError::Damaged)),
        ([&file[..25], &[b'm', 255, 255, 255, 255]].concat(), |error| matches!(error, FileError::Damaged)),
    ];
    for (damaged, expected) in cases {
        match refused(&server, damaged).await {
            TransferError::File(error) => assert!(expected(&error), "{error:?}"),
            error => panic!("{error:?}"),
        }
    }
    // A folder that was there stays, with what the operator has put there.
    let prepared = Basedir::new(server.path("prepared"));
    fs::create_dir(prepared.path()).unwrap();
    fs::write(prepared.config_file(), "").unwrap();
    assert!(import(&prepared, Cursor::new(file[..999].to_vec()), None).await.is_err());
    let left: Vec<_> =
        fs::read_dir(prepared.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "config.toml" || name == "lock"), "{left:?}");
    import(&prepared, Cursor::new(file), None).await.unwrap();
}

/// Files that nobody but a forger writes: their checksums are right.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_contradicts_itself_makes_nothing() {
    let server = Stopped::new().await;
    let file = server.exported().await;
    let forged = |alter: &mut dyn FnMut(Part) -> Vec<Part>| {
        let mut reader = ExportReader::new(Cursor::new(&file)).unwrap();
        let mut writer = ExportWriter::new(Vec::new()).unwrap();
        while let Some(part) = reader.next_part().unwrap() {
            alter(part).iter().for_each(|part| writer.append(part).unwrap());
        }
        writer.finish().unwrap()
    };
    let whole = forged(&mut |part| vec![part]);
    assert!(whole == file);
    let without_keys = forged(&mut |part| match part {
        Part::File("server.json", _) => Vec::new(),
        part => vec![part],
    });
    assert!(matches!(refused(&server, without_keys).await, TransferError::NoKeys));
    let other_keys = forged(&mut |part| match part {
        Part::File("server.json", _) => vec![Part::File("server.json", Zeroizing::new(b"{}".to_vec()))],
        part => vec![part],
    });
    assert!(matches!(refused(&server, other_keys).await, TransferError::Identity(_)));
    let unremembered = forged(&mut |part| match part {
        Part::Record(Exported::Digest(_)) => Vec::new(),
        part => vec![part],
    });
    let error = refused(&server, unremembered).await;
    assert!(
        matches!(&error, TransferError::Contradiction(problem) if problem.problem == ProblemKind::NeverSwept)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_is_no_server_and_is_begun_again() {
    let server = Stopped::new().await;
    let file = server.exported().await;
    let target = Basedir::new(server.path("target"));
    let url = "http://127.0.0.1:1".parse().unwrap();
    // As a killed import leaves it, even in the middle of its last step.
    fs::create_dir_all(target.import_dir().join("queue")).unwrap();
    fs::create_dir_all(target.queue_dir().join("store")).unwrap();
    fs::write(target.path().join("tls-key.pem"), "half").unwrap();
    assert!(!target.is_initialised());
    assert!(matches!(target.init(url), Err(InitError::HalfImported(_))));
    import(&target, Cursor::new(file.clone()), None).await.unwrap();
    assert!(export(&target, Vec::new()).await.unwrap().1 == file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_body_is_not_exported_as_if_it_were_whole() {
    let server = Stopped::new().await;
    fs::remove_file(&server.blobs()[0]).unwrap();
    let error = export(&server.basedir, Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("a message has no body"), "{error}");
    assert!(matches!(
        export(&Basedir::new(server.path("none")), Vec::new()).await,
        Err(TransferError::NotInitialised(_))
    ));
}

/// Whatever happens to a file, reading it ends with an error or with what was written.
#[test]
fn any_damage_is_refused() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let file = runtime.block_on(async { Stopped::new().await.exported().await });
    let read = |bytes: &[u8]| -> Result<u32, FileError> {
        let mut reader = ExportReader::new(bytes)?;
        let mut parts = 0;
        while reader.next_part()?.is_some() {
            parts += 1;
        }
        Ok(parts)
    };
    assert!(read(&file).unwrap() > 8);
    proptest!(|(at in any::<Index>(), flip in 1..=u8::MAX, cut in any::<Index>(), twice in any::<Index>())| {
        let mut flipped = file.clone();
        flipped[at.index(file.len())] ^= flip;
        prop_assert!(read(&flipped).is_err());
        prop_assert!(read(&file[..cut.index(file.len())]).is_err());
        let (head, tail) = file.split_at(twice.index(file.len()));
        prop_assert!(read(&[head, &file[..head.len().max(1)], tail].concat()).is_err());
    });
}
