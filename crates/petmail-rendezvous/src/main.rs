//! The program `petmail-rendezvous`: its command line, and nothing else.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use petmail_net::program::{self, DirLock, Failure, LogFormat};
use petmail_rendezvous::config::{Config, ConfigError, Settings, load_policy};
use petmail_rendezvous::program::{run, stopped_status};
use petmail_rendezvous::status;

const EXAMPLES: &str = "Examples:
  petmail-rendezvous serve
  petmail-rendezvous serve --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem
  petmail-rendezvous serve --hashcash 20 --allow-appid petmail.org/invitation/v1
  petmail-rendezvous status --json";

const SERVE_EXAMPLES: &str = "Examples:
  petmail-rendezvous serve                                    loopback only, ws://127.0.0.1:4000/v1
  petmail-rendezvous serve --listen 127.0.0.1:0               any free port
  petmail-rendezvous serve --listen 0.0.0.0:4000 --self-signed

Every setting may also stand in BASEDIR/config.toml, under the option's name; further limits there under [limits]
and [network]. Options win over the environment, the environment wins over the file.";

const STATUS_EXAMPLES: &str = "Examples:
  petmail-rendezvous status
  petmail-rendezvous status --json -d /var/lib/petmail-rendezvous";

const COMPLETIONS_EXAMPLES: &str = "Examples:
  petmail-rendezvous completions bash > ~/.local/share/bash-completion/completions/petmail-rendezvous";

const MAN_EXAMPLES: &str = "Examples:
  petmail-rendezvous man > petmail-rendezvous.1";

/// The server where Petmail's invitations meet; any magic-wormhole client can use it too
#[derive(Debug, Parser)]
#[command(name = "petmail-rendezvous", version, after_help = EXAMPLES)]
struct Cli {
    /// Where the server keeps everything [default: ~/.petmail-rendezvous]
    #[arg(short = 'd', long, global = true, value_name = "DIR", env = "PETMAIL_RENDEZVOUS_BASEDIR")]
    basedir: Option<PathBuf>,
    /// How log lines look: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value_t,
        env = "PETMAIL_RENDEZVOUS_LOG_FORMAT"
    )]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until it is told to stop
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<Settings>),
    /// Tell how the server is
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

fn main() -> ExitCode {
    program::prepare_process();
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    program::init_logging(cli.log_format).map_err(Failure::failed)?;
    match cli.command {
        Command::Serve(settings) => {
            let config = settings.resolve(basedir(cli.basedir)?).map_err(config_failure)?;
            block_on(serve(config))
        }
        Command::Status { json } => block_on(print_status(basedir(cli.basedir)?, json)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "petmail-rendezvous", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Failure::failed)?;
            print(&page)
        }
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    program::survive_hangups().map_err(Failure::failed)?;
    let shutdown = program::shutdown_on_signals()
        .context("cannot listen for signals")
        .map_err(|e| Failure::failed(format_args!("{e:#}")))?;
    Box::pin(run(config, shutdown)).await.map_err(|error| match error.hint() {
        Some(hint) => Failure::failed(&error).hint(hint),
        None => Failure::failed(&error),
    })
}

async fn print_status(basedir: PathBuf, json: bool) -> Result<(), Failure> {
    if !basedir.is_dir() {
        return Err(Failure::failed(format_args!("there is no {}", basedir.display()))
            .hint("start a server with `petmail-rendezvous serve`, or name its basedir with -d"));
    }
    let running = DirLock::holder(&basedir).map_err(Failure::failed)?.is_some();
    let status = if running {
        status::ask(&basedir).await.map_err(Failure::failed)?
    } else {
        let policy = load_policy(&basedir).map_err(config_failure)?;
        stopped_status(&basedir, policy).await.map_err(Failure::failed)?
    };
    let text =
        if json { serde_json::to_string(&status).map_err(Failure::failed)? } else { status.to_string() };
    print(format!("{text}\n").as_bytes())
}

fn basedir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let home = || std::env::home_dir().map(|home| home.join(".petmail-rendezvous"));
    let basedir = given
        .or_else(home)
        .ok_or_else(|| Failure::usage("there is no home directory").hint("name a basedir with -d DIR"))?;
    std::path::absolute::<&Path>(&basedir).map_err(Failure::failed)
}

fn config_failure(error: ConfigError) -> Failure {
    Failure::usage(error).hint("see `petmail-rendezvous serve --help`")
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::failed)?;
    runtime.block_on(work)
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    std::io::stdout().write_all(bytes).map_err(Failure::failed)
}
