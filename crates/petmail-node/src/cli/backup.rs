//! `backup`: everything that the node needs to live on elsewhere, in one encrypted file.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufWriter, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use clap::Args;
use petmail_net::program::Failure;
use petmail_proto::at_rest::Passphrase;
use tokio::runtime::Handle;

use super::{
    block_on,
    client::{Client, require_node},
    passphrase::{Source, lock_stopped, unlock_with},
    terminal,
};
use crate::{
    api::types::{PassphraseRequest, SecretText},
    backup::{self, BackupWriter},
    basedir::Basedir,
    config::Config,
    db::Db,
    vault::Vault,
};

/// What to say of a mailbox inside the node, which is a server of its own.
pub(super) const LOCAL_MAILBOX: &str = "note: the mailbox inside this node is not in the backup: stop the node and copy \
    the folder `mailbox` in its folder as well.";

/// Save everything that the node needs to live on elsewhere in one encrypted file
#[derive(Debug, Args)]
#[command(
    after_help = "The node may run meanwhile. The passphrase is the backup's own; without it nobody can restore it.\n\n\
    Examples:\n  petmail-node -d n1 backup /media/stick/petmail.backup\n  \
    petmail-node -d n1 backup petmail.backup --force --passphrase-file passphrase"
)]
pub(super) struct Backup {
    /// The file to write
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    passphrase: Source,
    #[command(flatten)]
    node: NodeSource,
}

/// Where the passphrase of the node itself comes from: asked for only if it has one and is stopped.
#[derive(Clone, Debug, Args)]
struct NodeSource {
    /// Read the passphrase of a stopped node from the first line of this file
    #[arg(long, value_name = "FILE")]
    node_passphrase_file: Option<PathBuf>,
    /// Read the passphrase of a stopped node from a line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "node_passphrase_file")]
    node_passphrase_fd: Option<u32>,
}

impl Backup {
    pub(super) fn run(self, basedir: &Basedir, mode: u32) -> Result<(), Failure> {
        require_node(basedir)?;
        let target = Target::new(&self.file, self.force)?;
        let passphrase = self.passphrase.read_new("Passphrase for this backup: ")?;
        let bytes = if basedir.running().map_err(Failure::failed)?.is_some() {
            target.fill(mode, |file| block_on(download(basedir, &passphrase, file)))?
        } else {
            let _lock = lock_stopped(basedir)?;
            let node = Source::new(self.node.node_passphrase_file, self.node.node_passphrase_fd);
            let vault = unlock_with(basedir, &node, &passphrase)?;
            target.fill(mode, |file| block_on(write_stopped(basedir, vault, &passphrase, file)))?
        };
        if Config::load(&basedir.config_file()).is_ok_and(|config| config.local_mailbox.is_some()) {
            terminal::note(LOCAL_MAILBOX);
        }
        terminal::print(&format!("saved {bytes} bytes in {}\n", self.file.display()))
    }
}

/// Has the running node make the backup.
async fn download(basedir: &Basedir, passphrase: &Passphrase, file: &mut File) -> Result<(), Failure> {
    let request = PassphraseRequest { passphrase: SecretText::new(passphrase.expose_text()) };
    let mut answer = Client::find(basedir)?.download("backup", &request).await?;
    let broken = |error| Failure::failed(format!("the node broke off: {error}")).hint("try again");
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        file.write_all(&chunk).map_err(Failure::failed)?;
    }
    Ok(())
}

/// Makes the backup of a node that does not run, whose lock the caller holds.
async fn write_stopped(
    basedir: &Basedir,
    vault: Option<Vault>,
    passphrase: &Passphrase,
    file: &mut File,
) -> Result<(), Failure> {
    let config = fs::read(basedir.config_file()).map_err(Failure::failed)?;
    let db = Db::open(basedir.path(), vault).await.map_err(Failure::failed)?;
    let writer = BackupWriter::create(BufWriter::new(file.try_clone().map_err(Failure::failed)?), passphrase)
        .map_err(Failure::failed)?;
    let (read, runtime) = (db.clone(), Handle::current());
    let written = tokio::task::spawn_blocking(move || backup::write(&read, &config, writer, &runtime)).await;
    db.close().await;
    written.map_err(Failure::failed)?.map_err(Failure::failed)?;
    Ok(())
}

/// The file that is saved: it appears whole or not at all.
struct Target {
    path: PathBuf,
    temporary: PathBuf,
    force: bool,
}

impl Target {
    fn new(path: &Path, force: bool) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(Failure::failed)?;
        let name = path.file_name().filter(|_| !path.is_dir());
        let name = name.ok_or_else(|| Failure::failed(format!("{} names no file", path.display())))?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.part", std::process::id()));
        let target = Self { temporary: path.with_file_name(temporary), path, force };
        target.refuse_existing()?;
        Ok(target)
    }

    /// Has the file written and puts it in place, and returns its length in bytes.
    fn fill(self, mode: u32, write: impl FnOnce(&mut File) -> Result<(), Failure>) -> Result<u64, Failure> {
        let failed =
            |error: io::Error| Failure::failed(format!("cannot write {}: {error}", self.path.display()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.temporary);
        let file = file.as_mut().map_err(|error| {
            Failure::failed(format!("cannot write beside {}: {error}", self.path.display()))
        })?;
        let filled = write(file).and_then(|()| self.put_in_place(file, mode, failed));
        if filled.is_err() {
            // What is left over is encrypted, and named as a part.
            drop(fs::remove_file(&self.temporary));
        }
        filled
    }

    fn put_in_place(
        &self,
        file: &File,
        mode: u32,
        failed: impl Fn(io::Error) -> Failure + Copy,
    ) -> Result<u64, Failure> {
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.refuse_existing()?;
        fs::rename(&self.temporary, &self.path).map_err(failed)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        }
        file.metadata().map(|file| file.len()).map_err(failed)
    }

    fn refuse_existing(&self) -> Result<(), Failure> {
        if self.force || !self.path.exists() {
            return Ok(());
        }
        Err(Failure::failed(format!("{} is there already", self.path.display()))
            .hint("choose another name, or replace it with --force"))
    }
}
