//! Finds the channel of an arriving message by its CIDToken, without trying every contact's key.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    MessageNumber,
    cid::{CidSubkeys, CidToken},
};
use crate::keys::TransportId;

/// How many messages ahead of the next expected one are recognised at a glance; others take trial opening.
pub const LOOKAHEAD: u64 = 64;

/// The attempts that are recognised at a glance.
const ATTEMPTS: [u8; 2] = [0, 1];

/// The expected tokens of all channels of an agent. `C` names a channel.
#[derive(Clone, Debug)]
pub struct TokenTable<C> {
    channels: HashMap<CidToken, C>,
    expected: BTreeMap<C, Expected>,
}

#[derive(Clone, Debug)]
struct Expected {
    epoch: u64,
    tids: Vec<TransportId>,
    /// In rising order of numbers, which may repeat for several transports and attempts.
    tokens: VecDeque<(u64, CidToken)>,
    /// The first number whose tokens are not in the table yet.
    end: u64,
}

impl<C: Copy + Ord> TokenTable<C> {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self { channels: HashMap::new(), expected: BTreeMap::new() }
    }

    /// Tells which channel a token belongs to, if it is expected.
    #[must_use]
    pub fn find(&self, token: &CidToken) -> Option<C> {
        self.channels.get(token).copied()
    }

    /// Expects the [`LOOKAHEAD`] messages of a channel from `next` on, at any of the transports `tids`.
    pub fn expect(&mut self, channel: C, subkeys: &CidSubkeys, tids: &[TransportId], next: MessageNumber) {
        let fits =
            self.expected.get(&channel).is_some_and(|known| known.epoch == next.epoch && known.tids == tids);
        if !fits {
            self.forget(channel);
        }
        let expected = self.expected.entry(channel).or_insert_with(|| Expected {
            epoch: next.epoch,
            tids: tids.to_vec(),
            tokens: VecDeque::new(),
            end: next.seqnum,
        });
        while let Some((seqnum, token)) = expected.tokens.front()
            && *seqnum < next.seqnum
        {
            self.channels.remove(token);
            expected.tokens.pop_front();
        }
        for seqnum in expected.end.max(next.seqnum)..next.seqnum.saturating_add(LOOKAHEAD) {
            for (tid, attempt) in tids.iter().flat_map(|tid| ATTEMPTS.map(|attempt| (tid, attempt))) {
                let token = subkeys.token(tid, attempt, MessageNumber { epoch: next.epoch, seqnum });
                self.channels.insert(token, channel);
                expected.tokens.push_back((seqnum, token));
            }
            expected.end = seqnum.saturating_add(1);
        }
    }

    /// Forgets a channel.
    pub fn forget(&mut self, channel: C) {
        for (_, token) in self.expected.remove(&channel).map(|expected| expected.tokens).unwrap_or_default() {
            self.channels.remove(&token);
        }
    }
}

impl<C: Copy + Ord> Default for TokenTable<C> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::CidKey;

    const EPOCH: u64 = 77;

    fn setup() -> (CidSubkeys, TransportId, TransportId) {
        let tid = |byte| TransportId::from_bytes([byte; 8]);
        (CidSubkeys::derive(&CidKey::from_bytes([5; 32])), tid(1), tid(2))
    }

    fn at(seqnum: u64) -> MessageNumber {
        MessageNumber { epoch: EPOCH, seqnum }
    }

    #[test]
    fn exactly_the_lookahead_is_expected_and_it_moves() {
        let (subkeys, tid, other) = setup();
        let mut table = TokenTable::new();
        table.expect('a', &subkeys, &[tid], at(1));
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(1))), Some('a'));
        assert_eq!(table.find(&subkeys.token(&tid, 1, at(64))), Some('a'));
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(65))), None);
        assert_eq!(table.find(&subkeys.token(&tid, 2, at(1))), None);
        assert_eq!(table.find(&subkeys.token(&other, 0, at(1))), None);
        table.expect('a', &subkeys, &[tid], at(11));
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(10))), None);
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(74))), Some('a'));
        assert_eq!(table.channels.len(), 128);
    }

    #[test]
    fn a_far_jump_leaves_no_gap() {
        let (subkeys, tid, _) = setup();
        let mut table = TokenTable::new();
        table.expect('a', &subkeys, &[tid], at(1));
        table.expect('a', &subkeys, &[tid], at(1_000));
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(1_000))), Some('a'));
        assert_eq!(table.channels.len(), 128);
    }

    #[test]
    fn a_new_epoch_or_transport_starts_over_and_forgetting_leaves_nothing() {
        let (subkeys, tid, other) = setup();
        let mut table = TokenTable::new();
        table.expect('a', &subkeys, &[tid], at(1));
        table.expect('a', &subkeys, &[tid, other], at(1));
        assert_eq!(table.channels.len(), 256);
        let next = MessageNumber { epoch: EPOCH + 1, seqnum: 1 };
        table.expect('a', &subkeys, &[tid, other], next);
        assert_eq!(table.find(&subkeys.token(&tid, 0, at(1))), None);
        assert_eq!(table.find(&subkeys.token(&other, 0, next)), Some('a'));
        table.forget('a');
        assert!(table.channels.is_empty() && table.expected.is_empty());
    }
}
