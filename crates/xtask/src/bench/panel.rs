//! The control panel in a real browser: how soon it can be used, with ever more contacts.

use anyhow::{Context, Result};

use super::Stage;
use super::figures::{row, show};
use super::people::{People, Seed};
use crate::shell::{cargo, output};

/// How many contacts a node has in turn.
const CONTACTS: [u32; 2] = [10, 1_000];

/// Loads the panel of a node that has few contacts, then many.
pub(super) fn run(stage: &Stage) -> Result<()> {
    let mut people = People::start(&stage.sub("panel")?)?;
    people.meet()?;
    let mut rows = vec![row([
        "contacts",
        "page → painted",
        "page → conversations there",
        "first load",
        "a page that is one picture",
    ])];
    for count in CONTACTS {
        people.restart_nodes(Some((Seed::Contacts, count.into())))?;
        let mut browser = cargo(["run", "--quiet", "--locked", "--package", "petmail-integration-tests"]);
        let said = output(browser.args(["--example", "panel", "--"]).arg(people.basedir_of_bob()))?;
        let [painted, listed, bytes, floor] = said.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(anyhow::anyhow!("the browser said {said}")).context("no figures");
        };
        rows.push(row([
            &count.to_string(),
            &format!("{painted} ms"),
            &format!("{listed} ms"),
            &format!("{bytes} bytes"),
            &format!("{floor} ms"),
        ]));
    }
    show("The control panel", &rows);
    Ok(())
}
