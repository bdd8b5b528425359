//! A connection to another machine: a child process `ssh`, which knows the user's keys, hosts and agent.
//!
//! The child has nothing but our pipes. When this program ends, however it ends, its input ends, and so does the child.

use std::{
    fmt,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openssh_sftp_client::{Sftp, SftpOptions};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use crate::ObjectError;

/// The longest time until SFTP is spoken.
const CONNECTING: Duration = Duration::from_secs(30);

/// How long `ssh` may take to say why it ends.
const ENDING: Duration = Duration::from_secs(2);

/// How much is kept of what `ssh` says, in bytes.
const MOST_SAID: usize = 2_000;

/// Settings that do not depend on the destination. Nobody is asked anything, nothing but SFTP goes over the connection,
/// it is nobody else's, and a machine that is silent for 45 seconds is given up.
const SETTINGS: [&str; 12] = [
    "BatchMode=yes",
    "LogLevel=ERROR",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
];

/// Whom `ssh` is to reach, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    host: String,
    user: String,
    key: String,
    trusts_new_hosts: bool,
}

impl Destination {
    /// Reads the options `host`, `user`, `folder`, `key` and `known_hosts`: nothing in them could be taken for an option
    /// of `ssh`.
    ///
    /// # Errors
    /// [`ObjectError::Refused`]: one of them is wrong.
    pub(super) fn new<'a>(option: impl Fn(&'static str) -> &'a str) -> Result<Self, ObjectError> {
        let refused = |what: &str| Err(ObjectError::Refused(what.to_owned()));
        let is_plain = |text: &str| {
            !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:[]".contains(c))
        };
        let trusts_new_hosts = match option("known_hosts") {
            "" | "strict" => false,
            "add" => true,
            _ => return refused("known_hosts is strict or add"),
        };
        let (host, user, key) = (option("host"), option("user"), option("key"));
        if !host.strip_prefix("ssh://").is_some_and(|host| !host.is_empty() && is_plain(host)) {
            return refused("the host is ssh://HOST or ssh://HOST:PORT");
        }
        if user.is_empty() || !is_plain(user) {
            return refused("the user is the name of an account");
        }
        if !option("folder").starts_with('/') || !(key.is_empty() || key.starts_with('/')) {
            return refused("folder and key are absolute paths");
        }
        Ok(Self { host: host.to_owned(), user: user.to_owned(), key: key.to_owned(), trusts_new_hosts })
    }

    fn command(&self) -> Command {
        let mut ssh = Command::new("ssh");
        for setting in SETTINGS {
            ssh.args(["-o", setting]);
        }
        let checking = if self.trusts_new_hosts { "accept-new" } else { "yes" };
        ssh.args(["-o", &format!("StrictHostKeyChecking={checking}"), "-l", &self.user]);
        if !self.key.is_empty() {
            ssh.args(["-o", "IdentitiesOnly=yes", "-i", &self.key]);
        }
        ssh.args(["-s", "--", &self.host, "sftp"]);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        ssh
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sftp://{}@{}", self.user, self.host.trim_start_matches("ssh://"))
    }
}

/// A connection over which SFTP is spoken. Dropping it ends the child.
#[derive(Debug)]
pub(super) struct Connection {
    /// What speaks SFTP.
    pub(super) sftp: Sftp,
    remarks: Remarks,
    _child: Child,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`ObjectError`], with what `ssh` says.
    pub(super) async fn open(destination: &Destination) -> Result<Self, ObjectError> {
        let mut child = destination.command().spawn().map_err(|error| {
            ObjectError::Refused(format!("cannot run ssh ({error}): install an OpenSSH client"))
        })?;
        let piped = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = piped else {
            return Err(ObjectError::Unavailable("ssh has no pipes".to_owned()));
        };
        let remarks = Remarks::of(stderr);
        match timeout(CONNECTING, Sftp::new(stdin, stdout, SftpOptions::new())).await {
            Ok(Ok(sftp)) => Ok(Self { sftp, remarks, _child: child }),
            Ok(Err(error)) => Err(remarks.reason(&error.to_string()).await),
            Err(_) => Err(ObjectError::Unavailable("the machine does not answer".to_owned())),
        }
    }

    /// Whether `ssh` has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.remarks.are_complete()
    }

    /// Says why the connection broke off.
    pub(super) async fn why_it_broke(&self, otherwise: &str) -> ObjectError {
        self.remarks.reason(otherwise).await
    }
}

/// What `ssh` says on standard error, until it ends.
#[derive(Clone, Debug, Default)]
struct Remarks(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    text: Mutex<Vec<u8>>,
    is_complete: AtomicBool,
    ended: tokio::sync::Notify,
}

