//! What the people have read, here and there. A message is read with all before it.

use petmail_proto::{channel::MessageNumber, time::UnixMillis};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use super::{Core, Step, acks::Why};
use crate::{
    agent::{
        error::{CommandError, Fault},
        records::{MessageKey, Way},
    },
    api::types::{Direction, Event},
};

/// The `receipt` packet: how far the sender's person has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    through: MessageNumber,
}

impl Core {
    /// Notes that the person has read a message, and all before it of the same contact. The contact is told, soon, if the
    /// owner of this node wants that.
    pub(crate) fn mark_read(
        &mut self,
        step: &mut Step,
        key: MessageKey,
        now: UnixMillis,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), CommandError> {
        let MessageKey { cid, way, number } = key;
        if way != Way::In {
            return Err(CommandError::new(
                Fault::BadRequest,
                "this message is your own",
                "the messages command lists those that came in",
            ));
        }
        let read = &mut self.peer_mut(cid)?.progress.read;
        if *read >= number {
            return Ok(());
        }
        *read = number;
        if self.profile.read_receipts {
            self.owe_ack(cid, Why::New, now, rng);
            step.wake_outbox = true;
        }
        step.events.push(Event::Read {
            cid,
            direction: Direction::In,
            epoch: number.epoch,
            seqnum: number.seqnum,
        });
        Ok(self.put_progress(step, cid)?)
    }

    /// Makes the `receipt` packet of a message that is about to be queued, if there is to be one.
    pub(super) fn receipt(&self, cid: u32) -> Result<Option<Receipt>, CommandError> {
        let through = self.peer(cid)?.progress.read;
        Ok((self.profile.read_receipts && through > MessageNumber::default()).then_some(Receipt { through }))
    }

    /// Takes in a contact's `receipt` packet. It can speak of what was sent only.
    pub(super) fn hear_receipt(
        &mut self,
        step: &mut Step,
        cid: u32,
        receipt: Receipt,
    ) -> Result<(), CommandError> {
        let progress = &mut self.peer_mut(cid)?.progress;
        let through = receipt.through.min(progress.last_sent);
        if through <= progress.read_there {
            return Ok(());
        }
        progress.read_there = through;
        let MessageNumber { epoch, seqnum } = through;
        step.events.push(Event::Read { cid, direction: Direction::Out, epoch, seqnum });
        Ok(())
    }
}
