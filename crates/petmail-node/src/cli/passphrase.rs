//! `passphrase set|remove`, and how every command asks for passphrases: on the terminal, from a file, or from a file
//! descriptor; never from an argument or the environment, which others can see.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use petmail_net::program::{DirLock, Failure};
use petmail_proto::at_rest::{MAX_PASSPHRASE_BYTES, Passphrase as Text};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    block_on,
    client::{Client, require_node},
    terminal,
};
use crate::{
    api::types::{PassphraseRequest, SecretText, StatusView},
    backup::in_place,
    basedir::Basedir,
    daemon,
    vault::{self, LockedVault, Vault, VaultError},
};

/// Encrypt the node's database with a passphrase, or stop doing so
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  petmail-node passphrase set\n  petmail-node passphrase remove")]
pub(super) enum Passphrase {
    Set(Set),
    Remove(Remove),
}

/// Encrypt the node's database, or change the passphrase
#[derive(Debug, Args)]
#[command(after_help = "The node has to be stopped. Whoever forgets the passphrase has lost the node.\n\n\
    Examples:\n  petmail-node -d n1 passphrase set\n  \
    petmail-node -d n1 passphrase set --passphrase-file old --new-passphrase-file new")]
pub(super) struct Set {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    new: NewSource,
}

/// Decrypt the node's database
#[derive(Debug, Args)]
#[command(after_help = "The node has to be stopped.\n\nExamples:\n  petmail-node -d n1 passphrase remove")]
pub(super) struct Remove {
    #[command(flatten)]
    source: Source,
}

/// Where the passphrase comes from; the terminal unless told otherwise.
#[derive(Clone, Debug, Args)]
pub(super) struct Source {
    /// Read the passphrase from the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase from a line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u32>,
}

/// Where the new passphrase comes from when one is changed.
#[derive(Clone, Debug, Args)]
struct NewSource {
    /// Read the new passphrase from the first line of this file
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from a line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "new_passphrase_file")]
    new_passphrase_fd: Option<u32>,
}

impl Passphrase {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        match self {
            Self::Set(command) => command.run(basedir),
            Self::Remove(command) => command.run(basedir),
        }
    }
}

impl Set {
    fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let _lock = lock_stopped(basedir)?;
        let new = Source::new(self.new.new_passphrase_file, self.new.new_passphrase_fd);
        let Some(unlocked) = unlock(basedir, &self.source)? else {
            // Without an old passphrase the options for one name the new one.
            let source = if new.is_terminal() { &self.source } else { &new };
            let passphrase = source.read_new("Passphrase for this node: ")?;
            terminal::note("encrypting the database …");
            block_on(async { vault::encrypt(basedir, &passphrase).await.map_err(Failure::failed) })
                .map(drop)?;
            return terminal::print(
                "the database is encrypted; `start` asks for the passphrase from now on\n",
            );
        };
        let passphrase = new.read_new("New passphrase: ")?;
        vault::change(basedir, &unlocked.vault, &passphrase).map_err(Failure::failed)?;
        terminal::print("the passphrase is changed\n")
    }
}

impl Remove {
    fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let _lock = lock_stopped(basedir)?;
        let Some(Unlocked { vault, .. }) = unlock(basedir, &self.source)? else {
            return Err(Failure::failed("this node has no passphrase"));
        };
        terminal::note("decrypting the database …");
        block_on(async { vault::decrypt(basedir, vault).await.map_err(Failure::failed) })?;
        terminal::print("the database is no longer encrypted\n")
    }
}

/// Give a locked node its passphrase
#[derive(Debug, Args)]
#[command(after_help = "For a node that was started with `start --locked`, or from the desktop's menu.\n\n\
    Examples:\n  petmail-node -d n1 unlock")]
pub(super) struct Unlock {
    #[command(flatten)]
    source: Source,
}

impl Unlock {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        let client = Client::find(basedir)?;
        let status: StatusView = block_on(async { client.ask("status").await })?;
        if !status.locked {
            return Err(Failure::failed("the node is not locked").hint("it runs already"));
        }
        let passphrase = self.source.read("Passphrase of this node: ")?;
        let request = PassphraseRequest { passphrase: SecretText::new(passphrase.expose_text()) };
        block_on(async { client.call::<Value>("unlock", &request).await })?;
        terminal::print("the node is open\n")
    }
}

/// A vault with the passphrase that opened it.
#[derive(Debug)]
pub(super) struct Unlocked {
    pub(super) passphrase: Text,
    pub(super) vault: Vault,
}

/// Finds the vault of the node in `basedir`, if it has one.
pub(super) fn locked(basedir: &Basedir) -> Result<Option<LockedVault>, Failure> {
    LockedVault::find(basedir).map_err(fail)
}

/// Whether there is somebody who can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks for the passphrase of the node in `basedir`, if it has one.
pub(super) fn unlock(basedir: &Basedir, source: &Source) -> Result<Option<Unlocked>, Failure> {
    let Some(locked) = LockedVault::find(basedir).map_err(fail)? else { return Ok(None) };
    let passphrase = source.read("Passphrase of this node: ")?;
    let vault = locked.unlock(&passphrase).map_err(fail)?;
    Ok(Some(Unlocked { passphrase, vault }))
}

