//! The command line. Each command parses, asks the server or the services, and prints; nothing is decided here.

mod account;
mod administer;
mod check;
mod client;
mod qr;
mod transfer;

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use petmail_net::program::{
    DirLock, Failure, LogFormat, announce_ready, shutdown_on_signals, survive_hangups,
};
use petmail_proto::{
    base_url::BaseUrl,
    server::descriptor::{ROLE_MAILBOX, ROLE_STORAGE},
};
use petmail_store::{EngineKind, OpenError};

use self::administer::Operator;
use crate::{
    admin::{MAX_OFFERS, MoveRequest, OfferRequest},
    basedir::{Basedir, InitError},
    config::{AdminListen, Settings},
    queue::{QueueError, embedded::OpenQueueError},
    server::{Mailbox, MailboxError},
    size::ByteSize,
};

const EXAMPLES: &str = "Examples:
  petmail-mailbox init --url https://mail.example.org:8443
  petmail-mailbox serve
  petmail-mailbox offer --mailbox-quota 500MB --retention 60";

const INIT_EXAMPLES: &str = "Examples:
  petmail-mailbox init --url https://mail.example.org
  petmail-mailbox init /srv/petmail --url https://example.org:8443/mail
  petmail-mailbox init --url https://files.example.org --roles storage      (files alone, no messages)

The URL is what offers and contacts carry, so it needs the port that clients connect to; port 0 is refused.";

const SERVE_EXAMPLES: &str = "Examples:
  petmail-mailbox serve --listen 0.0.0.0:8443 --self-signed
  petmail-mailbox serve --tls-cert fullchain.pem --tls-key privkey.pem
  petmail-mailbox serve --listen 127.0.0.1:8080 --plain-http      (behind a reverse proxy or an onion service)

Prints `ready URL` with the address that was bound. The same settings may stand in BASEDIR/config.toml.";

const OFFER_EXAMPLES: &str = "Examples:
  petmail-mailbox offer
  petmail-mailbox offer --mailbox-quota 2GB --retention 90 --expires 7 --count 10
  petmail-mailbox offer --provider --provider-total 50GB

Each offer becomes one mailbox, for whoever redeems it first. Give it to one person, over a private way.";

const MOVE_EXAMPLES: &str = "Examples:
  petmail-mailbox move --to https://new.example.org
  petmail-mailbox move --cancel

Then stop the server, `export` it, `import` it on the other machine, and `serve` it there. Serve the old one again for
two weeks at least: it says where the server is now. Nodes and their contacts follow by themselves. If only the
machine changes and not the URL, there is no need for this: `export` and `import` are enough.";

const ACCOUNTS_EXAMPLES: &str = "Examples:
  petmail-mailbox accounts
  petmail-mailbox accounts --json | jq .used_bytes";

const ACCOUNT_EXAMPLES: &str = "Examples:
  petmail-mailbox account show ID
  petmail-mailbox account set ID --mailbox-quota 2GB
  petmail-mailbox account suspend ID --notice 'please pay by Friday'

`accounts` lists the ids.";

const ROTATE_EXAMPLES: &str = "Examples:
  petmail-mailbox rotate-keys

Works while the server runs. The nodes of the customers ask for new addresses and tell their contacts by themselves;
until all have done so, the former keys stay good: for as long as messages are kept for anybody, and at least 14 days.";

const ADD_ROLE_EXAMPLES: &str = "Examples:
  petmail-mailbox add-role storage

What the server keeps already stays. Accounts that are there get no room by it: give it to them with
`petmail-mailbox account set ID --storage-quota SIZE` (or --mailbox-quota).";

const CHECK_EXAMPLES: &str = "Examples:
  petmail-mailbox check
  petmail-mailbox check --json | jq -r .problem

Needs the server stopped. Ends with status 1 if anything is wrong; nothing is changed.";

const EXPORT_EXAMPLES: &str = "Examples:
  petmail-mailbox export mailbox.export
  petmail-mailbox export - | ssh new.example.org petmail-mailbox import -

Needs the server stopped. The file holds the server's secret keys: keep it as safe as the server itself.";

