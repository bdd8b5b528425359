//! Fills the database of a stopped node for measurements: `seed BASEDIR contacts|messages COUNT`. `cargo xtask bench` runs
//! it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use petmail_node::agent::seed;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: seed BASEDIR contacts|messages COUNT");
    let (basedir, what, count) = (PathBuf::from(next()?), next()?, next()?);
    match what.as_str() {
        "contacts" => seed::contacts(&basedir, count.parse()?).await,
        "messages" => seed::messages(&basedir, count.parse()?).await,
        other => bail!("there are contacts and messages, and no {other}"),
    }
}
