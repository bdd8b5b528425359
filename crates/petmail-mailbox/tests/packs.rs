//! Packs on a disk: parts, quota, owners, leases, and what a crash leaves.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use futures::TryStreamExt;
use petmail_mailbox::packs::{
    Depositor, LEASE, MAX_OPEN_UPLOADS, PackError, Packs, Part, Stored, UPLOAD_LIFE,
};
use petmail_objects::{ObjectError, Objects, Way};
use petmail_proto::{
    content::{ContentSecret, MAX_PACK_BYTES, Pack, PackId, PackWriter},
    retrieval::PackState,
    server::account::AccountId,
    time::UnixMillis,
};
use proptest::prelude::*;

const NOW: UnixMillis = UnixMillis(1_000_000);
const QUOTA: u64 = 1_000_000;

fn from(account: u8) -> Depositor {
    Depositor { account: AccountId::from_bytes([account; 16]), quota_bytes: QUOTA }
}

fn pack(name: u8, length: usize) -> Pack {
    let mut writer = PackWriter::new();
    writer.add(&ContentSecret::from_bytes([1; 32]).seal(&vec![name; length]));
    writer.take().unwrap()
}

fn part(pack: &Pack, range: std::ops::Range<usize>) -> Part {
    let bytes = Bytes::copy_from_slice(&pack.bytes[range.clone()]);
    let (offset, total) = (range.start.try_into().unwrap(), pack.bytes.len().try_into().unwrap());
    Part { id: pack.id, offset, total, bytes }
}

fn whole(pack: &Pack) -> Part {
    part(pack, 0..pack.bytes.len())
}

async fn put(packs: &Packs, account: u8, pack: &Pack) -> Result<PackState, PackError> {
    packs.put(from(account), whole(pack), NOW).await
}

async fn read(packs: &Packs, id: &PackId) -> Option<Vec<u8>> {
    match packs.find(id).await.unwrap()? {
        Stored::File(path) => Some(fs::read(path).unwrap()),
        Stored::Object(objects, length) => {
            let stream = objects.read(id, 0..length).await.unwrap();
            Some(stream.try_collect::<Vec<_>>().await.unwrap().concat())
        }
    }
}

fn used(packs: &Packs, account: u8) -> u64 {
    packs.used_bytes(&from(account).account)
}

/// All files below a folder of the packs.
fn files(dir: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[tokio::test]
async fn a_pack_comes_in_parts_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let pack = pack(1, 100_000);
    let end = pack.bytes.len();
    assert_eq!(packs.put(from(1), part(&pack, 0..40_000), NOW).await.unwrap(), PackState::Arriving(40_000));
    assert_eq!((read(&packs, &pack.id).await, used(&packs, 1)), (None, 0));
    packs.close().await;
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let looked = packs.look_up(from(1), &[pack.id, PackId::of(b"other")], NOW).await.unwrap();
    assert_eq!(looked, [PackState::Arriving(40_000), PackState::Arriving(0)]);
    // Nobody else sees what has begun; a gap is refused; what came twice is no harm.
    assert_eq!(packs.look_up(from(2), &[pack.id], NOW).await.unwrap(), [PackState::Arriving(0)]);
    let gap = packs.put(from(1), part(&pack, 50_000..60_000), NOW).await;
    assert!(matches!(gap, Err(PackError::Offset(40_000))), "{gap:?}");
    assert_eq!(
        packs.put(from(1), part(&pack, 30_000..60_000), NOW).await.unwrap(),
        PackState::Arriving(60_000)
    );
    assert_eq!(packs.put(from(1), part(&pack, 60_000..end), NOW).await.unwrap(), PackState::Stored);
    assert_eq!(put(&packs, 1, &pack).await.unwrap(), PackState::Stored);
    assert_eq!(read(&packs, &pack.id).await.unwrap(), pack.bytes);
    assert_eq!((used(&packs, 1), packs.totals().packs), (end as u64, 1));
    assert_eq!(files(dir.path(), "arriving"), Vec::<PathBuf>::new());
    packs.close().await;
    let packs = Packs::open(dir.path(), None).await.unwrap();
    assert_eq!((used(&packs, 1), packs.totals().packs), (end as u64, 1));
    assert_eq!(read(&packs, &pack.id).await.unwrap(), pack.bytes);
}

