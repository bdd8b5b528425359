//! Looks at everything that a node depends on and that is not its own: every server, the clock, the database.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use petmail_net::clock;
use petmail_proto::content::PackId;
use tokio::time::timeout;

use super::{Agent, lock, records::Mailbox};
use crate::{
    api::types::CheckView,
    network::{NetworkError, Probe},
    transfer::service,
};

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many servers of contacts are looked at: those for whom something waits come first.
const MAX_SERVERS: usize = 64;

/// No clock that is right shows an earlier time than that of this program's making: 2026-11-01, in Unix ms.
const EARLIEST_MS: u64 = 1_793_491_200_000;

/// How much of unknown messages is worth a remark, in bytes.
const MUCH_QUARANTINE_BYTES: usize = 1 << 20;

impl Agent {
    /// Looks at every server that the node needs, the clock, and the database. Takes a few seconds if a server is away.
    pub(crate) async fn doctor(&self) -> Vec<CheckView> {
        let mut checks = vec![check_clock(clock::unix_ms()), self.check_database().await];
        let (mailboxes, services, contacts, rendezvous) = tokio::join!(
            self.check_mailboxes(),
            self.check_services(),
            self.check_contacts(),
            self.check_rendezvous()
        );
        checks.extend(mailboxes);
        checks.extend(services);
        checks.extend(contacts);
        checks.push(rendezvous);
        checks
    }

    async fn check_database(&self) -> CheckView {
        let stats = match self.0.db.stats().await {
            Ok(stats) => stats,
            Err(error) => return CheckView::problem("database", format!("{error:#}"), "restart the node"),
        };
        if stats.failed {
            let hint =
                "look at the disk (is it full?), then restart the node; nothing that was confirmed is lost";
            return CheckView::problem("database", "a write failed, and nothing can be stored", hint);
        }
        let quarantine = self.0.core.lock().await.quarantine_bytes();
        if quarantine > MUCH_QUARANTINE_BYTES {
            let detail = format!("{} KiB of messages are from nobody known", quarantine >> 10);
            return CheckView::warning(
                "database",
                detail,
                "they are deleted after a week; nothing needs to be done",
            );
        }
        CheckView::ok("database", format!("{} KiB on the disk", stats.disk_bytes >> 10))
    }

    async fn check_mailboxes(&self) -> Vec<CheckView> {
        let mailboxes: Vec<Mailbox> = self.0.core.lock().await.mailboxes.values().cloned().collect();
        if mailboxes.is_empty() {
            let hint = "ask a provider for an offer and use accept-mailbox";
            return vec![CheckView::warning("mailbox", "there is none: you can send but not receive", hint)];
        }
        join_all(mailboxes.iter().map(|mailbox| self.check_mailbox(mailbox))).await
    }

    async fn check_mailbox(&self, mailbox: &Mailbox) -> CheckView {
        let name = format!("mailbox {} ({})", mailbox.id, mailbox.url);
        let check = reached(name.clone(), self.0.network.probe(Probe::Mailbox(mailbox), PATIENCE).await);
        if check.hint.is_some() {
            return check;
        }
        let health = lock(&self.0.health).mailboxes.get(&mailbox.id).cloned();
        match (&mailbox.account, health) {
            (None, _) => CheckView::problem(name, "its offer is not redeemed", "accept the offer again"),
            (Some(_), Some(Err(reason))) => CheckView::problem(
                name,
                format!("the server answers, but: {reason}"),
                "see what it says; restart the node",
            ),
            (Some(_), None) => CheckView::warning(name, "not connected yet", "try again in a moment"),
            (Some(_), Some(Ok(()))) => CheckView::ok(name, "connected; its clock and ours agree"),
        }
    }

    /// Asks each service for a pack that is not there: nothing is written.
    async fn check_services(&self) -> Vec<CheckView> {
        let services = match self.services().await {
            Ok(services) => services,
            Err(error) => return vec![CheckView::problem("storage services", error.problem, error.hint)],
        };
        let checks = services.iter().map(async |service| {
            let name = format!("storage service {} ({})", service.id, service.account.kind.name());
            let hint = "see that it runs and that the account is right; `storage test` tries everything";
            let objects = match service::open(self, &service.account) {
                Ok(objects) => objects,
                Err(error) => return CheckView::problem(name, error.to_string(), hint),
            };
            match timeout(PATIENCE, objects.missing(&[PackId::from_bytes([0; 32])])).await {
                Ok(Ok(_)) => CheckView::ok(name, format!("{} answers", objects.address())),
                Ok(Err(error)) => CheckView::problem(name, format!("{}: {error}", objects.address()), hint),
                Err(_) => CheckView::problem(name, format!("{} does not answer", objects.address()), hint),
            }
        });
        join_all(checks).await
    }

    /// One check for each server where contacts receive.
    async fn check_contacts(&self) -> Vec<CheckView> {
        let mut servers = BTreeMap::new();
        for (cid, peer) in &self.0.core.lock().await.peers {
            let waits = peer.outbox.waiting().next().is_some();
            for transport in &peer.contact.theirs.transports.list {
                let entry = servers.entry(transport.server).or_insert((false, *cid, transport.clone()));
                entry.0 |= waits;
            }
        }
        let mut servers: Vec<_> = servers.into_values().collect();
        servers.sort_by_key(|(waits, _, _)| !waits);
        servers.truncate(MAX_SERVERS);
        let probes = servers.iter().map(async |(_, cid, transport)| {
            let probe = Probe::Transport { cid: *cid, transport };
            reached(
                format!("contacts' mailbox server {}", transport.url),
                self.0.network.probe(probe, PATIENCE).await,
            )
        });
        join_all(probes).await
    }

    async fn check_rendezvous(&self) -> CheckView {
        let url = &self.0.rendezvous_url;
        let name = format!("rendezvous server {url}");
        match self.0.network.probe_rendezvous(url, PATIENCE).await {
            Ok(()) => CheckView::ok(name, "reached"),
            Err(error) => {
                let hint = "no invitations until it is back; its address stands in config.toml, and the network may be away";
                let is_needed = !self.invitations_wanting_rendezvous().await.is_empty();
                // Messages do without it.
                let check = if is_needed { CheckView::problem } else { CheckView::warning };
                check(name, error.to_string(), hint)
            }
        }
    }
}

fn reached(name: String, probed: Result<(), NetworkError>) -> CheckView {
    match probed {
        Ok(()) => CheckView::ok(name, "reached"),
        Err(NetworkError::Client(error)) => CheckView::problem(
            name,
            error.to_string(),
            "messages wait; look at the network, or ask who runs the server",
        ),
        Err(error) => CheckView::problem(name, error.to_string(), "ask who runs the server"),
    }
}

fn check_clock(now_ms: u64) -> CheckView {
    if now_ms < EARLIEST_MS {
        return CheckView::problem("clock", "it shows a time long past", "set the clock of this computer");
    }
    CheckView::ok("clock", "plausible")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::CheckState;

    #[test]
    fn a_clock_of_before_the_program_is_a_problem() {
        assert_eq!(check_clock(EARLIEST_MS - 1).state, CheckState::Problem);
        assert_eq!(check_clock(EARLIEST_MS).state, CheckState::Ok);
    }
}
