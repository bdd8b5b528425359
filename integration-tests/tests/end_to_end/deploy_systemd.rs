//! The systemd units in `deploy/systemd/`, as far as a machine tells that does not run them: systemd reads them without a
//! complaint, finds them well confined, and they name only what the programs know.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use petmail_integration_tests::deploy::{check_options, example, path, with_built};
use petmail_integration_tests::outcome::Outcome;

const SERVERS: [&str; 2] = ["petmail-mailbox", "petmail-rendezvous"];

/// How exposed a server may be by systemd's measure, in tenths: 100 is without any confinement, up to 20 is "OK".
const MOST_EXPOSED: &str = "20";

#[test]
fn systemd_accepts_the_units_of_the_servers_and_finds_them_confined() {
    for server in SERVERS {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join(format!("{server}.service"));
        fs::write(&unit, with_built(&format!("systemd/{server}.service"), server)).unwrap();
        let more = dir.path().join(format!("{server}.service.d"));
        fs::create_dir(&more).unwrap();
        fs::write(more.join("tls.conf"), example(&format!("systemd/{server}.service.d/tls.conf"))).unwrap();

        let verified = Outcome::of(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
        assert_eq!((verified.text(), verified.remarks()), (String::new(), String::new()), "{server}");
        let security = ["security", "--offline=true", "--no-pager", "--threshold", MOST_EXPOSED];
        let report = Outcome::of(Command::new("systemd-analyze").args(security).arg(&unit)).text();
        assert!(report.contains("Overall exposure level"), "{report}");
    }
}

#[test]
fn systemd_accepts_the_unit_of_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("petmail-node.service");
    let text = with_built("systemd/user/petmail-node.service", "petmail-node");
    // With a passphrase, too: those lines are switched off by a mark.
    for text in [text.replace("#! ", ""), text] {
        fs::write(&unit, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--user", "--man=no"]).arg(&unit).env("XDG_RUNTIME_DIR", dir.path());
        let verified = Outcome::of(&mut verify);
        assert_eq!((verified.text(), verified.remarks()), (String::new(), String::new()));
    }
}

#[test]
fn the_units_name_only_options_that_exist() {
    let check = |file: &str, program: &str, subcommand: &str| {
        let text = example(file).replace("#! ", "");
        let settings =
            text.lines().filter(|line| line.starts_with("ExecStart=") || line.starts_with("Environment="));
        settings.for_each(|line| check_options(program, subcommand, line));
    };
    for server in SERVERS {
        check(&format!("systemd/{server}.service"), server, "serve");
        check(&format!("systemd/{server}.service.d/tls.conf"), server, "serve");
    }
    check("systemd/user/petmail-node.service", "petmail-node", "start");
}

#[test]
fn users_and_folders_are_made_as_the_units_need_them() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let make = |program: &str, arguments: &[&str], file: &str| {
        let mut make = Command::new(program);
        make.arg("--root").arg(root.path()).args(arguments).arg(path(file).canonicalize().unwrap());
        Outcome::of(&mut make).text()
    };
    make("systemd-sysusers", &[], "systemd/sysusers.conf");
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    make("systemd-tmpfiles", &["--create"], "systemd/tmpfiles.conf");
    for server in SERVERS {
        let user = users.lines().find(|line| line.starts_with(server)).unwrap();
        let [_, _, id, ..] = user.split(':').collect::<Vec<_>>()[..] else { panic!("{user}") };
        let folder = fs::metadata(root.path().join("var/lib").join(server)).unwrap();
        assert_eq!(folder.mode() & 0o777, 0o700);
        assert_eq!(folder.uid().to_string(), id);
        assert!(example(&format!("systemd/{server}.service")).contains(&format!("\nUser={server}\n")));
    }
}
