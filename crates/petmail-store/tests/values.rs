//! Small public values: names of engines, ranges of prefixes.

use std::ops::Bound;

use petmail_store::{EngineKind, prefix_range};

#[test]
fn engines_are_parsed_by_name() {
    for engine in [EngineKind::Sled, EngineKind::Redb] {
        assert_eq!(engine.to_string().parse(), Ok(engine));
    }
    let error = "Sled".parse::<EngineKind>().unwrap_err();
    assert!(error.to_string().contains("choose sled or redb"));
}

#[test]
fn prefixes_become_ranges() {
    let (from, to) = prefix_range(&[1, 255, 255]);
    assert_eq!(from, Bound::Included(vec![1, 255, 255]));
    assert_eq!(to, Bound::Excluded(vec![2]));
    assert_eq!(prefix_range(&[255]).1, Bound::Unbounded);
    assert_eq!(prefix_range(&[]).1, Bound::Unbounded);
}
