//! Counts what each address holds at this moment, so that one address cannot hold everything.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use crate::address::AddressGroup;

/// A count for each address that holds anything, with one bound for all. Clones share the counts.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    max: u32,
    held: Arc<Mutex<HashMap<AddressGroup, u32>>>,
}

impl Shares {
    pub(super) fn new(max: NonZeroU32) -> Self {
        Self { max: max.get(), held: Arc::default() }
    }

    /// Takes one for `group` until the result is dropped; `None` if the group already holds all it may.
    pub(super) fn take(&self, group: AddressGroup) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(group).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Share { group, held: Arc::clone(&self.held) })
    }
}

/// One taken share; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    group: AddressGroup,
    held: Arc<Mutex<HashMap<AddressGroup, u32>>>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.group) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.group)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_per_group_and_forgotten_when_given_back() {
        let shares = Shares::new(NonZeroU32::new(2).unwrap());
        let (a, b) = (AddressGroup::of([192, 0, 2, 1].into()), AddressGroup::of([192, 0, 2, 2].into()));
        let first = shares.take(a).unwrap();
        let second = shares.take(a).unwrap();
        assert!(shares.take(a).is_none());
        assert!(shares.take(b).is_some());
        drop(first);
        drop(shares.take(a).unwrap());
        drop(second);
        assert!(shares.held.lock().unwrap().is_empty());
    }
}
