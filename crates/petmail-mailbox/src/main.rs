//! The program `petmail-mailbox`: parses, prepares the process, runs a command.

use std::process::ExitCode;

use clap::Parser;
use petmail_mailbox::cli::Cli;
use petmail_net::program::{init_logging, prepare_process};

fn main() -> ExitCode {
    prepare_process();
    let cli = Cli::parse();
    if let Err(error) = init_logging(cli.log_format()) {
        return petmail_net::program::Failure::failed(error).report();
    }
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