const IMPORT_EXAMPLES: &str = "Examples:
  petmail-mailbox -d /srv/petmail import mailbox.export
  petmail-mailbox -d new import --store redb mailbox.export

Makes a server in a folder that is empty or not there yet. Do not start the one that was exported again.";

const STATUS_EXAMPLES: &str = "Examples:
  petmail-mailbox status
  petmail-mailbox -d /srv/petmail status --json";

const COMPLETIONS_EXAMPLES: &str = "Examples:
  petmail-mailbox completions bash > /etc/bash_completion.d/petmail-mailbox";

const MANPAGES_EXAMPLES: &str = "Examples:
  petmail-mailbox manpages target/man";

/// Keeps encrypted messages for their owners until they fetch them.
#[derive(Debug, Parser)]
#[command(name = "petmail-mailbox", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Common {
    /// The server's folder [default: ~/.petmail-mailbox]
    #[arg(short = 'd', long, global = true, value_name = "DIR", env = "PETMAIL_MAILBOX_BASEDIR")]
    basedir: Option<PathBuf>,
    /// How log lines look: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value_t,
        value_parser = LogFormat::from_str,
        env = "PETMAIL_MAILBOX_LOG_FORMAT"
    )]
    log_format: LogFormat,
    /// Where administration happens [default: unix:BASEDIR/admin.sock]
    #[arg(
        long,
        global = true,
        value_name = "unix:PATH|ADDR:PORT",
        value_parser = AdminListen::from_str,
        env = "PETMAIL_MAILBOX_ADMIN_LISTEN"
    )]
    admin_listen: Option<AdminListen>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a server: its keys, and a certificate
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// The server's folder, as with -d
        #[arg(value_name = "BASEDIR")]
        path: Option<PathBuf>,
        /// The address that clients will use, with port and path if it has them
        #[arg(long, env = "PETMAIL_MAILBOX_URL")]
        url: BaseUrl,
        /// What the server does: keep messages, files, or both
        #[arg(long, value_delimiter = ',', default_value = "mailbox,storage", value_parser = [ROLE_MAILBOX, ROLE_STORAGE])]
        roles: Vec<String>,
    },
    #[command(flatten)]
    Server(ServerCommand),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder (for packagers)
    #[command(after_help = MANPAGES_EXAMPLES)]
    Manpages {
        /// The folder; it is made if it is missing
        dir: PathBuf,
    },
}

/// What needs a server that was made.
#[derive(Debug, Subcommand)]
enum ServerCommand {
    /// Run the server until Ctrl-C or SIGTERM
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Make offers, and print each alone on a line
    #[command(after_help = OFFER_EXAMPLES)]
    Offer(OfferArgs),
    /// List the accounts
    #[command(after_help = ACCOUNTS_EXAMPLES)]
    Accounts {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Show, change, suspend or remove one account
    #[command(subcommand, after_help = ACCOUNT_EXAMPLES)]
    Account(account::Account),
    /// Tell everybody that the server goes to another address; it takes nothing more here
    #[command(after_help = MOVE_EXAMPLES)]
    Move {
        /// The new base URL
        #[arg(long, value_name = "URL", required_unless_present = "cancel")]
        to: Option<BaseUrl>,
        /// At the new address, a public authority vouches for the certificate; else the self-signed one goes along
        #[arg(long, requires = "to")]
        no_pin: bool,
        /// Stay after all, as long as nobody serves the new address
        #[arg(long, conflicts_with = "to")]
        cancel: bool,
    },
    /// Replace the keys that messages and requests are encrypted to
    #[command(after_help = ROTATE_EXAMPLES)]
    RotateKeys,
    /// Let the server keep files or messages as well; it must not run
    #[command(after_help = ADD_ROLE_EXAMPLES)]
    AddRole {
        /// What it is to keep: storage is files, mailbox is messages
        #[arg(value_parser = [ROLE_MAILBOX, ROLE_STORAGE])]
        role: String,
    },
    /// Verify the store, and say what is wrong
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// Print problems as JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Write everything of the server into one file, to move it
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// The file; - for standard output
        file: PathBuf,
    },
    /// Make a server of a file that `export` wrote
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// How the server keeps what it has: sled or redb [default: sled]
        #[arg(long, value_name = "ENGINE", value_parser = EngineKind::from_str)]
        store: Option<EngineKind>,
    },
    /// Describe the server
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// What a provider may give unless it is said: a hundred mailboxes of the default size.
const DEFAULT_PROVIDER_TOTAL: ByteSize = ByteSize(10_000_000_000);