#[tokio::test]
async fn what_is_not_what_its_name_says_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let pack = pack(1, 5_000);
    let mut damaged = pack.clone();
    damaged.bytes[300] ^= 1;
    assert!(matches!(put(&packs, 1, &damaged).await, Err(PackError::WrongBytes)));
    let no_pack = Pack { id: PackId::of(b"anything"), bytes: b"anything".to_vec() };
    assert!(matches!(put(&packs, 1, &no_pack).await, Err(PackError::WrongBytes)));
    for bad in [
        Part { bytes: Bytes::new(), ..whole(&pack) },
        Part { total: 10, ..whole(&pack) },
        Part { offset: 1, ..whole(&pack) },
        Part { offset: u32::MAX, ..whole(&pack) },
        Part { total: MAX_PACK_BYTES + 1, ..whole(&pack) },
    ] {
        assert!(matches!(packs.put(from(1), bad, NOW).await, Err(PackError::BadPart)));
    }
    assert_eq!((files(dir.path(), "arriving").len(), files(dir.path(), "files").len()), (0, 0));
    assert_eq!((used(&packs, 1), put(&packs, 1, &pack).await.unwrap()), (0, PackState::Stored));
}

#[tokio::test]
async fn quota_and_open_uploads_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let (first, second) = (pack(1, 600_000), pack(2, 600_000));
    assert_eq!(put(&packs, 1, &first).await.unwrap(), PackState::Stored);
    assert!(matches!(put(&packs, 1, &second).await, Err(PackError::Full)));
    assert!(matches!(packs.put(from(1), part(&second, 0..10), NOW).await, Err(PackError::Full)));
    // What is full for one is not for another, and deleting always makes room.
    assert_eq!(put(&packs, 2, &second).await.unwrap(), PackState::Stored);
    packs.delete(from(1).account, first.id, NOW).await.unwrap();
    assert_eq!((used(&packs, 1), put(&packs, 1, &second).await.unwrap()), (0, PackState::Stored));
    for name in 0..u8::try_from(MAX_OPEN_UPLOADS).unwrap() {
        let begun = packs.put(from(3), part(&pack(name, 100), 0..10), NOW).await.unwrap();
        assert_eq!(begun, PackState::Arriving(10));
    }
    let more = packs.put(from(3), part(&pack(99, 100), 0..10), NOW).await;
    assert!(matches!(more, Err(PackError::Busy)), "{more:?}");
    // One that goes on, and one that is given up, are no further ones.
    assert_eq!(put(&packs, 3, &pack(0, 100)).await.unwrap(), PackState::Stored);
    packs.delete(from(3).account, pack(1, 100).id, NOW).await.unwrap();
    assert_eq!(put(&packs, 3, &pack(99, 100)).await.unwrap(), PackState::Stored);
}

