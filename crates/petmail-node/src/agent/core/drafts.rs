//! Texts that are being written: kept with the rest, so that neither a closed page nor a stopped node loses one.

use super::{Core, Step};
use crate::{
    agent::{error::CommandError, records::DRAFTS},
    api::types::{Draft, Event},
};

impl Core {
    /// Keeps the text that is being written to a contact, in place of the one before; an empty one is none.
    pub(crate) fn keep_draft(&self, step: &mut Step, draft: &Draft) -> Result<(), CommandError> {
        self.peer(draft.cid)?;
        let key = draft.cid.to_be_bytes();
        if draft.text.is_empty() {
            step.delete(DRAFTS, key);
        } else {
            step.put_bytes(DRAFTS, key, draft.text.clone().into_bytes());
        }
        step.events.push(Event::Draft(draft.clone()));
        Ok(())
    }
}
