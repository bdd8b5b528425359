//! Which part of a conversation is meant: pure arithmetic over the list of its messages.

use std::ops::Range;

use super::error::{CommandError, Fault};
use crate::api::types::MessageQuery;

/// How many messages a part has unless told otherwise.
const USUAL: usize = 50;

/// How many messages a part has at most.
const MOST: usize = 500;

/// A part of a contact's conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) cid: u32,
    at: Place,
    limit: usize,
}

/// Where a part is; messages are named by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    End,
    Before(u64),
    After(u64),
    Around(u64),
}

impl Page {
    /// Reads a query.
    ///
    /// # Errors
    /// If it names no contact, more than one place, or an absurd number of messages.
    pub(super) fn of(query: MessageQuery) -> Result<Self, CommandError> {
        let cid =
            query.cid.ok_or_else(|| refuse("a part of what? no contact is named", "name one with cid"))?;
        if query.since.is_some() || query.direction.is_some() {
            return Err(refuse(
                "a part of a conversation has both directions, and no since",
                "leave them out",
            ));
        }
        let at = match (query.before, query.after, query.around) {
            (None, None, None) => Place::End,
            (Some(id), None, None) => Place::Before(id),
            (None, Some(id), None) => Place::After(id),
            (None, None, Some(id)) => Place::Around(id),
            _ => return Err(refuse("before, after and around exclude each other", "name one of them")),
        };
        let limit = query.limit.map_or(USUAL, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        if !(1..=MOST).contains(&limit) {
            return Err(refuse("the limit is out of range", "1 to 500 messages"));
        }
        Ok(Self { cid, at, limit })
    }

    /// Returns the message that the part stands at.
    pub(super) fn stands_at(&self) -> Option<u64> {
        match self.at {
            Place::End => None,
            Place::Before(id) | Place::After(id) | Place::Around(id) => Some(id),
        }
    }

    /// Returns the positions of the part in a conversation with these messages; none if what it stands at is not there.
    pub(super) fn range(&self, ids: &[u64]) -> Range<usize> {
        let position = |id| ids.iter().position(|other| *other == id);
        let upto = |end: usize| end.saturating_sub(self.limit)..end;
        let (start, end) = match self.at {
            Place::End => return upto(ids.len()),
            Place::Before(id) => return position(id).map_or(0..0, upto),
            Place::After(id) => match position(id) {
                Some(position) => (position.saturating_add(1), position.saturating_add(1 + self.limit)),
                None => (0, 0),
            },
            Place::Around(id) => match position(id) {
                Some(position) => {
                    let start = position.saturating_sub(self.limit / 2);
                    (start, start.saturating_add(self.limit))
                }
                None => (0, 0),
            },
        };
        start.min(ids.len())..end.min(ids.len())
    }
}

fn refuse(problem: &str, hint: &str) -> CommandError {
    CommandError::new(Fault::BadRequest, problem, hint)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::hash_set, prelude::*};

    use super::*;

    fn page(at: Place, limit: usize) -> Page {
        Page { cid: 1, at, limit }
    }

    proptest! {
        #[test]
        fn walking_by_pages_shows_every_message_once_and_in_order(
            ids in hash_set(any::<u64>(), 0..60),
            limit in 1..9_usize,
        ) {
            let ids: Vec<u64> = ids.into_iter().collect();
            let mut backwards: Vec<u64> = ids[page(Place::End, limit).range(&ids)].to_vec();
            while let Some(first) = backwards.first().copied() {
                let more = &ids[page(Place::Before(first), limit).range(&ids)];
                if more.is_empty() {
                    break;
                }
                backwards.splice(0..0, more.iter().copied());
            }
            prop_assert_eq!(&backwards, &ids);
            let mut forwards: Vec<u64> = ids.first().copied().into_iter().collect();
            while let Some(last) = forwards.last().copied() {
                let more = &ids[page(Place::After(last), limit).range(&ids)];
                if more.is_empty() {
                    break;
                }
                forwards.extend(more);
            }
            prop_assert_eq!(&forwards, &ids);
            for id in &ids {
                let around = &ids[page(Place::Around(*id), limit).range(&ids)];
                prop_assert!(around.contains(id) && around.len() <= limit);
            }
            prop_assert!(page(Place::Before(0), limit).range(&[1, 2]).is_empty());
        }
    }

    #[test]
    fn absurd_queries_are_refused() {
        let query = MessageQuery { cid: Some(1), ..MessageQuery::default() };
        assert_eq!(Page::of(query.clone()).unwrap(), page(Place::End, USUAL));
        for wrong in [
            MessageQuery { cid: None, limit: Some(1), ..query.clone() },
            MessageQuery { limit: Some(0), ..query.clone() },
            MessageQuery { limit: Some(501), ..query.clone() },
            MessageQuery { before: Some(1), after: Some(1), ..query.clone() },
            MessageQuery { limit: Some(1), since: Some(1), ..query.clone() },
        ] {
            assert!(Page::of(wrong).is_err());
        }
    }
}
