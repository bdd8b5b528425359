//! `create-node`: makes a basedir with its configuration, its access token, and the `petmail` that knows the folder.

use std::{
    env, fs,
    fs::Permissions,
    io,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use petmail_net::program::{Failure, create_private_dir, write_private_file};
use rand_core::OsRng;

use super::{client::NO_MAILBOX, terminal};
use crate::{
    api::token::ApiToken,
    basedir::Basedir,
    config::{Config, LocalMailbox, Privacy, default_mailbox_listen, forgets_codes},
};

/// Make a node: a folder that holds all its state
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    petmail-node create-node\n  \
    petmail-node create-node n1 --name Alice --rendezvous wss://rendezvous.example/v1\n  \
    petmail-node create-node n1 --local-mailbox --hostname home.example --mailbox-listen 0.0.0.0:8443")]
pub(super) struct CreateNode {
    /// The folder; else that of --basedir
    #[arg(value_name = "BASEDIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    choices: Choices,
}

/// What goes into the configuration.
#[derive(Debug, Args)]
struct Choices {
    /// The rendezvous server, where invitations meet: ws://HOST[:PORT]/v1 or wss://…
    #[arg(long, value_name = "URL", env = "PETMAIL_NODE_RENDEZVOUS", hide_env_values = true)]
    rendezvous: Option<String>,
    /// Where the control API listens: a loopback address; port 0 is chosen once
    #[arg(long, value_name = "ADDR:PORT", env = "PETMAIL_NODE_LISTEN", hide_env_values = true)]
    listen: Option<SocketAddr>,
    /// The name that new contacts are sent
    #[arg(long, value_name = "DISPLAYNAME", env = "PETMAIL_NODE_NAME", hide_env_values = true)]
    name: Option<String>,
    /// Run a mailbox inside the node, for people with a reachable address
    #[arg(long, requires = "hostname")]
    local_mailbox: bool,
    /// The name or address under which contacts reach the local mailbox
    #[arg(long, value_name = "HOST", requires = "local_mailbox")]
    hostname: Option<String>,
    /// Where the local mailbox listens; port 0 is chosen once [default: 0.0.0.0:0]
    #[arg(long, value_name = "ADDR:PORT", requires = "local_mailbox")]
    mailbox_listen: Option<SocketAddr>,
    /// Deliver to contacts' mailboxes on private addresses too (for trials and LANs)
    #[arg(long)]
    allow_private_transports: bool,
    /// A SOCKS5 proxy (Tor) for every connection
    #[arg(long, value_name = "HOST:PORT", env = "PETMAIL_NODE_SOCKS5", hide_env_values = true)]
    socks5: Option<String>,
    /// How much comfort is given up for less to be observed
    #[arg(long, value_enum, default_value_t, env = "PETMAIL_NODE_PRIVACY", hide_env_values = true)]
    privacy: PrivacyChoice,
}

/// The values of `--privacy`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PrivacyChoice {
    #[default]
    Normal,
    High,
}

impl CreateNode {
    pub(super) fn run(self, asked: Option<PathBuf>) -> Result<(), Failure> {
        let basedir = resolve_once(self.dir, asked)?;
        let config = self.choices.into_config();
        config.check().map_err(Failure::usage)?;
        create(&basedir, &config)?;
        explain(&config);
        if let Some(site) = basedir.interrupted_restore() {
            terminal::note(&format!(
                "note: an interrupted restore left {} with the contents of a backup, not encrypted: delete it.",
                site.display()
            ));
        }
        terminal::print(&format!("created a node in {}\n", basedir.path().display()))
    }
}

/// The folder of a new node, named as an argument or by the option.
pub(super) fn resolve_once(dir: Option<PathBuf>, asked: Option<PathBuf>) -> Result<Basedir, Failure> {
    if dir.is_some() && asked.is_some() {
        return Err(Failure::usage("the folder is named twice").hint("name it once, with -d or as BASEDIR"));
    }
    super::resolve(dir.or(asked))
}

impl Choices {
    fn into_config(self) -> Config {
        let defaults = Config::default();
        let mailbox_listen = self.mailbox_listen.unwrap_or_else(default_mailbox_listen);
        Config {
            download_folder: None,
            name: self.name.unwrap_or(defaults.name),
            rendezvous: self.rendezvous.unwrap_or(defaults.rendezvous),
            listen: self.listen.unwrap_or(defaults.listen),
            privacy: match self.privacy {
                PrivacyChoice::Normal => Privacy::Normal,
                PrivacyChoice::High => Privacy::High,
            },
            allow_private_transports: self.allow_private_transports,
            socks5: self.socks5,
            read_receipts: defaults.read_receipts,
            copies_everywhere: defaults.copies_everywhere,
            local_mailbox: self.hostname.map(|hostname| LocalMailbox { hostname, listen: mailbox_listen }),
        }
    }
}

/// Writes the configuration last: where it exists, the node is complete.
pub(super) fn create(basedir: &Basedir, config: &Config) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot make a node in {}: {error}", basedir.path().display()))
    };
    refuse_used(basedir)?;
    create_private_dir(basedir.path()).map_err(failed)?;
    ApiToken::generate(&mut OsRng).store(&basedir.token_file()).map_err(failed)?;
    write_petmail(&basedir.petmail_file(), &env::current_exe().map_err(failed)?).map_err(failed)?;
    write_private_file(&basedir.config_file(), config.to_commented_toml().as_bytes()).map_err(failed)
}

/// Refuses a folder that holds something.
pub(super) fn refuse_used(basedir: &Basedir) -> Result<(), Failure> {
    let dir = basedir.path().display();
    if basedir.has_node() {
        return Err(Failure::failed(format!("there is a node in {dir} already")).hint("use another folder"));
    }
    match fs::read_dir(basedir.path()).map(|mut entries| entries.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::failed(format!("{dir} is not empty")).hint("use a new folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot read {dir}: {error}"))),
    }
}

/// Writes the executable at `path` that runs `program` with the folder it lies in, wherever that has been moved to.
pub(super) fn write_petmail(path: &Path, program: &Path) -> io::Result<()> {
    let mut script =
        b"#!/bin/sh\n# Runs the Petmail node of the folder that this file is in.\nprogram=".to_vec();
    script.extend_from_slice(&quoted_for_shell(program));
    script.extend_from_slice(
        br#"
self=$(readlink -f -- "$0") || exit 1
if [ ! -x "$program" ]; then
    echo "error: the program $program is gone" >&2
    echo "hint: write its new place into $self" >&2
    exit 1
fi
exec "$program" --basedir "${self%/*}" "$@"
"#,
    );
    write_private_file(path, &script)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// In single quotes everything but the single quote stands for itself.
fn quoted_for_shell(path: &Path) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(br"'\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn explain(config: &Config) {
    if forgets_codes(&config.rendezvous) {
        terminal::note(
            "note: invitations use the public magic-wormhole server, which forgets codes when both people are away. \
             Keep both nodes running until you are connected, or name another server with --rendezvous.",
        );
    }
    if config.local_mailbox.is_none() {
        terminal::note(NO_MAILBOX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_survives_the_shell() {
        assert_eq!(quoted_for_shell(Path::new("/a b/it's $HOME")), br"'/a b/it'\''s $HOME'");
    }
}
