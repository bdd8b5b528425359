//! `doctor`: looks at everything that a node depends on, and says what to mend.

use clap::Args;
use petmail_net::program::Failure;
use serde::Deserialize;

use super::{
    block_on,
    client::{Client, require_node},
    terminal::{one_line, print, print_json_lines},
};
use crate::{
    api::types::{CheckState, CheckView},
    basedir::Basedir,
    doctor::check_folder,
};

/// Test every server, the clock and the disk, and say what to mend
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 1 if there is a problem. Without a running node it looks at the folder only.\n\n\
    Examples:\n  petmail-node -d n1 doctor\n  petmail-node -d n1 doctor --json"
)]
pub(super) struct Doctor {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// The answer to `doctor`.
#[derive(Debug, Deserialize)]
struct Found {
    checks: Vec<CheckView>,
}

impl Doctor {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        require_node(basedir)?;
        let mut checks = check_folder(basedir);
        let is_running = basedir.running().map_err(Failure::failed)?.is_some();
        if is_running {
            let Found { checks: found } = block_on(async { Client::find(basedir)?.ask("doctor").await })?;
            checks.extend(found);
        } else {
            let hint = "start it with `start`; servers are looked at only while it runs";
            checks.push(CheckView::problem("node", "it does not run", hint));
        }
        if self.json {
            print_json_lines(&checks)?;
        } else {
            print(&checks.iter().map(describe).collect::<String>())?;
        }
        match checks.iter().filter(|check| check.state == CheckState::Problem).count() {
            0 => Ok(()),
            1 => Err(Failure::failed("1 problem was found")),
            count => Err(Failure::failed(format!("{count} problems were found"))),
        }
    }
}

fn describe(check: &CheckView) -> String {
    let state = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warning => "warning",
        CheckState::Problem => "problem",
    };
    let mut line = format!("{state:<8} {}: {}\n", one_line(&check.check), one_line(&check.detail));
    if let Some(hint) = &check.hint {
        line.push_str(&format!("         {}\n", one_line(hint)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_has_a_line_and_trouble_says_what_to_do() {
        assert_eq!(describe(&CheckView::ok("disk", "fine")), "ok       disk: fine\n");
        let trouble = CheckView::problem("mailbox 1\n", "away", "wait");
        assert_eq!(describe(&trouble), "problem  mailbox 1\\n: away\n         wait\n");
    }
}
