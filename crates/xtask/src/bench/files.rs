//! A large file, many small ones, and a changed one, from one node to the other by way of the storage server, beside programs that
//! move files: all sides of each together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Stage;
use super::figures::{Times, mebibytes, row, seconds, show};
use super::machine::now;
use super::people::People;
use super::service::{Service, ask, free_port};
use super::wormhole::Wormhole;

/// The large file, in bytes.
const LARGE_BYTES: usize = 512 << 20;

/// How many small files, of 1 to 16 KiB.
const SMALL_FILES: usize = 5_000;

/// How much of the large file changes, in its middle, in bytes.
const CHANGED_BYTES: usize = 1 << 20;

/// How often it is looked whether a message has come.
const POLL: Duration = Duration::from_millis(20);

/// What every program has to move.
const JOBS: [&str; 3] = ["512 MiB", "5,000 of 1–16 KiB", "512 MiB, 1 MiB changed"];

/// How long something took, with the processor time of all programs.
type Measured = (Duration, Duration);

/// A program that moves files.
trait Mover {
    fn name(&self) -> &str;

    /// Moves a file or folder into a folder.
    fn carry(&mut self, source: &Path, target: &Path) -> Result<()>;

    /// The processor time of what runs all the time.
    fn services(&self) -> Result<Duration>;
}

/// Measures all of them, in turn.
pub(super) fn run(people: &People, stage: &Stage, rounds: usize) -> Result<()> {
    let sources = stage.sub("sources")?;
    let small = sources.dir.join("small");
    fs::create_dir(&small)?;
    let mut noise = Noise::default();
    for number in 0..SMALL_FILES {
        let length = 1_024 + number.wrapping_mul(7_919) % (15 * 1_024);
        fs::write(small.join(format!("{number:05}")), noise.bytes(length))?;
    }
    let mut movers: Vec<Box<dyn Mover + '_>> = vec![Box::new(Petmail { people, changed: Vec::new() })];
    for other in [wormhole(people), restic(stage), rclone(stage), rsync(stage)] {
        match other {
            Ok(mover) => movers.push(mover),
            Err(error) => println!("left out: {error:#}"),
        }
    }
    // What making a node takes is another matter.
    people.forget_peaks()?;
    let mut measured: Vec<[Vec<Measured>; 3]> = movers.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for (mover, measured) in movers.iter_mut().zip(&mut measured) {
            let large = sources.dir.join(format!("large-{round}"));
            let content = noise.bytes(LARGE_BYTES);
            fs::write(&large, &content)?;
            let [first, second, third] = measured;
            first.push(measure(people, mover.as_mut(), &large, stage)?);
            second.push(measure(people, mover.as_mut(), &small, stage)?);
            let mut changed = content;
            let middle = LARGE_BYTES / 2;
            changed.splice(middle..middle + CHANGED_BYTES, noise.bytes(CHANGED_BYTES));
            fs::write(&large, &changed)?;
            third.push(measure(people, mover.as_mut(), &large, stage)?);
            fs::remove_file(&large)?;
        }
    }
    let mut rows =
        vec![[vec![String::new()], JOBS.map(|job| format!("{job}: wall / CPU")).to_vec()].concat()];
    for (mover, measured) in movers.iter().zip(&measured) {
        let cells = measured.iter().map(|rounds| {
            let wall: Times = rounds.iter().map(|(wall, _)| *wall).collect();
            let cpu: Times = rounds.iter().map(|(_, cpu)| *cpu).collect();
            format!("{} / {}", seconds(wall.median()), seconds(cpu.median()))
        });
        rows.push(std::iter::once(mover.name().to_owned()).chain(cells).collect());
    }
    show("Files", &rows);
    drop(movers);
    let mut rows = vec![row(["", "peak memory"])];
    for (name, peak) in people.peaks()? {
        rows.push(vec![name, mebibytes(peak)]);
    }
    show("Files, memory", &rows);
    Ok(())
}

fn measure(people: &People, mover: &mut dyn Mover, source: &Path, stage: &Stage) -> Result<Measured> {
    let target = tempfile::tempdir_in(&stage.dir)?.keep();
    // What others have written before is their business.
    rustix::fs::sync();
    let cpu = people.cpu_time()? + mover.services()?;
    let begun = now();
    mover.carry(source, &target)?;
    let wall = begun.elapsed();
    let cpu = people.cpu_time()? + mover.services()? - cpu;
    ensure!(bytes_below(&target)? == bytes_below(source)?, "{} has not moved everything", mover.name());
    if source.is_file() {
        ensure!(same_content(source, &only_file(&target)?)?, "{} has moved something else", mover.name());
    }
    // Small files stay until the end: after many were deleted, ext4 makes new ones slowly for minutes.
    if source.is_file() {
        fs::remove_dir_all(&target)?;
    }
    println!("{}: {}, {} CPU", mover.name(), seconds(wall), seconds(cpu));
    Ok((wall, cpu))
}

