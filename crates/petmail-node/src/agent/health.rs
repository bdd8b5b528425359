//! How the node is: what its tasks report of their connections, and the one screen that says whether everything is all right.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    Agent,
    core::Core,
    error::CommandError,
    lock, now,
    view::{self, reasons::issue},
};
use crate::api::types::{IssueView, MailboxView, OutboxView, RendezvousView, Severity, StatusView};

/// How long it is shown that another copy of this node has used a mailbox.
const RIVAL_SHOWN: Duration = Duration::from_secs(3_600);

/// How the node's connections are, as the tasks report it.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// By mailbox: nothing if its stream is open, else what is wrong.
    pub(super) mailboxes: BTreeMap<u32, Result<(), String>>,
    rendezvous: Option<Result<(), String>>,
    /// Why this node may be a copy of another one.
    copy: Option<String>,
    /// When another program took the stream of a mailbox away last.
    superseded: BTreeMap<u32, Instant>,
}

impl Agent {
    /// Shows the node in one screen. The caller fills in where the API listens.
    pub async fn status(&self) -> StatusView {
        let mailboxes = self.mailboxes().await;
        let rendezvous = self.rendezvous();
        let core = self.0.core.lock().await;
        let outbox = OutboxView {
            waiting: core.texts().filter(|entry| !entry.is_taken()).count() as u64,
            sent: core.texts().filter(|entry| entry.is_taken()).count() as u64,
            delivered: core.peers.values().map(|peer| peer.progress.delivered).sum(),
        };
        let issues = self.issues(&core, &mailboxes, &rendezvous);
        StatusView {
            running: true,
            locked: false,
            baseurl: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            display_name: core.profile.display_name.clone(),
            outbox,
            problems: issues.iter().map(|issue| issue.text.clone()).collect(),
            issues,
            mailboxes,
            rendezvous,
            contacts: core.peers.len(),
            open_invitations: core.invitations.values().filter(|invite| invite.is_open()).count(),
        }
    }

    fn issues(&self, core: &Core, mailboxes: &[MailboxView], rendezvous: &RendezvousView) -> Vec<IssueView> {
        let full = self.check_room().err().map(|error| {
            issue("disk-full", Severity::Problem, format!("{error}; {}", error.hint)).detailed(error.problem)
        });
        let copies = self.copies(mailboxes);
        let files = view::file::stopped(core);
        let others = view::issues(core, mailboxes, rendezvous, now());
        full.into_iter().chain(copies).chain(files).chain(others).collect()
    }

    /// Says what points to copies of this node; mailboxes that are not connected speak for themselves.
    fn copies(&self, mailboxes: &[MailboxView]) -> Vec<IssueView> {
        let health = lock(&self.0.health);
        let is_recent = |id: &u32| health.superseded.get(id).is_some_and(|at| at.elapsed() < RIVAL_SHOWN);
        let rivals = mailboxes.iter().filter(|mailbox| mailbox.connected && is_recent(&mailbox.id));
        let rivals = rivals.map(|mailbox| {
            let text = format!(
                "another copy of this node has used mailbox {} in the last hour; messages it took are missing here: stop it",
                mailbox.id
            );
            issue("mailbox-used-elsewhere", Severity::Problem, text).of_mailbox(mailbox.id)
        });
        let copy = health.copy.iter().map(|copy| issue("copy", Severity::Problem, copy).detailed(copy));
        copy.chain(rivals).collect()
    }

    /// Notes why this node may be a copy of another one.
    pub(crate) fn set_copy(&self, copy: Option<String>) {
        lock(&self.0.health).copy = copy;
    }

    /// Notes that another program has taken the stream of a mailbox away.
    pub(crate) fn set_superseded(&self, mailbox: u32) {
        lock(&self.0.health).superseded.insert(mailbox, Instant::now());
    }

    pub(super) fn rendezvous(&self) -> RendezvousView {
        let state = lock(&self.0.health).rendezvous.clone();
        let reason = state.as_ref().and_then(|state| state.as_ref().err().cloned());
        RendezvousView {
            url: self.0.rendezvous_url.clone(),
            connected: matches!(state, Some(Ok(()))),
            reason,
        }
    }

    /// Notes how a mailbox's event stream is.
    pub(crate) async fn set_mailbox_health(
        &self,
        id: u32,
        state: Result<(), String>,
    ) -> Result<(), CommandError> {
        if state.is_ok()
            && let Err(error) = self.step(|core, step, now| Ok(core.note_read(step, id, now)?)).await
        {
            tracing::warn!(%error, "it cannot be noted that a mailbox is read");
        }
        let before = lock(&self.0.health).mailboxes.insert(id, state.clone());
        if before.as_ref() == Some(&state) {
            return Ok(());
        }
        if state.is_ok()
            && let Ok(mailbox) = self.mailbox(id).await
        {
            // Contacts often have theirs at the same server.
            self.step(|core, step, _| {
                core.server_is_back(step, &mailbox.server);
                Ok(())
            })
            .await?;
        }
        self.show_mailbox(id).await;
        Ok(())
    }

    /// Notes how the rendezvous server is.
    pub(crate) fn set_rendezvous_health(&self, state: Option<Result<(), String>>) {
        lock(&self.0.health).rendezvous = state;
    }
}
