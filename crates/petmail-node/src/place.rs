//! Where the node lives: tells whether its folder was moved, or copied, so that two nodes have one identity.
//!
//! The file `place` in the basedir says where the node was at its last start, and `settle` compares. Nothing here keeps a
//! node from working: if two copies run, the mailbox servers let one of them have the messages. The rules are in `judge`,
//! without I/O. Source: `docs/operating.md`, "Moved or copied".

mod judge;
mod record;

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context;
use petmail_net::program::write_private_file;
use petmail_proto::wire::Record;
use rand_core::{OsRng, RngCore};
use tokio::{sync::oneshot, time::timeout};

use self::{
    judge::{Found, Verdict, Written},
    record::{Folder, MachineDigest, NodeId, Place, Site},
};
use crate::basedir::Basedir;

/// Where Linux says which machine it is; elsewhere machines are not told apart.
const MACHINE_ID_FILE: &str = "/etc/machine-id";

/// What is read of a file `place`: more than the longest path makes.
const MAX_PLACE_BYTES: u64 = 64 * 1024;

/// How long the former folder may take to show itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Compares where the node is with where it was, and notes it. Returns a problem to show for as long as the process runs.
/// The caller holds the basedir's lock.
pub(crate) async fn settle(basedir: &Basedir) -> Option<String> {
    let settled = match site(basedir.path()) {
        Ok(here) => settle_at(basedir, here).await,
        Err(error) => Err(error).context("the folder cannot be looked at"),
    };
    let problem = settled.unwrap_or_else(|error| {
        Some(format!("whether this folder is a copy of another cannot be told: {error:#}; mend that and restart the node"))
    });
    if let Some(problem) = &problem {
        tracing::warn!("{problem}");
    }
    problem
}

async fn settle_at(basedir: &Basedir, here: Site) -> anyhow::Result<Option<String>> {
    let file = basedir.place_file();
    let written = read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = match written.former_path(&here) {
        Some(path) => look(path, basedir.path().to_owned(), PATIENCE).await,
        None => Found::Nothing,
    };
    let verdict = written.judge(&here, found);
    let problem = verdict.problem();
    if let Verdict::Moved { from } = &verdict {
        tracing::info!(from = %from.display(), "the node's folder was moved");
    }
    if verdict.is_to_be_noted() {
        let node = written.node().unwrap_or_else(|| NodeId::generate(&mut OsRng));
        let record = Place { node, site: here }.encode_record()?;
        let noted = write_private_file(&file, &record);
        // What was found comes first; the next start finds it again.
        if problem.is_none() {
            noted.with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(problem)
}

/// Where a folder is, whatever it is called by links.
fn site(path: &Path) -> io::Result<Site> {
    let path = fs::canonicalize(path)?;
    Ok(Site { folder: folder(&path)?, path: path.into_os_string().into_vec(), machine: machine() })
}

fn folder(path: &Path) -> io::Result<Folder> {
    let metadata = fs::metadata(path)?;
    Ok(Folder { device: metadata.dev(), inode: metadata.ino() })
}

fn machine() -> Option<MachineDigest> {
    let is_known = cfg!(target_os = "linux");
    let id = is_known.then(|| fs::read_to_string(MACHINE_ID_FILE).ok()).flatten()?;
    MachineDigest::of(&id)
}

fn read(file: &Path) -> io::Result<Written> {
    let mut bytes = Vec::new();
    match File::open(file).and_then(|file| file.take(MAX_PLACE_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Written::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Written::Absent),
        Err(error) => Err(error),
    }
}

/// Looks at where the node was. What lies on a network share may never answer: a thread waits for it, which the end of the
/// process does not wait for.
async fn look(path: PathBuf, here: PathBuf, patience: Duration) -> Found {
    let (tell, told) = oneshot::channel();
    let looking = move || tell.send(look_at(&path, &here)).map_or_else(drop, drop);
    // Without a thread nobody tells.
    thread::Builder::new().spawn(looking).map_or_else(drop, drop);
    match timeout(patience, told).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Found::Hidden,
    }
}

fn look_at(path: &Path, here: &Path) -> Found {
    use io::ErrorKind::{NotADirectory, NotFound};
    match find(path, here) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Found::Nothing,
        Err(_) => Found::Hidden,
    }
}

fn find(path: &Path, here: &Path) -> io::Result<Found> {
    let basedir = Basedir::new(path)?;
    match read(&basedir.place_file())?.node() {
        Some(node) if basedir.has_node() => {
            let is_here = is_one_folder(here, path)?;
            Ok(Found::Node { node, folder: folder(if is_here { here } else { path })? })
        }
        _ => Ok(Found::Nothing),
    }
}

/// Tells whether what is made in one folder shows in the other: a share that is mounted twice may have two device numbers,
/// and nobody must be told to delete the only folder.
fn is_one_folder(here: &Path, there: &Path) -> io::Result<bool> {
    let name = format!(".place-{:016x}", OsRng.next_u64());
    let mark = here.join(&name);
    File::create_new(&mark)?;
    let shows = there.join(&name).try_exists();
    fs::remove_file(&mark)?;
    shows
}

#[cfg(test)]
mod tests;