impl Remarks {
    fn of(mut stderr: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let remarks = Self::default();
        let said = Arc::clone(&remarks.0);
        tokio::spawn(async move {
            let mut bytes = [0; 512];
            while let Ok(count @ 1..) = stderr.read(&mut bytes).await {
                let mut text = said.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.extend_from_slice(bytes.get(..count).unwrap_or_default());
                let too_many = text.len().saturating_sub(MOST_SAID);
                text.drain(..too_many);
            }
            said.is_complete.store(true, Ordering::Release);
            said.ended.notify_waiters();
        });
        remarks
    }

    fn are_complete(&self) -> bool {
        self.0.is_complete.load(Ordering::Acquire)
    }

    /// Waits a little for `ssh` to end, and returns what it said, or `otherwise`.
    async fn reason(&self, otherwise: &str) -> ObjectError {
        let ended = self.0.ended.notified();
        if !self.are_complete() {
            // Without an end there is at least what was said until now.
            drop(timeout(ENDING, ended).await);
        }
        let text = self.0.text.lock().unwrap_or_else(PoisonError::into_inner);
        reason(&String::from_utf8_lossy(&text), otherwise)
    }
}

/// Reads what OpenSSH says when it ends: its last line.
fn reason(said: &str, otherwise: &str) -> ObjectError {
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let Some(last) = last else { return ObjectError::Unavailable(otherwise.to_owned()) };
    let last: String = last.chars().filter(|c| !c.is_control()).take(300).collect();
    if said.contains("IDENTIFICATION HAS CHANGED") {
        return ObjectError::Refused(
            "the machine shows another key than before, and may be another machine: ask who runs it, and mend ssh's known_hosts if it has a new key"
                .to_owned(),
        );
    }
    if said.contains("Host key verification failed") {
        return ObjectError::Refused(
            "ssh does not know the machine's key: connect to it once by ssh and look at the key, or set known_hosts=add"
                .to_owned(),
        );
    }
    if last.contains("Permission denied") {
        return ObjectError::Refused(format!("ssh cannot log in there: {last}"));
    }
    ObjectError::Unavailable(format!("ssh says: {last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(
        host: &str,
        user: &str,
        folder: &str,
        key: &str,
        known: &str,
    ) -> Result<Destination, ObjectError> {
        Destination::new(|name| match name {
            "host" => host,
            "user" => user,
            "folder" => folder,
            "key" => key,
            _ => known,
        })
    }

    #[test]
    fn nothing_is_taken_for_an_option_of_ssh() {
        let good = destination("ssh://nas.example.org:2222", "ann", "/srv", "/home/ann/key", "add").unwrap();
        assert_eq!(good.to_string(), "sftp://ann@nas.example.org:2222");
        assert!(destination("ssh://[fe80::1]", "ann_b", "/srv", "", "").is_ok());
        for (host, user, folder, key, known) in [
            ("nas", "ann", "/srv", "", ""),
            ("ssh://", "ann", "/srv", "", ""),
            ("ssh://-oProxyCommand=x", "ann", "/srv", "", ""),
            ("ssh://nas -v", "ann", "/srv", "", ""),
            ("ssh://bob@nas", "ann", "/srv", "", ""),
            ("ssh://nas/x", "ann", "/srv", "", ""),
            ("ssh://nas", "", "/srv", "", ""),
            ("ssh://nas", "-l", "/srv", "", ""),
            ("ssh://nas", "ann@x", "/srv", "", ""),
            ("ssh://nas", "ann", "srv", "", ""),
            ("ssh://nas", "ann", "/srv", "-oX", ""),
            ("ssh://nas", "ann", "/srv", "", "no"),
        ] {
            assert!(destination(host, user, folder, key, known).is_err(), "{host} {user} {folder} {key}");
        }
    }

    #[test]
    fn what_ssh_says_is_told() {
        let banner = "Welcome\u{1b}[31m\r\n";
        for (said, is_refused, told) in [
            ("", false, "otherwise"),
            ("\r\n \r\n", false, "otherwise"),
            ("Host key verification failed.\r\n", true, "known_hosts=add"),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n",
                true,
                "another key than before",
            ),
            ("ann@nas: Permission denied (publickey).\r\n", true, "ssh cannot log in there: ann@nas"),
            (
                "ssh: connect to host nas port 22: Connection refused\r\n",
                false,
                "ssh says: ssh: connect to host nas",
            ),
            (banner, false, "ssh says: Welcome[31m"),
        ] {
            let error = reason(said, "otherwise");
            assert_eq!(matches!(error, ObjectError::Refused(_)), is_refused, "{said}");
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
