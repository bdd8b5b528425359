//! Messages that are called off, sent anew, or given up with age.

use std::time::Duration;

use petmail_proto::{
    channel::MessageNumber,
    keys::MessageId,
    outbox::{Entry, Kind},
    time::UnixMillis,
};
use rand_core::CryptoRngCore;
use serde_json::{Map, Value};

use super::{Core, Step, send::put_message};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{BODIES, Failure, MESSAGES, MIDS, Message, MessageKey, Stage, Way, mid_key},
        view,
    },
    api::types::MessageView,
};

/// How long a message waits for its acknowledgement until it counts as failed. Less than [`MID_LIFE`]: one that is sent anew
/// is still known at the other side if it had come after all.
const MESSAGE_LIFE: Duration = Duration::from_secs(60 * 86_400);

/// How long a message that came in is remembered, so that it is not shown twice when it is sent anew.
const MID_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// How many messages are given up, or forgotten, in one step.
const AT_ONCE: usize = 128;

impl Core {
    /// Calls a message off that no mailbox has taken.
    pub(crate) fn cancel_message(
        &mut self,
        step: &mut Step,
        key: MessageKey,
        message: &Message,
        packets: Map<String, Value>,
        now: UnixMillis,
    ) -> Result<MessageView, CommandError> {
        let entry = self.peer(key.cid)?.outbox.entry(key.number).cloned();
        let (Stage::Waiting, Some(entry)) = (message.state, entry) else {
            return Err(CommandError::new(
                Fault::Conflict,
                format!("message {} is not waiting", message.id),
                "only what no mailbox has taken can be cancelled; messages shows the states",
            ));
        };
        let failed = self.give_up(step, key.cid, &entry, Failure::Cancelled, now)?;
        self.drop_share(step, message.id);
        Ok(view::message(self.peer(key.cid)?, key, failed.as_ref().unwrap_or(message), packets, now))
    }

    /// Tries a waiting message now, or sends a failed one anew: under another number, and the same name.
    pub(crate) fn retry_message(
        &mut self,
        step: &mut Step,
        key: MessageKey,
        message: &Message,
        packets: Map<String, Value>,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<MessageView, CommandError> {
        match message.state {
            Stage::Waiting => {
                self.peer_mut(key.cid)?.outbox.retry_now();
                self.wake(step, key.cid);
                Ok(view::message(self.peer(key.cid)?, key, message, packets, now))
            }
            Stage::Failed(_) => {
                self.check_still_stored(message.id, &packets)?;
                step.delete(MESSAGES, key.encode());
                step.delete(BODIES, key.encode());
                let mid = message.mid.unwrap_or_else(|| MessageId::generate(rng));
                self.queue_message(step, key.cid, (message.id, mid), packets, now, rng)
            }
            Stage::Sent | Stage::Delivered | Stage::Received => Err(CommandError::new(
                Fault::Conflict,
                format!("message {} has not failed", message.id),
                "nothing needs to be done about it; messages shows the states",
            )),
        }
    }

    /// Gives up messages that were not acknowledged for too long, as many as one step holds; true if there may be more.
    pub(crate) fn expire_messages(&mut self, step: &mut Step, now: UnixMillis) -> Result<bool, CommandError> {
        let is_old = |entry: &&Entry| now.since(entry.queued_at) >= MESSAGE_LIFE;
        let old = self.peers.iter().flat_map(|(cid, peer)| {
            // Numbers rise with time: the first is the oldest.
            let old = peer.outbox.entries().take_while(is_old);
            old.map(|entry| (*cid, entry.clone()))
        });
        let old: Vec<_> = old.take(AT_ONCE).collect();
        for (cid, entry) in &old {
            self.give_up(step, *cid, entry, Failure::Expired, now)?;
        }
        Ok(old.len() == AT_ONCE)
    }

    /// Forgets the names of messages that came in long ago, as many as one step holds; true if there may be more.
    pub(crate) fn forget_mids(&mut self, step: &mut Step, now: UnixMillis) -> bool {
        let old = self.mids.iter().filter(|(_, came)| now.since(**came) >= MID_LIFE);
        let old: Vec<(u32, MessageId)> = old.map(|(name, _)| *name).take(AT_ONCE).collect();
        self.forget(step, &old);
        old.len() == AT_ONCE
    }

    /// Forgets the names of a removed contact's messages, as many as one step holds; true if there may be more.
    pub(crate) fn forget_mids_of(&mut self, step: &mut Step, cid: u32) -> bool {
        let first = (cid, MessageId::from_bytes([0; 16]));
        let last = (cid, MessageId::from_bytes([0xff; 16]));
        let of_it = self.mids.range(first..=last).map(|(name, _)| *name);
        let of_it: Vec<(u32, MessageId)> = of_it.take(AT_ONCE).collect();
        self.forget(step, &of_it);
        of_it.len() == AT_ONCE
    }

    fn forget(&mut self, step: &mut Step, names: &[(u32, MessageId)]) {
        for (cid, mid) in names {
            self.mids.remove(&(*cid, *mid));
            step.delete(MIDS, mid_key(*cid, *mid));
        }
    }

    /// Takes a message out of the outbox for good; returns its row in the log.
    fn give_up(
        &mut self,
        step: &mut Step,
        cid: u32,
        entry: &Entry,
        failure: Failure,
        now: UnixMillis,
    ) -> Result<Option<Message>, CommandError> {
        let number: MessageNumber = entry.number;
        self.peer_mut(cid)?.outbox.remove(number);
        Self::delete_queued(step, cid, number);
        if entry.kind == Kind::Content {
            self.skip(cid, number)?;
        }
        if !entry.is_taken() {
            self.owe_ack_again(cid, now)?;
        }
        self.put_progress(step, cid)?;
        self.wake(step, cid);
        let Some(id) = entry.message else { return Ok(None) };
        let key = MessageKey { cid, way: Way::Out, number };
        let message =
            Message { id, when: entry.queued_at, state: Stage::Failed(failure), mid: Some(entry.mid) };
        put_message(step, key, &message)?;
        step.changed.push((key, message.clone()));
        Ok(Some(message))
    }
}