/// Returns the only file below a folder: some programs make the folders that it came from.
fn only_file(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder)?.next().context("nothing has come")??.path();
    if entry.is_dir() { only_file(&entry) } else { Ok(entry) }
}

fn same_content(one: &Path, other: &Path) -> Result<bool> {
    Ok(fs::read(one)? == fs::read(other)?)
}

/// How many bytes all files at or below a path have.
fn bytes_below(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| bytes_below(&entry?.path())).sum()
}

/// Two nodes and their storage server.
struct Petmail<'a> {
    people: &'a People,
    /// How many bytes the storage had before each.
    changed: Vec<u64>,
}

impl Mover for Petmail<'_> {
    fn name(&self) -> &str {
        "petmail, by way of a storage server"
    }

    fn carry(&mut self, source: &Path, target: &Path) -> Result<()> {
        let (mut alice, mut bob) = (self.people.alice()?, self.people.bob()?);
        let sent = alice.ask("send-file", &json!({"cid": 1, "path": source}))?;
        let mid = sent.get("id").and_then(Value::as_u64).context("a file has a number")?;
        let came = loop {
            let files = bob.ask("files", &json!({}))?;
            let offered = files.get("files").and_then(Value::as_array).context("files are listed")?;
            let offered =
                offered.iter().find(|file| file.get("state").is_some_and(|state| state == "offered"));
            if let Some(id) = offered.and_then(|file| file.get("id")?.as_u64()) {
                break id;
            }
            let mine = alice.ask("files", &json!({ "id": mid }))?;
            let reason = mine.pointer("/files/0/state").filter(|state| *state == "failed");
            ensure!(reason.is_none(), "it cannot be sent: {mine}");
            thread::sleep(POLL);
        };
        bob.ask("fetch-file", &json!({"id": came, "to": target}))?;
        loop {
            let files = bob.ask("files", &json!({ "id": came }))?;
            let state = files.pointer("/files/0/state").and_then(Value::as_str).unwrap_or_default();
            ensure!(state != "failed", "it cannot be fetched: {files}");
            if state == "saved" {
                break;
            }
            thread::sleep(POLL);
        }
        let used = alice.ask("storage", &json!({}))?;
        let used = used.pointer("/storage/0/used_bytes").and_then(Value::as_u64).unwrap_or_default();
        let before = self.changed.last().copied().unwrap_or_default();
        println!("stored more: {}", mebibytes(used.saturating_sub(before)));
        self.changed.push(used);
        Ok(())
    }

    fn services(&self) -> Result<Duration> {
        Ok(Duration::ZERO)
    }
}

/// Moves a file or folder into a folder.
type Carry = Box<dyn FnMut(&Path, &Path) -> Result<()>>;

struct Other {
    name: &'static str,
    service: Option<Service>,
    carry: Carry,
}

impl Mover for Other {
    fn name(&self) -> &str {
        self.name
    }

    fn carry(&mut self, source: &Path, target: &Path) -> Result<()> {
        (self.carry)(source, target)
    }

    fn services(&self) -> Result<Duration> {
        self.service.as_ref().map_or(Ok(Duration::ZERO), Service::cpu_time)
    }
}

fn wormhole(people: &People) -> Result<Box<dyn Mover>> {
    let wormhole = Wormhole::install().context("magic-wormhole")?;
    let rendezvous = people.rendezvous_url.clone();
    let carry = move |source: &Path, target: &Path| wormhole.pass_a_file(&rendezvous, source, target);
    Ok(Box::new(Other { name: "magic-wormhole, direct", service: None, carry: Box::new(carry) }))
}

fn restic(stage: &Stage) -> Result<Box<dyn Mover>> {
    let (repository, cache) = (stage.dir.join("restic"), stage.dir.join("restic-cache"));
    let restic = move |arguments: &[&std::ffi::OsStr]| {
        let mut restic = Command::new("restic");
        restic.env("RESTIC_PASSWORD", "bench").env("RESTIC_REPOSITORY", &repository);
        ask(restic.env("RESTIC_CACHE_DIR", &cache).args(["--quiet"]).args(arguments))
    };
    restic(&["init".as_ref()]).context("restic")?;
    let carry = move |source: &Path, target: &Path| {
        restic(&["backup".as_ref(), source.as_os_str()])?;
        restic(&["restore".as_ref(), "latest".as_ref(), "--target".as_ref(), target.as_os_str()])?;
        Ok(())
    };
    Ok(Box::new(Other { name: "restic backup, restore", service: None, carry: Box::new(carry) }))
}