/// Opens the vault of a stopped node, if it has one, with the passphrase that is at hand, else with the node's own.
pub(super) fn unlock_with(
    basedir: &Basedir,
    source: &Source,
    at_hand: &Text,
) -> Result<Option<Vault>, Failure> {
    let Some(locked) = LockedVault::find(basedir).map_err(fail)? else { return Ok(None) };
    if source.is_terminal()
        && let Ok(vault) = locked.unlock(at_hand)
    {
        return Ok(Some(vault));
    }
    let passphrase = source.read("Passphrase of this node: ").map_err(|failure| {
        failure.hint(
            "the node is encrypted: name its passphrase with --node-passphrase-file or --node-passphrase-fd",
        )
    })?;
    locked.unlock(&passphrase).map(Some).map_err(fail)
}

/// Says so if a passphrase was given for a node that has none.
pub(super) fn note_unused(unlocked: Option<&Unlocked>, source: &Source) {
    if unlocked.is_none() && !source.is_terminal() {
        terminal::note("note: this node has no passphrase; the one that was given is not used");
    }
}

/// Keeps the node in `basedir` from being started.
pub(super) fn lock_stopped(basedir: &Basedir) -> Result<DirLock, Failure> {
    require_node(basedir)?;
    let lock = block_on(async { daemon::lock(basedir).await.map_err(Failure::failed) })
        .map_err(|failure| failure.hint("stop the node first, with `stop`"))?;
    in_place::undo_interrupted(basedir).map_err(Failure::failed)?;
    Ok(lock)
}

fn fail(error: VaultError) -> Failure {
    let hint = match &error {
        VaultError::WrongPassphrase => "type it again; without it the node cannot be read",
        VaultError::Missing { .. } | VaultError::Unusable { .. } | VaultError::Foreign { .. } => {
            "put the right file there, or restore a backup"
        }
        _ => "mend what is named",
    };
    Failure::failed(error).hint(hint)
}

impl Source {
    /// A source that was named by other options.
    pub(super) const fn new(passphrase_file: Option<PathBuf>, passphrase_fd: Option<u32>) -> Self {
        Self { passphrase_file, passphrase_fd }
    }

    /// Reads the passphrase, from the terminal if no other source was named.
    pub(super) fn read(&self, prompt: &str) -> Result<Text, Failure> {
        let text = match (&self.passphrase_file, self.passphrase_fd) {
            (Some(path), _) => {
                let line = File::open(path).and_then(|mut file| read_line(&mut file));
                line.map_err(|error| {
                    Failure::failed(format!("cannot read the passphrase from {}: {error}", path.display()))
                })?
            }
            (None, Some(number)) => read_descriptor(number).map_err(|error| {
                Failure::failed(format!("cannot read the passphrase from descriptor {number}: {error}"))
            })?,
            (None, None) => ask(prompt)?,
        };
        Text::new(text).map_err(Failure::failed)
    }

    /// Reads a new passphrase; on the terminal it is typed twice.
    pub(super) fn read_new(&self, prompt: &str) -> Result<Text, Failure> {
        let passphrase = self.read(prompt)?;
        if self.is_terminal() && *ask("The same again: ")? != *passphrase.expose_text() {
            return Err(Failure::failed("the two passphrases differ").hint("try again; nothing was changed"));
        }
        Ok(passphrase)
    }

    /// Whether the terminal is to be asked.
    pub(super) const fn is_terminal(&self) -> bool {
        self.passphrase_file.is_none() && self.passphrase_fd.is_none()
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !can_ask() {
        return Err(Failure::failed("a passphrase is needed, and there is no terminal to ask for it")
            .hint("use --passphrase-file FILE or --passphrase-fd N"));
    }
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .map_err(|error| Failure::failed(format!("cannot ask for the passphrase: {error}")))
}

fn read_descriptor(number: u32) -> io::Result<Zeroizing<String>> {
    match number {
        0 => read_line(&mut io::stdin().lock()),
        _ => read_line(&mut File::open(format!("/dev/fd/{number}"))?),
    }
}

/// Reads a line, byte by byte, so that what follows it in a pipe is left for the next reader.
pub(super) fn read_line(source: &mut impl Read) -> io::Result<Zeroizing<String>> {
    // Never grows, so that no copy stays behind.
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE_BYTES + 2));
    let mut byte = Zeroizing::new([0]);
    while line.len() < MAX_PASSPHRASE_BYTES + 2 && source.read(byte.as_mut_slice())? == 1 && *byte != [b'\n']
    {
        line.extend_from_slice(byte.as_slice());
    }
    let text = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(&line));
    text.map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> io::Result<String> {
        read_line(&mut io::Cursor::new(bytes)).map(|line| line.to_string())
    }

    #[test]
    fn the_first_line_counts_without_its_end() {
        for bytes in ["correct horse", "correct horse\n", "correct horse\r\n", "correct horse\nsecond\n"] {
            assert_eq!(line(bytes.as_bytes()).unwrap(), "correct horse", "{bytes:?}");
        }
        assert_eq!(line(b" spaces stay \n").unwrap(), " spaces stay ");
        assert_eq!(line(b"").unwrap(), "");
        assert!(line(b"\xff\xfe\n").is_err());
    }

    #[test]
    fn two_lines_of_one_pipe_are_two_passphrases() {
        let mut pipe = io::Cursor::new(b"old\nnew\n");
        let lines = [(); 2].map(|()| read_line(&mut pipe).unwrap().to_string());
        assert_eq!(lines, ["old", "new"]);
    }

    #[test]
    fn an_endless_line_is_refused_and_not_read_to_its_end() {
        let text = read_line(&mut io::repeat(b'x')).unwrap();
        assert!(Text::new(text).is_err());
    }
}
