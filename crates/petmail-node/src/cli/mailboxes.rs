//! `accept-mailbox`, `mailboxes` and `mailbox remove`.

use clap::{Args, Subcommand};
use petmail_mailbox::size::ByteSize;
use petmail_net::program::Failure;
use petmail_proto::server::offer::OFFER_PREFIX;

use super::{
    block_on,
    client::{Client, Events, Mailboxes as Listed, NO_MAILBOX},
    invite::{has_ended, print_code, tell_begin, tell_end},
    send::argument_or_stdin,
    terminal::{local_time, note, one_line, print, print_json_lines, table},
};
use crate::{
    api::types::{
        AcceptMailboxRequest, Event, GivesView, InvitationView, InviteRequest, MailboxRequest, MailboxView,
        OfferMailboxRequest, StatusView,
    },
    basedir::Basedir,
};

/// Longest offer in bytes, far above any real one.
pub(super) const MAX_OFFER_BYTES: usize = 4096;

/// Get a mailbox, so that messages can come in: by an offer, or by the code of somebody who gives you one
#[derive(Debug, Args)]
#[command(
    after_help = "With an offer it returns once the mailbox is there. With a code, whoever gave it becomes a contact as well.\n\n\
    Examples:\n  petmail-node -d n1 accept-mailbox OFFER\n  \
    petmail-node -d n1 accept-mailbox - < offer.txt\n  \
    petmail-node -d n1 accept-mailbox 4-purple-sausages-tonight --petname carol --wait"
)]
pub(super) struct AcceptMailbox {
    /// The offer, as the server's operator gave it, or the code; `-` reads it from standard input
    #[arg(value_name = "CODE-OR-OFFER")]
    code_or_offer: String,
    /// With a code: the name that the contact will get here; it is never sent to anyone
    #[arg(long, value_name = "NAME")]
    petname: Option<String>,
    /// With a code: return only once the mailbox is there
    #[arg(long)]
    wait: bool,
}

/// Give somebody a mailbox: prints a code for their `accept-mailbox`
#[derive(Debug, Args)]
#[command(
    after_help = "Whoever uses the code first gets the mailbox, and becomes a contact. It works if the operator of your mailbox \
    server lets you give mailboxes, or if the server is inside your node.\n\n\
    Examples:\n  petmail-node -d n1 offer-mailbox dave\n  \
    petmail-node -d n1 offer-mailbox dave --mailbox-quota 500MB --storage-quota 2GB --retention 14"
)]
pub(super) struct OfferMailbox {
    /// The name that the contact will get here; it is never sent to anyone
    petname: String,
    /// How much the mailbox may hold; 0B for storage alone [default: 100 MB]
    #[arg(long, value_name = "SIZE")]
    mailbox_quota: Option<ByteSize>,
    /// How much may be stored beside it, in files and folders [default: nothing]
    #[arg(long, value_name = "SIZE")]
    storage_quota: Option<ByteSize>,
    /// How many days messages are kept there [default: as many as in your own mailbox]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    retention: Option<u32>,
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
        if mailboxes.iter().all(|mailbox| mailbox.leaving.is_some() || mailbox.is_for_files_alone()) {
            note(NO_MAILBOX);
        }
        Ok(())
    }
}

impl AcceptMailbox {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let given = argument_or_stdin(self.code_or_offer, MAX_OFFER_BYTES)?;
        if is_offer(&given) {
            if self.petname.is_some() {
                note("note: an offer brings no contact, so --petname is left aside");
            }
            return redeem(basedir, given).map(drop);
        }
        let request = InviteRequest { petname: self.petname, code: Some(given), wants_mailbox: true };
        block_on(async {
            let client = Client::find(basedir)?;
            if !self.wait {
                let invitation: InvitationView = client.call("invite", &request).await?;
                return tell_begin(&invitation, true);
            }
            // First the stream, then the invitation: no change can be missed.
            let mut events = client.events().await?;
            let invitation: InvitationView = client.call("invite", &request).await?;
            wait_for_mailbox(&client, &mut events, invitation).await
        })
    }
}

/// Tells an offer from a code; what is neither is taken for the one that it looks like, to say what is wrong with it.
pub(super) fn is_offer(given: &str) -> bool {
    let start = given.trim_start().get(..OFFER_PREFIX.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(OFFER_PREFIX))
}

/// Redeems an offer, says what it brought, and returns its number.
pub(super) fn redeem(basedir: &Basedir, offer: String) -> Result<u32, Failure> {
    let request = AcceptMailboxRequest { offer };
    let mailbox: MailboxView =
        block_on(async { Client::find(basedir)?.call("accept-mailbox", &request).await })?;
    tell_mailbox(&mailbox)?;
    Ok(mailbox.id)
}

fn tell_mailbox(mailbox: &MailboxView) -> Result<(), Failure> {
    let what = if mailbox.is_for_files_alone() { "storage" } else { "mailbox" };
    print(&format!("{what} {} at {}\n", mailbox.id, one_line(&mailbox.url)))
}

/// Waits until the invitation has brought a mailbox, and the mailbox is there.
async fn wait_for_mailbox(
    client: &Client,
    events: &mut Events,
    invitation: InvitationView,
) -> Result<(), Failure> {
    let id = invitation.id;
    let mut reason = None;
    let mut state = invitation;
    loop {
        let Listed { mailboxes } = client.ask("mailboxes").await?;
        if let Some(mailbox) = mailboxes.into_iter().find(|mailbox| mailbox.invitation == Some(id)) {
            if mailbox.redeemed {
                note("whoever gave it is a contact now; see `addressbook`");
                return tell_mailbox(&mailbox);
            }
            let now = mailbox.reason.as_deref().map(one_line);
            if mailbox.refused {
                return Err(Failure::failed(now.unwrap_or_default()));
            }
            if now != reason {
                now.iter().for_each(|text| note(text));
                reason = now;
            }
        } else if has_ended(state.state) {
            return tell_end(&state, true);
        }
        match events.next().await? {
            Event::Invitation(changed) if changed.id == id => state = changed,
            _ => {}
        }
    }
}

impl OfferMailbox {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let request = OfferMailboxRequest {
            petname: self.petname,
            mailbox_quota: self.mailbox_quota.map(|quota| quota.0),
            storage_quota: self.storage_quota.map(|quota| quota.0),
            retention_days: self.retention,
        };
        block_on(async {
            let client = Client::find(basedir)?;
            let invitation: InvitationView = client.call("offer-mailbox", &request).await?;
            let status: StatusView = client.ask("status").await?;
            print_code(&invitation, &status.rendezvous.url)
        })
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
        (None, None) => {
            let place = mailbox.local.then(|| "in this node".to_owned());
            let place = place.or_else(|| {
                mailbox.is_for_files_alone().then(|| "for files alone: takes no messages".to_owned())
            });
            let gives = mailbox.gives.map(|GivesView { total_bytes, given_bytes }| {
                format!("you have given {} of {} to others", ByteSize(given_bytes), ByteSize(total_bytes))
            });
            place.into_iter().chain(gives).collect::<Vec<_>>().join("; ")
        }
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
