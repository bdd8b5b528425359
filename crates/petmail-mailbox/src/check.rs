//! Verifying a server that is stopped: whether its keys, its rows and its files are there, readable, and agree.
//!
//! Only reads. Owns the kinds of problems and what to do about each; where rows and files are is the engine's.

use std::path::PathBuf;

use petmail_net::program::{DirLock, LockError};
use petmail_objects::Objects;
use petmail_proto::server::account::AccountId;
use rand_core::OsRng;
use serde::Serialize;

use crate::{
    basedir::Basedir,
    identity::Identity,
    packs::check_packs,
    queue::{
        Account,
        embedded::{Checked, check_queue},
    },
};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which kind.
    pub problem: ProblemKind,
    /// Where, and what, in one line.
    pub text: String,
    /// What to do.
    pub advice: &'static str,
}

/// The kinds of problems; scripts see them by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The server's keys cannot be read.
    KeysUnreadable,
    /// The store does not open.
    StoreUnreadable,
    /// A row is nothing that this program wrote.
    RowDamaged,
    /// An account is in the row of another.
    AccountMisplaced,
    /// Two accounts have one owner, slot or retrieval token.
    AccountsCollide,
    /// An account has a token for a key that the server has not made.
    KeyUnknown,
    /// An account's token does not lead to it.
    TokenAstray,
    /// A message has no body.
    BodyMissing,
    /// The body of a message has another length.
    BodyLength,
    /// A body belongs to no message.
    BodyOrphan,
    /// A file belongs to no message.
    FileOrphan,
    /// A file belongs to two messages.
    FileShared,
    /// A message would never be swept.
    NeverSwept,
    /// A message that could be stored twice.
    DigestForgotten,
    /// A message that would be remembered for ever.
    DigestForever,
    /// The list of packs does not open.
    PacksUnreadable,
    /// A row about packs is nothing that this program wrote.
    PackRowDamaged,
    /// The file of a pack cannot be read.
    PackMissing,
    /// The file of a pack has other bytes than its name stands for.
    PackDamaged,
    /// A pack has other owners than it is said to have.
    PackOwners,
    /// An account that is not there holds a pack.
    PackOfNobody,
    /// A file belongs to no pack.
    PackOrphan,
}

impl ProblemKind {
    /// Returns what to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::KeysUnreadable => "put server.json back from a backup: without it all accounts are lost",
            Self::StoreUnreadable => "is the disk failing? put the folder `queue` back from a backup",
            Self::RowDamaged | Self::AccountMisplaced => {
                "is the disk failing? the server does not start like this: put the folder `queue` back from a backup"
            }
            Self::AccountsCollide => {
                "remove one of the accounts with `account remove ID`, and give its owner a new offer"
            }
            Self::KeyUnknown | Self::TokenAstray => {
                "server.json is older than the accounts, or another server's: put the latest one back from a backup"
            }
            Self::BodyMissing | Self::BodyLength | Self::FileShared => {
                "is the disk failing? the message is lost here; its sender's node sends it again if it is not acknowledged"
            }
            Self::FileOrphan => "nothing: the next start removes it",
            Self::BodyOrphan => "it takes room, and nothing else; `export` and `import` leave it behind",
            Self::NeverSwept => "it is deleted once its owner fetches it, and else takes room",
            Self::DigestForgotten => {
                "nothing: a repeated delivery would be stored twice, and shown once by the node"
            }
            Self::DigestForever => "nothing: it takes a few bytes",
            Self::PacksUnreadable | Self::PackRowDamaged => {
                "is the disk failing? put the folder `packs` back from a backup, or remove it: nodes store again what they still have"
            }
            Self::PackMissing | Self::PackDamaged => {
                "is the disk failing? put that file below `packs` back from a backup; whoever fetches it is told that it is damaged or gone"
            }
            Self::PackOwners => {
                "it may go too early or never; put the folder `packs` back from a backup of the same time as `queue`"
            }
            Self::PackOfNobody => "it takes room, and nothing else",
            Self::PackOrphan => "nothing: the next start removes it",
        }
    }
}

impl Problem {
    /// Describes one.
    pub fn new(problem: ProblemKind, text: impl std::fmt::Display) -> Self {
        Self { problem, text: text.to_string(), advice: problem.advice() }
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What is wrong; nothing is in order if it is not empty.
    pub problems: Vec<Problem>,
    /// Accounts that were read.
    pub accounts: u64,
    /// Of these, those whose owners have to come for a new address: the key of theirs has ended.
    pub behind: u64,
    /// Offers that were read.
    pub offers: u64,
    /// Messages that were read.
    pub messages: u64,
    /// Bytes in them.
    pub message_bytes: u64,
    /// Digests that were read.
    pub digests: u64,
    /// Packs that were read.
    pub packs: u64,
    /// Bytes in them.
    pub pack_bytes: u64,
}

/// Why nothing is verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// `init` was not run there.
    #[error("{} holds no mailbox server", .0.display())]
    NotInitialised(PathBuf),
    /// The server runs, and changes what is looked at.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Verifies the server in `basedir`, which nobody serves, with the packs that `service` keeps for it.
///
/// # Errors
/// [`CheckError`]; everything else that is wrong is in the report.
pub async fn check(basedir: &Basedir, service: Option<&Objects>) -> Result<Report, CheckError> {
    if !basedir.is_initialised() {
        return Err(CheckError::NotInitialised(basedir.path().to_owned()));
    }
    let _lock = DirLock::acquire(basedir.path())?;
    let Checked { mut report, accounts } = check_queue(&basedir.queue_dir()).await;
    let owners = accounts.iter().map(|account| account.id).collect();
    let packs = check_packs(&basedir.packs_dir(), service, &owners).await;
    (report.packs, report.pack_bytes) = (packs.packs, packs.bytes);
    report.problems.extend(packs.problems);
    match Identity::load(&basedir.identity_file()) {
        Ok(identity) => {
            for account in &accounts {
                check_token(&identity, account, &mut report);
            }
        }
        Err(error) => report.problems.push(Problem::new(ProblemKind::KeysUnreadable, error)),
    }
    Ok(report)
}

/// The token of an account leads to its slot, if the server still has the key for it.
fn check_token(identity: &Identity, account: &Account, report: &mut Report) {
    let id: AccountId = account.id;
    let kid = account.kid;
    let newest = identity.newest_token_key().map(|key| key.kid);
    let Some(key) = identity.token_keys().iter().find(|key| key.kid == kid) else {
        if newest < Some(kid) {
            let text = format!("account {id} has a token for key {}, which server.json does not have", kid.0);
            report.problems.push(Problem::new(ProblemKind::KeyUnknown, text));
        } else {
            report.behind = report.behind.saturating_add(1);
        }
        return;
    };
    let public = key.key.public_key();
    let rng = &mut OsRng;
    let sender = account.token.for_contact(&public, rng);
    let opened =
        sender.and_then(|token| token.for_message(&public, rng)).and_then(|token| key.key.open(&token));
    if opened.ok() != Some(account.slot.slot_id()) {
        let text = format!("the token of account {id} does not lead to it");
        report.problems.push(Problem::new(ProblemKind::TokenAstray, text));
    }
}