fn rclone(stage: &Stage) -> Result<Box<dyn Mover>> {
    let password = ask(Command::new("rclone").args(["obscure", "bench"])).context("rclone")?;
    let (port, dir) = (free_port()?, stage.dir.join("rclone"));
    fs::create_dir(&dir)?;
    let configured = move || {
        let mut rclone = Command::new("rclone");
        rclone.env("RCLONE_CONFIG", "/dev/null").env("RCLONE_CONFIG_DAV_TYPE", "webdav");
        rclone.env("RCLONE_CONFIG_DAV_URL", format!("http://127.0.0.1:{port}"));
        rclone.env("RCLONE_CONFIG_SEALED_TYPE", "crypt").env("RCLONE_CONFIG_SEALED_REMOTE", "dav:");
        rclone.env("RCLONE_CONFIG_SEALED_PASSWORD", password.trim());
        rclone
    };
    let mut serve = Command::new("rclone");
    serve.args(["serve", "webdav", "--addr", &format!("127.0.0.1:{port}")]).arg(&dir);
    let service = Service::listening("rclone", &mut serve, port, &stage.dir.join("rclone.log"))?;
    let carry = move |source: &Path, target: &Path| {
        let there = format!("sealed:{}", source.file_name().unwrap_or_default().display());
        // Its four at a time would take minutes for the small files; and this server shows no times, so that what has changed and is
        // as long as before would count as the same.
        let copy = || {
            let mut copy = configured();
            copy.args(["copy", "--transfers", "32", "--checkers", "32", "--ignore-times"]);
            copy
        };
        ask(copy().arg(source).arg(&there))?;
        ask(copy().arg(&there).arg(target))?;
        Ok(())
    };
    let name = "rclone crypt over WebDAV";
    Ok(Box::new(Other { name, service: Some(service), carry: Box::new(carry) }))
}

/// The floor: nothing is encrypted but on the way, nobody is told, and the server reads everything. There and back.
fn rsync(stage: &Stage) -> Result<Box<dyn Mover>> {
    let (port, dir) = (free_port()?, stage.dir.join("rsync"));
    fs::create_dir(&dir)?;
    for name in ["host", "key"] {
        ask(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(name)))
            .context("rsync over ssh")?;
    }
    let config = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/key.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\n",
        at = dir.display()
    );
    fs::write(dir.join("config"), config)?;
    fs::create_dir_all("/run/sshd").context("the SSH server wants /run/sshd")?;
    let mut serve = Command::new("/usr/sbin/sshd");
    serve.args(["-D", "-e", "-f"]).arg(dir.join("config"));
    let service = Service::listening("sshd", &mut serve, port, &stage.dir.join("sshd.log"))?;
    let there = format!("127.0.0.1:{}/", dir.join("there").display());
    let ssh = format!(
        "ssh -p {port} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        dir.join("key").display()
    );
    let carry = move |source: &Path, target: &Path| {
        let rsync = || {
            let mut rsync = Command::new("rsync");
            rsync.args(["--archive", "--fsync", "-e", &ssh]);
            rsync
        };
        ask(rsync().arg(source).arg(&there))?;
        let name = source.file_name().unwrap_or_default().display();
        ask(rsync().arg(format!("{there}{name}")).arg(target))?;
        Ok(())
    };
    Ok(Box::new(Other {
        name: "rsync over ssh, there and back",
        service: Some(service),
        carry: Box::new(carry),
    }))
}

impl Wormhole {
    /// Passes a file or folder from one to the other.
    fn pass_a_file(&self, rendezvous: &str, source: &Path, target: &Path) -> Result<()> {
        let mut send = self.command(rendezvous);
        send.args(["send", "--hide-progress"]).arg(source).stdout(Stdio::null()).stderr(Stdio::piped());
        let (code, sending) = Self::begin(send.spawn()?)?;
        let mut receive = self.command(rendezvous);
        receive.args(["receive", "--accept-file", "--hide-progress", "--output-file"]);
        let place: PathBuf = target.join(source.file_name().unwrap_or_default());
        ask(receive.arg(place).arg(&code))?;
        sending.finish()
    }
}

/// Bytes that look random, the same in every run.
#[derive(Debug, Default)]
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 64);
        self.0 += 1;
        let mut state = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while bytes.len() < length {
            // xorshift64: fast, and nothing that any of the programs could compress.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