#[derive(Args, Clone, Copy, Debug)]
struct OfferArgs {
    /// How much the mailbox may hold; 0B for storage alone [default: 100 MB if the server keeps messages]
    #[arg(long, value_name = "SIZE")]
    mailbox_quota: Option<ByteSize>,
    /// How much may be stored, in encrypted files and folders; 0B for nothing [default: 1 GB if the server keeps files]
    #[arg(long, value_name = "SIZE")]
    storage_quota: Option<ByteSize>,
    /// How many days messages are kept
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..), default_value_t = OfferRequest::default().retention_days)]
    retention: u32,
    /// After how many days the offer can no longer be redeemed
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..), default_value_t = OfferRequest::default().expires_days)]
    expires: u32,
    /// How many offers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_OFFERS)), default_value_t = 1)]
    count: u32,
    /// Let the owner give mailboxes of this server to others, from its node
    #[arg(long)]
    provider: bool,
    /// How much room a provider may give away, all together
    #[arg(long, value_name = "SIZE", requires = "provider", default_value_t = DEFAULT_PROVIDER_TOTAL)]
    provider_total: ByteSize,
    /// Show a QR code as well, on standard error [default if standard output is a terminal]
    #[arg(long)]
    qr: bool,
}

impl Cli {
    /// Returns how log lines are to look.
    #[must_use]
    pub const fn log_format(&self) -> LogFormat {
        self.common.log_format
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The [`Failure`] to report.
    pub fn run(self) -> Result<(), Failure> {
        let Self { common, command } = self;
        match command {
            Command::Init { path, url, roles } => init(&common.basedir(path)?, url, roles),
            Command::Server(command) => {
                let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
                runtime.block_on(Box::pin(common.run(command)))
            }
            Command::Completions { shell } => completions(shell),
            Command::Manpages { dir } => manpages(&dir),
        }
    }
}

impl Common {
    async fn run(self, command: ServerCommand) -> Result<(), Failure> {
        let basedir = self.basedir(None)?;
        let file = Settings::load(&basedir.config_file()).map_err(Failure::failed)?;
        let engine = file.store;
        let admin_listen = self.admin_listen.or(file.admin_listen.clone());
        let settings = |flags: Settings| Settings { admin_listen: admin_listen.clone(), ..flags.over(file) };
        let operator = |settings| Operator::new(basedir.clone(), settings);
        match command {
            ServerCommand::Serve { settings: flags } => serve(basedir, settings(*flags)).await,
            ServerCommand::Offer(args) => {
                operator(settings(Settings::default())).offer(&args.request(), args.shows_qr()).await
            }
            ServerCommand::Accounts { json } => operator(settings(Settings::default())).accounts(json).await,
            ServerCommand::Account(command) => command.run(operator(settings(Settings::default()))).await,
            ServerCommand::Move { to, no_pin, .. } => {
                let request = to.map(|to| MoveRequest { to, no_pin });
                operator(settings(Settings::default())).move_to(request.as_ref()).await
            }
            ServerCommand::RotateKeys => operator(settings(Settings::default())).rotate_keys().await,
            ServerCommand::AddRole { role } => add_role(&basedir, &role),
            ServerCommand::Check { json } => check::run(&basedir, &settings(Settings::default()), json).await,
            ServerCommand::Export { file } => transfer::run_export(&basedir, &file).await,
            ServerCommand::Import { file, store } => {
                transfer::run_import(&basedir, &file, store.or(engine)).await
            }
            ServerCommand::Status { json } => operator(settings(Settings::default())).status(json).await,
        }
    }

