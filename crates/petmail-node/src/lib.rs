//! The Petmail node: one program with one agent, its control API, and the command line.
//!
//! [`agent`] drives the protocol's machines and owns every rule about persistence; the tasks beside it are the
//! long-running ones; [`node`] puts them together. [`api`] is the only way in, and [`cli`] uses nothing else. Nobody uses
//! this crate.

pub mod agent;
pub mod api;
pub mod backup;
pub mod basedir;
pub mod cli;
pub mod config;
pub mod daemon;
mod db;
mod doctor;
mod file_name;
pub mod life;
mod local_mailbox;
mod network;
pub mod node;
mod panel;
mod place;
mod qr;
mod spelling;
mod tasks;
mod transfer;
mod treacherous;
pub mod vault;
