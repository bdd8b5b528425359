//! `accept-mailbox`, `mailboxes` and `mailbox remove`.

use clap::{Args, Subcommand};
use petmail_net::program::Failure;

use super::{
    block_on,
    client::{Client, Mailboxes as Listed, NO_MAILBOX},
    send::argument_or_stdin,
    terminal::{local_time, note, one_line, print, print_json_lines, table},
};
use crate::{
    api::types::{AcceptMailboxRequest, MailboxRequest, MailboxView},
    basedir::Basedir,
};

/// Longest offer in bytes, far above any real one.
const MAX_OFFER_BYTES: usize = 4096;

/// Redeem an offer from a mailbox server, so that messages can come in
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 accept-mailbox OFFER\n  \
    petmail-node -d n1 accept-mailbox - < offer.txt")]
pub(super) struct AcceptMailbox {
    /// The offer, as the server's operator gave it; `-` reads it from standard input
    offer: String,
}

/// List the mailboxes
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 mailboxes\n  petmail-node -d n1 mailboxes --json")]
pub(super) struct Mailboxes {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Change a mailbox
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  petmail-node -d n1 mailbox remove 2")]
pub(super) enum Mailbox {
    /// Leave a mailbox: contacts are told to write elsewhere
    #[command(
        after_help = "What contacts send before they know is still taken in, for as long as the server keeps it.\n\n\
        Examples:\n  petmail-node -d n1 mailbox remove 2"
    )]
    Remove {
        /// The mailbox's number; `mailboxes` lists them
        id: u32,
    },
}

impl Mailbox {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Self::Remove { id } = self;
        let Listed { mailboxes } =
            block_on(async { Client::find(basedir)?.call("mailbox/remove", &MailboxRequest { id }).await })?;
        note(&match mailboxes.iter().find(|mailbox| mailbox.id == id).and_then(|mailbox| mailbox.leaving) {
            Some(until) => {
                format!(
                    "mailbox {id} is left; what is on its way to it is taken in until {}",
                    local_time(until)
                )
            }
            None => format!("mailbox {id} is removed"),
        });
        if !mailboxes.iter().any(|mailbox| mailbox.leaving.is_none()) {
            note(NO_MAILBOX);
        }
        Ok(())
    }
}

impl AcceptMailbox {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let offer = argument_or_stdin(self.offer, MAX_OFFER_BYTES)?;
        let request = AcceptMailboxRequest { offer };
        let mailbox: MailboxView =
            block_on(async { Client::find(basedir)?.call("accept-mailbox", &request).await })?;
        print(&format!("mailbox {} at {}\n", mailbox.id, one_line(&mailbox.url)))
    }
}

impl Mailboxes {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let Listed { mailboxes } = block_on(async { Client::find(basedir)?.ask("mailboxes").await })?;
        if self.json {
            return print_json_lines(&mailboxes);
        }
        if mailboxes.is_empty() {
            note(NO_MAILBOX);
            return Ok(());
        }
        let rows: Vec<_> = mailboxes.iter().map(row).collect();
        print(&table(["ID", "STATE", "RETENTION", "URL", "REMARK"], &rows))
    }
}

fn remark(mailbox: &MailboxView) -> String {
    match (&mailbox.leaving, &mailbox.reason) {
        (Some(until), _) => format!("removed; looked into until {}", local_time(*until)),
        (None, Some(reason)) => reason.clone(),
        (None, None) if mailbox.suspended => "suspended by its operator: takes nothing more".to_owned(),
        (None, None) => if mailbox.local { "in this node" } else { "" }.to_owned(),
    }
}

fn row(mailbox: &MailboxView) -> [String; 5] {
    [
        mailbox.id.to_string(),
        if mailbox.connected { "connected" } else { "not connected" }.to_owned(),
        format!("{} days", mailbox.retention_days),
        mailbox.url.clone(),
        remark(mailbox),
    ]
}
