//! The node as a process: running it until it is told to stop, starting it in the background, waiting for its end.
//!
//! Whether a node runs is known by the lock of its basedir alone: the system frees it however the process ends.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context;
use petmail_net::{
    CancellationToken,
    program::{DirLock, Failure, LockError, LogFormat, announce_ready},
};
use petmail_proto::at_rest::Passphrase;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    api::ApiServer,
    basedir::Basedir,
    config::Config,
    life::{Entry, Process},
    place,
};

/// A log that has grown beyond this is set aside at the next start; the one set aside before it goes.
const MAX_LOG_BYTES: u64 = 5 * 1024 * 1024;

/// How long a node may take until it is ready: a large store after a crash is slow to open.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a node may take to stop: longer than the server loop drains.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the lock is looked at: nothing can wait for a lock and for a deadline at once.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How often the lock is tried before it counts as another node's.
const LOCK_ATTEMPTS: u32 = 10;

/// How much of the log's end is searched for the reason of a failed start.
const MAX_REPORT_BYTES: u64 = 64 * 1024;

/// Runs the node in `basedir` until `shutdown` is cancelled. Prints `ready URL` once the control API accepts connections.
///
/// # Errors
/// The node cannot be started, or failed so that it cannot go on.
pub async fn run(basedir: &Basedir, entry: Entry, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = Config::load(&basedir.config_file())?;
    let _lock = lock(basedir).await?;
    // Bound first: while the lock is held, the address in the basedir is this node's, and commands wait for it to open.
    let api = ApiServer::bind(basedir, &config).await?;
    let url = api.base_url().to_owned();
    let copy = place::settle(basedir).await;
    let (serving, lives, orders) = api.serve(shutdown.clone());
    let serving = tokio::spawn(serving);
    let process = Process { basedir: basedir.clone(), lives, orders, shutdown: shutdown.clone(), copy };
    let ready = || {
        announce_ready(&url).context("cannot say that the node is ready")?;
        tracing::info!(url, "ready");
        Ok(())
    };
    let ended = process.run(entry, ready).await;
    // A node that ended by itself takes its API with it.
    shutdown.cancel();
    serving.await.context("the control API failed")?;
    ended
}

/// Takes the lock of the basedir. Whoever looks whether a node runs holds it for a moment too: that is waited out.
pub(crate) async fn lock(basedir: &Basedir) -> Result<DirLock, LockError> {
    for _ in 1..LOCK_ATTEMPTS {
        match DirLock::acquire(basedir.path()) {
            Err(LockError::Held { .. }) => tokio::time::sleep(LOCK_POLL).await,
            result => return result,
        }
    }
    DirLock::acquire(basedir.path())
}

/// What a process in the background is given of an encrypted node.
#[derive(Clone, Debug)]
pub enum Key {
    /// The node is not encrypted.
    NotNeeded,
    /// The passphrase. It goes through a pipe, which nobody else can read.
    Passphrase(Passphrase),
    /// Nothing: the node waits for it.
    Later,
}

/// Starts the node in `basedir` in a process of its own, waits until it is ready, and returns its base URL.
///
/// # Errors
/// The process cannot be started, or ended with an error, which is passed on.
pub async fn start_in_background(
    basedir: &Basedir,
    key: Key,
    log_format: LogFormat,
) -> Result<String, Failure> {
    let log = open_log(&basedir.log_file()).map_err(|error| {
        Failure::failed(format!("cannot write {}: {error}", basedir.log_file().display()))
    })?;
    let log_start = log.metadata().map_err(Failure::failed)?.len();
    let mut child = spawn(basedir, &key, log_format, log)
        .map_err(|error| Failure::failed(format!("cannot start the node: {error}")))?;
    if let (Key::Passphrase(passphrase), Some(mut pipe)) = (key, child.stdin.take()) {
        let line = Zeroizing::new(format!("{}\n", passphrase.expose_text()));
        // If it has ended already, the log says why.
        drop(pipe.write_all(line.as_bytes()).await);
    }
    match timeout(START_TIMEOUT, ready_url(&mut child)).await {
        Ok(Some(url)) => Ok(url),
        Ok(None) => {
            // Its standard output is closed: it has ended, or is about to.
            drop(child.wait().await);
            Err(reported_failure(&basedir.log_file(), log_start))
        }
        Err(_) => {
            drop(child.kill().await);
            Err(Failure::failed("the node did not become ready")
                .hint(format!("see {}", basedir.log_file().display())))
        }
    }
}

