//! `account`: what an operator does about one account.

use clap::{Args, Subcommand};
use petmail_net::program::Failure;
use petmail_proto::server::account::{AccountId, AccountState};

use super::administer::Operator;
use crate::{
    admin::{AccountRequest, ChangeRequest},
    size::ByteSize,
};

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Describe an account
    #[command(after_help = "Examples:\n  petmail-mailbox account show ID --json")]
    Show {
        #[command(flatten)]
        which: Which,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change what an account may hold, and how long
    #[command(
        after_help = "Examples:\n  petmail-mailbox account set ID --mailbox-quota 2GB --retention 60\n  \
        petmail-mailbox account set ID --provider-total 50GB\n\n\
        What is there stays, even if it is more; messages that are there keep their time."
    )]
    Set {
        #[command(flatten)]
        which: Which,
        /// How much the mailbox may hold
        #[arg(long, value_name = "SIZE", required_unless_present_any = ["storage_quota", "retention", "provider_total", "no_provider"])]
        mailbox_quota: Option<ByteSize>,
        /// How much may be stored beside the mailbox, in encrypted files and folders; 0B for nothing more
        #[arg(long, value_name = "SIZE")]
        storage_quota: Option<ByteSize>,
        /// How many days messages are kept
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
        retention: Option<u32>,
        /// Let its owner give mailboxes of this server to others, of so much room all together
        #[arg(long, value_name = "SIZE", conflicts_with = "no_provider")]
        provider_total: Option<ByteSize>,
        /// Let its owner give no more mailboxes; those that were given stay
        #[arg(long)]
        no_provider: bool,
    },
    /// Let an account take nothing more; its owner can still fetch and delete
    #[command(after_help = "Examples:\n  petmail-mailbox account suspend ID --notice 'please pay by Friday'")]
    Suspend {
        #[command(flatten)]
        which: Which,
        /// What its owner is told
        #[arg(long, value_name = "TEXT")]
        notice: Option<String>,
    },
    /// Let a suspended account take messages again, and take back what its owner was told
    #[command(after_help = "Examples:\n  petmail-mailbox account resume ID")]
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Tell the owner of an account something, or take it all back
    #[command(after_help = "Examples:\n  petmail-mailbox account notice ID 'the server moves on Sunday'\n  \
        petmail-mailbox account notice ID --clear")]
    Notice {
        #[command(flatten)]
        which: Which,
        /// What the owner is told, beside what was told before
        #[arg(required_unless_present = "clear")]
        text: Option<String>,
        /// Take back what was told before
        #[arg(long)]
        clear: bool,
    },
    /// Remove an account with all that it holds
    #[command(after_help = "Examples:\n  petmail-mailbox account remove ID --yes\n\n\
        Its owner's contacts keep what they cannot deliver, and say so.")]
    Remove {
        #[command(flatten)]
        which: Which,
        /// Do it: messages that were not fetched are lost
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// The account's id; `accounts` lists them
    #[arg(value_name = "ID", allow_hyphen_values = true)]
    id: AccountId,
}

impl Account {
    pub(super) async fn run(self, operator: Operator) -> Result<(), Failure> {
        match self {
            Self::Show { which, json } => operator.account(which.request(), json).await,
            Self::Set { which, mailbox_quota, storage_quota, retention, provider_total, no_provider } => {
                let provider_total = if no_provider { Some(ByteSize(0)) } else { provider_total };
                let change = ChangeRequest {
                    mailbox_quota,
                    storage_quota,
                    retention_days: retention,
                    provider_total,
                    ..which.change()
                };
                operator.change(&change).await
            }
            Self::Suspend { which, notice } => {
                let change = ChangeRequest { state: Some(AccountState::Suspended), notice, ..which.change() };
                operator.change(&change).await
            }
            Self::Resume { which } => {
                let state = Some(AccountState::Active);
                operator.change(&ChangeRequest { state, clear_notices: true, ..which.change() }).await
            }
            Self::Notice { which, text, clear } => {
                let change = ChangeRequest { notice: text, clear_notices: clear, ..which.change() };
                operator.change(&change).await
            }
            Self::Remove { which, yes: true } => operator.remove(which.request()).await,
            Self::Remove { yes: false, .. } => Err(Failure::usage("the messages in it would be lost")
                .hint("add --yes if that is meant; suspend keeps them")),
        }
    }
}

impl Which {
    const fn request(&self) -> AccountRequest {
        AccountRequest { account: self.id }
    }

    const fn change(&self) -> ChangeRequest {
        ChangeRequest {
            account: self.id,
            mailbox_quota: None,
            storage_quota: None,
            retention_days: None,
            state: None,
            notice: None,
            provider_total: None,
            clear_notices: false,
        }
    }
}
