//! The onion services of `deploy/tor/torrc`.

use std::fs;
use std::process::Command;

use petmail_integration_tests::deploy::{adapted, check_commands};
use petmail_integration_tests::outcome::Outcome;

#[test]
fn tor_accepts_the_example() {
    check_commands("tor/torrc");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let torrc = dir.path().join("torrc");
    fs::write(&torrc, adapted("tor/torrc", &[("/var/lib/tor", &data)])).unwrap();
    let mut verify = Command::new("tor");
    verify.args(["--verify-config", "--DataDirectory", &data, "--SocksPort", "0", "-f"]).arg(&torrc);
    let said = Outcome::of(&mut verify).text();
    assert!(said.contains("Configuration was valid"), "{said}");
    let mut warnings = said.lines().filter(|line| line.contains("[warn]"));
    assert!(warnings.all(|line| line.contains("running Tor as root")), "{said}");
}
