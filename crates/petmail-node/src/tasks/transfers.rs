//! Stores what is sent, fetches what is wanted, tells contacts where files are now, and takes away what is no longer needed at
//! storage servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use petmail_net::CancellationToken;
use petmail_proto::content::Location;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::{
    agent::{
        Agent, Work,
        records::transfers::{Hitch, Share},
    },
    transfer::{Stopped, discard_download, fetch, locate, store},
};

/// How many files are stored at a time, and how many are fetched.
const AT_ONCE: usize = 2;

/// How often what is no longer needed is looked for, and what failed is tried again, if nothing changes.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// The longest time to find out where a file is now.
const LOCATE_WITHIN: Duration = Duration::from_secs(120);

type Ended = Result<(), Stopped>;

/// The transfers under way.
#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<Ended>,
    uploads: BTreeMap<u64, AbortHandle>,
    downloads: BTreeMap<u64, AbortHandle>,
    /// Finds out where files are now that contacts ask for, one by one; it may store lists of links.
    answers: Option<AbortHandle>,
    /// Takes away what nothing needs; never while something is being stored.
    sweep: Option<AbortHandle>,
    /// Whether there may be something to take away.
    is_swept: bool,
    /// Whether there may be something to answer.
    is_answered: bool,
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
            () = agent.transfers_changed() => (under_way.is_swept, under_way.is_answered) = (false, false),
            _ = sweep.tick() => (under_way.is_swept, under_way.is_answered) = (false, false),
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
        let Work { uploads, downloads, has_questions } = agent.transfer_work().await;
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
                self.interrupt_sweep();
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
        if has_questions && self.answers.is_none() && !self.is_answered {
            self.interrupt_sweep();
            self.is_answered = true;
            self.answers = Some(self.tasks.spawn(answer(agent.clone())));
        }
        if self.uploads.is_empty() && self.answers.is_none() && self.sweep.is_none() && !self.is_swept {
            self.is_swept = true;
            self.sweep = Some(self.tasks.spawn(sweep_packs(agent.clone())));
        }
    }

    /// What is being stored may not be needed by anything yet. It is repeated afterwards.
    fn interrupt_sweep(&mut self) {
        if let Some(sweep) = self.sweep.take() {
            sweep.abort();
            self.is_swept = false;
        }
    }

    async fn note(&mut self, agent: &Agent, ended: Result<(Id, Ended), JoinError>) {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, ended),
            // Whoever stopped it has taken it off the list.
            Err(error) if error.is_cancelled() => return,
            Err(error) => (error.id(), Err(Stopped::Other(format!("the node has made a mistake: {error}")))),
        };
        let running = |all: &BTreeMap<u64, AbortHandle>| {
            all.iter().find(|(_, handle)| handle.id() == task).map(|(id, _)| *id)
        };
        if self.sweep.as_ref().is_some_and(|sweep| sweep.id() == task) {
            self.sweep = None;
            return;
        }
        if self.answers.as_ref().is_some_and(|answers| answers.id() == task) {
            self.answers = None;
            return;
        }
        let Some(id) = running(&self.uploads).or_else(|| running(&self.downloads)) else { return };
        self.uploads.remove(&id);
        self.downloads.remove(&id);
        let Err(stopped) = ended else { return };
        tracing::info!(id, reason = %stopped, "a transfer does not go on");
        // Its sender may know where it is now.
        let noted = match agent.ask_location(id, stopped == Stopped::Gone).await {
            Ok(true) => Ok(()),
            Ok(false) => agent.fail_transfer(id, Hitch::from(&stopped)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, id, "a failed transfer cannot be noted");
        }
    }
}

/// Tells contacts where files are now. What cannot be answered yet is tried again later, and its reason is shown.
async fn answer(agent: Agent) -> Ended {
    for question in agent.questions().await {
        let location = match (&question.known, &question.share) {
            (Some(known), _) => Ok(known.location()),
            (None, Some((id, share))) => find(&agent, *id, share).await,
            (None, None) => Ok(None),
        };
        let answered = match location {
            Ok(location) => agent.answer(&question, location).await,
            Err(stopped) => agent.cannot_answer(&question, &stopped).await,
        };
        if let Err(error) = answered {
            tracing::warn!(%error, "a contact's question where a file is stays open for now");
        }
    }
    Ok(())
}

/// One storage that is away holds up no other.
async fn find(agent: &Agent, id: u64, share: &Share) -> Result<Option<Location>, Stopped> {
    let found = tokio::time::timeout(LOCATE_WITHIN, locate(agent, id, share)).await;
    found.unwrap_or_else(|_| Err(Stopped::Other("its storage does not answer".to_owned())))
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
