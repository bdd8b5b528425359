//! The control panel's page: its types by TypeScript, its tests by Node.js. `docs/build.md` says how to see it.
//!
//! What it needs of npm is in `panel-tests/package-lock.json`, each with its checksum, and runs no script when it is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::shell::{program, root, run, target_dir};

/// What npm installs, and its checksums.
const LISTS: [&str; 2] = ["package.json", "package-lock.json"];

/// Checks the page.
///
/// # Errors
/// What TypeScript or a test found, or why they cannot be installed.
pub(crate) fn check() -> Result<()> {
    let node = root().join("crates/petmail-node");
    let installed = install(&node.join("panel-tests"))?;
    let compiler = installed.join("node_modules/.bin/tsc");
    run(program(&compiler.to_string_lossy(), ["--project"]).arg(node.join("jsconfig.json")))?;
    run(program("node", ["--test", "--test-reporter=dot"]).args(tests(&node.join("panel-tests"))?))
}

/// Returns the folder in which the packages are.
fn install(tests: &Path) -> Result<PathBuf> {
    let dir = target_dir()?.join("xtask/panel");
    let done = dir.join("installed");
    let wanted = LISTS.iter().map(|name| read(&tests.join(name))).collect::<Result<String>>()?;
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(dir);
    }
    fs::create_dir_all(&dir)?;
    for name in LISTS {
        fs::copy(tests.join(name), dir.join(name))?;
    }
    run(program("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&dir))?;
    fs::write(done, wanted)?;
    Ok(dir)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Returns the files with tests: old and new versions of Node.js disagree what a folder means.
fn tests(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut tests = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        tests.extend(path.to_string_lossy().ends_with(".test.mjs").then_some(path));
    }
    ensure!(!tests.is_empty(), "there are no tests in {}", dir.display());
    tests.sort();
    Ok(tests)
}
