//! Where files are that were sent a while ago: contacts ask, and are told.

use petmail_proto::{content::Location, keys::MessageId};
use rand_core::OsRng;

use super::super::{
    Agent,
    error::CommandError,
    now,
    records::transfers::{Hitch, Located, Share},
};
use crate::transfer::Stopped;

/// A contact asks where a file is now.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) cid: u32,
    /// The name of the message that brought it.
    pub(crate) mid: MessageId,
    /// The file, with the id of its message; none if it is kept no longer.
    pub(crate) share: Option<(u64, Share)>,
    /// What was found out a short while ago.
    pub(crate) known: Option<Located>,
}

impl Agent {
    /// Returns what contacts ask for and were not told yet.
    pub(crate) async fn questions(&self) -> Vec<Question> {
        self.0.core.lock().await.questions(now())
    }

    /// Tells a contact where a file is now.
    pub(crate) async fn answer(
        &self,
        question: &Question,
        location: Option<Location>,
    ) -> Result<(), CommandError> {
        self.step(|core, step, now| core.answer(step, question, location, now, &mut OsRng)).await
    }

    /// Notes why a contact cannot be told yet, until that is tried again.
    pub(crate) async fn cannot_answer(
        &self,
        question: &Question,
        stopped: &Stopped,
    ) -> Result<(), CommandError> {
        self.step(|core, _, _| {
            core.cannot_answer(question, Hitch::from(stopped));
            Ok(())
        })
        .await
    }

    /// Asks the sender of a file that is gone where it is now, unless that is in vain; tells whether it was asked.
    pub(crate) async fn ask_location(&self, id: u64, is_gone: bool) -> Result<bool, CommandError> {
        let Ok((_, stored)) = self.stored_file(id).await else { return Ok(false) };
        if !is_gone || stored.until <= now() {
            return Ok(false);
        }
        self.step(|core, step, now| core.ask_location(step, id, now, &mut OsRng)).await
    }
}
