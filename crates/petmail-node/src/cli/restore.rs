//! `restore`: makes a node from a backup. It is built in a folder beside its place, which becomes the node by one rename.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::{self, BufReader},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::Args;
use petmail_net::{
    clock,
    program::{DirLock, Failure, create_private_dir, write_private_file},
};
use petmail_proto::time::UnixMillis;
use rand_core::OsRng;

use super::{
    block_on,
    create_node::{refuse_used, resolve_once, write_petmail},
    passphrase::Source,
    terminal,
};
use crate::{
    api::token::ApiToken,
    backup::{self, BackupError, BackupReader},
    basedir::Basedir,
    config::Config,
    db::Db,
};

const OLD_COPY: &str = "note: stop the old copy of this node for good: if it still runs, it loses its mailboxes to this \
    one. Messages that only the old copy received are not here.";
const NOT_ENCRYPTED: &str =
    "note: the new folder is not encrypted, whatever the old one was: `passphrase set` encrypts it.";
const LOCAL_MAILBOX: &str = "note: the mailbox inside this node was not in the backup: copy the old folder `mailbox` into \
    the new one before the first start, or the node makes an empty one with new keys.";

/// Make a node from a backup
#[derive(Debug, Args)]
#[command(
    after_help = "The node lives on in a new folder: contacts, mailboxes and messages are there, open invitations are \
    not.\n\n\
    Examples:\n  petmail-node restore /media/stick/petmail.backup\n  \
    petmail-node restore petmail.backup n1 --passphrase-file passphrase"
)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    /// The new folder; else that of --basedir
    #[arg(value_name = "BASEDIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Source,
}

impl Restore {
    pub(super) fn run(self, asked: Option<PathBuf>) -> Result<(), Failure> {
        let basedir = resolve_once(self.dir, asked)?;
        refuse_used(&basedir)?;
        let unreadable = |error| Failure::failed(format!("cannot read {}: {error}", self.file.display()));
        let file = BufReader::new(File::open(&self.file).map_err(unreadable)?);
        let passphrase = self.passphrase.read("Passphrase of this backup: ")?;
        let refuse = |error| refuse(&self.file, &error);
        let backup = BackupReader::open(file, &passphrase).map_err(refuse)?;
        let site = Site::prepare(&basedir)?;
        let built =
            block_on(site.build(backup, refuse)).and_then(|config| site.move_in(&basedir).map(|()| config));
        let config = built.inspect_err(|_| site.clear())?;
        explain(&config);
        terminal::print(&format!("restored the node in {}\n", basedir.path().display()))
    }
}

/// Where the node is built: a folder beside its place, kept to this process.
struct Site {
    basedir: Basedir,
    _lock: DirLock,
}

impl Site {
    /// Makes the folder, after removing what a killed restore may have left.
    fn prepare(target: &Basedir) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::failed(format!("cannot make {}: {error}", target.path().display()));
        let (Some(parent), Some(site)) = (target.path().parent(), target.restore_site()) else {
            return Err(Failure::failed(format!("{} is no place for a node", target.path().display())));
        };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let basedir = Basedir::new(&site).map_err(failed)?;
        if basedir.path().exists() {
            // Another restore may be at work there.
            drop(lock(&basedir)?);
            fs::remove_dir_all(basedir.path()).map_err(failed)?;
        }
        create_private_dir(basedir.path()).map_err(failed)?;
        Ok(Self { _lock: lock(&basedir)?, basedir })
    }

    /// Builds the node, and returns the text of its configuration.
    async fn build(
        &self,
        backup: BackupReader<BufReader<File>>,
        refuse: impl Fn(BackupError) -> Failure,
    ) -> Result<Vec<u8>, Failure> {
        let db = Db::open(self.basedir.path(), None).await.map_err(Failure::failed)?;
        let read = backup::read(backup, &db, UnixMillis(clock::unix_ms())).await;
        db.close().await;
        let config = read.map_err(refuse)?;
        self.write_files(&config)
            .map_err(|error| Failure::failed(format!("cannot write the node's files: {error}")))?;
        Ok(config)
    }

    /// Writes what `create-node` writes; the access token is a new one.
    fn write_files(&self, config: &[u8]) -> io::Result<()> {
        ApiToken::generate(&mut OsRng).store(&self.basedir.token_file())?;
        write_petmail(&self.basedir.petmail_file(), &env::current_exe()?)?;
        write_private_file(&self.basedir.config_file(), config)
    }

    /// Gives the node its place.
    fn move_in(&self, target: &Basedir) -> Result<(), Failure> {
        refuse_used(target)?;
        let moved =
            fs::rename(self.basedir.path(), target.path()).and_then(|()| match target.path().parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            });
        moved.map_err(|error| Failure::failed(format!("cannot make {}: {error}", target.path().display())))
    }

    fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(self.basedir.path()) {
            terminal::note(&format!("note: cannot remove {}: {error}", self.basedir.path().display()));
        }
    }
}

fn lock(basedir: &Basedir) -> Result<DirLock, Failure> {
    DirLock::acquire(basedir.path())
        .map_err(|error| Failure::failed(error).hint("another restore is at work there: wait for its end"))
}

fn refuse(file: &Path, error: &BackupError) -> Failure {
    let hint = match error {
        BackupError::Passphrase(_) => "type it again; nothing was made",
        BackupError::Io(_) | BackupError::Database(_) => "check the disks; nothing was made",
        _ => "use another copy of the backup; nothing was made",
    };
    Failure::failed(format!("cannot restore {}: {error:#}", file.display())).hint(hint)
}

fn explain(config: &[u8]) {
    terminal::note(OLD_COPY);
    terminal::note(NOT_ENCRYPTED);
    let config = std::str::from_utf8(config).ok().and_then(|text| Config::parse(text).ok());
    if config.is_some_and(|config| config.local_mailbox.is_some()) {
        terminal::note(LOCAL_MAILBOX);
    }
}
