//! `send-file`, and what to do about a file on its way: `pause`, `resume`, `revoke`.

use std::path::PathBuf;

use clap::Args;
use petmail_net::program::Failure;

use super::{
    block_on,
    client::Client,
    files::text_of,
    send::{WaitFor, Waiting, wait_until},
    terminal::{note, one_line, print},
};
use crate::{
    api::types::{FileRow, FileState, MessageRequest, SendFileRequest},
    basedir::Basedir,
};

/// Send files and folders to a contact
#[derive(Debug, Args)]
#[command(
    after_help = "Each is a message of its own; prints their numbers. A file of at most 180 KiB travels within its message. What is \
        larger, and folders, go to the storage server first, encrypted, and the message follows: the node sees to that also when \
        this command has ended, and after restarts. `files` shows how far it is; `pause`, `resume` and `cancel` take the number.\n\n\
        Examples:\n  petmail-node -d n1 send-file 1 photo.jpg film.mkv\n  \
        petmail-node -d n1 send-file 1 holiday/ --keep 7\n  \
        petmail-node -d n1 send-file 1 *.pdf --wait delivered"
)]
pub(super) struct SendFile {
    /// The contact's number
    cid: u32,
    /// The files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Return only once all are so far
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<WaitFor>,
    /// How many days the storage server keeps what it is given [default: 30]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=365))]
    keep: Option<u32>,
}

/// Stop a file on its way for now
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 pause 17")]
pub(super) struct Pause {
    /// The file's number; `files` lists them
    id: u64,
}

/// Let a file that was paused, or has failed, go on
#[derive(Debug, Args)]
#[command(
    after_help = "What has arrived is not sent or fetched again.\n\nExamples:\n  petmail-node -d n1 resume 17"
)]
pub(super) struct Resume {
    /// The file's number; `files` lists them
    id: u64,
}

/// Take a sent file away from its storage server
#[derive(Debug, Args)]
#[command(
    after_help = "Whoever has fetched it keeps it. The server itself may keep what nobody needs any more for another 48 hours, \
        encrypted.\n\nExamples:\n  petmail-node -d n1 revoke 17"
)]
pub(super) struct Revoke {
    /// The file's number; `files` lists them
    id: u64,
}

impl SendFile {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let absolute = |path: &PathBuf| std::path::absolute(path).map_err(Failure::failed).and_then(text_of);
        // A path that cannot be sent is found before anything is.
        let paths = self.paths.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        block_on(async {
            let client = Client::find(basedir)?;
            let mut events = match self.wait {
                Some(_) => Some(client.events().await?),
                None => None,
            };
            let mut waiting = Vec::new();
            for path in paths {
                let request = SendFileRequest {
                    cid: self.cid,
                    path: Some(path),
                    name: None,
                    content: None,
                    keep_days: self.keep,
                };
                let row: FileRow = client.call("send-file", &request).await?;
                print(&format!("{}\n", row.id))?;
                if let Some(reason) = &row.file.reason {
                    note(&format!("{}: {}", one_line(&row.file.name), one_line(reason)));
                }
                if row.file.state == FileState::Uploading && self.wait.is_none() {
                    note(&format!("{} is on its way; `files` shows how far it is", one_line(&row.file.name)));
                }
                waiting.push(Waiting { cid: row.cid, id: row.id });
            }
            match (self.wait, &mut events) {
                (Some(wait), Some(events)) => wait_until(wait, &client, events, waiting).await,
                _ => Ok(()),
            }
        })
    }
}

impl Pause {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        ask(basedir, "pause-file", self.id)?;
        note(&format!("file {} is paused; `resume {0}` lets it go on", self.id));
        Ok(())
    }
}

impl Resume {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        ask(basedir, "resume-file", self.id)?;
        note(&format!("file {} goes on; `files` shows how far it is", self.id));
        Ok(())
    }
}

impl Revoke {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let row = ask(basedir, "revoke-file", self.id)?;
        note(&format!("{} can no longer be fetched; whoever has it keeps it", one_line(&row.file.name)));
        Ok(())
    }
}

fn ask(basedir: &Basedir, command: &str, id: u64) -> Result<FileRow, Failure> {
    block_on(async { Client::find(basedir)?.call(command, &MessageRequest { id }).await })
}
