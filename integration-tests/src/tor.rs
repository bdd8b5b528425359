//! A Tor network of its own on loopback: three authorities, two relays, a client, and whoever has onion services.
//!
//! It works as the public one does, only faster: the intervals are those that Tor has for tests.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::mailbox::free_port;
use crate::outcome::Outcome;
use crate::process::Process;
use crate::wait::eventually;

/// What every member of the network is told.
const COMMON: &str = "\
TestingTorNetwork 1
Log notice stdout
ShutdownWaitLength 0
AssumeReachable 1
PathsNeededToBuildCircuits 0.25
TestingDirAuthVoteExit *
TestingDirAuthVoteHSDir *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
V3AuthNIntervalsValid 2
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
Address 127.0.0.1
ExitRelay 1
ExitPolicy accept 127.0.0.0/8:*
ExitPolicyRejectPrivate 0
";

/// The network and its members, which end with it.
#[derive(Debug)]
pub struct TorNetwork {
    dir: TempDir,
    authorities: String,
    members: Vec<Process>,
    socks_port: u16,
}

/// What makes an authority: where it is reached, and its line in everybody's configuration.
struct Authority {
    name: String,
    or_port: u16,
    dir_port: u16,
    line: String,
}

impl TorNetwork {
    /// Starts the network; its client may not be ready yet.
    ///
    /// # Panics
    /// If a program is missing or fails.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let authorities: Vec<_> = (1..=3).map(|number| Authority::new(dir.path(), number)).collect();
        let lines = authorities.iter().map(|authority| authority.line.as_str()).collect();
        let mut network = Self { dir, authorities: lines, members: Vec::new(), socks_port: free_port() };
        for Authority { name, or_port, dir_port, .. } in &authorities {
            let duties = format!(
                "Nickname {name}\nORPort 127.0.0.1:{or_port}\nDirPort 127.0.0.1:{dir_port}\nSocksPort 0\n\
                 AuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\nContactInfo nobody@example.org\n"
            );
            network.join(name, &duties);
        }
        for name in ["relay1", "relay2"] {
            let port = free_port();
            network.join(name, &format!("Nickname {name}\nORPort 127.0.0.1:{port}\nSocksPort 0\n"));
        }
        // A request that met a network in the making is given up, to be made again.
        let socks = format!("SocksPort 127.0.0.1:{}\nSocksTimeout 10\n", network.socks_port);
        network.join("client", &socks);
        network
    }

    /// Lets somebody join, with these lines in the configuration.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn join(&mut self, name: &str, lines: &str) {
        let text =
            format!("{COMMON}DataDirectory {}\n{lines}{}", self.path(name).display(), self.authorities);
        let torrc = self.path(&format!("{name}.torrc"));
        fs::write(&torrc, text).expect("there is room for temporary files");
        self.members.push(Process::spawn(tor().arg("-f").arg(torrc)));
    }

    /// Returns a path in the network's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where programs reach the network, as they are told by `--socks5`.
    #[must_use]
    pub fn socks(&self) -> String {
        format!("127.0.0.1:{}", self.socks_port)
    }

    /// Waits until everybody has found the network.
    ///
    /// # Panics
    /// If somebody does not.
    pub fn wait(&self) {
        for member in &self.members {
            member.wait_for(|line| line.contains("Bootstrapped 100%").then_some(()));
        }
    }

    /// Waits until the client gets through to an onion service: then the network knows it.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_service(&self, hostname: &str) {
        eventually("the onion service is reached", || self.reach(hostname).ok().filter(|reached| *reached));
    }

    /// Asks the client for a connection to port 80 of a host. Source: RFC 1928.
    fn reach(&self, hostname: &str) -> io::Result<bool> {
        let mut client = TcpStream::connect(("127.0.0.1", self.socks_port))?;
        client.write_all(&[5, 1, 0])?;
        client.read_exact(&mut [0; 2])?;
        let length = u8::try_from(hostname.len()).map_err(io::Error::other)?;
        client.write_all(&[&[5, 1, 0, 3, length], hostname.as_bytes(), &[0, 80]].concat())?;
        let mut answer = [0; 2];
        client.read_exact(&mut answer)?;
        Ok(answer == [5, 0])
    }

    /// Waits for the name of an onion service whose folder this is.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn hostname(&self, service_dir: &Path) -> String {
        let file = service_dir.join("hostname");
        eventually("an onion service has a name", || {
            fs::read_to_string(&file).ok().filter(|name| name.ends_with('\n'))
        })
        .trim()
        .to_owned()
    }
}

impl Authority {
    fn new(dir: &Path, number: u32) -> Self {
        let name = format!("authority{number}");
        let (or_port, dir_port) = (free_port(), free_port());
        let data = dir.join(&name);
        let keys = data.join("keys");
        fs::create_dir_all(&keys).expect("a folder can be made");
        crate::deploy::make_private(&data);
        let [identity, signing, certificate] =
            ["authority_identity_key", "authority_signing_key", "authority_certificate"]
                .map(|file| keys.join(file));
        let mut make = Command::new("sh");
        make.args([
            "-c",
            "echo nothing | tor-gencert --create-identity-key -m 12 --passphrase-fd 0 \"$@\"",
            "sh",
        ]);
        make.args(["-a", &format!("127.0.0.1:{dir_port}"), "-i"]).arg(identity);
        drop(Outcome::of(make.arg("-s").arg(signing).arg("-c").arg(&certificate)).text());
        let certificate = fs::read_to_string(certificate).expect("the certificate was made");
        let id = certificate
            .lines()
            .find_map(|line| line.strip_prefix("fingerprint "))
            .expect("it has a fingerprint");

        let empty = dir.join("empty.torrc");
        fs::write(&empty, "").expect("there is room for temporary files");
        let mut list = tor();
        list.args(["--list-fingerprint", "--Nickname", &name, "--SocksPort", "0", "--Address", "127.0.0.1"]);
        list.args(["--ORPort", &format!("127.0.0.1:{or_port}"), "--AssumeReachable", "1", "-f"]).arg(empty);
        let nobody = "nobody 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff";
        drop(Outcome::of(list.args(["--DirAuthority", nobody, "--DataDirectory"]).arg(&data)).text());
        let own = fs::read_to_string(data.join("fingerprint")).expect("the fingerprint was made");
        let fingerprint = own.trim().split_once(' ').expect("a name and a fingerprint").1;
        let line = format!(
            "DirAuthority {name} orport={or_port} no-v2 v3ident={id} 127.0.0.1:{dir_port} {fingerprint}\n"
        );
        Self { name, or_port, dir_port, line }
    }
}

/// Tor, without the machine's own settings: a file that is not there has none.
fn tor() -> Command {
    let mut tor = Command::new("tor");
    tor.args(["--defaults-torrc", "/nonexistent"]);
    tor
}