#[tokio::test]
async fn a_deleted_pack_stays_for_its_lease_and_with_its_other_owners() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let (pack, bytes) = (pack(1, 5_000), pack(1, 5_000).bytes.len() as u64);
    put(&packs, 1, &pack).await.unwrap();
    put(&packs, 2, &pack).await.unwrap();
    assert_eq!((packs.totals().packs, files(dir.path(), "files").len()), (1, 1));
    let (one, two) = (from(1).account, from(2).account);
    packs.delete(one, pack.id, NOW).await.unwrap();
    assert_eq!((used(&packs, 1), used(&packs, 2)), (0, bytes));
    // Whoever asks for it again within the lease has it again.
    let later = NOW.plus(LEASE / 2);
    assert_eq!(packs.look_up(from(1), &[pack.id], later).await.unwrap(), [PackState::Stored]);
    assert_eq!(used(&packs, 1), bytes);
    packs.delete(one, pack.id, later).await.unwrap();
    // Asked for twice at once, it is charged for once; without room for it, it is not there.
    let none = Depositor { quota_bytes: bytes - 1, ..from(1) };
    assert_eq!(packs.look_up(none, &[pack.id], later).await.unwrap(), [PackState::Arriving(0)]);
    assert_eq!(packs.look_up(from(1), &[pack.id; 2], later).await.unwrap(), [PackState::Stored; 2]);
    assert_eq!(used(&packs, 1), bytes);
    packs.delete(one, pack.id, later).await.unwrap();
    packs.close().await;
    let packs = Packs::open(dir.path(), None).await.unwrap();
    assert_eq!((used(&packs, 1), used(&packs, 2)), (0, bytes));
    packs.sweep(NOW.plus(LEASE)).await.unwrap();
    assert_eq!(packs.look_up(from(1), &[pack.id], later).await.unwrap(), [PackState::Stored]);
    packs.delete(one, pack.id, later).await.unwrap();
    packs.sweep(later.plus(LEASE)).await.unwrap();
    assert_eq!(packs.look_up(from(1), &[pack.id], later).await.unwrap(), [PackState::Arriving(0)]);
    assert_eq!(read(&packs, &pack.id).await.unwrap(), pack.bytes);
    packs.delete(two, pack.id, NOW.plus(LEASE)).await.unwrap();
    assert_eq!((read(&packs, &pack.id).await, files(dir.path(), "files").len()), (None, 0));
    // What is gone is no error, and nobody deletes for another.
    packs.delete(two, pack.id, NOW).await.unwrap();
    put(&packs, 1, &pack).await.unwrap();
    packs.delete(two, pack.id, NOW.plus(LEASE * 2)).await.unwrap();
    assert!(read(&packs, &pack.id).await.is_some());
}

#[tokio::test]
async fn what_a_crash_or_a_removed_account_leaves_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let (kept, other) = (pack(1, 5_000), pack(2, 5_000));
    put(&packs, 1, &kept).await.unwrap();
    put(&packs, 2, &kept).await.unwrap();
    put(&packs, 2, &other).await.unwrap();
    packs.put(from(2), part(&pack(3, 100), 0..10), NOW).await.unwrap();
    packs.forget(from(2).account).await.unwrap();
    assert_eq!((used(&packs, 2), read(&packs, &other.id).await), (0, None));
    assert_eq!(read(&packs, &kept.id).await.unwrap(), kept.bytes);
    assert_eq!(files(dir.path(), "arriving").len(), 0);
    packs.put(from(1), part(&pack(4, 100), 0..10), NOW).await.unwrap();
    packs.put(from(1), part(&pack(5, 100), 0..10), NOW).await.unwrap();
    packs.close().await;
    // A file whose row was not committed any more, and an upload that nobody went on with.
    let file = files(dir.path(), "files").remove(0);
    let orphan = dir.path().join("files/00").join("00".repeat(32));
    fs::copy(&file, orphan).unwrap();
    File::options()
        .write(true)
        .open(&files(dir.path(), "arriving")[0])
        .unwrap()
        .set_modified(UNIX_EPOCH)
        .unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    assert_eq!((files(dir.path(), "files"), packs.totals().packs), (vec![file], 1));
    packs.sweep(UnixMillis(0).plus(UPLOAD_LIFE)).await.unwrap();
    assert_eq!(files(dir.path(), "arriving").len(), 1);
}

#[tokio::test]
async fn a_pack_that_was_whole_when_the_server_ended_can_be_finished() {
    let dir = tempfile::tempdir().unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let pack = pack(1, 5_000);
    let end = pack.bytes.len();
    packs.put(from(1), part(&pack, 0..end - 100), NOW).await.unwrap();
    packs.close().await;
    // Killed after the last byte was written, and before the file had its place.
    fs::write(&files(dir.path(), "arriving")[0], &pack.bytes).unwrap();
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let looked = packs.look_up(from(1), &[pack.id], NOW).await.unwrap();
    assert_eq!(looked, [PackState::Arriving(u32::try_from(end - 1).unwrap())]);
    assert_eq!(packs.put(from(1), part(&pack, end - 1..end), NOW).await.unwrap(), PackState::Stored);
    assert_eq!(read(&packs, &pack.id).await.unwrap(), pack.bytes);
}

