//! The Petmail node: one program with one agent, its control API, and the command line.

pub mod api;
pub mod basedir;
pub mod config;

/// The agent: so far, why it refuses commands.
pub mod agent {
    pub mod error;
}