fn spawn(basedir: &Basedir, key: &Key, log_format: LogFormat, log: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["start", "--foreground", "--log-format", &log_format.to_string(), "--basedir"])
        .arg(basedir.path())
        .current_dir(basedir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C in the terminal is not meant for it.
        .process_group(0);
    match key {
        Key::NotNeeded => &mut command,
        Key::Passphrase(_) => command.args(["--passphrase-fd", "0"]).stdin(Stdio::piped()),
        Key::Later => command.arg("--locked"),
    };
    command.spawn()
}

async fn ready_url(child: &mut Child) -> Option<String> {
    let line = BufReader::new(child.stdout.take()?).lines().next_line().await.ok()??;
    Some(line.strip_prefix("ready ")?.to_owned())
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > MAX_LOG_BYTES) {
        fs::rename(path, set_aside(path))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn set_aside(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

/// Finds the `error:` and `hint:` lines that a node wrote to its log before it ended.
fn reported_failure(path: &Path, start: u64) -> Failure {
    let text = read_from(path, start).unwrap_or_default();
    let last = |prefix| text.lines().rev().find_map(|line| line.strip_prefix(prefix));
    let failure = Failure::failed(last("error: ").unwrap_or("the node ended at once"));
    match last("hint: ") {
        Some(hint) => failure.hint(hint),
        None => failure.hint(format!("see {}", path.display())),
    }
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(MAX_REPORT_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(MAX_REPORT_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks the process that holds the basedir's lock to stop, by SIGTERM.
///
/// # Errors
/// The process is not known, or the system refuses.
pub fn terminate(basedir: &Basedir) -> Result<(), Failure> {
    let Some(pid) = basedir.running().map_err(Failure::failed)? else { return Ok(()) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::failed("the node does not answer, and its process is not known"))?;
    kill_process(pid, Signal::TERM)
        .map_err(|error| Failure::failed(format!("cannot stop process {}: {error}", pid.as_raw_nonzero())))
}

/// Waits until no process holds the basedir's lock.
///
/// # Errors
/// That takes too long.
pub async fn wait_until_stopped(basedir: &Basedir) -> Result<(), Failure> {
    let stopped = async {
        while basedir.running().map_err(Failure::failed)?.is_some() {
            tokio::time::sleep(LOCK_POLL).await;
        }
        Ok(())
    };
    timeout(STOP_TIMEOUT, stopped).await.unwrap_or_else(|_| {
        Err(Failure::failed("the node has not stopped").hint(format!("see {}", basedir.log_file().display())))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_long_log_is_set_aside_and_a_short_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        fs::write(&path, "short").unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 5);
        File::options().write(true).open(&path).unwrap().set_len(MAX_LOG_BYTES + 1).unwrap();
        let log = open_log(&path).unwrap().metadata().unwrap();
        assert_eq!((log.len(), log.permissions().mode() & 0o777), (0, 0o600));
        assert_eq!(fs::metadata(dir.path().join("node.log.1")).unwrap().len(), MAX_LOG_BYTES + 1);
    }

    #[tokio::test]
    async fn a_glance_at_the_lock_keeps_no_node_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let basedir = Basedir::new(dir.path()).unwrap();
        drop(lock(&basedir).await.unwrap());
        let file = File::open(dir.path().join("lock")).unwrap();
        file.lock_shared().unwrap();
        let (held, ()) = tokio::join!(lock(&basedir), async { drop(file) });
        assert!(held.is_ok());
        assert!(matches!(lock(&basedir).await, Err(LockError::Held { .. })));
    }

    #[test]
    fn the_reason_of_a_failed_start_is_found_after_older_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.log");
        fs::write(&path, "error: old\nhint: old\nINFO line\nerror: new\n").unwrap();
        let failure = reported_failure(&path, 22);
        assert!(failure.to_string().starts_with("error: new\nhint: see "), "{failure}");
    }
}
