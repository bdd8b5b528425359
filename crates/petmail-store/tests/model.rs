//! Random histories of commits and reopenings, compared with sorted maps in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use petmail_store::{Batch, Direction, EngineKind, Keyspace, Row, Store, compact_offline};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;

const KEYSPACES: &[Keyspace] = &[Keyspace::new("one"), Keyspace::new("two")];

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Write>),
    Read(Scan),
    Reopen,
    Compact,
}

/// A put, or without a value a delete.
#[derive(Clone, Debug)]
struct Write {
    keyspace: Keyspace,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Scan {
    keyspace: Keyspace,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    direction: Direction,
    limit: usize,
}

type Model = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn keyspace() -> impl Strategy<Value = Keyspace> {
    prop::sample::select(KEYSPACES)
}

/// Few and short keys, so that histories collide.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255)], 1..4)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded),]
}

fn write() -> impl Strategy<Value = Write> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 32_000..32_768),
    ];
    (keyspace(), key(), prop::option::weighted(0.7, value)).prop_map(|(keyspace, key, value)| Write {
        keyspace,
        key,
        value,
    })
}

fn scan() -> impl Strategy<Value = Scan> {
    let direction = prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)];
    (keyspace(), bound(), bound(), direction, 0..20_usize)
        .prop_map(|(keyspace, from, to, direction, limit)| Scan { keyspace, from, to, direction, limit })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(write(), 0..8).prop_map(Step::Commit),
        6 => scan().prop_map(Step::Read),
        2 => Just(Step::Reopen),
        1 => Just(Step::Compact),
    ]
}

/// What a scan must return, by checking every row.
fn expected(model: &Model, scan: &Scan) -> Vec<Row> {
    let within = |key: &Vec<u8>| {
        let from = match &scan.from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        let to = match &scan.to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        from && to
    };
    let mut rows: Vec<Row> = model
        .iter()
        .filter(|((name, key), _)| *name == scan.keyspace.name() && within(key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    if scan.direction == Direction::Descending {
        rows.reverse();
    }
    rows.truncate(scan.limit);
    rows
}

/// The opened store beside its model.
struct Pair<'a> {
    path: &'a Path,
    engine: EngineKind,
    store: Store,
    model: Model,
}

impl Pair<'_> {
    async fn take(mut self, step: Step) -> Result<Self, TestCaseError> {
        match step {
            Step::Commit(writes) => self.commit(writes).await,
            Step::Read(scan) => self.read(&scan).await?,
            Step::Reopen => self = self.reopen(false).await,
            Step::Compact => self = self.reopen(true).await,
        }
        Ok(self)
    }

    async fn commit(&mut self, writes: Vec<Write>) {
        let mut batch = Batch::new();
        for Write { keyspace, key, value } in writes {
            let place = (keyspace.name(), key.clone());
            if let Some(value) = value {
                self.model.insert(place, value.clone());
                batch = batch.put(keyspace, key, value);
            } else {
                self.model.remove(&place);
                batch = batch.delete(keyspace, key);
            }
        }
        self.store.commit(batch).await.unwrap();
    }

    async fn read(&self, scan: &Scan) -> Result<(), TestCaseError> {
        let range = (scan.from.clone(), scan.to.clone());
        let rows = self.store.range(scan.keyspace, range, scan.direction, scan.limit).await.unwrap();
        let expected = expected(&self.model, scan);
        for (key, value) in &expected {
            let got = self.store.get(scan.keyspace, key.clone()).await.unwrap();
            prop_assert_eq!(got.as_ref(), Some(value));
        }
        prop_assert_eq!(rows, expected);
        Ok(())
    }

    async fn reopen(self, compact: bool) -> Self {
        self.store.close().await;
        if compact {
            compact_offline(self.path, self.engine).unwrap();
        }
        Self { store: Store::open(self.path, self.engine, KEYSPACES).unwrap(), ..self }
    }
}

fn check(engine: EngineKind, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair {
            path: dir.path(),
            engine,
            store: Store::open(dir.path(), engine, KEYSPACES).unwrap(),
            model: Model::new(),
        };
        for step in steps {
            pair = pair.take(step).await?;
        }
        pair = pair.reopen(false).await;
        for &keyspace in KEYSPACES {
            let everything = Scan {
                keyspace,
                from: Bound::Unbounded,
                to: Bound::Unbounded,
                direction: Direction::Ascending,
                limit: usize::MAX,
            };
            pair.read(&everything).await?;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sled_behaves_like_sorted_maps(steps in prop::collection::vec(step(), 1..40)) {
        check(EngineKind::Sled, steps)?;
    }

    #[test]
    fn redb_behaves_like_sorted_maps(steps in prop::collection::vec(step(), 1..40)) {
        check(EngineKind::Redb, steps)?;
    }
}
