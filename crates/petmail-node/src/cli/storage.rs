//! `storage list`.

use clap::{Args, Subcommand};
use petmail_mailbox::size::ByteSize;
use petmail_net::program::Failure;
use serde::Deserialize;

use super::{
    block_on,
    client::Client,
    terminal::{note, print, print_json_lines, table},
};
use crate::{api::types::StorageView, basedir::Basedir};

/// See where files are stored
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  petmail-node -d n1 storage list")]
pub(super) enum Storage {
    /// List the storage that comes with your mailboxes, and how much of it is used
    List(List),
}

/// List the storage that comes with your mailboxes, and how much of it is used
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  petmail-node -d n1 storage list\n  petmail-node -d n1 storage list --json"
)]
pub(super) struct List {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// The answer to `storage`.
#[derive(Debug, Deserialize)]
struct Listed {
    storage: Vec<StorageView>,
}

impl Storage {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Self::List(List { json }) = self;
        let Listed { storage } = block_on(async { Client::find(basedir)?.ask("storage").await })?;
        if json {
            return print_json_lines(&storage);
        }
        if storage.is_empty() {
            note(
                "no storage; the operator of your mailbox server gives it with `petmail-mailbox account set --storage-quota`",
            );
            return Ok(());
        }
        let rows: Vec<_> = storage.iter().map(row).collect();
        print(&table(["MAILBOX", "USED", "QUOTA", "URL", "REMARK"], &rows))
    }
}

fn row(place: &StorageView) -> [String; 5] {
    let known =
        |bytes: u64| if place.reason.is_some() { "?".to_owned() } else { ByteSize(bytes).to_string() };
    let (used, quota) = (known(place.used_bytes), known(place.quota_bytes));
    [place.mailbox.to_string(), used, quota, place.url.clone(), place.reason.clone().unwrap_or_default()]
}
