//! The control API: the only way into a running node, for the command line, the control panel and scripts.

pub mod types;
