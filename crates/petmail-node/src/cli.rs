//! The command line: what people and scripts type. One file for each command or family of commands.
//!
//! Commands for a running node go through the control API and nothing else. Results go to standard output, everything
//! else to standard error. Source: `docs/guide/`, and the help texts, which man pages and completions are made from.

mod backup;
mod client;
mod completions;
mod contacts;
mod create_node;
mod doctor;
mod files;
mod give_up;
mod invite;
mod mailboxes;
mod messages;
mod node;
mod open;
mod passphrase;
mod progress;
mod reset_keys;
mod restore;
mod rooms;
mod send;
mod send_file;
mod status;
mod storage;
mod terminal;

use std::{env, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use petmail_net::program::{Failure, LogFormat};

use crate::basedir::Basedir;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "petmail-node",
    version,
    propagate_version = true,
    about = "Petmail: messages between people who shared a code",
    after_help = "Examples:\n  \
        petmail-node -d n1 create-node\n  \
        petmail-node -d n1 start\n  \
        petmail-node -d n1 invite --petname bob\n\n\
        `petmail-node help COMMAND` has examples for each command."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes, before or after its name.
#[derive(Debug, Args)]
struct Global {
    /// The node's folder; else $PETMAIL_BASEDIR, else ~/.petmail
    #[arg(short = 'd', long, global = true, value_name = "DIR")]
    basedir: Option<PathBuf>,
    /// How log lines look: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "PETMAIL_NODE_LOG_FORMAT",
        hide_env = true,
        default_value_t
    )]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    CreateNode(create_node::CreateNode),
    Start(node::Start),
    Stop(node::Stop),
    Restart(node::Restart),
    Open(open::Open),
    Status(status::Status),
    Doctor(doctor::Doctor),
    PrintBaseurl(status::PrintBaseurl),
    Invite(invite::Invite),
    Invitations(invite::Invitations),
    CancelInvitation(invite::CancelInvitation),
    ForgetInvitation(invite::ForgetInvitation),
    AcceptMailbox(mailboxes::AcceptMailbox),
    OfferMailbox(mailboxes::OfferMailbox),
    Mailboxes(mailboxes::Mailboxes),
    #[command(subcommand)]
    Mailbox(mailboxes::Mailbox),
    Addressbook(contacts::Addressbook),
    #[command(subcommand)]
    Contact(contacts::Contact),
    Rooms(rooms::Rooms),
    SendBasic(send::SendBasic),
    SendFile(send_file::SendFile),
    Files(files::Files),
    SaveFile(files::SaveFile),
    Pause(send_file::Pause),
    Resume(send_file::Resume),
    Revoke(send_file::Revoke),
    #[command(subcommand)]
    Storage(storage::Storage),
    FetchMessages(messages::FetchMessages),
    FollowMessages(messages::FollowMessages),
    Messages(messages::Messages),
    Retry(give_up::Retry),
    Cancel(give_up::Cancel),
    MarkRead(give_up::MarkRead),
    #[command(subcommand)]
    Passphrase(passphrase::Passphrase),
    Unlock(passphrase::Unlock),
    ResetKeys(reset_keys::ResetKeys),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Completions(completions::Completions),
    Manpages(completions::Manpages),
}

/// Does what the command line says. Files that it saves for its caller get the mode `saved_file_mode`.
///
/// # Errors
/// It failed, or makes no sense; the failure says what to do.
pub fn run(cli: Cli, saved_file_mode: u32) -> Result<(), Failure> {
    let Global { basedir, log_format } = cli.global;
    match cli.command {
        Command::CreateNode(command) => command.run(basedir),
        Command::Start(command) => command.run(&resolve(basedir)?, log_format),
        Command::Stop(command) => command.run(&resolve(basedir)?),
        Command::Restart(command) => command.run(&resolve(basedir)?, log_format),
        Command::Open(command) => command.run(&resolve(basedir)?, log_format),
        Command::Doctor(command) => command.run(&resolve(basedir)?),
        Command::Status(command) => command.run(&resolve(basedir)?),
        Command::PrintBaseurl(command) => command.run(&resolve(basedir)?),
        Command::Invite(command) => command.run(&resolve(basedir)?),
        Command::Invitations(command) => command.run(&resolve(basedir)?),
        Command::CancelInvitation(command) => command.run(&resolve(basedir)?),
        Command::ForgetInvitation(command) => command.run(&resolve(basedir)?),
        Command::AcceptMailbox(command) => command.run(&resolve(basedir)?),
        Command::OfferMailbox(command) => command.run(&resolve(basedir)?),
        Command::Mailboxes(command) => command.run(&resolve(basedir)?),
        Command::Mailbox(command) => command.run(&resolve(basedir)?),
        Command::Addressbook(command) => command.run(&resolve(basedir)?),
        Command::Contact(command) => command.run(&resolve(basedir)?),
        Command::Rooms(command) => command.run(&resolve(basedir)?),
        Command::SendBasic(command) => command.run(&resolve(basedir)?),
        Command::SendFile(command) => command.run(&resolve(basedir)?),
        Command::Files(command) => command.run(&resolve(basedir)?),
        Command::SaveFile(command) => command.run(&resolve(basedir)?, saved_file_mode),
        Command::Pause(command) => command.run(&resolve(basedir)?),
        Command::Resume(command) => command.run(&resolve(basedir)?),
        Command::Revoke(command) => command.run(&resolve(basedir)?),
        Command::Storage(command) => command.run(&resolve(basedir)?),
        Command::FetchMessages(command) => command.run(&resolve(basedir)?),
        Command::FollowMessages(command) => command.run(&resolve(basedir)?),
        Command::Messages(command) => command.run(&resolve(basedir)?),
        Command::Retry(command) => command.run(&resolve(basedir)?),
        Command::Cancel(command) => command.run(&resolve(basedir)?),
        Command::MarkRead(command) => command.run(&resolve(basedir)?),
        Command::Passphrase(command) => command.run(&resolve(basedir)?),
        Command::Unlock(command) => command.run(&resolve(basedir)?),
        Command::ResetKeys(command) => command.run(&resolve(basedir)?),
        Command::Backup(command) => command.run(&resolve(basedir)?, saved_file_mode),
        Command::Restore(command) => command.run(basedir),
        Command::Completions(command) => command.run(),
        Command::Manpages(command) => command.run(),
    }
}

/// Returns the description of the command line that completions and man pages are made from.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The folder that was asked for, else the environment's, else the default.
fn resolve(asked: Option<PathBuf>) -> Result<Basedir, Failure> {
    let path =
        asked.or_else(|| env::var_os("PETMAIL_BASEDIR").filter(|dir| !dir.is_empty()).map(PathBuf::from));
    let path = match path {
        Some(path) => path,
        None => env::home_dir()
            .ok_or_else(|| Failure::failed("there is no home directory").hint("name the folder with -d DIR"))?
            .join(".petmail"),
    };
    Basedir::new(&path).map_err(|error| Failure::failed(error).hint("name the folder with -d DIR"))
}

/// Runs a command that waits for the network, and little else.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::failed)?.block_on(work)
}

#[cfg(test)]
mod tests;
