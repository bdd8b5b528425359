//! The node's Debian package: it installs, its menu entry opens the panel, it goes again without a trace but the data.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use petmail_integration_tests::browser::Browser;
use petmail_integration_tests::node::Node;
use petmail_integration_tests::outcome::Outcome;
use petmail_integration_tests::programs::{command, command_at, target_dir};
use petmail_integration_tests::wait::eventually;

/// A system that packages are installed into, in a folder, beside the one that the test runs on.
struct System {
    dir: tempfile::TempDir,
}

impl System {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "home", "desktop"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("root/var/lib/dpkg/status"), "").unwrap();
        // The desktop's program for addresses, which here has no browser.
        let opener = dir.path().join("desktop/xdg-open");
        fs::write(&opener, "#!/bin/sh\nprintf '%s' \"$1\" > \"$HOME/opened.part\" && mv \"$HOME/opened.part\" \"$HOME/opened\"\n").unwrap();
        fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self, name: &str) -> PathBuf {
        self.path("root").join(name)
    }

    /// Has Debian's tool do something with packages. What the package needs is on the real system.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(self.path("root"));
        dpkg.args(["--log=/dev/null", "--force-not-root", "--force-depends", "--force-script-chrootless"])
            .args(arguments);
        Outcome::of(dpkg.env("DEBIAN_FRONTEND", "noninteractive")).text()
    }

    /// Lists the files that are no records of dpkg's.
    fn files(&self) -> Vec<PathBuf> {
        let found = Outcome::of(Command::new("find").arg(self.path("root")).args(["-not", "-type", "d"]));
        let own = [self.root("var/lib/dpkg"), self.root("var/log")];
        let text = found.text();
        let files = text.lines().map(PathBuf::from);
        files.filter(|file| !own.iter().any(|own| file.starts_with(own))).collect()
    }

    /// Runs a line of a menu entry, as a desktop does: no terminal, the user's own home.
    fn choose(&self, exec: &str, works: bool) -> String {
        let mut words = exec.split(' ');
        let program = self.root("usr/bin").join(words.next().unwrap());
        let mut chosen = command_at(&program);
        let path = std::env::join_paths([self.path("desktop"), "/usr/bin".into(), "/bin".into()]).unwrap();
        chosen.args(words).env("HOME", self.path("home")).env("TMPDIR", self.path("home")).env("PATH", path);
        let opened = self.path("home/opened");
        fs::remove_file(&opened).ok();
        // Whether it works or not, something is shown.
        assert_eq!(Outcome::of(&mut chosen).succeeded(), works);
        eventually("something is opened", || fs::read_to_string(&opened).ok())
    }
}

fn package() -> PathBuf {
    let into = target_dir().join("tmp/desktop-package");
    let mut make = command("xtask");
    make.args(["package", "desktop", "--profile", "dev", "--into"]).arg(&into);
    let said = Outcome::of(&mut make).text();
    PathBuf::from(said.lines().find_map(|line| line.strip_prefix("the node's Debian package is ")).unwrap())
}

fn exec_of(entry: &Path) -> String {
    let text = fs::read_to_string(entry).unwrap();
    text.lines().find_map(|line| line.strip_prefix("Exec=")).unwrap().to_owned()
}

#[test]
fn the_package_installs_opens_the_panel_and_goes_again() {
    let package = package();
    let version = Outcome::of(command("petmail-node").arg("--version")).text();
    let said = Outcome::of(Command::new("dpkg-deb").args(["--field"]).arg(&package)).text();
    assert!(said.contains(&format!("Version: {}", version.trim().rsplit_once(' ').unwrap().1)), "{said}");
    assert!(said.contains("libc6"), "the libraries that it needs are named: {said}");

    let system = System::new();
    system.dpkg(&["--install", package.to_str().unwrap()]);
    let installed = system.files();
    for (name, begin) in [
        ("usr/share/man/man1/petmail-node.1.gz", ".TH petmail-node"),
        ("usr/share/man/man1/petmail-node-open.1.gz", ".TH"),
    ] {
        let page = Outcome::of(Command::new("gzip").args(["-dc"]).arg(system.root(name))).text();
        assert!(page.contains(begin), "{page}");
    }
    let completions = system.root("usr/share/bash-completion/completions/petmail-node");
    assert_eq!(Outcome::of(Command::new("bash").arg("-n").arg(completions)).text(), "");
    for name in [
        "usr/share/zsh/vendor-completions/_petmail-node",
        "usr/share/fish/vendor_completions.d/petmail-node.fish",
    ] {
        assert!(fs::read_to_string(system.root(name)).unwrap().contains("petmail-node"), "{name}");
    }
    assert!(system.root("usr/lib/systemd/user/petmail-node.service").is_file(), "{installed:#?}");
    // Debian's own lines in the scripts switch it on, and off again; in a folder they do nothing.
    for (script, does) in [
        ("postinst", "--user enable 'petmail-node.service'"),
        ("postrm", "--user purge 'petmail-node.service'"),
    ] {
        let text = Outcome::of(Command::new("dpkg-deb").arg("--info").arg(&package).arg(script)).text();
        assert!(text.contains(does), "{script}: {text}");
    }

    let entry = system.root("usr/share/applications/petmail.desktop");
    let verdict = Outcome::of(Command::new("desktop-file-validate").arg(&entry));
    assert_eq!((verdict.text(), verdict.remarks()), (String::new(), String::new()));
    let icon = system.root("usr/share/icons/hicolor/scalable/apps/petmail.svg");
    assert!(fs::read_to_string(icon).unwrap().starts_with("<svg"));

    let exec = exec_of(&entry);
    let mut browser = Browser::start();
    browser.expects("ERR_");
    browser.visit(&system.choose(&exec, true));
    assert!(browser.see("welcome").contains("mailbox"));
    // Chosen again: the same node, another address.
    browser.visit(&system.choose(&exec, true));
    browser.see("nav-rooms");
    let node = Node::at(&system.path("home/.petmail"));
    assert!(node.run(&["stop"]).succeeded());

    // With a passphrase, which a menu cannot ask for.
    let passphrase = system.path("passphrase");
    fs::write(&passphrase, "four words are enough").unwrap();
    assert!(node.run(&["passphrase", "set", "--passphrase-file", passphrase.to_str().unwrap()]).succeeded());
    browser.expects("423");
    browser.visit(&system.choose(&exec, true));
    browser.see("locked");
    assert!(node.run(&["stop"]).succeeded());

    // Why it does not open is shown as well.
    fs::write(node.basedir().join("config.toml"), "nonsense").unwrap();
    let shown = system.choose(&exec, false);
    let shown = fs::read_to_string(shown).unwrap();
    assert!(shown.contains("config.toml"), "{shown}");

    system.dpkg(&["--purge", "petmail-node"]);
    assert_eq!(system.files(), Vec::<PathBuf>::new());
    assert!(node.basedir().join("config.toml").is_file(), "the user's data stay");
}
