//! `check`: one line for each problem and what to do, or a summary.

use petmail_net::program::Failure;

use super::print;
use crate::{
    basedir::Basedir,
    check::{CheckError, Report, check},
    config::Settings,
};

pub(super) async fn run(basedir: &Basedir, settings: &Settings, json: bool) -> Result<(), Failure> {
    let service = settings.open_blobs().map_err(Failure::failed)?;
    let report = check(basedir, service.as_ref()).await.map_err(|error| {
        let hint = match &error {
            CheckError::NotInitialised(_) => {
                "run `petmail-mailbox init --url URL` first, or choose the folder with -d"
            }
            CheckError::Lock(_) => "stop the server first: what it changes meanwhile would look wrong",
        };
        Failure::failed(error).hint(hint)
    })?;
    for problem in &report.problems {
        if json {
            let line = serde_json::to_string(problem).map_err(Failure::failed)?;
            print(format_args!("{line}\n"))?;
        } else {
            print(format_args!("{}\n  {}\n", problem.text, problem.advice))?;
        }
    }
    match report.problems.len() {
        0 if json => Ok(()),
        0 => print(summary(&report)),
        1 => Err(Failure::failed("there is a problem")),
        count => Err(Failure::failed(format_args!("there are {count} problems"))),
    }
}

fn summary(report: &Report) -> String {
    let Report { accounts, offers, messages, message_bytes, digests, behind, packs, pack_bytes, .. } = report;
    let behind = match behind {
        0 => String::new(),
        behind => format!(
            "; the owners of {behind} accounts were away for so long that they need new addresses, and get them"
        ),
    };
    format!(
        "all is well: {accounts} accounts, {offers} offers, {messages} messages ({message_bytes} bytes), {digests} remembered, {packs} packs ({pack_bytes} bytes){behind}\n"
    )
}
