//! Stores what is sent, fetches what is wanted, and takes away what is no longer needed at storage servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use petmail_net::CancellationToken;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::{
    agent::{Agent, Work},
    transfer::{Stopped, discard_download, fetch, store},
};

/// How many files are stored at a time, and how many are fetched.
const AT_ONCE: usize = 2;

/// How often what is no longer needed is looked for, if nothing changes.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

type Ended = Result<(), Stopped>;

/// The transfers under way.
#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<Ended>,
    uploads: BTreeMap<u64, AbortHandle>,
    downloads: BTreeMap<u64, AbortHandle>,
    /// Takes away what nothing needs; never while something is being stored.
    sweep: Option<AbortHandle>,
    /// Whether there may be something to take away.
    is_swept: bool,
}

pub(super) async fn run(agent: Agent, shutdown: CancellationToken) {
    let mut under_way = UnderWay::default();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = under_way.turn(&agent) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = agent.transfers_changed() => under_way.is_swept = false,
            _ = sweep.tick() => under_way.is_swept = false,
            Some(ended) = under_way.tasks.join_next_with_id() => {
                under_way.note(&agent, ended).await;
            }
        }
    }
    // What was under way goes on after the next start.
    under_way.tasks.shutdown().await;
}

impl UnderWay {
    /// Stops what is not wanted any more, begins what is, and takes away what nothing needs.
    async fn turn(&mut self, agent: &Agent) {
        let Work { uploads, downloads } = agent.transfer_work().await;
        let (wanted_up, wanted_down): (BTreeSet<u64>, BTreeSet<u64>) = (
            uploads.iter().map(|upload| upload.id).collect(),
            downloads.iter().map(|down| down.id).collect(),
        );
        stop_others(&mut self.uploads, &wanted_up);
        stop_others(&mut self.downloads, &wanted_down);
        for download in agent.take_trash() {
            discard_download(download).await;
        }
        for upload in uploads {
            if self.uploads.len() < AT_ONCE && !self.uploads.contains_key(&upload.id) {
                // It is repeated once nothing is being stored.
                if let Some(sweep) = self.sweep.take() {
                    sweep.abort();
                    self.is_swept = false;
                }
                let id = upload.id;
                self.uploads.insert(id, self.tasks.spawn(store(agent.clone(), upload)));
            }
        }
        for download in downloads {
            if self.downloads.len() < AT_ONCE && !self.downloads.contains_key(&download.id) {
                let id = download.id;
                self.downloads.insert(id, self.tasks.spawn(fetch(agent.clone(), download)));
            }
        }
        if self.uploads.is_empty() && self.sweep.is_none() && !self.is_swept {
            self.is_swept = true;
            self.sweep = Some(self.tasks.spawn(sweep_packs(agent.clone())));
        }
    }

    async fn note(&mut self, agent: &Agent, ended: Result<(Id, Ended), JoinError>) {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, ended),
            // Whoever stopped it has taken it off the list.
            Err(error) if error.is_cancelled() => return,
            Err(error) => (error.id(), Err(Stopped(format!("the node has made a mistake: {error}")))),
        };
        let running = |all: &BTreeMap<u64, AbortHandle>| {
            all.iter().find(|(_, handle)| handle.id() == task).map(|(id, _)| *id)
        };
        if self.sweep.as_ref().is_some_and(|sweep| sweep.id() == task) {
            self.sweep = None;
            return;
        }
        let Some(id) = running(&self.uploads).or_else(|| running(&self.downloads)) else { return };
        self.uploads.remove(&id);
        self.downloads.remove(&id);
        let Err(Stopped(reason)) = ended else { return };
        tracing::info!(id, reason, "a transfer does not go on");
        if let Err(error) = agent.fail_transfer(id, reason).await {
            tracing::warn!(%error, id, "a failed transfer cannot be noted");
        }
    }
}

async fn sweep_packs(agent: Agent) -> Ended {
    if let Err(error) = agent.sweep_packs().await {
        tracing::warn!(%error, "what is no longer needed stays on its storage servers for now");
    }
    Ok(())
}

fn stop_others(running: &mut BTreeMap<u64, AbortHandle>, wanted: &BTreeSet<u64>) {
    running.retain(|id, handle| {
        let stays = wanted.contains(id);
        if !stays {
            handle.abort();
        }
        stays
    });
}
