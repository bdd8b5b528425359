//! The program `petmail-node`: prepares the process and hands over to the command line.

use std::process::ExitCode;

use clap::Parser;
use petmail_net::program::prepare_process;
use petmail_node::cli::{self, Cli};
use tikv_jemallocator::Jemalloc;

/// A node runs for months, and what a transfer took has to go back to the system: `.cargo/config.toml` says when.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let saved_file_mode = prepare_process();
    match cli::run(Cli::parse(), saved_file_mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
