//! `docs/operating.md`, as its reader does it: the very commands of the page, in a folder that stands for the machine's root.
//!
//! What a test cannot have is played: `systemctl` runs the command of the unit that was installed, and there is one user.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use petmail_integration_tests::mailbox::free_port;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::bin;
use petmail_integration_tests::rendezvous::Rendezvous;
use petmail_integration_tests::world::meet;
use petmail_proto::invitation::wormhole::APP_ID;
use tempfile::TempDir;

/// `systemctl enable --now|start|restart|stop|disable UNIT`, for one unit of `Type=notify` at a time: `start` returns when it is ready.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
unit=$(ls "$ROOT"/etc/systemd/system/*.service)
stop() {
    [ -e "$ROOT/pid" ] || return 0
    kill "$(cat "$ROOT/pid")" && while kill -0 "$(cat "$ROOT/pid")" 2>/dev/null; do sleep 0.05; done
    rm "$ROOT/pid"
}
start() {
    local command=$(sed -n 's/^ExecStart=//p' "$unit" | sed "s#/usr/bin#$ROOT/usr/bin#; s#/var/lib#$ROOT/var/lib#")
    : > "$ROOT/out"
    $command > "$ROOT/out" 2>> "$ROOT/log" < /dev/null &
    echo $! > "$ROOT/pid"
    until grep -q '^ready ' "$ROOT/out"; do kill -0 $! || { cat "$ROOT/log" >&2; exit 1; }; sleep 0.05; done
}
case $1 in
    daemon-reload) ;;
    enable | start) start ;;
    stop | disable) stop ;;
    restart) stop; start ;;
    *) echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

/// `runuser -u USER -- COMMAND`: the files belong to whoever runs the test.
const RUNUSER: &str = "#!/bin/sh\n[ \"$1\" = -u ] && [ \"$3\" = -- ] && shift 3 && exec \"$@\"\n";

/// A machine in a folder.
struct Machine {
    root: TempDir,
    /// What is defined for later commands.
    functions: String,
}

impl Machine {
    fn new(program: &str) -> Self {
        let root = tempfile::tempdir().expect("there is room for temporary files");
        let path = |name: &str| root.path().join(name);
        for folder in ["usr/bin", "etc", "var/lib", "root", "stubs", "here"] {
            fs::create_dir_all(path(folder)).expect("a folder can be made");
        }
        let systemd =
            |tool: &str| format!("#!/bin/sh\nexec /usr/bin/systemd-{tool} --root=\"$ROOT\" \"$@\"\n");
        let stubs = [
            ("systemctl", SYSTEMCTL.to_owned()),
            ("runuser", RUNUSER.to_owned()),
            ("systemd-sysusers", systemd("sysusers")),
            // The users of the folder are not those of this machine.
            (
                "systemd-tmpfiles",
                format!("{}chmod 700 \"$ROOT\"/var/lib/*\n", systemd("tmpfiles").replace("exec ", "")),
            ),
        ];
        for (name, text) in stubs {
            let stub = path("stubs").join(name);
            fs::write(&stub, text).expect("a file can be written");
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755))
                .expect("own files have permissions");
        }
        symlink(bin(program), path("here").join(program)).expect("a link can be made");
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        symlink(deploy, path("here/deploy")).expect("a link can be made");
        Self { root, functions: String::new() }
    }

    /// Types commands as root in the folder with the program, with this machine's root for `/`.
    fn run(&mut self, commands: &str) -> String {
        let root = self.root.path().display().to_string();
        let absolute = |text: String, folder: &&str| text.replace(*folder, &format!("{root}{folder}"));
        let commands = ["/usr/bin", "/etc/", "/var/lib", "/root/"].iter().fold(commands.to_owned(), absolute);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{root}/stubs:{root}/usr/bin:{path}:/usr/sbin:/sbin");
        let mut shell = Command::new("bash");
        shell
            .args(["-euc", &format!("{}\n{commands}", self.functions)])
            .current_dir(self.root.path().join("here"));
        let done = Outcome::of(
            shell.env("ROOT", &root).env("PATH", path).env("PETMAIL_RENDEZVOUS_LISTEN", "127.0.0.1:0"),
        );
        let functions = commands.lines().filter(|line| line.contains("() {")).map(|line| format!("{line}\n"));
        self.functions.extend(functions);
        done.text()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root.path().join(name)).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let stop = "[ -e pid ] || exit 0; kill \"$(cat pid)\" 2>/dev/null && while kill -0 \"$(cat pid)\" 2>/dev/null; do sleep 0.05; done";
        drop(Command::new("bash").args(["-c", stop]).current_dir(self.root.path()).status());
    }
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    fs::read_to_string(page).expect("the page is there")
}

/// The blocks of commands in one section of the page, up to the next of its rank.
fn commands(heading: &str) -> Vec<String> {
    let page = page();
    let (_, section) =
        page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap_or(section);
    let section =
        if heading.starts_with("### ") { section.split("\n### ").next().unwrap_or(section) } else { section };
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or(block).to_owned()).collect()
}

#[test]
fn a_mailbox_server_in_ten_minutes_and_long_after() {
    let mut machine = Machine::new("petmail-mailbox");
    let url = format!("https://127.0.0.1:{}", free_port());
    let [install, start, offer] = commands("## A mailbox server in ten minutes").try_into().unwrap();
    machine.run(&install);
    let said = machine.run(&start.replace("https://mail.example.org", &url));
    assert!(said.contains("running") && said.contains(&url), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let rendezvous = Rendezvous::start(&folder.path().join("rendezvous"), &[]);
    let node = |name: &str, machine: &mut Machine| {
        let usual = ["--name", name, "--allow-private-transports", "--rendezvous", rendezvous.url()];
        let mut node = Node::create(&folder.path().join(name), &usual);
        node.start();
        node.accept_mailbox(machine.run(&offer).lines().last().unwrap());
        node
    };
    let (alice, bob) = (node("Alice", &mut machine), node("Bob", &mut machine));
    meet(&alice, &bob);
    alice.send(1, "before");
    bob.receives(&["before"]);

    let [upgrade] = commands("### Upgrades").try_into().unwrap();
    let said = machine.run(&upgrade);
    assert!(said.contains("running") && said.contains("accounts  2"), "{said}");
    let [backup, restore] = commands("### Backups").try_into().unwrap();
    machine.run(&backup);
    alice.send(1, "after the backup");
    bob.receives(&["before", "after the backup"]);
    machine.run(&restore);
    assert!(machine.run("mailbox status").contains("accounts  2"));
    bob.send(1, "after the restore");
    alice.receives(&["after the restore"]);
    alice.send(1, "all is well");
    bob.receives(&["before", "after the backup", "all is well"]);

    let [leave, arrive] = commands("### Another machine").try_into().unwrap();
    machine.run(&leave);
    let mut other = Machine::new("petmail-mailbox");
    other.run(&install);
    let file = "root/petmail-mailbox.export";
    fs::copy(machine.root.path().join(file), other.root.path().join(file)).unwrap();
    let function = start.lines().next().unwrap();
    let said = other.run(&format!("{function}\n{arrive}"));
    assert!(said.contains("running") && said.contains("accounts  2"), "{said}");
    bob.send(1, "after the move");
    alice.receives(&["after the restore", "after the move"]);
    for log in [machine.read("log"), other.read("log")] {
        assert!(!log.contains("ERROR"), "{log}");
    }
}

#[test]
fn a_rendezvous_server_in_ten_minutes() {
    let mut machine = Machine::new("petmail-rendezvous");
    let [all] = commands("## A rendezvous server in ten minutes").try_into().unwrap();
    assert!(page().contains(&format!("Petmail's is `{APP_ID}`")));
    let said = machine.run(&all);
    assert!(said.contains("running at ws://127.0.0.1:"), "{said}");
    let log = machine.read("log");
    assert!(!log.contains("ERROR"), "{log}");
}
