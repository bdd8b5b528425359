//! `cargo xtask screenshots`: the pictures in the guide, taken anew by the test that looks at every page of the control panel.

use std::fs;

use anyhow::{Context, Result};

use crate::shell::{cargo, root, run, target_dir};

/// What the test calls a picture, and what the guide calls it.
const PICTURES: [(&str, &str); 5] = [
    ("rooms-1-light-1100.png", "conversation.png"),
    ("people-1-compare-light-1100.png", "safety-words.png"),
    ("people-add-enter-light-1100.png", "enter-a-code.png"),
    ("mailboxes-light-1100.png", "mailboxes.png"),
    ("health-dark-1100.png", "health.png"),
];

/// Takes the pictures.
///
/// # Errors
/// The test fails, or a picture cannot be written.
pub(crate) fn take() -> Result<()> {
    let test = ["test", "--locked", "--package", "petmail-integration-tests", "--test", "end_to_end"];
    run(cargo(test).args(["--", "--exact", "panel_pages::everybody_can_use_every_page"]))?;
    let (taken, guide) = (target_dir()?.join("screenshots"), root().join("docs/guide/images"));
    for (from, to) in PICTURES {
        fs::copy(taken.join(from), guide.join(to)).with_context(|| format!("cannot take {from}"))?;
    }
    println!("the pictures are in {}", guide.display());
    Ok(())
}
