//! `retry`, `cancel`, `mark-read`: what to do about one message.

use clap::Args;
use petmail_net::program::Failure;

use serde_json::Value;

use super::{block_on, client::Client, files, terminal::note};
use crate::{
    api::types::{FileRow, FileState, MessageRequest, MessageView},
    basedir::Basedir,
};

/// Try a waiting message now, or send a failed one anew
#[derive(Debug, Args)]
#[command(after_help = "A message that is sent anew is shown once, even if it had arrived after all.\n\n\
    Examples:\n  petmail-node -d n1 retry 17")]
pub(super) struct Retry {
    /// The message's number; `messages` lists them
    id: u64,
}

/// Cancel a message that no mailbox has taken, or a file on its way
#[derive(Debug, Args)]
#[command(
    after_help = "What there is of a file goes; `pause` stops it for now.\n\nExamples:\n  petmail-node -d n1 cancel 17"
)]
pub(super) struct Cancel {
    /// The message's, or the file's, number; `messages` and `files` list them
    id: u64,
}

/// Mark a message as read, with all before it of the same contact
#[derive(Debug, Args)]
#[command(after_help = "The contact is told only if `read_receipts` is true in config.toml.\n\n\
    Examples:\n  petmail-node -d n1 mark-read 17")]
pub(super) struct MarkRead {
    /// The message's number; `messages` lists them
    id: u64,
}

impl Retry {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let message = ask(basedir, "retry", self.id)?;
        note(&format!("message {} is tried now; `messages` shows what becomes of it", message.id));
        Ok(())
    }
}

impl Cancel {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let id = self.id;
        let is_on_its_way = |row: &FileRow| {
            matches!(
                row.file.state,
                FileState::Uploading | FileState::Fetching | FileState::Paused | FileState::Failed
            )
        };
        let file = block_on(async { files::find(&Client::find(basedir)?, id).await })?;
        if file.as_ref().is_some_and(is_on_its_way) {
            let _: Value =
                block_on(async { Client::find(basedir)?.call("cancel-file", &MessageRequest { id }).await })?;
            note(&format!("file {id} is cancelled"));
            return Ok(());
        }
        let message = ask(basedir, "cancel", id)?;
        note(&format!(
            "message {} is cancelled; if a server had it already, it may still arrive",
            message.id
        ));
        Ok(())
    }
}

impl MarkRead {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let message = ask(basedir, "mark-read", self.id)?;
        note(&format!("message {} and all before it are read", message.id));
        Ok(())
    }
}

fn ask(basedir: &Basedir, command: &str, id: u64) -> Result<MessageView, Failure> {
    block_on(async { Client::find(basedir)?.call(command, &MessageRequest { id }).await })
}
