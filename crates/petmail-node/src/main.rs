//! The program `petmail-node`: prepares the process and hands over to the command line.

use std::process::ExitCode;

use clap::Parser;
use petmail_net::program::prepare_process;
use petmail_node::cli::{self, Cli};

fn main() -> ExitCode {
    let saved_file_mode = prepare_process();
    match cli::run(Cli::parse(), saved_file_mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