#[tokio::test]
async fn files_go_to_the_service_that_is_chosen_later() {
    let (dir, at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packs = Packs::open(dir.path(), None).await.unwrap();
    let all: Vec<_> = (0..20).map(|name| pack(name, 1_000)).collect();
    for pack in &all {
        put(&packs, 1, pack).await.unwrap();
    }
    packs.close().await;
    let objects = service(at.path());
    let packs = Packs::open(dir.path(), Some(objects.clone())).await.unwrap();
    // From the first moment all can be read, those that have not moved from the folder.
    for pack in &all {
        assert_eq!(read(&packs, &pack.id).await.as_ref(), Some(&pack.bytes));
    }
    // What nobody owns goes, also if a crash has left it.
    objects.store(&PackId::of(b"nobody's"), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(kept(&packs, dir.path(), Some(&objects)).await, all.len());
    for pack in &all {
        assert_eq!(read(&packs, &pack.id).await.as_ref(), Some(&pack.bytes));
    }
    packs.forget(from(1).account).await.unwrap();
    assert_eq!(kept(&packs, dir.path(), Some(&objects)).await, 0);
    assert_eq!((used(&packs, 1), packs.totals().packs), (0, 0));
}

#[tokio::test]
async fn a_place_is_for_one_server_and_packs_are_not_looked_for_elsewhere() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let refused = |opened: Result<Packs, PackError>, what: &str| match opened {
        Err(PackError::Service(ObjectError::Refused(reason))) => assert!(reason.contains(what), "{reason}"),
        opened => panic!("{opened:?}"),
    };
    let packs = Packs::open(dir.path(), Some(service(at.path()))).await.unwrap();
    put(&packs, 1, &pack(1, 1_000)).await.unwrap();
    packs.close().await;
    refused(Packs::open(other.path(), Some(service(at.path()))).await, "another server");
    refused(Packs::open(dir.path(), Some(service(elsewhere.path()))).await, "not at");
    refused(Packs::open(dir.path(), None).await, "--blobs");
    // Copied to another place with all objects, it goes on there.
    for file in files(at.path(), "") {
        let copy = elsewhere.path().join(file.strip_prefix(at.path()).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&file, copy).unwrap();
    }
    let packs = Packs::open(dir.path(), Some(service(elsewhere.path()))).await.unwrap();
    assert_eq!(read(&packs, &pack(1, 1_000).id).await, Some(pack(1, 1_000).bytes));
}

#[tokio::test]
async fn while_the_service_is_away_a_pack_stays_to_be_finished() {
    let (dir, at) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let packs = Packs::open(dir.path(), Some(service(at.path()))).await.unwrap();
    let pack = pack(1, 5_000);
    let end = pack.bytes.len();
    // As a service that fails: there is a file where a folder has to be.
    fs::write(at.path().join("packs"), b"").unwrap();
    let failed = put(&packs, 1, &pack).await;
    assert!(matches!(failed, Err(PackError::Service(_))), "{failed:?}");
    assert_eq!(used(&packs, 1), 0);
    let looked = packs.look_up(from(1), &[pack.id], NOW).await.unwrap();
    assert_eq!(looked, [PackState::Arriving(u32::try_from(end - 1).unwrap())]);
    fs::remove_file(at.path().join("packs")).unwrap();
    assert_eq!(packs.put(from(1), part(&pack, end - 1..end), NOW).await.unwrap(), PackState::Stored);
    assert_eq!(read(&packs, &pack.id).await, Some(pack.bytes));
    assert_eq!(files(dir.path(), "arriving"), Vec::<PathBuf>::new());
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    LookUp(u8, u8),
    Delete(u8, u8),
    Sweep,
    Wait,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..3_u8, 0..4_u8).prop_map(|(account, name)| Step::Put(account, name)),
        2 => (1..3_u8, 0..4_u8).prop_map(|(account, name)| Step::LookUp(account, name)),
        3 => (1..3_u8, 0..4_u8).prop_map(|(account, name)| Step::Delete(account, name)),
        2 => Just(Step::Sweep),
        2 => Just(Step::Wait),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What an account has: until when it is kept, and whether it is deleted.
type Model = BTreeMap<(u8, u8), (UnixMillis, bool)>;

/// Opens a folder as if it were a service.
fn service(folder: &Path) -> Objects {
    let way = Way { client: reqwest::Client::new(), has_proxy: false, may_be_private: true };
    Objects::open(&format!("file://{}", folder.display()).parse().unwrap(), &way).unwrap()
}

/// The packs that are there when everything is tidied up.
async fn kept(packs: &Packs, dir: &Path, service: Option<&Objects>) -> usize {
    while packs.tidy().await.unwrap() {}
    match service {
        None => files(dir, "files").len(),
        Some(service) => {
            assert_eq!(files(dir, "files"), Vec::<PathBuf>::new());
            service.list().await.unwrap().len()
        }
    }
}

fn runs(steps: Vec<Step>, at_service: bool) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let service_dir = tempfile::tempdir().unwrap();
        let service = at_service.then(|| service(service_dir.path()));
        let mut packs = Packs::open(dir.path(), service.clone()).await.unwrap();
        let (mut model, mut now) = (Model::new(), NOW);
        let all: Vec<_> = (0..4).map(|name| pack(name, 1_000)).collect();
        for step in steps {
            match step {
                Step::Put(account, name) => {
                    let put = packs.put(from(account), whole(&all[usize::from(name)]), now).await.unwrap();
                    prop_assert_eq!(put, PackState::Stored);
                    model.insert((account, name), (now.plus(LEASE), false));
                }
                Step::LookUp(account, name) => {
                    let looked =
                        packs.look_up(from(account), &[all[usize::from(name)].id], now).await.unwrap();
                    let expected = match model.get_mut(&(account, name)) {
                        Some(held) => {
                            *held = (now.plus(LEASE), false);
                            PackState::Stored
                        }
                        None => PackState::Arriving(0),
                    };
                    prop_assert_eq!(looked, vec![expected]);
                }
                Step::Delete(account, name) => {
                    packs.delete(from(account).account, all[usize::from(name)].id, now).await.unwrap();
                    match model.get_mut(&(account, name)) {
                        Some((lease, deleted)) if *lease > now => *deleted = true,
                        _ => drop(model.remove(&(account, name))),
                    }
                }
                Step::Sweep => {
                    packs.sweep(now).await.unwrap();
                    model.retain(|_, (lease, deleted)| !*deleted || *lease > now);
                }
                Step::Wait => now = now.plus(LEASE / 2),
                Step::Reopen => {
                    packs.close().await;
                    packs = Packs::open(dir.path(), service.clone()).await.unwrap();
                }
            }
            for account in [1, 2] {
                let charged = model.iter().filter(|((owner, _), (_, deleted))| *owner == account && !deleted);
                let expected: u64 =
                    charged.map(|((_, name), _)| all[usize::from(*name)].bytes.len() as u64).sum();
                prop_assert_eq!(used(&packs, account), expected);
            }
            let names: BTreeSet<u8> = model.keys().map(|(_, name)| *name).collect();
            prop_assert_eq!(packs.totals().packs, names.len() as u64);
            prop_assert_eq!(kept(&packs, dir.path(), service.as_ref()).await, names.len());
            for name in names {
                let pack = &all[usize::from(name)];
                let stored = read(&packs, &pack.id).await;
                prop_assert_eq!(stored.as_ref(), Some(&pack.bytes));
            }
        }
        packs.close().await;
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_packs_and_charges_are_those_of_the_model(steps in steps(), at_service: bool) {
        runs(steps, at_service)?;
    }
}
