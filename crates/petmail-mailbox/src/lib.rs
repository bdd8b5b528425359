//! The Petmail mailbox server: keeps encrypted messages until their owners fetch them.
//!
//! Services without HTTP ([`accounts`], [`deliver`], [`retrieve`], [`admin`]) work on a [`queue::QueueStore`];
//! [`http`] maps requests to them; [`server`] puts everything together for a program, or for a node that runs a mailbox of
//! its own. Specification: Servers, accounts, offers; Delivery; Retrieval.

pub mod accounts;
pub mod admin;
pub mod basedir;
pub mod check;
pub mod cli;
mod clock;
pub mod config;
pub mod deliver;
pub mod http;
pub mod identity;
pub mod measures;
pub mod packs;
pub mod queue;
pub mod retrieve;
pub mod server;
pub mod size;
pub mod transfer;
pub mod work;

pub use petmail_net::CancellationToken;
