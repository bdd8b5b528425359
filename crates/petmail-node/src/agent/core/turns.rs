//! Which contacts' outboxes are asked when: those with something to offer take turns, the others sleep until their time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petmail_proto::time::UnixMillis;

/// The order in which contacts are asked. What it costs does not depend on how many contacts there are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ready: VecDeque<u32>,
    is_ready: BTreeSet<u32>,
    alarms: BTreeSet<(UnixMillis, u32)>,
    alarm_of: BTreeMap<u32, UnixMillis>,
}

impl Turns {
    /// Lets a contact be asked, behind those who wait already.
    pub(super) fn wake(&mut self, cid: u32) {
        self.clear_alarm(cid);
        if self.is_ready.insert(cid) {
            self.ready.push_back(cid);
        }
    }

    /// Lets a contact be asked at `time`, unless it is woken before.
    pub(super) fn wake_at(&mut self, cid: u32, time: UnixMillis) {
        self.clear_alarm(cid);
        self.alarms.insert((time, cid));
        self.alarm_of.insert(cid, time);
    }

    /// Takes the contact whose turn it is.
    pub(super) fn next(&mut self, now: UnixMillis) -> Option<u32> {
        while let Some((_, cid)) = self.alarms.first().copied().filter(|(time, _)| *time <= now) {
            self.wake(cid);
        }
        let cid = self.ready.pop_front()?;
        self.is_ready.remove(&cid);
        Some(cid)
    }

    /// When a sleeping contact is to be asked next.
    pub(super) fn next_alarm(&self) -> Option<UnixMillis> {
        self.alarms.first().map(|(time, _)| *time)
    }

    fn clear_alarm(&mut self, cid: u32) {
        if let Some(time) = self.alarm_of.remove(&cid) {
            self.alarms.remove(&(time, cid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_take_turns_and_sleepers_join_when_it_is_time() {
        let mut turns = Turns::default();
        for cid in [3, 1, 3] {
            turns.wake(cid);
        }
        turns.wake_at(2, UnixMillis(50));
        turns.wake_at(2, UnixMillis(40));
        let next =
            |turns: &mut Turns, now| std::iter::from_fn(|| turns.next(UnixMillis(now))).collect::<Vec<_>>();
        assert_eq!(next(&mut turns, 39), [3, 1]);
        assert_eq!(turns.next_alarm(), Some(UnixMillis(40)));
        turns.wake(3);
        assert_eq!(next(&mut turns, 40), [3, 2]);
        assert_eq!(turns.next_alarm(), None);
        turns.wake_at(2, UnixMillis(60));
        turns.wake(2);
        assert_eq!((next(&mut turns, 41), turns.next_alarm()), (vec![2], None));
    }
}
