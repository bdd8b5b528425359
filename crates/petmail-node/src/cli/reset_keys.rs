//! `reset-keys`: the panic button.

use clap::Args;
use petmail_net::program::Failure;

use super::{
    block_on,
    client::Client,
    terminal::{note, one_line},
};
use crate::{
    api::types::{ResetKeysRequest, ResetKeysView},
    basedir::Basedir,
};

/// Replace keys that somebody may have stolen
///
/// Everything that a copy of this node's folder could be used for is replaced, and the contacts are told: signed by the
/// keys that they know, so nobody has to be invited again. Safety words become safety digits, to be compared anew.
#[derive(Debug, Args)]
#[command(
    after_help = "With --all the mailbox accounts get new secrets and slots, too. Backups made before are of no use \
    afterwards: make a new one.\n\n\
    Examples:\n  petmail-node -d n1 reset-keys --all\n  petmail-node -d n1 reset-keys 1"
)]
pub(super) struct ResetKeys {
    /// Only this contact's
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    cid: Option<u32>,
    /// Those of all contacts and mailboxes
    #[arg(long)]
    all: bool,
}

impl ResetKeys {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Self { cid, all } = self;
        let request = ResetKeysRequest { cid, all };
        let done: ResetKeysView =
            block_on(async { Client::find(basedir)?.call("reset-keys", &request).await })?;
        for contact in &done.contacts {
            note(&format!("contact {}, {}, is told of new keys", contact.cid, one_line(&contact.petname)));
        }
        for skipped in &done.skipped {
            note(&format!("contact {} keeps its keys: {}", skipped.cid, skipped.reason));
        }
        if all {
            note("the mailboxes get new secrets; `status` shows if one cannot be reached");
            note("make a new backup now: earlier ones are of no use any more");
        }
        if !done.contacts.is_empty() {
            note("compare the safety digits with them again; `addressbook` shows them");
        }
        Ok(())
    }
}
