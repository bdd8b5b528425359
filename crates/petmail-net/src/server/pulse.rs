//! Whether the accept loop still goes round.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How long a busy loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the accept loop of a server whether it lives.
#[derive(Clone, Debug)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// The loop's side.
#[derive(Debug)]
pub(super) struct Questions(mpsc::Receiver<oneshot::Sender<()>>);

pub(super) fn pulse() -> (Pulse, Questions) {
    let (asks, questions) = mpsc::channel(8);
    (Pulse(asks), Questions(questions))
}

impl Pulse {
    /// Waits for the loop's answer; false if it has ended or does not answer in time.
    pub async fn beats(&self) -> bool {
        let ask = async {
            let (answer, answered) = oneshot::channel();
            self.0.send(answer).await.is_ok() && answered.await.is_ok()
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or(false)
    }
}

impl Questions {
    /// Answers one question; waits for ever if nobody can ask any more.
    pub(super) async fn answer(&mut self) {
        match self.0.recv().await {
            // Whoever asked may have lost patience.
            Some(answer) => answer.send(()).unwrap_or(()),
            None => std::future::pending().await,
        }
    }
}
