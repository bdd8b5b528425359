//! `status` and `print-baseurl`.

use clap::Args;
use petmail_net::program::Failure;
use serde_json::json;

use super::{
    block_on,
    client::{Client, not_running, require_node},
    terminal::{json_line, one_line, print},
};
use crate::{
    api::{
        last_base_url,
        types::{MailboxView, OutboxView, StatusView},
    },
    basedir::Basedir,
};

/// Show how the node is doing
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status 1 if the node is not running; --json then says {\"running\": false, …}.\n\n\
    Examples:\n  petmail-node -d n1 status\n  petmail-node -d n1 status --json"
)]
pub(super) struct Status {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Print the base URL of the control API, also while the node is stopped
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  petmail-node -d n1 print-baseurl")]
pub(super) struct PrintBaseurl {}

impl Status {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        require_node(basedir)?;
        if basedir.running().map_err(Failure::failed)?.is_none() {
            return self.say_stopped(basedir);
        }
        let status: StatusView = block_on(async { Client::find(basedir)?.ask("status").await })?;
        if self.json {
            return print(&json_line(&status)?);
        }
        print(&describe(&status))
    }

    fn say_stopped(&self, basedir: &Basedir) -> Result<(), Failure> {
        if self.json {
            let baseurl = last_base_url(basedir).ok();
            let version = env!("CARGO_PKG_VERSION");
            print(&json_line(&json!({ "running": false, "baseurl": baseurl, "version": version }))?)?;
        }
        Err(not_running(basedir))
    }
}

impl PrintBaseurl {
    pub(super) fn run(self, basedir: &Basedir) -> Result<(), Failure> {
        require_node(basedir)?;
        let url = last_base_url(basedir).map_err(|_| {
            Failure::failed("the node has never been started, so it has no address yet")
                .hint("start it with `start`")
        })?;
        print(&format!("{url}\n"))
    }
}

fn describe(status: &StatusView) -> String {
    if status.locked {
        let lines =
            [("running", status.baseurl.as_str()), ("locked", "waits for its passphrase: use `unlock`")];
        return lines.iter().map(|(heading, text)| format!("{heading:<11} {}\n", one_line(text))).collect();
    }
    let name = if status.display_name.is_empty() { "(none)" } else { status.display_name.as_str() };
    let mut lines = vec![
        ("running", format!("{}, version {}", status.baseurl, status.version)),
        ("name", name.to_owned()),
        ("contacts", format!("{}, open invitations {}", status.contacts, status.open_invitations)),
        ("outbox", outbox(status)),
        ("rendezvous", rendezvous(status)),
    ];
    lines.extend(status.mailboxes.iter().map(|mailbox| ("mailbox", describe_mailbox(mailbox))));
    lines.extend(status.problems.iter().map(|problem| ("problem", problem.clone())));
    lines.iter().map(|(heading, text)| format!("{heading:<11} {}\n", one_line(text))).collect()
}

fn outbox(status: &StatusView) -> String {
    let OutboxView { waiting, sent, delivered } = status.outbox;
    format!("{waiting} waiting, {sent} sent and not yet fetched, {delivered} delivered")
}

fn rendezvous(status: &StatusView) -> String {
    let rendezvous = &status.rendezvous;
    let state = match (rendezvous.connected, &rendezvous.reason) {
        (true, _) => "connected",
        (false, Some(_)) => "not connected",
        (false, None) => "not needed now",
    };
    with_reason(format!("{}, {state}", rendezvous.url), rendezvous.reason.as_deref())
}

fn describe_mailbox(mailbox: &MailboxView) -> String {
    let state = if mailbox.connected { "connected" } else { "not connected" };
    with_reason(format!("{}, {state}", mailbox.url), mailbox.reason.as_deref())
}

fn with_reason(text: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_shows_what_is_wrong() {
        let status: StatusView = serde_json::from_value(json!({
            "running": true, "baseurl": "http://127.0.0.1:1", "version": "0", "display_name": "",
            "outbox": {"waiting": 2, "sent": 3, "delivered": 4}, "contacts": 1, "open_invitations": 4, "problems": ["do\nthis"],
            "mailboxes": [{"id": 1, "url": "https://h", "connected": false, "reason": "away", "retention_days": 1,
                "quota_bytes": 1, "local": false}],
            "rendezvous": {"url": "ws://h/v1", "connected": true, "reason": null}
        }))
        .unwrap();
        let expected = "\
running     http://127.0.0.1:1, version 0
name        (none)
contacts    1, open invitations 4
outbox      2 waiting, 3 sent and not yet fetched, 4 delivered
rendezvous  ws://h/v1, connected
mailbox     https://h, not connected: away
problem     do\\nthis
";
        assert_eq!(describe(&status), expected);
    }
}