    fn basedir(&self, positional: Option<PathBuf>) -> Result<Basedir, Failure> {
        let home = || std::env::home_dir().map(|home| home.join(".petmail-mailbox"));
        let chosen = positional.or_else(|| self.basedir.clone()).or_else(home);
        let chosen = chosen
            .ok_or_else(|| Failure::usage("there is no home directory").hint("name the folder with -d"))?;
        std::path::absolute(chosen).map(Basedir::new).map_err(Failure::failed)
    }
}

impl OfferArgs {
    fn shows_qr(self) -> bool {
        self.qr || (self.count == 1 && io::stdout().is_terminal())
    }

    const fn request(self) -> OfferRequest {
        OfferRequest {
            count: self.count,
            mailbox_quota: self.mailbox_quota,
            retention_days: self.retention,
            expires_days: self.expires,
            provider_total: if self.provider { Some(self.provider_total) } else { None },
            storage_quota: self.storage_quota,
        }
    }
}

fn init(basedir: &Basedir, url: BaseUrl, roles: Vec<String>) -> Result<(), Failure> {
    let identity = basedir.init_as(url, Some(roles)).map_err(|error| match error {
        InitError::HalfImported(_) => Failure::failed(error).hint("repeat the import, or remove the folder"),
        InitError::Exists(_) => {
            Failure::failed(error).hint("choose another folder with -d, or use the server that is there")
        }
        error => Failure::failed(error),
    })?;
    let kind = if identity.is_mailbox() { "mailbox" } else { "storage" };
    print(format_args!("made a {kind} server for {} in {}\n", identity.url(), basedir.path().display()))
}

fn add_role(basedir: &Basedir, role: &str) -> Result<(), Failure> {
    if !basedir.is_initialised() {
        return Err(explain(MailboxError::NotInitialised(basedir.path().to_owned())));
    }
    let _lock = DirLock::acquire(basedir.path()).map_err(|error| {
        Failure::failed(error).hint("stop the server first, and start it again afterwards")
    })?;
    if basedir.add_role(role).map_err(Failure::failed)? {
        print(format_args!(
            "the server has the role {role} from its next start on; accounts get room with `account set`\n"
        ))
    } else {
        print(format_args!("the server had the role {role} already\n"))
    }
}

async fn serve(basedir: Basedir, settings: Settings) -> Result<(), Failure> {
    let shutdown = shutdown_on_signals().map_err(Failure::failed)?;
    survive_hangups().map_err(Failure::failed)?;
    petmail_net::metrics::install();
    crate::measures::begin();
    let mailbox = Mailbox::open(basedir, settings).await.map_err(explain)?.as_service();
    Box::pin(mailbox.run(shutdown, |url| announce_ready(url))).await.map_err(explain)
}

/// Adds what the operator can do.
fn explain(error: MailboxError) -> Failure {
    let hint = match &error {
        MailboxError::NotInitialised(_) => {
            "run `petmail-mailbox init --url URL` first, or choose the folder with -d"
        }
        MailboxError::Lock(_) => "stop the other process first",
        MailboxError::Bind(error) => error.hint(),
        MailboxError::Clock(_) => {
            "set the clock (systemd: timedatectl set-ntp true), then start the server again"
        }
        MailboxError::Io(_) => {
            "does the folder belong to the user that the server runs as, and is there room?"
        }
        MailboxError::StoreFailed(_) => {
            "is the disk full or failing? make room, then start the server again: what was accepted is kept"
        }
        MailboxError::Queue(QueueError::DiskFull(_)) => {
            "make room on the disk, then start the server again: what was accepted is kept"
        }
        MailboxError::Open(OpenQueueError::Store(OpenError::Io { .. })) => {
            "is the disk full or failing? make room, then start the server again: what was accepted is kept"
        }
        _ => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "petmail-mailbox", &mut script);
    io::stdout().lock().write_all(&script).map_err(Failure::failed)
}

fn manpages(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|error| Failure::failed(format_args!("cannot write to {}: {error}", dir.display())))
}

fn print(text: impl std::fmt::Display) -> Result<(), Failure> {
    write!(io::stdout().lock(), "{text}").map_err(Failure::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
    }

    #[test]
    fn the_basedir_may_stand_before_or_after_the_command() {
        for line in [["x", "-d", "/b", "status"], ["x", "status", "-d", "/b"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.common.basedir(None).unwrap(), Basedir::new("/b"));
        }
    }
}
