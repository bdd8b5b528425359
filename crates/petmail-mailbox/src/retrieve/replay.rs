//! The list requests of the last minutes, so that none is answered twice.

use std::collections::{HashSet, VecDeque};

use petmail_proto::{
    retrieval::{LIST_WINDOW, RequestKey},
    time::UnixMillis,
};

/// The most requests that are remembered: 333 a second for the whole window, in about 10 MB.
const MAX_REMEMBERED: usize = 200_000;

/// What is known about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is new, and remembered from now on.
    Never,
    /// It was answered.
    Before,
    /// It is new, but there is no room to remember it.
    TooMany,
}

/// Remembers requests until their time is outside the window. A request may be dated ahead by the window's length, so it
/// is remembered for twice that.
#[derive(Debug, Default)]
pub(super) struct ReplayMemory {
    keys: HashSet<RequestKey>,
    by_age: VecDeque<(UnixMillis, RequestKey)>,
}

impl ReplayMemory {
    /// Looks a request up, and remembers it.
    pub(super) fn remember(&mut self, key: RequestKey, now: UnixMillis) -> Seen {
        self.forget_old(now);
        if self.keys.contains(&key) {
            return Seen::Before;
        }
        if self.keys.len() >= MAX_REMEMBERED {
            return Seen::TooMany;
        }
        self.keys.insert(key);
        self.by_age.push_back((now, key));
        Seen::Never
    }

    fn forget_old(&mut self, now: UnixMillis) {
        let oldest = now.minus(LIST_WINDOW.saturating_mul(2));
        while let Some((_, key)) = self.by_age.pop_front_if(|(seen, _)| *seen < oldest) {
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> RequestKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        RequestKey::from_bytes(bytes)
    }

    #[test]
    fn a_request_is_remembered_for_twice_the_window() {
        let mut memory = ReplayMemory::default();
        let start = UnixMillis(10_000_000);
        assert_eq!(memory.remember(key(1), start), Seen::Never);
        assert_eq!(memory.remember(key(2), start), Seen::Never);
        let end = start.plus(LIST_WINDOW * 2);
        assert_eq!(memory.remember(key(1), end), Seen::Before);
        assert_eq!(memory.remember(key(1), UnixMillis(end.0 + 1)), Seen::Never);
        assert_eq!(memory.keys.len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = ReplayMemory::default();
        let now = UnixMillis(10_000_000);
        for number in 0..MAX_REMEMBERED {
            assert_eq!(memory.remember(key(number.try_into().unwrap()), now), Seen::Never);
        }
        assert_eq!(memory.remember(key(u64::MAX), now), Seen::TooMany);
        assert_eq!(memory.remember(key(0), now), Seen::Before);
    }
}
